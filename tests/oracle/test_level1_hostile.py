"""Every rule of level 1 broken once: the connection ends with the right code, and nobody else notices."""

from __future__ import annotations

import array
import contextlib
import json
import os
import random
import select
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from errors import NUMBERS
from gen_vectors import LEVEL1, raw
from harness import Server, say, wait_until
from level1 import HEADER, WHOLE, Flag, Frame, Type, control, frames_of, message, parse_control
from peer1 import Level1Client, probe
from raw1 import RawLevel1
from stock import Background

MIB = 1 << 20
TRANSCRIPTS = json.loads((LEVEL1 / "transcripts.json").read_text("utf-8"))["cases"]


OPENED = ["arrives", "answers", "sends", "arrives"]


def single_faults() -> Iterator[tuple[str, bytes, list[str]]]:
    """The conversations in which one write of a client on an open connection is the fault."""
    for case in TRANSCRIPTS:
        names = [next(iter(step)) for step in case["steps"]]
        plain = case["role"] == "server" and not {"limits", "secret"} & set(case)
        if case["id"] == "item-after-fin-at-once":
            continue  # an echo may have answered by then, and the item is late
        if plain and names == [*OPENED, "arrives", "closes", "ends"]:
            yield case["id"], raw(case["steps"][4]["arrives"]), case["steps"][5]["closes"]


FAULTS = list(single_faults())
PLAIN = "protocol_error"
CUT = Frame(Type.MESSAGE, Flag.FIRST, 2, 0, b"\x04\0\0\0ab").encode()
TWICE = bytes.fromhex("0a00 0300 0100 61 0300 0100 62")
AFTER_A_CALL = [
    ("id-again", message(Type.REQUEST, 1, 1, b"again"), PLAIN),
    ("stream-of-the-future", message(Type.STREAM, 1, 3, b"x"), PLAIN),
    ("reply-to-its-own", message(Type.RESPONSE, 1, 1, b"x"), PLAIN),
    ("error-to-its-own", control(Type.ERROR, 502, id=1), PLAIN),
    ("refuse-to-its-own", control(Type.REFUSE, 211, id=1), PLAIN),
    ("cancel-of-the-future", control(Type.CANCEL, id=99), PLAIN),
    ("credit-of-the-future", control(Type.CREDIT, 1, id=99), PLAIN),
    ("auth-after-ready", control(Type.AUTH, bytes(32)), PLAIN),
    ("second-ready", control(Type.READY), PLAIN),
    ("cut-short", CUT + Frame(Type.MESSAGE, Flag.LAST, 2, 0, b"c").encode(), PLAIN),
    ("cut-long", CUT + Frame(Type.MESSAGE, Flag.LAST, 2, 0, b"cde").encode(), PLAIN),
    ("no-first", Frame(Type.MESSAGE, Flag.LAST, 2, 0, b"x").encode(), PLAIN),
    ("extension-twice", Frame(Type.MESSAGE, WHOLE | Flag.EXT, 2, 0, TWICE).encode(), PLAIN),
]


def end_of(peer: RawLevel1, data: bytes, *names: str) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # closed while still writing
        peer.send(data)
    peer.closed(*names)


@pytest.mark.parametrize(("data", "names"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS])
def test_a_broken_rule(echo1: Any, data: bytes, names: list[str]) -> None:
    with Level1Client(echo1.path) as neighbour, RawLevel1.opened(echo1.path) as peer:
        before = neighbour.begin(b"before")
        end_of(peer, data, *names)
        assert neighbour.wait(before) == b"before"
        assert neighbour.request(b"after") == b"after"
    assert probe(echo1.path) < 1.0


@pytest.mark.parametrize(("data", "names"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS])
def test_a_broken_rule_in_drops(echo1: Any, data: bytes, names: list[str]) -> None:
    with RawLevel1.opened(echo1.path) as peer:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for at in range(len(data)):
                peer.send(data[at : at + 1])
        peer.closed(*names)


@pytest.mark.parametrize(("data", "name"), [f[1:] for f in AFTER_A_CALL], ids=[f[0] for f in AFTER_A_CALL])
def test_a_broken_rule_after_a_call(echo1: Any, data: bytes, name: str) -> None:
    with RawLevel1.opened(echo1.path) as peer:
        peer.call(message(Type.REQUEST, 1, 1, b"?"))
        end_of(peer, data, name)
    assert probe(echo1.path) < 1.0


BEFORE_READY = [kind for kind in Type if kind not in (Type.NOP, Type.AUTH, Type.READY, Type.CLOSE)]


