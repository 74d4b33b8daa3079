"""trio."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import outcome
import trio

from hostlane.aio._driver import BUDGET, Driver
from hostlane.errors import ClosedError, ForkedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from hostlane.aio._driver import Event

__all__ = ["current"]

_driver: trio.lowlevel.RunVar[TrioDriver] = trio.lowlevel.RunVar("hostlane.driver")


def current() -> TrioDriver:
    """The driver of this run of trio."""
    try:
        return _driver.get()
    except LookupError:
        driver = TrioDriver()
        _driver.set(driver)
        return driver


class TrioDriver(Driver):
    """A context in a run of trio: a system task waits for its descriptor."""

    __slots__ = ("_token", "_waiting")

    def __init__(self) -> None:
        super().__init__()
        self._token = trio.lowlevel.current_trio_token()
        self._waiting: dict[int, trio.lowlevel.Task] = {}
        trio.lowlevel.spawn_system_task(self._run)

    async def _run(self) -> None:
        try:
            while True:
                await trio.lowlevel.wait_readable(self.context.fileno())
                if not self._process():
                    return
        finally:
            self.context.close()

    def _process(self) -> bool:
        """One turn: whether there is another.

        It lets go of what ended when it returns: an error keeps frames, and they keep messages.
        """
        try:
            ended, failed, _ = self.context.process(self, BUDGET)
        except (ClosedError, ForkedError):
            return False
        for op, value in ended:
            self._end(op, outcome.Value(value))
        for op, error in failed or ():
            self._end(op, outcome.Error(error))
        return True

    def _end(self, op: int, ended: outcome.Outcome[Any]) -> None:
        task = self._waiting.pop(op, None)
        if task is None:
            self.unclaimed(op)
        else:
            trio.lowlevel.reschedule(task, ended)

    async def finish(self, started: Any) -> Any:
        if type(started) is not int:
            await self.pause()
            return started

        def abort(_: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
            # Not called any more once the task was told the end.
            del self._waiting[started]
            self.context.cancel(started)
            return trio.lowlevel.Abort.SUCCEEDED

        self._waiting[started] = trio.lowlevel.current_task()
        return await trio.lowlevel.wait_task_rescheduled(abort)

    async def pause(self) -> None:
        """What was done is done: others have their turn, and a cancel waits for the next time."""
        await trio.lowlevel.cancel_shielded_checkpoint()

    def soon(self, function: Callable[[], None]) -> None:
        self._token.run_sync_soon(function)

    def watch_descriptor(self, fd: int, turn: Callable[[], None]) -> Callable[[], object]:
        scope = trio.CancelScope()

        async def watch() -> None:
            with scope:
                while True:
                    await trio.lowlevel.wait_readable(fd)
                    turn()

        trio.lowlevel.spawn_system_task(watch)
        return scope.cancel

    def event(self) -> trio.Event:
        return trio.Event()

    async def expect(self, event: Event, timeout: float | None) -> bool:
        with trio.move_on_after(math.inf if timeout is None else timeout):
            await event.wait()
        return event.is_set()

    @asynccontextmanager
    async def group(self) -> AsyncIterator[TrioGroup]:
        async with trio.open_nursery() as nursery:
            yield TrioGroup(nursery)


class TrioJob:
    """A task with a cancel scope of its own."""

    __slots__ = ("__weakref__", "_done", "_scope")

    def __init__(self) -> None:
        self._scope = trio.CancelScope()
        self._done = False

    async def run(
        self, function: Callable[..., Awaitable[None]], arguments: tuple[object, ...]
    ) -> None:
        """What it does."""
        try:
            with self._scope:
                await function(*arguments)
        finally:
            self._done = True

    def cancel(self) -> None:
        """Has it end."""
        self._scope.cancel()

    def done(self) -> bool:
        """Whether it has."""
        return self._done


class TrioGroup:
    """The tasks of one nursery."""

    __slots__ = ("_count", "_ended", "_nursery")

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._count = 0
        self._ended = trio.lowlevel.ParkingLot()

    def start(self, function: Callable[..., Awaitable[None]], *arguments: object) -> TrioJob:
        """Starts a task."""
        job = TrioJob()
        self._count += 1
        self._nursery.start_soon(self._run, job, function, arguments)
        return job

    async def _run(
        self,
        job: TrioJob,
        function: Callable[..., Awaitable[None]],
        arguments: tuple[object, ...],
    ) -> None:
        try:
            await job.run(function, arguments)
        finally:
            self._count -= 1
            self._ended.unpark()

    async def room(self, most: int) -> int:
        """How many more may run; waits for one at least."""
        while self._count >= most:
            await self._ended.park()
        return most - self._count
