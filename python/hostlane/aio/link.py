"""The same program on both sides."""

from __future__ import annotations

import os
import time
import warnings
import weakref
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from hostlane import _core, _options
from hostlane._core import AioMessage
from hostlane._executing import MAX_RUNNING
from hostlane._serving import capped
from hostlane._waiting import limit
from hostlane.aio._driver import Answering, current
from hostlane.errors import ClosedError, Error, ForkedError, TimeoutError
from hostlane.types import (
    COMMAND,
    DATA,
    DEFAULT_TIMEOUT,
    Info,
    LinkDown,
    LinkOptions,
    LinkUp,
    Stats,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from types import TracebackType
    from typing import Self, Unpack

    from _typeshed import ReadableBuffer

    from hostlane._core import NativeLink, NativeStream
    from hostlane.aio._driver import Driver, Event, Job, Watched

    Handler: TypeAlias = "Callable[[AioMessage, Link], Awaitable[ReadableBuffer | None]]"

__all__ = ["Link", "LinkEvent"]

LinkEvent: TypeAlias = LinkUp | LinkDown | AioMessage
"""What a link tells. A message is answered with :meth:`Message.reply` or :meth:`Message.fail`."""


class _Cell:
    """The end of a call, for the task that waits for it."""

    __slots__ = ("error", "told", "value")

    def __init__(self, told: Event) -> None:
        self.told = told
        self.value: Any = None
        self.error: Exception | None = None


class _Engine(Answering):
    """Drives a link in an event loop, which keeps it; and is what its messages ask to answer."""

    __slots__ = (
        "__weakref__",
        "_calls",
        "_forked",
        "_readers",
        "_served",
        "_unwatch",
        "driver",
        "native",
    )

    def __init__(self, driver: Driver, native: NativeLink) -> None:
        self.driver = driver
        self.native = native
        self._calls: dict[int, _Cell] = {}
        self._readers: set[Event] = set()
        # Handlers that run, to be cancelled once nobody wants their answers.
        self._served: list[Watched] = []
        self._forked: ForkedError | None = None
        self._unwatch: Callable[[], object] | None = driver.watch_descriptor(
            native.fileno(), self.turn
        )

    def turn(self) -> None:
        """Moves the link on, and tells who waits."""
        try:
            ended, failed, end = self.native.turn(self)
        except ForkedError as forked:
            ended, failed, end = [], None, forked
            self._forked = forked
        for ticket, value in ended:
            self._settle(ticket, value, None)
        for ticket, error in failed or ():
            self._settle(ticket, None, error)
        if end is not None and self._unwatch is not None:
            self._unwatch()
            self._unwatch = None
        # Each looks for itself: what is there goes to who takes it first.
        for event in self._readers:
            event.set()
        if self._served:
            self._served = [one for one in self._served if self._goes_on(one)]

    def _settle(self, ticket: int, value: Any, error: Exception | None) -> None:
        cell = self._calls.pop(ticket, None)
        if cell is not None:
            cell.value, cell.error = value, error
            cell.told.set()

    async def next(self, timeout: float | None) -> LinkEvent:
        """The next event."""
        native, driver = self.native, self.driver
        timeout = limit(timeout)
        event: LinkEvent = native.take(self)
        if event is not None:
            await driver.pause()
            return event
        end = None if timeout is None else time.monotonic() + timeout
        self.turn()
        while (event := native.take(self)) is None:
            if self._forked is not None:
                raise self._forked
            there = driver.event()
            self._readers.add(there)
            try:
                left = None if end is None else max(0.0, end - time.monotonic())
                if not await driver.expect(there, left):
                    message = "the deadline passed"
                    raise TimeoutError(message)
            finally:
                self._readers.discard(there)
        return event

    async def call(self, ticket: int) -> AioMessage:
        """The reply to a call that was started."""
        cell = self._calls[ticket] = _Cell(self.driver.event())
        try:
            await cell.told.wait()
        finally:
            if self._calls.pop(ticket, None) is not None:
                self.native.cancel(ticket)
        if cell.error is not None:
            raise cell.error
        reply: AioMessage = cell.value
        return reply

    # --- serving ---------------------------------------------------------------------------------

    def watch(self, job: Job, message: AioMessage) -> None:
        """Has a handler cancelled once nobody wants its answer."""
        if message.is_request:
            self._served.append((weakref.ref(job), weakref.ref(message)))

    def _goes_on(self, watched: Watched) -> bool:
        job, message = watched[0](), watched[1]()
        if job is None or message is None or message.answered or job.done():
            return False
        if message.cancelled:
            job.cancel()
            return False
        return True

    async def give(self, message: AioMessage, source: object, data: ReadableBuffer) -> None:
        """Sends an answer."""
        self.native.reply(message, data, None)

    async def refuse(self, message: AioMessage, source: object, status: int, data: bytes) -> None:
        """Sends an error of the program's."""
        self.native.fail(message, status, data, None)

    # --- what messages ask of their host ---------------------------------------------------------

    async def reply(self, message: AioMessage, data: ReadableBuffer, timeout: float | None) -> None:
        """Answers a message."""
        self.native.reply(message, data, timeout)
        await self.driver.pause()

    async def fail(
        self, message: AioMessage, status: int, data: ReadableBuffer, timeout: float | None
    ) -> None:
        """Answers a call with an error."""
        self.native.fail(message, status, data, timeout)
        await self.driver.pause()

    def stream(self, native: NativeStream) -> None:
        """There are none."""
        self.native.stream(native)

    async def wait_cancelled(self, message: AioMessage, timeout: float | None) -> None:
        """Nor this."""
        self.native.wait_cancelled(message, timeout)


class Link:
    """Two instances of one program, joined by an address; made by :meth:`open`.

    As :class:`hostlane.Link`; the event loop drives it, whether a task waits for it or not. Any
    number of tasks of the loop may use it at once. Close it, or use it in ``async with``. Iterating
    yields events until this side closes it, and raises what ended it otherwise.

    A handler is cancelled with its call, but :meth:`Message.wait_cancelled` is unsupported here.
    """

    __slots__ = ("__weakref__", "_address", "_engine", "_native", "_open_in")

    def __init__(self, engine: _Engine, address: str) -> None:
        self._engine = engine
        self._native = engine.native
        self._address = address
        # The process that has to close it: a forked child never does.
        self._open_in: int | None = os.getpid()

    @classmethod
    def open(cls, address: str, **options: Unpack[LinkOptions]) -> Self:
        """Opens a link; takes and raises what :meth:`hostlane.Link.open` does.

        It never waits. Call it in a running event loop.
        """
        driver = current()
        told = _options.options(LinkOptions.__optional_keys__, options)
        return cls(_Engine(driver, _core.open_link(address, told, aio=True)), address)

    async def next(self, *, timeout: float | None = None) -> LinkEvent:
        """Returns the next event; takes and raises what :meth:`hostlane.Link.next` does.

        Nothing is lost when it is cancelled.
        """
        return await self._engine.next(timeout)

    async def request(
        self,
        data: ReadableBuffer,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        channel: int = COMMAND,
        idempotency_key: bytes | None = None,
        trace: bytes | None = None,
    ) -> AioMessage:
        """Makes a call and returns its reply; waits for the other side while it is not there.

        Takes and raises what :meth:`hostlane.Link.request` does. Cancelled, the call is given up
        at once, and the other side is told.
        """
        with_ = _options.with_(idempotency_key, trace, None)
        ticket = self._native.start(data, channel, capped(timeout), with_)
        return await self._engine.call(ticket)

    async def send(
        self, data: ReadableBuffer, *, channel: int = DATA, trace: bytes | None = None
    ) -> None:
        """Sends one message, at once; raises what :meth:`hostlane.Link.send` does."""
        self._native.send(data, channel, _options.with_(None, trace, None))
        await self._engine.driver.pause()

    async def serve(self, handler: Handler) -> None:
        """Has the handler answer what arrives, each message in a task, until this side closes it.

        As :meth:`hostlane.aio.Peer.serve`, across all connections the link has; the handler gets
        each message and this link. Raises what ended the link otherwise.
        """
        _options.serving(handler)
        engine = self._engine
        async with engine.driver.group() as group:
            while True:
                await group.room(MAX_RUNNING)
                try:
                    event = await engine.next(None)
                except Error as error:
                    # Handlers whose calls ended with it are cancelled already.
                    end = error
                    break
                if isinstance(event, AioMessage):
                    engine.watch(group.start(engine.answer, handler, event, self), event)
                del event
        if not isinstance(end, ClosedError):
            raise end

    @property
    def is_serving(self) -> bool | None:
        """Whether this side is the one that listens; None while there is no decision."""
        return self._native.is_serving

    def info(self) -> Info:
        """Returns what is known about the connection there is; raises as :meth:`Link.info`."""
        return self._native.info()

    def stats(self) -> Stats:
        """Returns the counters of the connection there is, as of now."""
        return self._native.stats()

    def close(self) -> None:
        """Ends the link now; tasks waiting on it get :class:`hostlane.ClosedError`.

        The address is free. Closing twice is no error.
        """
        self._open_in = None
        self._native.close()
        self._engine.turn()

    async def __aiter__(self) -> AsyncIterator[LinkEvent]:
        while True:
            try:
                event = await self._engine.next(None)
            except ClosedError:
                return
            yield event
            # Nor does this keep the call of a message that nobody has any more.
            del event

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
        return f"<hostlane.aio.Link {self._address} {state}>"

    def __del__(self) -> None:
        if getattr(self, "_open_in", None) == os.getpid():
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
            self._native.close()

    def __reduce__(self) -> NoReturn:
        message = "a Link belongs to its event loop: send the address and open one there"
        raise TypeError(message)