@pytest.mark.parametrize("kind", BEFORE_READY, ids=[kind.name for kind in BEFORE_READY])
def test_too_early(echo1: Any, kind: Type) -> None:
    with RawLevel1.connect(echo1.path) as peer:
        peer.ask()
        end_of(peer, Frame(kind, WHOLE if kind >= Type.MESSAGE else 0, 1, 1, bytes(32)).encode(), "protocol_error")


@pytest.mark.parametrize(
    ("length", "kind"),
    [
        ((1 << 32) - 1, Type.MESSAGE),
        (1 << 31, Type.REQUEST),
        ((16 << 20) + 1, Type.MESSAGE),
        (1025, Type.PING),
        (16_385, 0x70),
    ],
)
def test_an_oversized_frame_costs_nothing(echo1: Any, length: int, kind: int) -> None:
    before = echo1.rss() if hasattr(echo1, "rss") else 0
    for _ in range(20):
        with RawLevel1.opened(echo1.path) as peer:
            began = time.monotonic()
            flags, ident = (WHOLE, 1) if kind == Type.REQUEST else (WHOLE, 0)
            end_of(peer, HEADER.pack(length, kind, flags, 2, ident), "frame_too_large")
            assert time.monotonic() - began < 0.5
    if before:
        assert echo1.rss() - before < MIB


def test_declared_bytes_that_never_come(echo1: Any) -> None:
    """16 MiB declared twenty times, in a frame and in a total: no memory until bytes arrive."""
    before = echo1.rss() if hasattr(echo1, "rss") else 0
    with contextlib.ExitStack() as stack:
        for i in range(20):
            peer = stack.enter_context(RawLevel1.opened(echo1.path))
            if i % 2:
                peer.send(HEADER.pack(16 << 20, Type.MESSAGE, WHOLE, 2, 0) + b"x" * 100)
            else:
                peer.send(Frame(Type.MESSAGE, Flag.FIRST, 2, 0, (16 << 20).to_bytes(4, "little") + b"x").encode())
        assert probe(echo1.path) < 1.0
        if before:
            grown = echo1.rss() - before
            say(f"resident memory grew by {grown} bytes for 20 x 16 MiB declared")
            assert grown < 2 * MIB


@pytest.mark.parametrize("channel", [1, 2, 4])
def test_credit_exceeded(echo1: Any, channel: int) -> None:
    """A client that grants nothing and sends as if it had all the credit of the world: 50 MiB. Not on
    TELEMETRY, where what cannot be sent back is dropped and the program goes on taking."""
    before = echo1.rss() if hasattr(echo1, "rss") else 0
    largest = 0
    with RawLevel1.opened(echo1.path, limits={"window": 0}) as peer:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(800):
                peer.send(message(Type.MESSAGE, channel, 0, b"x" * 65_536))
                largest = max(largest, echo1.rss() - before if before else 0)
        peer.closed("credit_exceeded")
    say(f"resident memory grew by {largest} bytes")
    assert largest < 40 * MIB
    assert probe(echo1.path) < 1.0


def drain(peer: RawLevel1) -> None:
    """Reads until nothing comes, or the end."""
    with contextlib.suppress(TimeoutError, AssertionError):
        while peer.frame(1.0) is not None:
            pass


def test_a_ping_flood_that_is_read(echo1: Any) -> None:
    with RawLevel1.opened(echo1.path) as peer:
        for turn in range(20):
            tokens = [b"%08d" % i for i in range(1000 * turn, 1000 * turn + 1000)]
            peer.send(b"".join(control(Type.PING, token) for token in tokens))
            assert [peer.expect(Type.PONG)["token"] for _ in tokens] == tokens


def test_a_ping_flood_that_is_not_read(echo1: Any) -> None:
    stop, slowest = threading.Event(), [0.0]

    def neighbour() -> None:
        with Level1Client(echo1.path) as client:
            while not stop.is_set():
                began = time.monotonic()
                assert client.request(b"neighbour") == b"neighbour"
                slowest[0] = max(slowest[0], time.monotonic() - began)

    waiting = Background(neighbour)
    wait_until(lambda: slowest[0], what="the neighbour's first call")
    try:
        with RawLevel1.opened(echo1.path) as peer:
            pings = control(Type.PING, b"01234567") * 1000
            ended = False
            for _ in range(200):
                try:
                    peer.send(pings, 2.0)
                except (BrokenPipeError, ConnectionResetError):
                    ended = True
                    break
            assert ended, "200 000 unread answers"
    finally:
        stop.set()
        waiting.result()
    say(f"slowest call of a neighbour: {slowest[0] * 1000:.1f} ms")
    assert 0 < slowest[0] < 1.0


