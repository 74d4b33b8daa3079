"""hostlane with `Listener.serve`: one thread answers all clients, message by message."""

from __future__ import annotations

from functools import partial
from weakref import WeakKeyDictionary

import hostlane
from lane_client import Lane
from payload import Service
from works import program, ready, run


def serve(address: str) -> None:
    """Serves all clients."""
    services: WeakKeyDictionary[hostlane.Peer, Service] = WeakKeyDictionary()

    def answer(message: hostlane.Message, peer: hostlane.Peer) -> bytes | None:
        service = services.get(peer)
        if service is None:
            service = services[peer] = Service()
        return service.handle(message.data)

    with hostlane.listen(address) as listener:
        ready(address)
        listener.serve(answer)


program(serve, partial(run, Lane))
