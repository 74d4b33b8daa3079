"""hostlane: calls for round trips, 64 of them in flight; batches for what is one-way."""

from __future__ import annotations

import time
from collections import deque
from functools import partial

import hostlane
from payload import ONE_WAY, Service
from works import WINDOW, Client, check, program, ready, run

_LIMIT = 30.0
_BATCH = 64


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


def answer(peer: hostlane.Peer) -> None:
    """Serves one client: what came together is answered together."""
    service = Service()
    while True:
        try:
            batch = peer.recv_batch(_BATCH)
        except hostlane.PeerClosedError:
            return
        if len(batch) == 1:
            (message,) = batch
            reply = service.handle(message.data)
            if reply is not None:
                message.reply(reply)
            continue
        datas = [message.data for message in batch]
        if datas[0][7] == ONE_WAY and datas[-1][7] == ONE_WAY:
            service.handle_all(datas)
            continue
        with peer.cork():
            for message, data in zip(batch, datas, strict=True):
                reply = service.handle(data)
                if reply is not None:
                    message.reply(reply)


def serve(address: str) -> None:
    """Serves one client after the other."""
    with hostlane.listen(address) as listener:
        ready(address)
        for peer in listener:
            with peer:
                answer(peer)


program(serve, partial(run, Lane))
