"""Broken and hostile byte streams against a running server: the connection ends, nothing else does."""

from __future__ import annotations

import contextlib
import random
import threading
import time

import pytest

from harness import Server, assert_closed, refusal, say, wait_until
from level0 import (
    COMMAND,
    CONTROL,
    DATA,
    HEADER,
    MAX_HANDSHAKE,
    MAX_PAYLOAD,
    Frame,
    encode_control,
    encode_request,
    parse_refusal,
)
from stock import Wire

MIB = 1 << 20
ASKED = Frame(CONTROL, encode_request([1, 2, 3, 4])).encode()


def magics() -> list[bytes]:
    """Every neighbour in either byte, and a seeded sample of the rest of the 65,536."""
    near = {bytes([first, 0x50]) for first in range(256)} | {bytes([0x49, second]) for second in range(256)}
    dice = random.Random(0x4950)
    far = {dice.randrange(65536).to_bytes(2, "big") for _ in range(512)}
    return sorted((near | far) - {b"IP"})


def test_every_other_magic_ends_an_open_connection(server: Server) -> None:
    for magic in magics():
        with server.client() as client:
            client.wire.send(HEADER.pack(magic, 0, DATA) + Frame(DATA, b"never found").encode())
            assert client.wire.rest(1.0) == [], f"magic {magic.hex()}"


@pytest.mark.parametrize("first", [b"H", b"IX"])
def test_the_first_wrong_byte_is_enough(server: Server, first: bytes) -> None:
    with server.client() as client:
        client.wire.send(first)
        assert_closed(client.wire)


def test_every_other_magic_ends_a_handshake(server: Server) -> None:
    for magic in magics():
        with Wire.connect(server.path) as wire:
            wire.send(HEADER.pack(magic, 0, CONTROL) + ASKED)
            frames = wire.rest(1.0)
            assert len(frames) <= 1 and all(parse_refusal(f.payload)[1] == "bad_magic" for f in frames), magic.hex()


@pytest.mark.parametrize("length", [MAX_PAYLOAD + 1, 1 << 31, (1 << 32) - 1])
def test_an_oversized_frame_is_refused_from_its_header(server: Server, length: int) -> None:
    before = server.rss()
    for _ in range(20):
        with server.client() as client:
            began = time.monotonic()
            client.wire.send(HEADER.pack(b"IP", length, DATA))
            assert_closed(client.wire)
            assert time.monotonic() - began < 0.5
    grown = server.rss() - before
    say(f"resident memory grew by {grown} bytes")
    assert grown < MIB


def test_a_frame_of_the_limit_costs_nothing_until_its_bytes_arrive(server: Server) -> None:
    before = server.rss()
    clients = [server.client() for _ in range(20)]
    try:
        for client in clients:
            client.wire.send(HEADER.pack(b"IP", MAX_PAYLOAD, DATA) + b"x" * 100)
        assert server.probe() < 1.0
        grown = server.rss() - before
        say(f"resident memory grew by {grown} bytes for 20 x 16 MiB declared")
        assert grown < MIB
    finally:
        for client in clients:
            client.close()


@pytest.mark.parametrize("length", [MAX_HANDSHAKE + 1, MAX_PAYLOAD, 1 << 31, (1 << 32) - 1])
def test_an_oversized_request_is_refused_from_its_header(server: Server, length: int) -> None:
    before = server.rss()
    for _ in range(20):
        with Wire.connect(server.path) as wire:
            wire.send(HEADER.pack(b"IP", length, CONTROL))
            refusal(wire, "frame_too_large", "bad_handshake")
    assert server.rss() - before < MIB


def test_a_stream_cut_at_every_byte(server: Server) -> None:
    whole, longer = Frame(DATA, b"whole"), Frame(COMMAND, b"a longer payload")
    for cut in range(len(longer.encode()) + 1):
        with server.client() as client:
            client.wire.send(whole.encode() + longer.encode()[:cut])
            want = [whole, longer] if cut == len(longer.encode()) else [whole]
            if 0 < cut < len(longer.encode()):
                # The end inside a frame ends both ways at once: what is answered is answered before.
                assert client.wire.frame(2.0) == want.pop(), f"at cut {cut}"
            client.wire.sock.shutdown(1)
            assert client.wire.rest(2.0) == want, f"at cut {cut}"


@pytest.mark.parametrize("channel", [5, 6, 255, 256, 300, 65535])
def test_a_channel_that_was_never_agreed(server: Server, channel: int) -> None:
    with server.client() as client:
        client.wire.send_frame(channel, b"x")
        assert_closed(client.wire)


