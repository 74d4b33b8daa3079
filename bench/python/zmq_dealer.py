"""pyzmq over ipc: DEALER to ROUTER for requests, PUSH to PULL for one-way messages."""

from __future__ import annotations

import queue
import threading
from functools import partial

import zmq
from payload import Service
from works import Client, program, ready, run

_LARGE = 64 * 1024
_LARGE_QUEUE = 16  # messages: queues are bounded by their number alone


def _one_way(address: str) -> str:
    return f"ipc://{address}.push"


class Lane(Client):
    """A DEALER, and a PUSH once it is needed."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._context = zmq.Context()
        self._requests = self._context.socket(zmq.DEALER)
        self._requests.connect(f"ipc://{address}")
        self._push: zmq.Socket[bytes] | None = None
        self.post = self._requests.send
        self.take = self._requests.recv

    def send_all(self, messages: list[bytes]) -> None:
        """One after the other: there is no call for many."""
        if self._push is None:
            self._push = self._context.socket(zmq.PUSH)
            if len(messages[0]) > _LARGE:
                self._push.set_hwm(_LARGE_QUEUE)
            self._push.connect(_one_way(self._address))
        send = self._push.send
        for message in messages:
            send(message)

    def finish(self, message: bytes) -> bytes:
        """The report is made where the stream ends, and asked for where replies are given."""
        self.send_all([message])
        return self.call(message)

    def close(self) -> None:
        """Ends the connection."""
        self._context.destroy(linger=0)


def _count(pull: zmq.Socket[bytes], reports: queue.SimpleQueue[bytes]) -> None:
    service = Service()
    while True:
        report = service.handle(pull.recv())
        if report is not None:
            reports.put(report)


def serve(address: str) -> None:
    """Serves all clients."""
    context = zmq.Context()
    requests = context.socket(zmq.ROUTER)
    requests.bind(f"ipc://{address}")
    pull = context.socket(zmq.PULL)
    pull.bind(_one_way(address))
    reports: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_count, args=[pull, reports], daemon=True).start()
    ready(address)
    service = Service()
    while True:
        client, message = requests.recv_multipart()
        reply = service.handle(message)
        # Only the end of a stream is answered with other bytes, and it was counted elsewhere.
        requests.send_multipart([client, message if reply == message else reports.get()])


program(serve, partial(run, Lane))
