"""The Python side of the cross-language runs.

Usage: agent.py files|bench|stream|sink|raw-echo|raw-bench|raw-sink|raw-stream ADDR [SIZE SECONDS]
"""

from __future__ import annotations

import json
import statistics
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import hostlane
import raw

if TYPE_CHECKING:
    from collections.abc import Callable

PIECE = 256 * 1024
DEADLINE = 5.0


def timed(action: Callable[[], bytes]) -> tuple[bytes, int]:
    """Runs an action; its result and its nanoseconds."""
    start = time.perf_counter_ns()
    result = action()
    return result, time.perf_counter_ns() - start


def echo(peer: hostlane.Peer, piece: bytes) -> bytes:
    """Sends one DATA message and returns its echo."""
    peer.send(piece, timeout=DEADLINE)
    return peer.recv(hostlane.DATA, timeout=DEADLINE).data


def answer(kind: str, data: bytes, nanoseconds: float) -> None:
    """Writes one result: a line, then the bytes it counts."""
    sys.stdout.buffer.write(f"{kind} {len(data)} {nanoseconds:.0f}\n".encode() + data)


def one_file(peer: hostlane.Peer, path: str) -> None:
    """Sends one file as messages, then as one call."""
    content = Path(path).read_bytes()
    pieces = [content[at : at + PIECE] for at in range(0, len(content), PIECE)] or [b""]
    echoes = [timed(partial(echo, peer, piece)) for piece in pieces]
    received = b"".join(data for data, _ in echoes)
    answer("data", received, statistics.median(nanoseconds for _, nanoseconds in echoes))
    answer("call", *timed(lambda: peer.request(content, timeout=DEADLINE).data))


def files(address: str) -> None:
    """Echoes every file named on standard input."""
    peer: hostlane.Peer | None = None
    for line in sys.stdin:
        try:
            peer = peer or hostlane.connect(address, timeout=DEADLINE)
            one_file(peer, line.removesuffix("\n"))
        except (hostlane.Error, OSError) as error:
            kind = error.kind if isinstance(error, hostlane.Error) else "io"
            text = str(error).replace("\n", " ")
            sys.stdout.buffer.write(f"error {kind} {text}\n".encode())
            if peer is not None:
                peer.close()
            peer = None
        sys.stdout.buffer.flush()
    if peer is not None:
        peer.close()


def bench(address: str, size: int, seconds: float) -> None:
    """Calls one after the other."""
    payload = bytes(size)
    with hostlane.connect(address, timeout=DEADLINE) as peer:

        def call() -> None:
            if len(peer.request(payload, timeout=DEADLINE).data) != size:
                sys.exit("the echo has another size")

        raw.report_round_trips(call, seconds)


def stream(address: str, size: int, seconds: float) -> None:
    """One-way messages, then one call that tells how many arrived."""
    payload = bytes(size)
    count = 0
    with hostlane.connect(address, timeout=DEADLINE) as peer:
        start = time.perf_counter()
        while time.perf_counter() - start < seconds:
            for _ in range(16):
                peer.send(payload, timeout=DEADLINE)
            count += 16
        arrived = int(peer.request(b"", timeout=DEADLINE).data)
        elapsed = time.perf_counter() - start
    if arrived != count:
        sys.exit(f"sent {count} messages, {arrived} arrived")
    print(json.dumps({"messages": count, "seconds": elapsed, "bytes": count * size}))


def count_messages(peer: hostlane.Peer) -> None:
    """Counts the DATA messages of one client; a call gets the count."""
    count = 0
    with peer:
        for message in peer:
            if message.channel == hostlane.COMMAND:
                message.reply(str(count).encode())
            else:
                count += 1


def sink(address: str) -> None:
    """Serves `stream`, many clients at once."""
    with hostlane.listen(address) as listener:
        print(f"ready {address}", flush=True)
        for peer in listener:
            threading.Thread(target=count_messages, args=[peer], daemon=True).start()


def main(mode: str, address: str, *numbers: str) -> None:
    """Runs one mode."""
    served: dict[str, Callable[[str], None]] = {
        "files": files,
        "sink": sink,
        "raw-echo": raw.echo,
        "raw-sink": raw.sink,
    }
    measured: dict[str, Callable[[str, int, float], None]] = {
        "bench": bench,
        "stream": stream,
        "raw-bench": raw.bench,
        "raw-stream": raw.stream,
    }
    if mode in served:
        served[mode](address)
    else:
        size, seconds = numbers
        measured[mode](address, int(size), float(seconds))


if __name__ == "__main__":
    main(*sys.argv[1:])
