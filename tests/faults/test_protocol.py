"""Everything a header can say, and conversations that were spoiled by chance."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import hello1
import level0
import pytest
from engine1 import Engine
from errors import NUMBERS
from level0 import CONTROL, DEFAULT_CHANNELS
from level1 import GREASE, KNOWN, Flag, Frame, Type, control
from level1 import message as encode
from peer1 import Level1Server
from raw1 import INSTANCE, RawLevel1, hello
from stock import Background, StockClient
from wire import Wire

from agents import Failed
from balance import Calling, Serving
from matrix import RUST, row

PROMPT = 0.5
"""Seconds in which a connection has to end for what is wrong with a header."""


def refused_for_its_magic(path: str, magic: bytes) -> None:
    """A header with it, and a handshake behind that would be right."""
    with Wire.connect(path) as wire:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may have ended at the first byte
            wire.send(magic + bytes(6) + hello())
        for frame in wire.rest(PROMPT):
            assert level0.parse_refusal(frame.payload)[1] == "bad_magic", f"{magic!r} is taken"


def wrong_magics(step: int) -> Iterator[bytes]:
    every = {number.to_bytes(2, "big") for number in range(0, 1 << 16, step)}
    near = {bytes([first, ord("P")]) for first in range(256)} | {bytes([ord("I"), second]) for second in range(256)}
    yield from sorted((every | near) - {b"IP"})


@row(
    "F18",
    fault="a header with each magic that has one right byte, and with every 97th of all, a right handshake behind it",
    holds="the connection ends within 0.5 s for bad_magic; what follows is never looked at",
)
def test_f18_wrong_magics(serving: Serving, lang: str) -> None:
    with serving.survives():
        for magic in wrong_magics(97):
            refused_for_its_magic(serving.path, magic)


@pytest.mark.full
@row("F18", fault="all 65,535 wrong magics", holds="the same", langs=RUST)
def test_f18_every_wrong_magic(serving: Serving, lang: str) -> None:
    with serving.survives():
        for magic in wrong_magics(1):
            refused_for_its_magic(serving.path, magic)


class Compared:
    """A connection to an agent, and the oracle's own opinion of what it is sent."""

    def __init__(self, path: str) -> None:
        self.raw = RawLevel1.opened(path)
        self.engine = Engine(False, DEFAULT_CHANNELS)
        self.engine.feed(hello() + control(Type.READY))
        assert self.engine.is_open()

    def says(self, frame: Frame) -> bool:
        """Sends it; whether the connection goes on, which has to be what the oracle says."""
        self.raw.send(frame.encode())
        self.engine.feed(frame.encode())
        if not self.engine.ended:
            return True
        if frame.type == Type.CLOSE:
            self.raw.until_end(PROMPT)
        else:
            self.raw.closed(*self.engine.ended, timeout=PROMPT)
        return False

    def goes_on(self, number: int) -> None:
        """A call is still answered."""
        self.raw.send(encode(Type.REQUEST, 1, number, b"still there?"))
        while (answer := self.raw.frame(PROMPT)) is not None:
            if (answer.type, answer.id) == (Type.RESPONSE, number):
                return
        raise AssertionError("the connection ended")

    def close(self) -> None:
        self.raw.close()


LAST_NUMBER = (1 << 32) + 1


def play_frames(path: str, kind: int, flags: list[int], payload: bytes) -> None:
    """Frames of one type with each of these flags. What is skipped changes nothing, so that the next may follow on the
    same connection; each of another type has one of its own, because the oracle has no program that answers."""
    skipped = kind not in KNOWN
    one: Compared | None = None
    for number, flag in enumerate(flags):
        one = one or Compared(path)
        goes_on = one.says(Frame(kind, flag, level0.TELEMETRY, 2 * number + 1 if kind >= Type.MESSAGE else 0, payload))
        if goes_on and not (skipped and number + 1 < len(flags)) and kind not in (Type.GOAWAY, Type.DRAIN_ACK):
            one.goes_on(LAST_NUMBER)
        if not (goes_on and skipped):
            one.close()
            one = None
    if one:
        one.close()


