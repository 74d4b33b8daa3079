"""The oracle as `hostlane check` takes it: `checked.py echo ADDR`, or `checked.py request ADDR TEXT`, on level 1."""

from __future__ import annotations

import signal
import sys
import threading

from peer1 import CallFailed, EchoServer, Ended, Level1Client


def echo(path: str) -> None:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    server = EchoServer(path)
    print(f"ready {path}", flush=True)
    stop.wait()
    server.close()


def request(path: str, text: str) -> None:
    with Level1Client(path) as client:
        print(client.request(text.encode()).decode(), flush=True)


if __name__ == "__main__":
    what, address, *rest = sys.argv[1:]
    address = address.removeprefix("unix:")
    try:
        echo(address) if what == "echo" else request(address, *rest)
    except (CallFailed, Ended, TimeoutError, OSError) as problem:
        sys.exit(f"{type(problem).__name__}: {problem}")