def test_calls_given_up_at_once(echo1: Any) -> None:
    """REQUEST and CANCEL, twenty thousand times, and never more at a time than there are places and credit for: each
    has its one last frame, memory is bounded, and the connection is not stuck."""
    before = echo1.rss() if hasattr(echo1, "rss") else 0
    calls, ahead, batch = 20_000, 400, 100
    ended: set[int] = set()
    with RawLevel1.opened(echo1.path) as peer:
        for start in range(0, calls, batch):
            ids = [2 * i + 1 for i in range(start, start + batch)]
            peer.send(b"".join(message(Type.REQUEST, 1, i, b"x") + control(Type.CANCEL, id=i) for i in ids), 10.0)
            while start + batch - len(ended) > (ahead if start + batch < calls else 0):
                last = peer.frame(10.0)
                assert last is not None and last.id not in ended, last
                if last.type == Type.ERROR:
                    assert parse_control(Type.ERROR, last.payload)["code"] == NUMBERS["cancelled"], last
                else:
                    assert last.type == Type.RESPONSE and last.payload == b"x", last
                ended.add(last.id)
        assert ended == set(range(1, 2 * calls, 2))
        assert bytes(peer.call(message(Type.REQUEST, 1, 2 * calls + 1, b"not stuck")).payload) == b"not stuck"
    if before:
        assert echo1.rss() - before < 8 * MIB
    assert probe(echo1.path) < 1.0


NOTHING = {
    "nop": control(Type.NOP),
    "grease": Frame(0x70, payload=b"g").encode(),
    "credit": control(Type.CREDIT, 1, channel=2),
}


@pytest.mark.parametrize("frame", NOTHING.values(), ids=NOTHING.keys())
def test_a_flood_of_nothing(echo1: Any, frame: bytes) -> None:
    with RawLevel1.opened(echo1.path) as peer:
        for _ in range(20):
            peer.send(frame * 5000, 10.0)
        assert bytes(peer.call(message(Type.REQUEST, 1, 1, b"still here"), 10.0).payload) == b"still here"


def test_slow_drips_delay_nobody(echo1: Any) -> None:
    with contextlib.ExitStack() as stack:
        data = message(Type.REQUEST, 1, 1, b"one byte at a time")
        peers = [stack.enter_context(RawLevel1.opened(echo1.path)) for _ in range(20)]
        for at in range(len(data)):
            for peer in peers:
                peer.send(data[at : at + 1])
            if at % 8 == 0:
                assert probe(echo1.path) < 1.0
        for peer in peers:
            assert bytes(peer.message().payload) == b"one byte at a time"


def test_noise(echo1: Any) -> None:
    for seed in range(30):
        with RawLevel1.opened(echo1.path) as peer:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                peer.send(random.Random(seed).randbytes(65_536))
                peer.sock.shutdown(socket.SHUT_WR)
            drain(peer)
            assert peer.ended, f"seed {seed}"
    assert probe(echo1.path) < 1.0


def test_a_changed_byte(echo1: Any) -> None:
    """A good conversation with one byte changed: it ends, or it goes on, and it never hurts others."""
    good = b"".join(f.encode() for f in frames_of(Type.REQUEST, 1, 1, b"abcdef", cut=3)) + control(
        Type.PING, b"01234567"
    )
    for at in range(len(good)):
        with RawLevel1.opened(echo1.path) as peer:
            data = good[:at] + bytes([good[at] ^ (1 << at % 8)]) + good[at + 1 :]
            with contextlib.suppress(BrokenPipeError, ConnectionResetError, OSError):
                peer.send(data)
                peer.sock.shutdown(socket.SHUT_WR)
            drain(peer)
    assert probe(echo1.path) < 1.0


def test_descriptors_nobody_agreed_on(server: Server) -> None:
    """They never get in: the only writer of the pipe is gone as soon as this side's is."""
    first, second = os.pipe()
    try:
        with RawLevel1.opened(server.path) as peer:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [second]))]
            peer.sock.sendmsg([message(Type.MESSAGE, 2, 0, b"x")], rights)
            os.close(second)
            assert bytes(peer.message().payload) == b"x"
            assert select.select([first], [], [], 2.0)[0] and os.read(first, 1) == b""
    finally:
        os.close(first)


def test_a_hundred_idle_clients(echo1: Any) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(RawLevel1.opened(echo1.path))
        assert probe(echo1.path) < 1.0