def test_a_served_channel_that_this_client_did_not_ask_for(server: Server) -> None:
    with server.client([COMMAND]) as client:
        client.wire.send_frame(DATA, b"x")
        assert_closed(client.wire)


@pytest.mark.parametrize(
    "payload",
    [
        b'{"type":"hello"}',
        b'{"type":"PING"}',
        b"{}",
        b"",
        b"ping",
        b"[]",
        b'{"type":1}',
        b'{"type":"ping"}x',
        b'{"type":"\xff"}',
        b"[" * 100_000,
    ],
    ids=["unknown", "case", "no-type", "empty", "no-json", "array", "number", "garbage-behind", "no-utf8", "deep"],
)
def test_a_control_message_that_is_none(server: Server, payload: bytes) -> None:
    with server.client() as client:
        client.wire.send_frame(CONTROL, payload)
        assert_closed(client.wire)


@pytest.mark.parametrize("kind", ["shutdown_force"])
def test_a_disallowed_control_message(server: Server, kind: str) -> None:
    with server.client() as client:
        client.wire.send_frame(CONTROL, encode_control(kind))
        assert_closed(client.wire)


@pytest.mark.parametrize(
    "greeting",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Secret: marker\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03marker",
        b"SSH-2.0-OpenSSH_9.2 marker\r\n",
        b"\0AUTH EXTERNAL 31303030 marker\r\n",
    ],
    ids=["http", "tls", "ssh", "dbus"],
)
def test_another_protocol(server: Server, greeting: bytes) -> None:
    with Wire.connect(server.path) as wire:
        wire.send(greeting)
        frames = wire.rest(0.5)
        assert len(frames) <= 1
        for frame in frames:
            assert parse_refusal(frame.payload)[1] == "bad_magic"
            assert b"marker" not in frame.payload and b"HTTP" not in frame.payload


def test_noise(server: Server) -> None:
    for seed in range(50):
        noise = random.Random(seed).randbytes(65536)
        for opened in (False, True):
            with server.client().wire if opened else Wire.connect(server.path) as wire:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # closed while still writing
                    wire.send(noise)
                assert len(wire.rest(1.0)) <= (0 if opened else 1), f"seed {seed}"


# ---------------------------------------------------------------- floods


def test_nine_hundred_pings_at_once_are_answered(server: Server) -> None:
    with server.client() as client:
        client.wire.send(Frame(CONTROL, encode_control("ping")).encode() * 900)
        for _ in range(900):
            frame = client.wire.frame(2.0)
            assert frame == Frame(CONTROL, encode_control("pong"))
        assert client.request(b"alive") == b"alive"


def test_a_control_flood_ends_the_connection_and_no_other(server: Server) -> None:
    ping = Frame(CONTROL, encode_control("ping")).encode()
    stop = threading.Event()
    slowest = [0.0]

    def neighbour() -> None:
        with server.client() as client:
            while not stop.is_set():
                began = time.monotonic()
                assert client.request(b"neighbour") == b"neighbour"
                slowest[0] = max(slowest[0], time.monotonic() - began)

    threads = [threading.Thread(target=neighbour) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for reading in (True, False):
            with server.client() as client:
                try:
                    for _ in range(40):
                        client.wire.send(ping * 500, 2.0)
                except (BrokenPipeError, ConnectionResetError):
                    pass
                if reading:
                    frames = client.wire.rest(2.0)
                    assert len(frames) <= 2000, "answered more than the limit"
                else:
                    wait_until(lambda: _hung_up(client.wire), 3.0, "the flooder being closed")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    say(f"slowest call of a neighbour: {slowest[0] * 1000:.1f} ms")
    assert 0 < slowest[0] < 1.0


def _hung_up(wire: Wire) -> bool:
    try:
        wire.send(b"", 0.1)
        wire.send(Frame(CONTROL, encode_control("pong")).encode(), 0.1)
    except (BrokenPipeError, ConnectionResetError):
        return True
    except TimeoutError:
        return False
    return False


def test_paced_pings_never_end_a_connection(server: Server) -> None:
    """The limit is a rate, not a count over the life of the connection."""
    ping = Frame(CONTROL, encode_control("ping")).encode()
    due = 0.0
    with server.client() as client:
        for i in range(2400):
            client.wire.send(ping)
            assert client.wire.frame(2.0) == Frame(CONTROL, encode_control("pong")), f"ping {i}"
            # The pace is what is tested: what a slow machine held up is not caught up with.
            due = max(due, time.monotonic()) + 1 / 800
            time.sleep(max(0.0, due - time.monotonic()))
        assert client.request(b"alive") == b"alive"
