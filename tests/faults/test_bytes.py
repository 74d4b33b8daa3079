"""Bytes that come slowly, end anywhere, are too many, or are of another protocol; frames that never end."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

import level0
import pytest
from harness import Server, wait_until
from level0 import MAX_PAYLOAD
from level1 import Flag, Frame, Type, control
from level1 import message as encode
from peer1 import Level1Client, probe
from raw1 import RawLevel1, hello
from wire import Wire

from agents import ECHOES
from balance import MIB, Serving, Vitals
from matrix import row

FOREIGN = {
    "http": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "tls": bytes.fromhex("160301006c0100006803030123456789abcdef"),
    "ssh": b"SSH-2.0-OpenSSH_9.6\r\n",
    "json": b'{"jsonrpc":"2.0","method":"initialize","id":1}\n',
    "zeros": bytes(64),
}

FLOODERS = 4

SLOW = 250
"""Clients that never finish their handshake; fewer than a listener has places for."""


@row(
    "F13",
    fault="a whole conversation, byte by byte",
    holds="it is answered, and others are served meanwhile",
)
def test_f13_byte_by_byte(serving: Serving, lang: str) -> None:
    with serving.survives(), RawLevel1.opened(serving.path) as raw:
        for number in (1, 3, 5):
            for byte in encode(Type.REQUEST, 1, number, b"drip " * 20):
                raw.send(bytes([byte]))
            assert raw.message().payload == b"drip " * 20
        assert serving.probe() < 1.0


@row(
    "F14",
    fault="20 clients send half a message, say nothing for a while, and leave",
    holds="others are served meanwhile; nothing is kept of the halves",
)
def test_f14_half_a_message_and_silence(serving: Serving, lang: str) -> None:
    half = encode(Type.REQUEST, 1, 1, bytes(200_000))[:100_000]
    with serving.survives():
        silent = [RawLevel1.opened(serving.path) for _ in range(20)]
        for one in silent:
            one.send(half)
        for _ in range(10):
            assert serving.probe() < 1.0
        for one in silent:
            one.close()


@row(
    "F15",
    fault="250 calls in one write, four times; a call behind the handshake's request, before its answer",
    holds="all are answered; the connection ends",
)
def test_f15_many_frames_in_one_write(serving: Serving, lang: str) -> None:
    with serving.survives():
        with RawLevel1.opened(serving.path) as raw:
            for start in range(0, 1000, 250):  # fewer than a side has places for at a time
                numbers = [2 * number + 1 for number in range(start, start + 250)]
                raw.send(b"".join(encode(Type.REQUEST, 1, number, b"%d" % number) for number in numbers))
                replies = [raw.message() for _ in numbers]
                assert sorted(int(reply.payload) for reply in replies) == numbers
                assert all(int(reply.payload) == reply.id for reply in replies)
        with RawLevel1.connect(serving.path) as raw:
            raw.send(hello() + encode(Type.REQUEST, 1, 1, b"early"))
            raw.until_end(2.0)


@row(
    "F16",
    fault="the stream ends behind each byte of handshake, READY, a call and a message",
    holds="the server goes on; nothing that was cut is delivered, what was whole is",
)
def test_f16_the_end_behind_every_byte(serving: Serving, lang: str) -> None:
    request = hello()
    rest = control(Type.READY) + encode(Type.MESSAGE, level0.DATA, 0, b"7.whole") + encode(Type.REQUEST, 1, 1, b"cut")
    with serving.survives():
        for at in range(len(request)):
            with Wire.connect(serving.path) as wire:
                wire.send(request[:at])
        before = serving.agent.ask("seen", "server")
        wholes = 0
        for at in range(len(rest)):
            with RawLevel1.connect(serving.path) as raw:
                raw.ask()
                raw.send(rest[:at])
                wholes += at >= len(rest) - len(encode(Type.REQUEST, 1, 1, b"cut"))
        wait_until(
            lambda: serving.agent.ask("seen", "server")["messages"] == before["messages"] + wholes,
            what="every whole message",
        )
        assert serving.agent.ask("seen", "server")["requests"] == before["requests"]


@row(
    "F17",
    fault="a header announces one byte too many, 2^31, 2^32-1 bytes, and nothing follows; each 30 times",
    holds="frame_too_large from the header alone, within 0.5 s; memory stays",
)
def test_f17_lengths_that_are_too_large(serving: Serving, lang: str) -> None:
    with serving.survives():
        before = Vitals.of(serving.agent, serving.place).rss
        for length in (MAX_PAYLOAD + 1, 1 << 31, (1 << 32) - 1):
            for _ in range(30):
                with RawLevel1.opened(serving.path) as raw:
                    raw.send(length.to_bytes(4, "little") + encode(Type.MESSAGE, level0.DATA, 0, b"")[4:16])
                    raw.closed("frame_too_large", timeout=0.5)
            with Wire.connect(serving.path) as wire:
                wire.send(b"IP" + length.to_bytes(4, "little") + b"\0\0")
                assert len(wire.rest(0.5)) <= 1
        grown = Vitals.of(serving.agent, serving.place).rss - before
        assert grown < 32 * MIB, f"{grown >> 10} KiB more"


@pytest.mark.parametrize("protocol", FOREIGN)
@row(
    "F20",
    fault="the client speaks HTTP, TLS, SSH, JSON lines, or zeros",
    holds="the connection ends within 0.5 s, and nothing of what came is sent back",
)
def test_f20_foreign_protocols(serving: Serving, lang: str, protocol: str) -> None:
    with serving.survives():
        for _ in range(20):
            with Wire.connect(serving.path) as wire:
                wire.send(FOREIGN[protocol])
                wire.sock.settimeout(0.5)
                told = b""
                with contextlib.suppress(ConnectionResetError):
                    while data := wire.sock.recv(4096):
                        told += data
                assert FOREIGN[protocol][:16] not in told


@row(
    "F22",
    fault=f"{SLOW} clients stall in the handshake, every fifth sends a byte now and then",
    holds="others are served meanwhile; each is ended 5 s after it came, however it drips",
    full=("c", "cpp", "python", "python-aio", "go"),
)
def test_f22_slow_handshakes(serving: Serving, lang: str) -> None:
    request = hello()
    with serving.survives():
        began = time.monotonic()
        slow = [Wire.connect(serving.path) for _ in range(SLOW)]
        drips = slow[::5]
        for wire in slow:
            wire.send(request[:2])
        at, worst, ended = 2, 0.0, 0
        while ended < len(drips) and time.monotonic() < began + 8.0:
            worst = max(worst, serving.probe())
            time.sleep(0.3)
            ended = 0
            for wire in drips:
                try:
                    wire.send(request[at : at + 1])
                except (BrokenPipeError, ConnectionResetError):
                    ended += 1
            at += 1
        took = time.monotonic() - began
        for wire in slow:
            wire.rest(1.0)
            wire.close()
        assert ended == len(drips) and took > 4.5, f"{ended} of {len(drips)} ended after {took:.1f} s"
        assert worst < 1.0, f"an honest client waited {worst:.2f} s"


@row(
    "F23",
    fault="5 clients send PINGs, 5 others 500 calls and their CANCELs, as fast as they can, and read nothing meanwhile",
    holds="PINGs are control_flood, and each of the calls has one end; a client that came before is served within 1 s meanwhile",
)
def test_f23_floods_of_control_frames(serving: Serving, lang: str) -> None:
    pings = b"".join(control(Type.PING, number.to_bytes(8, "little")) for number in range(4000))
    calls = range(1, 1001, 2)
    with serving.survives(), contextlib.ExitStack() as stack:
        for number in range(10):
            raw = stack.enter_context(RawLevel1.opened(serving.path))
            if number % 2:
                for call in calls:
                    raw.send(encode(Type.REQUEST, 1, call, b"watch") + control(Type.CANCEL, id=call), 2.0)
            else:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError, TimeoutError):
                    for _ in range(10):
                        raw.send(pings, 0.2)
            began = time.monotonic()
            assert serving.keeper.request(b"in the flood", 2.0) == b"in the flood"
            assert time.monotonic() - began < 1.0
            if number % 2:
                ends = [raw.frame() for _ in calls]
                assert sorted((end.type, end.id) for end in ends if end) == [(Type.ERROR, call) for call in calls]
            else:
                raw.closed("control_flood")


@row(
    "F23",
    fault=f"{FLOODERS} clients send a message of 16 MiB each, a byte a frame, as fast as they can, for 3 s",
    holds="a client that came before, and those that come meanwhile, are served within 1 s",
)
def test_f23_floods_of_pieces(tmp_path: Path, lang: str) -> None:
    pieces = Frame(Type.MESSAGE, Flag.NONE, 2, 0, b"x").encode() * 4000
    path = str(tmp_path / "s")
    with contextlib.ExitStack() as stack:
        server = Server(tmp_path, [*ECHOES[lang], path], path)
        stack.callback(server.kill)
        keeper = stack.enter_context(Level1Client(path))
        over = threading.Event()

        def flood(raw: RawLevel1) -> None:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError, TimeoutError):
                while not over.is_set():
                    raw.send(pieces, 1.0)

        for _ in range(FLOODERS):
            raw = stack.enter_context(RawLevel1.opened(path))
            raw.send(Frame(Type.MESSAGE, Flag.FIRST, 2, 0, (16 * MIB).to_bytes(4, "little") + b"x").encode())
            thread = threading.Thread(target=flood, args=[raw])
            thread.start()
            stack.callback(thread.join)
            stack.callback(over.set)
        until = time.monotonic() + 3.0
        while time.monotonic() < until:
            assert keeper.request(b"in the flood", 1.0) == b"in the flood"
            assert probe(path, 1.0) < 1.0
        assert server.alive()
