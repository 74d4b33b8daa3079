"""Chains: messages that each carry their number and the SHA-256 over themselves and all before.

Whoever receives them knows what is missing, what came twice, in another order or changed. See
docs/soak.md.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asked import Asked

BODY = bytes(range(251))
"""Bodies are this again and again, from the number of their message on."""


def head_of(before: str, name: str, number: int, body: bytes) -> str:
    """The head of a message behind another."""
    digest = hashlib.sha256(f"{before}{name} {number} ".encode())
    digest.update(body)
    return digest.hexdigest()


@dataclass
class Came:
    """What came of a chain."""

    next: int = 0
    """The number that is due."""
    head: str = ""
    lost: int = 0
    doubled: int = 0
    reordered: int = 0
    corrupted: int = 0


class Chains:
    """The chains that arrive at an end, by name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: dict[str, Came] = {}

    def take(self, message: bytes) -> bool:
        """Takes a message into account; false if it is of no chain."""
        if not message.startswith(b"chain "):
            return False
        parts = message.split(b" ", 4)
        if len(parts) < 5 or not parts[2].isdigit():
            return False
        name, number, head = parts[1].decode(), int(parts[2]), parts[3].decode(errors="replace")
        with self._lock:
            came = self._all.setdefault(name, Came())
            if number < came.next:
                # It fills a gap if there is one.
                if came.lost > 0:
                    came.lost -= 1
                    came.reordered += 1
                else:
                    came.doubled += 1
                return True
            came.lost += number - came.next
            if number == came.next and head != head_of(came.head, name, number, parts[4]):
                came.corrupted += 1
            came.next, came.head = number + 1, head
        return True

    def report(self, name: str) -> Asked:
        """What came of a chain so far."""
        with self._lock:
            return asdict(self._all.get(name, Came()))

    def forget(self) -> None:
        with self._lock:
            self._all.clear()


class Chain:
    """A chain that is sent."""

    def __init__(self, asked: Asked) -> None:
        self.name: str = asked["chain"]
        self.bits: int = asked["bits"]
        self.random: int = asked["seed"]
        self.head = ""
        self.next = 0
        """Messages that were sent."""
        self.wrong = 0
        """What of them came back otherwise."""
        self.bytes = 0

    def message(self, number: int) -> bytes:
        """The next message; its body has up to two to the power of `bits` bytes."""
        self.random = (self.random * 1_664_525 + 1_013_904_223) & 0xFFFF_FFFF
        width = (self.random >> 27) % (self.bits + 1)
        size = (self.random >> 7) & ((1 << width) - 1)
        first = number % len(BODY)
        body = (BODY * ((first + size) // len(BODY) + 1))[first : first + size]
        self.head = head_of(self.head, self.name, number, body)
        message = f"chain {self.name} {number} {self.head} ".encode() + body
        self.bytes += len(message)
        return message

    def report(self, error: str = "", sent: str = "") -> Asked:
        """How far it came, and what ended it early."""
        told: Asked = {name: getattr(self, name) for name in ("next", "head", "bytes", "wrong")}
        return told | {"error": error, "sent": sent}
