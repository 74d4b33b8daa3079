"""Connections."""

from __future__ import annotations

import os
import warnings
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from hostlane import _options
from hostlane._executing import MAX_RUNNING
from hostlane._serving import capped
from hostlane._waiting import some
from hostlane.aio._driver import current
from hostlane.aio.stream import Stream
from hostlane.errors import ClosedError, Error, PeerClosedError
from hostlane.types import COMMAND, DATA, DEFAULT_TIMEOUT, ConnectOptions, Info, Stats

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from types import TracebackType
    from typing import Self, Unpack

    from _typeshed import FileDescriptorLike, ReadableBuffer

    from hostlane._core import AioMessage, NativePeer
    from hostlane.aio._driver import Driver, Handler

__all__ = ["Peer", "connect"]

BATCH = 64
"""Messages taken from the core at a time."""


async def connect(
    address: str,
    *,
    timeout: float | None = DEFAULT_TIMEOUT,
    **options: Unpack[ConnectOptions],
) -> Peer:
    """Connects to a listener; takes and raises what :func:`hostlane.connect` does.

    Use it as ``async with await connect(...) as peer``.
    """
    driver = current()
    told = _options.options(ConnectOptions.__optional_keys__, options)
    started = driver.context.connect(driver, address, told, timeout)
    return Peer(driver, await driver.finish(started))


