"""hostlane: calls for round trips, DATA messages for what is pipelined or one-way."""

from __future__ import annotations

from functools import partial

import hostlane
from payload import Service
from works import Client, program, ready, run

_LIMIT = 30.0


class Lane(Client):
    """A blocking peer."""

    def __init__(self, address: str) -> None:
        self._peer = hostlane.connect(address, timeout=_LIMIT)

    def call(self, request: bytes) -> bytes:
        """One call."""
        return self._peer.request(request, timeout=_LIMIT).data

    def post(self, message: bytes) -> None:
        """One message."""
        self._peer.send(message, timeout=_LIMIT)

    def take(self) -> bytes:
        """The next message."""
        return self._peer.recv(timeout=_LIMIT).data

    def close(self) -> None:
        """Ends the connection."""
        self._peer.close()


def serve(address: str) -> None:
    """Serves one client after the other."""
    with hostlane.listen(address) as listener:
        ready(address)
        for peer in listener:
            service = Service()
            with peer:
                for message in peer:
                    reply = service.handle(message.data)
                    if reply is not None:
                        message.reply(reply)


program(serve, partial(run, Lane))
