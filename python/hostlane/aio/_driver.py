"""What one event loop drives: a context behind one descriptor, and who waits for its operations.

An operation is an id in a table, from its start until the loop hands its end to whoever waits.
Nothing else is kept for it: no task, no thread.
"""

from __future__ import annotations

import logging
import sys
import time
import weakref
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from hostlane import _core
from hostlane._serving import deadline, describe, failure, unanswered
from hostlane.aio.stream import Stream
from hostlane.errors import CallEndedError, Error, PayloadTooLargeError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from contextlib import AbstractAsyncContextManager

    from _typeshed import ReadableBuffer

    from hostlane._core import AioMessage, NativePeer, NativeStream
    from hostlane.aio.peer import Peer

__all__ = ["Answering", "Driver", "Event", "Group", "Handler", "Job", "Watched", "current"]

Handler: TypeAlias = "Callable[[AioMessage, Peer], Awaitable[ReadableBuffer | None]]"
"""What serves messages: it gets one and the peer it came from. What it returns is the answer; with
``None`` it has answered by itself, or wants none."""

BUDGET = 256
"""Operations whose end is handed out in one turn of the loop."""

_log = logging.getLogger("hostlane")


class Job(Protocol):
    """Something that runs in the loop."""

    def cancel(self) -> object:
        """Has it end."""

    def done(self) -> bool:
        """Whether it has."""


Watched: TypeAlias = "tuple[weakref.ref[Job], weakref.ref[AioMessage]]"
"""A handler that runs, and its message. Neither is kept: a call is abandoned once nobody has its
message any more, and a job that has ended may keep an exception, whose frames keep the message."""


class Group(Protocol):
    """Jobs that end together."""

    def start(self, function: Callable[..., Awaitable[None]], *arguments: object) -> Job:
        """Starts one."""

    async def room(self, most: int) -> int:
        """How many more may run, so that there are at most so many; waits for one at least."""


class Event(Protocol):
    """What a task waits for; both kinds of loop have one."""

    def set(self) -> object:
        """Has who waits go on."""

    def is_set(self) -> bool:
        """Whether it has."""

    async def wait(self) -> object:
        """Waits until it is set."""


Source = TypeVar("Source")
"""What a message came from, as its handler gets it."""


class Answering:
    """Has handlers answer, whatever moves their answers."""

    __slots__ = ()

    async def answer(
        self,
        handler: Callable[[AioMessage, Source], Awaitable[ReadableBuffer | None]],
        message: AioMessage,
        source: Source,
    ) -> None:
        """Has one message answered."""
        deadline.set(message.deadline)
        try:
            try:
                data = await handler(message, source)
                if data is not None:
                    try:
                        await self.give(message, source, data)
                    except ConnectionError as error:
                        # No failure of the handler's, which one is that it used itself.
                        unanswered(message, error)
            except CallEndedError:
                _log.debug("nobody waits for the answer to %r any more", message)
            except Exception as error:  # noqa: BLE001
                told = failure(message, error)
                if message.is_request:
                    try:
                        await self.refuse(message, source, *told)
                    except PayloadTooLargeError as large:
                        await self.refuse(message, source, *failure(message, large))
        except (CallEndedError, UnsupportedError, ConnectionError) as error:
            unanswered(message, error)
        except Error as error:
            describe(message, error)

    async def give(self, message: AioMessage, source: Any, data: ReadableBuffer) -> None:
        """Sends an answer."""
        raise NotImplementedError

    async def refuse(self, message: AioMessage, source: Any, status: int, data: bytes) -> None:
        """Sends an error of the program's."""
        raise NotImplementedError


