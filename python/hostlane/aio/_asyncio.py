"""asyncio, and whatever implements its event loop."""

from __future__ import annotations

import asyncio
import builtins
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

from hostlane.aio._driver import BUDGET, Driver
from hostlane.errors import ClosedError, ForkedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType
    from typing import Self

    from hostlane.aio._driver import Event

__all__ = ["current"]

# Each is kept by its loop, which has its reader, and by its peers.
_drivers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, weakref.ref[AsyncioDriver]] = (
    weakref.WeakKeyDictionary()
)


def current() -> AsyncioDriver:
    """The driver of the running loop."""
    loop = asyncio.get_running_loop()
    kept = _drivers.get(loop)
    driver = None if kept is None else kept()
    if driver is None:
        driver = AsyncioDriver(loop)
        _drivers[loop] = weakref.ref(driver)
    return driver


class AsyncioDriver(Driver):
    """A context in an asyncio loop: its descriptor has a reader there."""

    __slots__ = ("_loop", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        loop.add_reader(self.context.fileno(), self._readable)

    def _readable(self) -> None:
        try:
            ended, failed, _ = self.context.process(self, BUDGET)
        except (ClosedError, ForkedError):
            self._loop.remove_reader(self.context.fileno())
            return
        claim = self._waiting.pop
        for op, value in ended:
            future = claim(op, None)
            if future is None:
                self.unclaimed(op)
            elif not future.done():
                future.set_result(value)
        for op, error in failed or ():
            future = claim(op, None)
            if future is None:
                self.unclaimed(op)
            elif not future.done():
                future.set_exception(error)

    async def finish(self, started: Any) -> Any:
        if type(started) is not int:
            return started
        future = self._waiting[started] = self._loop.create_future()
        try:
            return await future
        except asyncio.CancelledError:
            if self._waiting.pop(started, None) is not None:
                self.context.cancel(started)
            raise
        finally:
            # It keeps its error, and that this frame: a cycle with all that the callers hold.
            del future

    async def pause(self) -> None:
        """A task that needs no waiting goes on, as is the custom of asyncio."""

    def soon(self, function: Callable[[], None]) -> None:
        self._loop.call_soon(function)

    def watch_descriptor(self, fd: int, turn: Callable[[], None]) -> Callable[[], object]:
        self._loop.add_reader(fd, turn)
        return partial(self._loop.remove_reader, fd)

    def event(self) -> asyncio.Event:
        return asyncio.Event()

    async def expect(self, event: Event, timeout: float | None) -> bool:
        try:
            async with asyncio.timeout(timeout):
                await event.wait()
        except builtins.TimeoutError:
            return event.is_set()
        return True

    def group(self) -> AsyncioGroup:
        return AsyncioGroup(self._loop)


class AsyncioGroup:
    """Tasks that end together."""

    __slots__ = ("_loop", "_tasks")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._tasks: set[asyncio.Task[None]] = set()

    def start(
        self, function: Callable[..., Awaitable[None]], *arguments: object
    ) -> asyncio.Task[None]:
        """Starts a task."""
        task = self._loop.create_task(self._run(function, arguments))
        # One that the loop ran at once may have ended.
        if not task.done():
            self._tasks.add(task)
        return task

    async def room(self, most: int) -> int:
        """How many more may run; waits for one at least."""
        while len(self._tasks) >= most:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        return most - len(self._tasks)

    async def _run(
        self, function: Callable[..., Awaitable[None]], arguments: tuple[object, ...]
    ) -> None:
        try:
            await function(*arguments)
        except asyncio.CancelledError as error:
            # It ends here, and its frames are let go: they keep the message, and its caller waits
            # until nobody does. The handler may have kept its task, or this; not those of an error
            # it handled meanwhile, which may be the program's.
            error.__traceback__ = None
        finally:
            task = asyncio.current_task(self._loop)
            if task is not None:
                self._tasks.discard(task)
            # Any other exception keeps this frame: a cycle with the message in it.
            del task

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                await self._all()
        finally:
            for task in self._tasks:
                task.cancel()
            await self._all()

    async def _all(self) -> None:
        while self._tasks:
            done, _ = await asyncio.wait(self._tasks)
            self._tasks -= done
            for task in done:
                if not task.cancelled():
                    task.result()
