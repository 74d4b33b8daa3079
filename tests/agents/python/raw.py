"""The floor: blocking Unix sockets by hand, 8 bytes of length before each payload."""

from __future__ import annotations

import json
import socket
import statistics
import struct
import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

HEADER = struct.Struct("<Q")
# In place of a length: asks for the number of messages so far.
COUNT = 2**64 - 1


def report_round_trips(call: Callable[[], None], seconds: float) -> None:
    """Repeats `call` and prints the figures as one JSON line."""
    clock = time.perf_counter_ns
    times = []
    end = clock() + int(seconds * 1e9)
    now = clock()
    while now < end:
        call()
        before, now = now, clock()
        times.append(now - before)
    times.sort()
    print(
        json.dumps(
            {
                "median_ns": round(statistics.median(times)),
                "p99_ns": times[len(times) * 99 // 100],
                "count": len(times),
            }
        )
    )


class Lane:
    """A socket and one buffer, reused for every frame."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.buffer = memoryview(bytearray(64 * 1024))
        self.start = self.end = 0

    def read(self) -> memoryview | None:
        """Returns the next frame, header included, valid until the next read; None at the end."""
        while True:
            wanted = HEADER.size
            if self.end - self.start >= wanted:
                (length,) = HEADER.unpack_from(self.buffer, self.start)
                wanted += 0 if length == COUNT else length
                if self.end - self.start >= wanted:
                    self.start += wanted
                    return self.buffer[self.start - wanted : self.start]
            self.make_room(wanted)
            received = self.socket.recv_into(self.buffer[self.end :])
            if received == 0:
                return None
            self.end += received

    def make_room(self, wanted: int) -> None:
        """Moves the begun frame to the front of a buffer that can hold all of it."""
        begun = self.buffer[self.start : self.end]
        if wanted > len(self.buffer):
            self.buffer = memoryview(bytearray(wanted))
        self.buffer[: len(begun)] = begun
        self.start, self.end = 0, len(begun)


def _serve(path: str, client: Callable[[Lane], None]) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        print(f"ready {path}", flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=client, args=[Lane(connection)], daemon=True).start()


def _connect(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    return connection


def _echo_client(lane: Lane) -> None:
    with lane.socket:
        while (frame := lane.read()) is not None:
            lane.socket.sendall(frame)


def _sink_client(lane: Lane) -> None:
    count = 0
    with lane.socket:
        while (frame := lane.read()) is not None:
            if HEADER.unpack_from(frame)[0] == COUNT:
                lane.socket.sendall(HEADER.pack(count))
            else:
                count += 1


def echo(path: str) -> None:
    """Sends every frame back."""
    _serve(path, _echo_client)


def sink(path: str) -> None:
    """Counts frames."""
    _serve(path, _sink_client)


def bench(path: str, size: int, seconds: float) -> None:
    """Round trips, one after the other."""
    frame = HEADER.pack(size) + bytes(size)
    reply = memoryview(bytearray(len(frame)))
    with _connect(path) as connection:

        def call() -> None:
            connection.sendall(frame)
            received = 0
            while received < len(reply):
                count = connection.recv_into(reply[received:])
                if count == 0:
                    sys.exit("the echo server is gone")
                received += count

        report_round_trips(call, seconds)


def stream(path: str, size: int, seconds: float) -> None:
    """One-way frames, then the question how many arrived."""
    frame = HEADER.pack(size) + bytes(size)
    count = 0
    with _connect(path) as connection:
        start = time.perf_counter()
        while time.perf_counter() - start < seconds:
            for _ in range(16):
                connection.sendall(frame)
            count += 16
        connection.sendall(HEADER.pack(COUNT))
        (arrived,) = HEADER.unpack(connection.recv(HEADER.size, socket.MSG_WAITALL))
        elapsed = time.perf_counter() - start
    if arrived != count:
        sys.exit(f"sent {count} frames, {arrived} arrived")
    print(json.dumps({"messages": count, "seconds": elapsed, "bytes": count * size}))