SKIPPED_FLAGS = [0, Flag.CRITICAL, Flag.RESERVED]
FLAGS = [*SKIPPED_FLAGS, Flag.FIRST | Flag.LAST, Flag.FIRST, Flag.LAST | Flag.FIN, 0x7F, 0xFF]


@row(
    "F18",
    fault="frames of all 256 types, each without flags, with a critical and with a reserved one; the known types also with flags that contradict each other, and with all",
    holds="what cannot be ignored ends the connection within 0.5 s by the name that the oracle says; all else leaves it able to serve",
)
def test_f18_every_type(serving: Serving, lang: str) -> None:
    with serving.survives():
        for kind in range(256):
            play_frames(serving.path, kind, FLAGS if kind in KNOWN else SKIPPED_FLAGS, bytes(8))


@pytest.mark.full
@row("F18", fault="all 256 types with all 256 flags, with and without payload", holds="the same", langs=RUST)
def test_f18_every_type_and_flag(serving: Serving, lang: str) -> None:
    with serving.survives():
        for kind in range(256):
            for payload in (b"", bytes(8), bytes(40)):
                play_frames(serving.path, kind, list(range(256)), payload)


def on_a_wrong_channel(path: str, channel: int) -> None:
    with RawLevel1.opened(path) as raw:
        raw.send(encode(Type.MESSAGE, channel, 0, b"nobody agreed on it"))
        raw.closed("unknown_channel", timeout=PROMPT)
    with StockClient(path) as client:
        client.wire.send_frame(channel, b"nobody agreed on it")
        assert client.wire.rest(PROMPT) == []


@row(
    "F19",
    fault="messages on channels that nobody agreed on, every 1021st of all and those at every border, on both levels",
    holds="unknown_channel, and the connection ends within 0.5 s",
)
def test_f19_channels_nobody_agreed_on(serving: Serving, lang: str) -> None:
    borders = {max(DEFAULT_CHANNELS) + 1, 255, 256, (1 << 16) - 1}
    with serving.survives():
        for channel in sorted(borders | set(range(5, 1 << 16, 1021))):
            on_a_wrong_channel(serving.path, channel)


@pytest.mark.full
@row("F19", fault="messages on each of the 65,531 channels that nobody agreed on", holds="the same", langs=RUST)
def test_f19_every_channel_nobody_agreed_on(serving: Serving, lang: str) -> None:
    with serving.survives():
        for channel in range(max(DEFAULT_CHANNELS) + 1, 1 << 16):
            on_a_wrong_channel(serving.path, channel)


def conversation() -> list[bytes]:
    """Of a connector, with something of everything."""
    return [
        hello(),
        control(Type.READY),
        Frame(GREASE[0], 0, 0, 0, b"grease").encode(),
        control(Type.PING, b"12345678"),
        encode(Type.REQUEST, 1, 1, b"one"),
        encode(Type.MESSAGE, level0.DATA, 0, b"1.message"),
        Frame(Type.REQUEST, Flag.FIRST | Flag.LAST | Flag.STREAM, 1, 3, b"stream echo").encode(),
        Frame(Type.STREAM, Flag.FIRST | Flag.LAST, 1, 3, b"1.item").encode(),
        Frame(Type.STREAM, Flag.FIRST | Flag.LAST | Flag.FIN, 1, 3, b"2.item").encode(),
        encode(Type.REQUEST, 1, 5, b"watch"),
        control(Type.CANCEL, id=5),
        encode(Type.REQUEST, 1, 7, bytes(3000)),
        control(Type.CREDIT, 1 << 20),
        control(Type.GOAWAY, 0, NUMBERS["closed"]),
    ]


def spoiled(frames: list[bytes], chance: random.Random) -> bytes:
    """The same with one to four things wrong."""
    frames = list(frames)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(frames))
        match chance.randrange(6):
            case 0:
                frames.insert(at, frames[chance.randrange(len(frames))])
            case 1:
                frames[at] = b""
            case 2:
                frames[at] = frames[at][: chance.randrange(len(frames[at]) + 1)]
            case 3:
                frames.insert(at, chance.randbytes(chance.randint(1, 40)))
            case _:
                changed = bytearray(frames[at] or b"\0")
                place = chance.randrange(min(len(changed), 24) if chance.random() < 0.7 else len(changed))
                changed[place] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, changed[place] ^ 1 << chance.randrange(8)))
                frames[at] = bytes(changed)
    return b"".join(frames)


