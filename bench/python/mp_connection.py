"""multiprocessing.connection: bytes over its AF_UNIX connections."""

from __future__ import annotations

from functools import partial
from multiprocessing import connection

from payload import Service
from works import Client, program, ready, run, serve_each


class Lane(Client):
    """One connection."""

    def __init__(self, address: str) -> None:
        self._connection = connection.Client(address, "AF_UNIX")
        self.post = self._connection.send_bytes
        self.take = self._connection.recv_bytes

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()


def _answer(accepted: connection.Connection) -> None:
    service = Service()
    with accepted:
        try:
            while True:
                reply = service.handle(accepted.recv_bytes())
                if reply is not None:
                    accepted.send_bytes(reply)
        except EOFError:
            pass


def serve(address: str) -> None:
    """Serves all clients."""
    with connection.Listener(address, "AF_UNIX", backlog=64) as listener:
        ready(address)
        serve_each(listener.accept, _answer)


program(serve, partial(run, Lane))
