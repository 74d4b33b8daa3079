"""Clients, their peers, calls and streams that a :class:`hostlane._server.Server` drives."""

from __future__ import annotations

import threading
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from hostlane._serving import unanswered
from hostlane._waiting import limit, some
from hostlane.errors import TimeoutError
from hostlane.types import DEFAULT_TIMEOUT

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from hostlane._core import Message, NativePeer, NativeStream, With
    from hostlane._server import Ended, Server
    from hostlane.peer import Peer
    from hostlane.types import Info, Stats

__all__ = ["Cell", "Client", "ServedCall", "ServedPeer", "ServedStream"]


_ANSWERS = 64
"""Answers that may wait for one client to take them; so many have nothing more of it handled."""

_ANSWER_BYTES = 1 << 20
"""The same in bytes, of which the last answer may have more."""


class Client:
    """A client, and what waits for it to take its answers.

    Nobody waits for that: what a handler returns leaves when the client lets it, or is given up
    after the default timeout. Meanwhile the client's next messages are held, once the answers are
    many.
    """

    __slots__ = ("_answers", "_bytes", "_held", "_lock", "_server", "native", "peer")

    def __init__(self, server: Server, native: NativePeer, peer: Peer) -> None:
        self.native = native
        self.peer = peer
        self._server = server
        self._lock = threading.Lock()
        self._answers = 0
        self._bytes = 0
        self._held: deque[Message | None] = deque()

    def holds(self, message: Message | None) -> bool:
        """Whether the client has to take its answers before this is its turn; keeps it then."""
        with self._lock:
            if self._is_behind():
                self._held.append(message)
                return True
            return False

    def reply(self, message: Message, data: ReadableBuffer) -> None:
        """Answers a message, without waiting."""
        server = self._server
        started = server.context.reply(server, message, data, DEFAULT_TIMEOUT)
        self._started(started, message, data)

    def fail(self, message: Message, status: int, data: bytes) -> None:
        """Answers a call with an error, without waiting."""
        server = self._server
        started = server.context.fail(server, message, status, data, DEFAULT_TIMEOUT)
        self._started(started, message, data)

    def _is_behind(self) -> bool:
        return self._answers >= _ANSWERS or self._bytes >= _ANSWER_BYTES

    def _started(self, started: object, message: Message, data: ReadableBuffer) -> None:
        if type(started) is not int:
            return
        size = memoryview(data).nbytes
        with self._lock:
            self._answers += 1
            self._bytes += size
        self._server.when(started, partial(self._left, message, size))

    def _left(self, message: Message, size: int, ended: Ended) -> None:
        if ended[1] is not None:
            unanswered(message, ended[1])
        with self._lock:
            self._answers -= 1
            self._bytes -= size
            if self._is_behind() or not self._held:
                return
            held, self._held = self._held, deque()
        self._server.resume(self, held)