def says_all(raw: RawLevel1, data: bytes) -> None:
    """And ends its side, unless the other one has heard enough before."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        raw.send(data)
        raw.sock.shutdown(socket.SHUT_WR)


@row(
    "F24",
    fault="150 conversations with everything in them, of which some frames are missing, doubled, cut, or changed",
    holds="each ends with its stream, others are served meanwhile, nothing breaks down and nothing is kept",
)
def test_f24_spoiled_conversations_of_clients(serving: Serving, lang: str) -> None:
    with serving.survives():
        for seed in range(150):
            with RawLevel1.connect(serving.path) as raw:
                says_all(raw, spoiled(conversation(), random.Random(seed)))
                try:
                    raw.until_end(8.0)
                except TimeoutError:
                    raise AssertionError(f"seed {seed}: the connection does not end") from None
            if seed % 25 == 0:
                assert serving.probe() < 1.0


def spoiled_server(server: Level1Server, seed: int) -> None:
    """Answers one connector by chance, and leaves."""
    chance = random.Random(seed)
    with RawLevel1(server.take(5.0), connector=False) as raw:
        asked = raw.plain()
        assert asked is not None
        granted = level0.agree(level0.parse_request(asked.payload), DEFAULT_CHANNELS)
        answer = level0.encode_response(granted.channels, "peer-1", hostlane=hello1.grant(INSTANCE))
        frames = [
            level0.Frame(CONTROL, answer).encode(),
            control(Type.READY),
            control(Type.PING, b"12345678"),
            encode(Type.MESSAGE, level0.DATA, 0, b"1.message"),
            encode(Type.REQUEST, 1, 2, b"back"),
            encode(Type.RESPONSE, 1, 1, b"an answer"),
            control(Type.GOAWAY, 0, NUMBERS["closed"]),
        ]
        says_all(raw, spoiled(frames, chance))
        with contextlib.suppress(TimeoutError):
            raw.until_end(5.0)


@row(
    "F24",
    fault="40 servers whose side of the conversation is spoiled in the same way",
    holds="connecting and calling end, with an answer or an error by its name, within 2 s; the next server is called as ever",
)
def test_f24_spoiled_conversations_of_servers(calling: Calling, elsewhere: Path) -> None:
    agent = calling.agent
    with calling.survives(), Level1Server(str(elsewhere / "s.sock")) as server:
        for seed in range(40):
            spoiling = Background(lambda seed=seed: spoiled_server(server, seed))
            began = time.monotonic()
            with contextlib.suppress(Failed):
                agent.ask("connect", address=server.path, timeout_ms=1000)
                agent.ask("call", text="a question", timeout_ms=500)
            assert time.monotonic() - began < 2.0, f"seed {seed}"
            agent.ask("reset")
            spoiling.result()


@row(
    "F61",
    fault="a client counts its calls from 2^64-9 on, to the last number there is; uses 0, an even number, one again, one of a call under way",
    holds="those up to the last are answered; each of the others is protocol_error, and nobody is given another's answer",
)
def test_f61_the_last_numbers_of_calls(serving: Serving, lang: str) -> None:
    top = (1 << 64) - 1
    with serving.survives():
        for wrong in (1, top - 2, 0, top - 1):
            with RawLevel1.opened(serving.path) as raw:
                for number in range(top - 8, top + 1, 2):
                    reply = raw.call(encode(Type.REQUEST, 1, number, b"%d" % number))
                    assert (reply.id, reply.payload) == (number, b"%d" % number)
                raw.send(encode(Type.REQUEST, 1, wrong, b"?"))
                raw.closed("protocol_error", timeout=PROMPT)
        with RawLevel1.opened(serving.path) as raw:
            raw.send(encode(Type.REQUEST, 1, top, b"watch") + encode(Type.REQUEST, 1, top, b"?"))
            raw.closed("protocol_error", timeout=PROMPT)
