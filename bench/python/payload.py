"""Payloads as in the Rust frame: a numbered head with the kind on top, then bytes to check.

Making a message costs Python more than sending one, so they are made before and given out in
cycles; a message that is lost, doubled or out of order is still not the one that is due.
"""

from __future__ import annotations

import random

REQUEST, ONE_WAY, FINISH = 1, 2, 3
REPORT = 8  # bytes of a report: how many one-way messages came

_CYCLE_BYTES = 64 * 1024
_LARGE_CYCLE = 4


def cycle(kind: int, size: int) -> list[bytes]:
    """The messages of a kind and size, again and again in this order."""
    rest = random.Random(size).randbytes(size - 8)
    count = max(_CYCLE_BYTES // size, _LARGE_CYCLE)
    return [number.to_bytes(7, "little") + bytes([kind]) + rest for number in range(count)]


def report(count: int) -> bytes:
    """What a receiver of so many one-way messages answers in the end."""
    return count.to_bytes(REPORT, "little")


class Service:
    """What one connection's server answers."""

    def __init__(self) -> None:
        self._count = 0
        self._cycle: list[bytes] = []

    def handle(self, message: bytes) -> bytes | None:
        """Judges one message; what to send back, if anything."""
        kind = message[7]
        if kind == REQUEST:
            return message
        if kind == ONE_WAY:
            cycle_ = self._cycle or self._made(len(message))
            if message != cycle_[self._count % len(cycle_)]:
                raise ValueError(f"one-way message {self._count} is not the one that was due")
            self._count += 1
            return None
        if kind == FINISH:
            count, self._count, self._cycle = self._count, 0, []
            return report(count)
        raise ValueError(f"a message of kind {kind}")

    def handle_all(self, messages: list[bytes]) -> list[bytes]:
        """Judges messages that came together; what to send back, in order."""
        if messages and messages[0][7] == ONE_WAY and messages[-1][7] == ONE_WAY:
            cycle_ = self._cycle or self._made(len(messages[0]))
            at = self._count % len(cycle_)
            due = cycle_[at : at + len(messages)]
            while len(due) < len(messages):
                due += cycle_[: len(messages) - len(due)]
            if messages != due:
                raise ValueError(f"not the one-way messages that were due behind {self._count}")
            self._count += len(messages)
            return []
        return [reply for reply in map(self.handle, messages) if reply is not None]

    def _made(self, size: int) -> list[bytes]:
        self._cycle = cycle(ONE_WAY, size)
        return self._cycle