class ServedPeer:
    """The :class:`hostlane._core.PeerOps` of a peer whose bytes the server moves."""

    __slots__ = ("_server", "native")

    def __init__(self, server: Server, native: NativePeer) -> None:
        self._server = server
        self.native = native

    @property
    def peer_id(self) -> str:
        return self.native.peer_id

    def send(
        self, data: ReadableBuffer, channel: int, timeout: float | None, with_: With, /
    ) -> None:
        server = self._server
        server.wait(server.context.send(server, self.native, data, channel, timeout, with_))

    def send_batch(
        self, batch: list[ReadableBuffer], channel: int, timeout: float | None, /
    ) -> None:
        self.native.cork()
        try:
            for data in batch:
                self.send(data, channel, timeout, None)
        finally:
            self.native.uncork()

    def recv(self, channel: int | None, timeout: float | None, /) -> Message:
        server = self._server
        recv = partial(server.context.recv, server, self.native, channel)
        received: Message = server.take(recv, timeout)
        return received

    def recv_batch(self, most: int, timeout: float | None, /) -> list[Message]:
        server = self._server
        most = some(most)
        messages = [self.recv(None, timeout)]
        if most > 1:
            messages += server.context.recv_now(server, self.native, most - 1)
        return messages

    def request(
        self, data: ReadableBuffer, channel: int, timeout: float | None, with_: With, /
    ) -> Message:
        server = self._server
        started = server.context.request(server, self.native, data, channel, timeout, with_)
        reply: Message = server.wait(started)
        return reply

    def start(
        self, data: ReadableBuffer, channel: int, timeout: float | None, with_: With, /
    ) -> ServedCall:
        server = self._server
        started = server.context.request(server, self.native, data, channel, timeout, with_)
        return ServedCall(server, started)

    def open_stream(
        self, data: ReadableBuffer, channel: int, timeout: float | None, with_: With, /
    ) -> ServedStream:
        return ServedStream(self._server, self.native.open_stream(data, channel, timeout, with_))

    def cork(self) -> None:
        self.native.cork()

    def uncork(self) -> None:
        self.native.uncork()

    def attach(self) -> None:
        self.native.attach()

    def ping(self, timeout: float | None, /) -> float:
        server = self._server
        seconds: float = server.wait(server.context.ping(server, self.native, timeout))
        return seconds

    def drain(self, timeout: float | None, /) -> None:
        server = self._server
        server.wait(server.context.drain(server, self.native, timeout))

    def close(self) -> None:
        self.native.close()

    def info(self) -> Info:
        return self.native.info()

    def stats(self) -> Stats:
        return self.native.stats()


class Cell:
    """The end of an operation, for a thread that waits for it."""

    __slots__ = ("_told", "ended")

    def __init__(self) -> None:
        self.ended: Ended | None = None
        self._told = threading.Event()

    def put(self, ended: Ended) -> None:
        """Says how it ended."""
        self.ended = ended
        self._told.set()

    def wait(self, timeout: float | None) -> bool:
        """Waits for that."""
        return self._told.wait(timeout)

    def result(self) -> Any:
        """The result, or the exception."""
        value, error = self.ended or (None, None)
        if error is not None:
            raise error
        return value


class ServedCall:
    """The :class:`hostlane._core.CallOps` of a call of such a peer."""

    __slots__ = ("_cell", "_op", "_server")

    def __init__(self, server: Server, started: object) -> None:
        self._server = server
        self._op = started
        self._cell = Cell()
        server.when(started, self._cell.put)

    @property
    def ended(self) -> bool:
        return self._cell.ended is not None

    def result(self, timeout: float | None, /) -> Message:
        if not self._server.wait_for(self._cell, limit(timeout)):
            message = "the reply has not come yet"
            raise TimeoutError(message, "maybe")
        reply: Message = self._cell.result()
        return reply

    def done(self) -> bool:
        return self._server.wait_for(self._cell, 0)

    def cancel(self) -> None:
        if self._cell.ended is None and isinstance(self._op, int):
            self._server.context.cancel(self._op)

    def __del__(self) -> None:
        self.cancel()


class ServedStream:
    """The :class:`hostlane._core.StreamOps` of a stream of such a peer."""

    __slots__ = ("_native", "_reply", "_server")

    def __init__(self, server: Server, native: NativeStream) -> None:
        self._server = server
        self._native = native
        self._reply: bytes | None = None

    @property
    def call_id(self) -> int:
        return self._native.call_id

    @property
    def reply(self) -> bytes | None:
        return self._reply

    def send(self, data: ReadableBuffer, timeout: float | None, /) -> None:
        server = self._server
        server.wait(server.context.stream_send(server, self._native, data, timeout))

    def finish(self, timeout: float | None, /) -> None:
        server = self._server
        server.wait(server.context.stream_finish(server, self._native, timeout))

    def recv(self, timeout: float | None, /) -> bytes | None:
        server = self._server
        recv = partial(server.context.stream_recv, server, self._native)
        item = server.take(recv, timeout)
        if isinstance(item, bytes):
            return item
        (reply,) = item
        self._reply = self._reply if reply is None else reply
        return None

    def close(self) -> None:
        self._native.close()