class Peer:
    """One connection; made by :func:`connect` and :meth:`Listener.accept`.

    Any number of tasks of its event loop may use it at once. Close it, or use it in ``async with``.
    Iterating yields messages until either side ends the connection in good order.
    """

    __slots__ = ("__weakref__", "_driver", "_open_in", "_peer_id", "native")

    def __init__(self, driver: Driver, native: NativePeer) -> None:
        self._driver = driver
        self.native = native
        self._peer_id = native.peer_id
        # The process that has to close it: a forked child never does.
        self._open_in: int | None = os.getpid()

    async def send(
        self,
        data: ReadableBuffer,
        *,
        channel: int = DATA,
        timeout: float | None = DEFAULT_TIMEOUT,
        trace: bytes | None = None,
        fds: Sequence[FileDescriptorLike] | None = None,
    ) -> None:
        """Sends one message, and returns when the kernel has all of it.

        Takes and raises what :meth:`hostlane.Peer.send` does. Cancelled, it may still arrive.
        """
        driver = self._driver
        driver.flush(self.native)
        with_ = _options.with_(None, trace, fds)
        await driver.finish(driver.context.send(driver, self.native, data, channel, timeout, with_))

    async def send_batch(
        self,
        batch: Sequence[ReadableBuffer],
        *,
        channel: int = DATA,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> None:
        """Sends many messages of one channel in as few system calls as they allow.

        Returns when all are queued, and raises what :meth:`send` raises.
        """
        driver = self._driver
        with self.cork():
            for data in batch:
                started = driver.context.send(driver, self.native, data, channel, timeout, None)
                if type(started) is int:
                    await driver.finish(started)
        await driver.pause()

    @contextmanager
    def cork(self) -> Iterator[None]:
        """Gathers what any task sends, requests and replies in the ``with``; then it leaves.

        Meanwhile :meth:`send` and :meth:`Message.reply` return once a message is queued. What
        fills a write leaves before.

        Raises:
            ClosedError: This side has closed the connection.
        """
        self.native.cork()
        try:
            yield
        finally:
            self.native.uncork()

    async def recv(
        self,
        channel: int | None = None,
        *,
        timeout: float | None = None,
    ) -> AioMessage:
        """Returns the next message; takes and raises what :meth:`hostlane.Peer.recv` does.

        Nothing is lost when it is cancelled.
        """
        driver = self._driver
        recv = partial(driver.context.recv, driver, self.native, channel)
        message: AioMessage = await driver.take(recv, timeout)
        return message

    async def recv_batch(
        self,
        most: int = BATCH,
        *,
        timeout: float | None = None,
    ) -> list[AioMessage]:
        """Returns all messages that are there, at most ``most``; waits for the first.

        Raises what :meth:`recv` raises, and :class:`InvalidArgumentError` where none is wanted.
        """
        driver = self._driver
        most = some(most)
        messages = [await self.recv(timeout=timeout)]
        if most > 1:
            messages += driver.context.recv_now(driver, self.native, most - 1)
        return messages

    async def request(
        self,
        data: ReadableBuffer,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        channel: int = COMMAND,
        idempotency_key: bytes | None = None,
        trace: bytes | None = None,
        fds: Sequence[FileDescriptorLike] | None = None,
    ) -> AioMessage:
        """Makes a call and returns its reply; any number may be in flight.

        Takes and raises what :meth:`hostlane.Peer.request` does. Cancelled, the call is given up
        at once, and the other side is told.
        """
        driver = self._driver
        if driver.calls:
            driver.gather(self.native)
        started = driver.context.request(
            driver,
            self.native,
            data,
            channel,
            capped(timeout),
            _options.with_(idempotency_key, trace, fds),
        )
        driver.calls += 1
        try:
            reply: AioMessage = await driver.finish(started)
        finally:
            driver.calls -= 1
        return reply

    def open_stream(
        self,
        data: ReadableBuffer = b"",
        *,
        timeout: float | None = None,
        channel: int = COMMAND,
        idempotency_key: bytes | None = None,
        trace: bytes | None = None,
        fds: Sequence[FileDescriptorLike] | None = None,
    ) -> Stream:
        """Opens a stream: a call with many messages in both directions. Never waits.

        Takes and raises what :meth:`hostlane.Peer.open_stream` does.
        """
        with_ = _options.with_(idempotency_key, trace, fds)
        native = self.native.open_stream(data, channel, capped(timeout), with_)
        return Stream(self._driver, native)

    async def serve(self, handler: Handler) -> None:
        """Has the handler answer what arrives, each message in a task, until the connection ends.

        The handler gets each message and this peer. What it returns is the answer; with None it
        has answered by itself, or the call is abandoned. When it raises, the caller gets
        :class:`hostlane.RemoteError`: that of a ``RemoteError`` it raised, else with the status
        :data:`hostlane.HANDLER_FAILED`. Its task is cancelled once nobody wants its answer any
        more: the caller left, or ran out of time. Calls it makes end with the one it serves.
        """
        _options.serving(handler)
        driver = self._driver
        async with driver.group() as group:
            while True:
                room = await group.room(MAX_RUNNING)
                try:
                    batch = await self.recv_batch(min(room, BATCH))
                except Error as error:
                    # Messages that came before are handled, however the connection ended.
                    end = error
                    break
                jobs = [(group.start(driver.answer, handler, one, self), one) for one in batch]
                driver.soon(partial(driver.watch, jobs))
                del batch, jobs
        if not isinstance(end, (PeerClosedError, ClosedError)):
            raise end

    async def ping(self, *, timeout: float | None = DEFAULT_TIMEOUT) -> float:
        """Returns the seconds of one round trip to the other side's library.

        Raises:
            TimeoutError: No answer in time; the connection goes on.
        """
        driver = self._driver
        started = driver.context.ping(driver, self.native, timeout)
        seconds: float = await driver.finish(started)
        return seconds

    async def drain(self, *, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        """Ends the connection in good order: calls in flight finish, nothing new starts.

        Messages received before stay readable.

        Raises:
            TimeoutError: The other side did not agree in time; the connection was closed without.
            ClosedError: This side has closed the connection.
        """
        driver = self._driver
        driver.flush(self.native)
        await driver.finish(driver.context.drain(driver, self.native, timeout))
        self._open_in = None

    def close(self) -> None:
        """Ends the connection now; tasks waiting on it get :class:`hostlane.ClosedError`.

        Closing twice is no error.
        """
        self._open_in = None
        self._driver.flush(self.native)
        self.native.close()

    def info(self) -> Info:
        """Returns what is known about the connection and the other side."""
        return self.native.info()

    def stats(self) -> Stats:
        """Returns the counters of the connection, as of now."""
        return self.native.stats()

    async def __aiter__(self) -> AsyncIterator[AioMessage]:
        while True:
            try:
                message = await self.recv()
            except (PeerClosedError, ClosedError):
                return
            yield message
            # Nor does this keep the call of a message that nobody has any more.
            del message

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._open_in is None else "open"
        return f"<hostlane.aio.Peer {self._peer_id} {state}>"

    def __del__(self) -> None:
        if getattr(self, "_open_in", None) == os.getpid():
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
            self.native.close()

    def __reduce__(self) -> NoReturn:
        message = "a Peer belongs to its event loop: send the address and connect there"
        raise TypeError(message)
