"""multiprocessing.connection: bytes over its AF_UNIX connections."""

from __future__ import annotations

from functools import partial
from multiprocessing import connection

from payload import Service
from works import Client, program, ready, run


class Lane(Client):
    """One connection."""

    def __init__(self, address: str) -> None:
        self._connection = connection.Client(address, "AF_UNIX")
        self.post = self._connection.send_bytes
        self.take = self._connection.recv_bytes

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()


def serve(address: str) -> None:
    """Serves one client after the other."""
    with connection.Listener(address, "AF_UNIX", backlog=64) as listener:
        ready(address)
        while True:
            with listener.accept() as accepted:
                service = Service()
                try:
                    while True:
                        reply = service.handle(accepted.recv_bytes())
                        if reply is not None:
                            accepted.send_bytes(reply)
                except EOFError:
                    pass


program(serve, partial(run, Lane))
