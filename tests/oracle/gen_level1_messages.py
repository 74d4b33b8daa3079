"""Conversations of messages: frames, sizes, faults, ends."""

from __future__ import annotations

import struct
from typing import Any

from errors import NUMBERS
from gen_level1_script import (
    M,
    Q,
    arrives,
    bad,
    delivers,
    does,
    opened,
    sends,
    step,
    transcript,
)
from gen_vectors import Bytes, times
from level1 import (
    HEADER,
    WHOLE,
    Flag,
    Frame,
    Type,
    control,
    extension,
    frames_of,
    message,
)


def messages() -> list[dict[str, Any]]:
    ping = control(Type.PING, b"01234567")
    pong = sends(Type.PONG, token="3031323334353637")
    server, client = opened("server"), opened("client")

    def hostile(
        name: str, doc: str, *data: bytes | Bytes, error: str = "protocol_error", role: str = "server"
    ) -> dict[str, Any]:
        return transcript(name, doc, role, opened(role), arrives(*data), bad(error))

    parts = [f.encode() for f in frames_of(M, 2, 0, b"abcdef", cut=2)]
    return [
        transcript(
            "message-each-way",
            "one message each way",
            "server",
            server,
            arrives(message(M, 2, 0, b"ping")),
            delivers(2, b"ping"),
            does("send", op="m", channel=3, payload=b"pong"),
            sends(M, channel=3, id=0, payload=b"pong"),
        ),
        transcript(
            "empty-message",
            "0 bytes are a message",
            "client",
            client,
            arrives(message(M, 4)),
            delivers(4, b""),
            does("send", op="m", channel=4, payload=b""),
            sends(M, channel=4, payload=b""),
        ),
        transcript(
            "cut-message", "a message in three frames", "server", server, arrives(*parts), delivers(2, b"abcdef")
        ),
        transcript(
            "cut-message-and-ping",
            "a ping between the frames is answered before the message is complete",
            "server",
            server,
            arrives(parts[0]),
            arrives(ping),
            pong,
            arrives(*parts[1:]),
            delivers(2, b"abcdef"),
        ),
        transcript(
            "cut-message-and-another-channel",
            "a whole message between the frames of another",
            "server",
            server,
            arrives(parts[0], message(M, 3, 0, b"between")),
            delivers(3, b"between"),
            arrives(*parts[1:]),
            delivers(2, b"abcdef"),
        ),
        transcript(
            "long-message",
            "1 MiB, in frames of any size",
            "client",
            client,
            does("send", op="m", channel=2, payload=times(b"L", 1 << 20)),
            sends(M, channel=2, payload=times(b"L", 1 << 20)),
        ),
        transcript("ping-answered", "the token comes back", "server", server, arrives(ping), pong),
        transcript(
            "ping-long",
            "the token is the first 8 bytes",
            "server",
            server,
            arrives(Frame(Type.PING, payload=b"01234567later").encode()),
            pong,
        ),
        transcript(
            "pings-in-order",
            "answers come in the order of the pings",
            "client",
            client,
            arrives(*[control(Type.PING, b"%08d" % i) for i in range(3)]),
            [sends(Type.PONG, token=(b"%08d" % i).hex()) for i in range(3)],
        ),
        transcript(
            "grease",
            "skipped anywhere, and changes nothing",
            "server",
            server,
            arrives(
                Frame(0x70, 0x3F, 2, 1, b"g" * 100).encode(),
                parts[0],
                Frame(0x7F, WHOLE, 2, 0, b"x").encode(),
                *parts[1:],
            ),
            delivers(2, b"abcdef"),
        ),
        transcript(
            "unknown-frame",
            "a type of a later version is skipped",
            "server",
            server,
            arrives(Frame(0x42, WHOLE, 2, 77, b"later").encode(), message(M, 2, 0, b"hi")),
            delivers(2, b"hi"),
        ),
        transcript(
            "unknown-extensions",
            "ignored",
            "server",
            server,
            arrives(
                Frame(M, WHOLE | Flag.EXT, 2, 0, struct.pack("<H", 9) + extension(0x0777, b"later") + b"hi").encode()
            ),
            delivers(2, b"hi"),
        ),
        transcript(
            "good-then-bad",
            "what came first is delivered",
            "server",
            server,
            arrives(message(M, 2, 0, b"kept"), Frame(0x01).encode(), message(M, 2, 0, b"lost")),
            step("closes", ["protocol_error"]),
            delivers(2, b"kept"),
            step("ends", ["protocol_error"]),
        ),
        hostile(
            "unknown-critical",
            "a critical frame of a later version",
            Frame(0x42, Flag.CRITICAL).encode(),
            error="unknown_frame",
        ),
        hostile("nop-with-length", "a level-0 frame reads like this", Frame(0, payload=b"x").encode()),
        hostile("type-1", "never used", Frame(1).encode(), role="client"),
        hostile("unknown-channel", "not agreed", message(M, 300, 0, b"x"), error="unknown_channel"),
        hostile("reserved-channel", "not agreed", message(M, 5, 0, b"x"), error="unknown_channel", role="client"),
        hostile("channel-zero", "CONTROL carries no message", message(M, 0, 0, b"x"), error="unknown_channel"),
        hostile("request-on-unknown-channel", "not agreed", message(Q, 300, 1, b"x"), error="unknown_channel"),
        hostile(
            "oversize-length", "from the header alone", HEADER.pack(0xFFFFFFFF, M, WHOLE, 2, 0), error="frame_too_large"
        ),
        hostile(
            "oversize-control", "from the header alone", HEADER.pack(1025, Type.PING, 0, 0, 0), error="frame_too_large"
        ),
        hostile(
            "oversize-skipped", "from the header alone", HEADER.pack(16385, 0x70, 0, 0, 0), error="frame_too_large"
        ),
        hostile(
            "oversize-total",
            "the first frame says it",
            Frame(M, Flag.FIRST, 2, 0, b"\xff\xff\xff\xffx").encode(),
            error="frame_too_large",
        ),
        hostile("short-ping", "7 bytes", Frame(Type.PING, payload=b"0123456").encode()),
        hostile("short-credit", "7 bytes", Frame(Type.CREDIT, 0, 2, 0, bytes(7)).encode()),
        hostile("interleaved", "another message inside one of the same channel", parts[0], message(M, 2, 0, b"x")),
        hostile(
            "critical-extension",
            "of a later version",
            Frame(M, WHOLE | Flag.EXT, 2, 0, struct.pack("<H", 4) + extension(0x8777, b"") + b"hi").encode(),
        ),
        hostile(
            "descriptors-not-agreed",
            "the feature fds was not agreed",
            Frame(M, WHOLE | Flag.EXT | Flag.FDS, 2, 0, struct.pack("<H", 5) + extension(5, b"\1") + b"hi").encode(),
        ),
        transcript(
            "small-max-message",
            "this side takes 100 bytes",
            "server",
            server,
            arrives(message(M, 2, 0, b"x" * 100)),
            delivers(2, b"x" * 100),
            arrives(HEADER.pack(101, M, WHOLE, 2, 0)),
            bad("frame_too_large"),
            limits={"max_message": 100},
        ),
        transcript(
            "their-max-message",
            "the other side takes 100 bytes",
            "client",
            opened("client", max_message=100),
            does("send", op="a", channel=2, payload=b"x" * 101),
            step("fails", op="a", error=["payload_too_large"]),
            does("send", op="b", channel=2, payload=b"x" * 100),
            sends(M, channel=2, payload=b"x" * 100),
        ),
        transcript(
            "eof", "without CLOSE, between frames", "server", server, step("eof"), step("ends", ["peer_closed"])
        ),
        transcript(
            "eof-in-a-frame",
            "inside a frame",
            "server",
            server,
            arrives(parts[0][:5]),
            step("eof"),
            step("ends", ["truncated"]),
        ),
        transcript(
            "eof-in-a-message",
            "between the frames of a message",
            "client",
            client,
            arrives(parts[0]),
            step("eof"),
            step("ends", ["truncated"]),
        ),
        transcript(
            "close",
            "an orderly end",
            "server",
            server,
            arrives(message(M, 2, 0, b"bye"), control(Type.CLOSE, NUMBERS["closed"])),
            delivers(2, b"bye"),
            step("ends", ["peer_closed"]),
        ),
        transcript(
            "close-with-code",
            "the other side found a fault",
            "client",
            client,
            arrives(control(Type.CLOSE, NUMBERS["credit_exceeded"], text="too much")),
            step("ends", ["credit_exceeded"]),
        ),
        transcript(
            "close-with-unknown-code",
            "of a later version",
            "client",
            client,
            arrives(control(Type.CLOSE, 399, text="too blue")),
            step("ends", ["connection_lost"]),
        ),
        *(
            transcript(
                f"close-with-{name.replace('_', '-')}",
                "a code that only this side may use of itself",
                "client",
                client,
                arrives(control(Type.CLOSE, NUMBERS[name], text="not yours")),
                step("ends", ["connection_lost"]),
            )
            for name in ("interrupted", "call_ended", "timeout", "remote_error", "panic")
        ),
        transcript(
            "closes",
            "this side closes",
            "server",
            server,
            does("close"),
            step("closes", ["closed"]),
            step("ends", ["closed"]),
        ),
    ]
