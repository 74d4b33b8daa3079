"""hostlane's calling side: calls for round trips, 64 of them in flight; batches for one-way."""

from __future__ import annotations

import time
from collections import deque

import hostlane
from works import WINDOW, Client, check

_LIMIT = 30.0


class Lane(Client):
    """A blocking peer."""

    def __init__(self, address: str) -> None:
        self._peer = hostlane.connect(address, timeout=_LIMIT)

    def call(self, request: bytes) -> bytes:
        """One call."""
        return self._peer.request(request, timeout=_LIMIT).data

    def send_all(self, messages: list[bytes]) -> None:
        """One batch."""
        self._peer.send_batch(messages, timeout=_LIMIT)

    def fly(self, requests: list[bytes], end: float) -> int:
        """Takes half of the replies, and starts as many calls, which leave together."""
        peer, clock = self._peer, time.perf_counter
        start, limit = peer.start, _LIMIT
        flying: deque[hostlane.Call] = deque()
        sent = done = 0
        running = True
        while running or flying:
            with peer.cork():
                while running and len(flying) < WINDOW:
                    flying.append(start(requests[sent % len(requests)], timeout=limit))
                    sent += 1
            for _ in range(WINDOW // 2):
                check(requests[done % len(requests)], flying.popleft().result(limit).data)
                done += 1
            running = running and clock() < end
        return done

    def close(self) -> None:
        """Ends the connection."""
        self._peer.close()