class Driver(Answering):
    """The part that is the same in every kind of loop."""

    __slots__ = ("__weakref__", "_corked", "_turn", "_watched", "calls", "context")

    def __init__(self) -> None:
        self.context = _core.NativeContext(aio=True)
        # Calls of this side in flight.
        self.calls = 0
        # Peers whose small writes are held back until the turn of the loop is over.
        self._corked: set[NativePeer] = set()
        self._turn = False
        # Handlers by the operation that tells that their answer is no longer wanted.
        self._watched: dict[int, Watched] = {}

    # --- what a kind of loop does ----------------------------------------------------------------

    async def finish(self, started: Any) -> Any:
        """Waits for the end of an operation: its result.

        Cancelled, it gives the operation up.
        """
        raise NotImplementedError

    async def take(self, start: Callable[[float | None], Any], timeout: float | None) -> Any:
        """Waits until ``start`` finds something to take.

        An operation that waits for it takes nothing, so nothing is lost with a cancelled task.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while type(started := start(timeout)) is int:
            await self.finish(started)
            timeout = None if end is None else max(0.0, end - time.monotonic())
        await self.pause()
        return started

    async def pause(self) -> None:
        """Lets others have their turn where that is the custom."""
        raise NotImplementedError

    def soon(self, function: Callable[[], None]) -> None:
        """Has a function called when this turn of the loop is over."""
        raise NotImplementedError

    def watch_descriptor(self, fd: int, turn: Callable[[], None]) -> Callable[[], object]:
        """Has ``turn`` called while a descriptor is readable; what is returned ends that."""
        raise NotImplementedError

    def event(self) -> Event:
        """Something to wait for."""
        raise NotImplementedError

    async def expect(self, event: Event, timeout: float | None) -> bool:
        """Waits for an event: whether it came in time."""
        raise NotImplementedError

    def group(self) -> AbstractAsyncContextManager[Group]:
        """A group of jobs, cancelled together when its block is left by an exception."""
        raise NotImplementedError

    # --- gathering -------------------------------------------------------------------------------

    def gather(self, peer: NativePeer) -> None:
        """Holds back what is written to a peer from now on, to the end of this turn of the loop."""
        if peer not in self._corked:
            peer.cork()
            self._corked.add(peer)
            if not self._turn:
                self._turn = True
                self.soon(self._end_turn)

    def _end_turn(self) -> None:
        self._turn = False
        while self._corked:
            self._corked.pop().uncork()

    def flush(self, peer: NativePeer) -> None:
        """Lets go what is held back."""
        if peer in self._corked:
            self._corked.remove(peer)
            peer.uncork()

    # --- serving ---------------------------------------------------------------------------------

    async def give(self, message: AioMessage, source: Peer, data: ReadableBuffer) -> None:
        """Sends an answer, together with others of this turn of the loop."""
        self.gather(source.native)
        await self.finish(self.context.reply(self, message, data, None))

    async def refuse(self, message: AioMessage, source: Peer, status: int, data: bytes) -> None:
        """Sends an error of the program's, likewise."""
        self.gather(source.native)
        await self.finish(self.context.fail(self, message, status, data, None))

    def watch(self, running: Iterable[tuple[Job, AioMessage]]) -> None:
        """Has handlers cancelled once nobody wants their answers."""
        for job, message in running:
            if not message.is_request or message.answered or job.done():
                continue
            try:
                started = self.context.call_ended(self, message, None)
            except Error as error:
                _log.debug("%r is not watched: %s", message, error)
                continue
            if type(started) is int:
                self._watched[started] = weakref.ref(job), weakref.ref(message)
            else:
                job.cancel()

    def unclaimed(self, op: int) -> None:
        """An operation ended that no task waits for."""
        watched = self._watched.pop(op, None)
        if watched is not None:
            job, message = watched[0](), watched[1]()
            if job is not None and message is not None and not message.answered:
                job.cancel()

    # --- what messages ask of their host ---------------------------------------------------------

    async def reply(self, message: AioMessage, data: ReadableBuffer, timeout: float | None) -> None:
        """Answers a message."""
        await self.finish(self.context.reply(self, message, data, timeout))

    async def fail(
        self, message: AioMessage, status: int, data: ReadableBuffer, timeout: float | None
    ) -> None:
        """Answers a call with an error."""
        await self.finish(self.context.fail(self, message, status, data, timeout))

    def stream(self, native: NativeStream) -> Stream:
        """The stream a request opened."""
        return Stream(self, native)

    async def wait_cancelled(self, message: AioMessage, timeout: float | None) -> None:
        """Waits until no answer is wanted any more."""
        await self.finish(self.context.call_ended(self, message, timeout))


def current() -> Driver:
    """The driver of the running loop."""
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_task():
        from hostlane.aio import _trio  # noqa: PLC0415

        return _trio.current()
    from hostlane.aio import _asyncio  # noqa: PLC0415

    return _asyncio.current()
