"""grpcio over a Unix socket, blocking: unary calls, and a client's stream for one-way messages.

The bytes are the messages: no schema, no serializer.
"""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Iterator
from concurrent import futures
from functools import partial

import grpc
from payload import Service
from works import WINDOW, Client, check, program, ready, run

_SERVICE = "bench.Works"
_WORKERS = 10  # as its guides have it
_LARGE = 64 * 1024
_QUEUED, _QUEUED_LARGE = 256, 4  # messages that may wait in the stream
_OPTIONS = [
    ("grpc.max_receive_message_length", 16 << 20),
    # A channel is a connection of its own.
    ("grpc.use_local_subchannel_pool", 1),
]


class _Stream:
    """One-way messages on their way; their reply is the server's report."""

    def __init__(self, tell: grpc.StreamUnaryMultiCallable, room: int) -> None:
        self._waiting: queue.Queue[bytes | None] = queue.Queue(room)
        self.put = self._waiting.put
        self._report = tell.future(self._messages())

    def _messages(self) -> Iterator[bytes]:
        while (message := self._waiting.get()) is not None:
            yield message

    def finish(self, message: bytes) -> bytes:
        self.put(message)
        self.put(None)
        return self._report.result()


class Lane(Client):
    """A channel, and a stream once it is needed."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.insecure_channel(f"unix:{address}", _OPTIONS)
        self._ask = self._channel.unary_unary(f"/{_SERVICE}/Ask")
        self._tell = self._channel.stream_unary(f"/{_SERVICE}/Tell")
        self._stream: _Stream | None = None
        self.call = self._ask

    def fly(self, requests: list[bytes], end: float) -> int:
        """Starts a call for each that has ended."""
        ask, flying = self._ask.future, deque()
        sent = done = 0
        running = True
        while running or flying:
            while running and len(flying) < WINDOW:
                flying.append(ask(requests[sent % len(requests)]))
                sent += 1
            check(requests[done % len(requests)], flying.popleft().result())
            done += 1
            running = running and time.perf_counter() < end
        return done

    def send_all(self, messages: list[bytes]) -> None:
        """One after the other; waits for room in the stream."""
        if self._stream is None:
            large = len(messages[0]) > _LARGE
            self._stream = _Stream(self._tell, _QUEUED_LARGE if large else _QUEUED)
        put = self._stream.put
        for message in messages:
            put(message)

    def finish(self, message: bytes) -> bytes:
        """Ends the stream."""
        assert self._stream is not None
        stream, self._stream = self._stream, None
        return stream.finish(message)

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()


def _ask(request: bytes, _: grpc.ServicerContext) -> bytes | None:
    return Service().handle(request)


def _tell(messages: Iterator[bytes], _: grpc.ServicerContext) -> bytes:
    service = Service()
    for message in messages:
        report = service.handle(message)
        if report is not None:
            return report
    raise ValueError("the stream has no last message")


def serve(address: str) -> None:
    """Serves all clients."""
    server = grpc.server(futures.ThreadPoolExecutor(_WORKERS), options=_OPTIONS)
    works = {
        "Ask": grpc.unary_unary_rpc_method_handler(_ask),
        "Tell": grpc.stream_unary_rpc_method_handler(_tell),
    }
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(_SERVICE, works)])
    server.add_insecure_port(f"unix:{address}")
    server.start()
    ready(address)
    server.wait_for_termination()


program(serve, partial(run, Lane))
