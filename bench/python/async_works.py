"""The works, for clients on an event loop."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable

from payload import FINISH, ONE_WAY, REQUEST, cycle, report
from works import SIZES, STAY, WINDOW, busy_thread, check, line

_WARM_UP = 0.2  # of the time, before anything is counted


class AsyncClient:
    """One connection."""

    async def call(self, request: bytes) -> bytes:
        """Sends a request and waits for its reply; may be awaited by many tasks at once."""
        raise NotImplementedError

    async def send_all(self, messages: list[bytes]) -> None:
        """Sends messages that have no reply, and waits while too much is on its way."""
        raise NotImplementedError

    def close(self) -> None:
        """Ends the connection."""
        raise NotImplementedError


Make = Callable[[str], Awaitable[AsyncClient]]


async def _round_trips(client: AsyncClient, requests: list[bytes], seconds: float) -> list[int]:
    times: list[int] = []
    call, clock = client.call, time.perf_counter_ns
    last = start = clock()
    end = start + int(seconds * 1e9)
    while last < end:
        for request in requests:
            check(request, await call(request))
            now = clock()
            times.append(now - last)
            last = now
            if now >= end:
                break
    return times


async def _fly(client: AsyncClient, requests: list[bytes], seconds: float) -> int:
    end = time.perf_counter() + seconds

    async def fly(request: bytes) -> int:
        count = 0
        while time.perf_counter() < end:
            check(request, await client.call(request))
            count += 1
        return count

    return sum(await asyncio.gather(*(fly(requests[number]) for number in range(WINDOW))))


async def _one_way(client: AsyncClient, work: str, seconds: float) -> tuple[int, float]:
    messages = cycle(ONE_WAY, SIZES[work])
    small = SIZES[work] <= 4096
    start = time.perf_counter()
    count = 0
    while time.perf_counter() - start < seconds:
        burst = messages if small else [messages[count % len(messages)]]
        await client.send_all(burst)
        count += len(burst)
    got = await client.call(cycle(FINISH, 64)[0])
    spent = time.perf_counter() - start
    if got != report(count):
        raise ValueError(f"{count} messages were sent and others were received")
    return count, spent


async def _opened(make: Make, address: str, requests: list[bytes], times: list[int]) -> AsyncClient:
    """A new connection that has had a reply; how long both took is added to the times."""
    request = requests[len(times) % len(requests)]
    start = time.perf_counter_ns()
    client = await make(address)
    check(request, await client.call(request))
    times.append(time.perf_counter_ns() - start)
    return client


async def _connects(make: Make, address: str, seconds: float) -> list[int]:
    requests = cycle(REQUEST, 64)
    times: list[int] = []
    while sum(times) < seconds * 1e9:
        (await _opened(make, address, requests, times)).close()
    return times


async def _stay(make: Make, address: str, work: str) -> None:
    requests = cycle(REQUEST, 64)
    times: list[int] = []
    clients = [await _opened(make, address, requests, times) for _ in range(STAY[work])]
    print(line(work, len(times), sum(times) / 1e9, times), flush=True)
    # In a thread: the loop goes on.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for client in clients:
        client.close()


async def _work(make: Make, address: str, work: str, seconds: float) -> str:
    if work == "connect":
        times = await _connects(make, address, seconds)
        return line(work, len(times), sum(times) / 1e9, times)
    client = await make(address)
    if work.startswith("oneway"):
        await _one_way(client, work, seconds * _WARM_UP)
        return line(work, *await _one_way(client, work, seconds), None)
    requests = cycle(REQUEST, SIZES[work])
    if work == "fly64":
        await _fly(client, requests, seconds * _WARM_UP)
        start = time.perf_counter()
        count = await _fly(client, requests, seconds)
        return line(work, count, time.perf_counter() - start, None)
    if work == "busy64":
        with busy_thread():
            times = await _round_trips(client, requests, seconds)
    else:
        await _round_trips(client, requests, seconds * _WARM_UP)
        times = await _round_trips(client, requests, seconds)
    client.close()
    return line(work, len(times), sum(times) / 1e9, times)


def run(make: Make, address: str, work: str, seconds: float) -> None:
    """Does one work and prints its line."""
    if work in STAY:
        asyncio.run(_stay(make, address, work))
    else:
        print(asyncio.run(_work(make, address, work, seconds)))
