"""The works, for clients that block."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from payload import FINISH, ONE_WAY, REQUEST, cycle, report

WINDOW = 64
_WARM_UP = 0.2  # of the time, before anything is counted
_LOOK = 32  # requests between two looks at the clock

SIZES = {
    "rt64": 64,
    "rt64k": 64 << 10,
    "rt1m": 1 << 20,
    "busy64": 64,
    "fly64": 64,
    "oneway64": 64,
    "oneway1m": 1 << 20,
    "connect": 64,
    "idle": 64,
    "many": 64,
}
# Connections that a client opens and keeps.
STAY = {"idle": 1, "many": 1000}

C = TypeVar("C")


class Client:
    """One connection. The works follow from `post` and `take` where replies come in order."""

    def __init__(self, address: str) -> None:
        raise NotImplementedError

    def post(self, message: bytes) -> None:
        """Sends a message; it may wait in a buffer until `take`."""
        raise NotImplementedError

    def take(self) -> bytes:
        """Waits for the server's next message. What `post` kept has to leave first."""
        raise NotImplementedError

    def close(self) -> None:
        """Ends the connection."""
        raise NotImplementedError

    def call(self, request: bytes) -> bytes:
        """Sends a request and waits for its reply."""
        self.post(request)
        return self.take()

    def send_all(self, messages: list[bytes]) -> None:
        """Sends messages that have no reply."""
        for message in messages:
            self.post(message)

    def finish(self, message: bytes) -> bytes:
        """Sends the last message behind all that were sent, and waits for its reply."""
        return self.call(message)

    def fly(self, requests: list[bytes], end: float) -> int:
        """Keeps `WINDOW` requests in flight until `end`; how many were answered."""
        post, take, clock = self.post, self.take, time.perf_counter
        for number in range(WINDOW):
            post(requests[number % len(requests)])
        sent, done = WINDOW, 0
        running = True
        while done < sent:
            check(requests[done % len(requests)], take())
            done += 1
            if done % _LOOK == 0:
                running = clock() < end
            if running:
                post(requests[sent % len(requests)])
                sent += 1
        return done


def check(request: bytes, reply: bytes) -> None:
    """An error unless the reply is the request."""
    if request != reply:
        raise ValueError("the reply is not the request")


def line(work: str, count: int, seconds: float, times: list[int] | None) -> str:
    """What a client prints; `times` are nanoseconds."""
    ordered = sorted(times or [])

    def quantile(share: float) -> float | None:
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)] / 1000 if ordered else None

    return json.dumps(
        {
            "work": work,
            "count": count,
            "seconds": seconds,
            "p50_us": quantile(0.5),
            "p99_us": quantile(0.99),
            "bytes": count * SIZES[work],
        }
    )


@contextmanager
def busy_thread() -> Iterator[None]:
    """A thread that computes in Python for as long as the block runs."""
    over = threading.Event()

    def compute() -> None:
        while not over.is_set():
            sum(number * number for number in range(1000))

    thread = threading.Thread(target=compute)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _round_trips(client: Client, requests: list[bytes], seconds: float) -> list[int]:
    times: list[int] = []
    call, clock = client.call, time.perf_counter_ns
    last = start = clock()
    end = start + int(seconds * 1e9)
    while last < end:
        for request in requests:
            check(request, call(request))
            now = clock()
            times.append(now - last)
            last = now
            if now >= end:
                break
    return times


def _one_way(client: Client, work: str, seconds: float) -> tuple[int, float]:
    messages = cycle(ONE_WAY, SIZES[work])
    burst = messages if SIZES[work] <= 4096 else messages[:1]
    last = cycle(FINISH, 64)[0]
    clock = time.perf_counter
    start = clock()
    count = 0
    while clock() - start < seconds:
        if len(burst) == 1:
            burst = [messages[count % len(messages)]]
        client.send_all(burst)
        count += len(burst)
    got = client.finish(last)
    spent = clock() - start
    if got != report(count):
        raise ValueError(f"{count} messages were sent and others were received")
    return count, spent


def _opened(
    make: Callable[[str], Client], address: str, requests: list[bytes], times: list[int]
) -> Client:
    """A new connection that has had a reply; how long both took is added to the times."""
    request = requests[len(times) % len(requests)]
    start = time.perf_counter_ns()
    client = make(address)
    check(request, client.call(request))
    times.append(time.perf_counter_ns() - start)
    return client


def _connects(make: Callable[[str], Client], address: str, seconds: float) -> list[int]:
    requests = cycle(REQUEST, 64)
    times: list[int] = []
    spent = 0
    while spent < seconds * 1e9:
        _opened(make, address, requests, times).close()
        spent += times[-1]
    return times


def _stay(make: Callable[[str], Client], address: str, work: str) -> None:
    requests = cycle(REQUEST, 64)
    times: list[int] = []
    clients = [_opened(make, address, requests, times) for _ in range(STAY[work])]
    print(line(work, len(times), sum(times) / 1e9, times), flush=True)
    sys.stdin.read()
    for client in clients:
        client.close()


def run(make: Callable[[str], Client], address: str, work: str, seconds: float) -> None:
    """Does one work and prints its line."""
    if work in STAY:
        _stay(make, address, work)
    else:
        print(_work(make, address, work, seconds))


def _work(make: Callable[[str], Client], address: str, work: str, seconds: float) -> str:
    size = SIZES[work]
    if work == "connect":
        times = _connects(make, address, seconds)
        return line(work, len(times), sum(times) / 1e9, times)
    client = make(address)
    try:
        if work.startswith("oneway"):
            _one_way(client, work, seconds * _WARM_UP)
            return line(work, *_one_way(client, work, seconds), None)
        requests = cycle(REQUEST, size)
        if work == "fly64":
            client.fly(requests, time.perf_counter() + seconds * _WARM_UP)
            start = time.perf_counter()
            count = client.fly(requests, start + seconds)
            return line(work, count, time.perf_counter() - start, None)
        if work == "busy64":
            with busy_thread():
                times = _round_trips(client, requests, seconds)
        else:
            _round_trips(client, requests, seconds * _WARM_UP)
            times = _round_trips(client, requests, seconds)
        return line(work, len(times), sum(times) / 1e9, times)
    finally:
        client.close()


def ready(address: str) -> None:
    """Says that clients can connect."""
    print(f"ready {address}", flush=True)


def serve_each(accept: Callable[[], C], answer: Callable[[C], object]) -> None:
    """Serves all clients, each in a thread: whoever accepts one answers it.

    Another thread that waits accepts the next, so clients that come one after the other cost
    no new ones.
    """
    lock = threading.Lock()
    waiting = 1

    def serve() -> None:
        nonlocal waiting
        while True:
            client = accept()
            with lock:
                waiting -= 1
                alone = waiting == 0
                waiting += alone
            if alone:
                threading.Thread(target=serve, daemon=True).start()
            answer(client)
            with lock:
                waiting += 1

    serve()


def program(serve: Callable[[str], object], client: Callable[[str, str, float], object]) -> None:
    """The command line that all programs share."""
    match sys.argv[1:]:
        case ["server", address]:
            serve(address)
        case ["client", address, work, seconds] if work in SIZES:
            client(address, work, float(seconds))
        case _:
            sys.exit(f"usage: server ADDR | client ADDR {'|'.join(SIZES)} SECONDS")
