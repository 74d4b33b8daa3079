"""The kinds of event loop, with the few things a test does in each."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

import trio
import uvloop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

LIMIT = 30.0


class Task(Protocol):
    """A started task."""

    def cancel(self) -> object: ...
    async def result(self) -> Any: ...


class Group(Protocol):
    """Starts tasks."""

    def start(self, function: Callable[..., Awaitable[Any]], *arguments: Any) -> Task: ...


class Loop(Protocol):
    """A kind of event loop."""

    Cancelled: type[BaseException]

    def run(self, function: Callable[[], Awaitable[Any]]) -> Any: ...
    async def sleep(self, seconds: float) -> None: ...
    def group(self) -> AbstractAsyncContextManager[Group]: ...


class AsyncioTask:
    def __init__(self, task: asyncio.Task[Any]) -> None:
        self.task = task

    def cancel(self) -> None:
        self.task.cancel()

    async def result(self) -> Any:
        return await self.task


class AsyncioGroup:
    def __init__(self, group: asyncio.TaskGroup) -> None:
        self.group = group

    def start(self, function: Callable[..., Awaitable[Any]], *arguments: Any) -> AsyncioTask:
        async def body() -> Any:
            return await function(*arguments)

        return AsyncioTask(self.group.create_task(body()))


class Asyncio:
    Cancelled: type[BaseException] = asyncio.CancelledError

    def run(self, function: Callable[[], Awaitable[Any]]) -> Any:
        return asyncio.run(self.limited(function))

    @staticmethod
    async def limited(function: Callable[[], Awaitable[Any]]) -> Any:
        async with asyncio.timeout(LIMIT):
            return await function()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    @asynccontextmanager
    async def group(self) -> AsyncIterator[AsyncioGroup]:
        async with asyncio.TaskGroup() as group:
            yield AsyncioGroup(group)


class Uvloop(Asyncio):
    def run(self, function: Callable[[], Awaitable[Any]]) -> Any:
        return uvloop.run(self.limited(function))


class TrioTask:
    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.ended = trio.Event()
        self.value: Any = None

    async def run(self, function: Callable[..., Awaitable[Any]], *arguments: Any) -> None:
        try:
            with self.scope:
                self.value = await function(*arguments)
        finally:
            self.ended.set()

    def cancel(self) -> None:
        self.scope.cancel()

    async def result(self) -> Any:
        await self.ended.wait()
        return self.value


class TrioGroup:
    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery

    def start(self, function: Callable[..., Awaitable[Any]], *arguments: Any) -> TrioTask:
        task = TrioTask()
        self.nursery.start_soon(task.run, function, *arguments)
        return task


class Trio:
    Cancelled: type[BaseException] = trio.Cancelled

    def run(self, function: Callable[[], Awaitable[Any]]) -> Any:
        async def limited() -> Any:
            with trio.fail_after(LIMIT):
                return await function()

        return trio.run(limited)

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    @asynccontextmanager
    async def group(self) -> AsyncIterator[TrioGroup]:
        async with trio.open_nursery() as nursery:
            yield TrioGroup(nursery)


KINDS: list[Loop] = [Asyncio(), Trio(), Uvloop()]


async def until(loop: Loop, condition: Callable[[], bool]) -> None:
    """Waits for a condition; fails when it does not come true."""
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        await loop.sleep(0.001)
