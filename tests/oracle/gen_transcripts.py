"""The conversations of the vectors, with one side under test; `gen_vectors.py` writes them down."""

from __future__ import annotations

import json
from typing import Any

from gen_handshakes import SERVED, refusing
from gen_vectors import hexed, raw
from level0 import COMMAND, CONTROL, DATA, Frame, encode_control, encode_request, encode_response


def transcript(name: str, doc: str, role: str, *steps: dict[str, Any]) -> dict[str, Any]:
    return {"id": name, "doc": doc, "role": role, "channels": SERVED, "steps": list(steps)}


def arrives(*frames: Frame) -> dict[str, Any]:
    return {"arrives": hexed(b"".join(f.encode() for f in frames))}


def sends(kind: bytes) -> dict[str, Any]:
    return {"sends": {"channel": CONTROL, "json": json.loads(kind)}}


def delivers(channel: int, payload: bytes) -> dict[str, Any]:
    return {"delivers": {"channel": channel, "payload": hexed(payload)}}


def does(what: str, **arguments: Any) -> dict[str, Any]:
    return {"does": {"what": what} | arguments}


def transcripts() -> list[dict[str, Any]]:
    ask, answer = Frame(CONTROL, encode_request(SERVED)), Frame(CONTROL, encode_response(SERVED))
    ping, pong = encode_control("ping"), encode_control("pong")
    leave, left = encode_control("shutdown_request"), encode_control("shutdown_ack")
    opened = [arrives(ask), sends(answer.payload)]
    asked = [sends(ask.payload), arrives(answer)]
    echo = [
        arrives(Frame(DATA, b"hello")),
        delivers(DATA, b"hello"),
        does("send", channel=DATA, payload=hexed(b"hello")),
        {"sends": {"channel": DATA, "payload": hexed(b"hello")}},
    ]
    gone = {"ends": ["peer_closed"]}
    return [
        transcript(
            "server-echo", "one message each way, then the client leaves", "server", *opened, *echo, {"eof": True}, gone
        ),
        transcript(
            "client-call",
            "one call",
            "client",
            *asked,
            does("request", payload=hexed(b"2+2")),
            {"sends": {"channel": COMMAND, "payload": hexed(b"2+2")}},
            arrives(Frame(COMMAND, b"4")),
            {"replies": hexed(b"4")},
        ),
        transcript(
            "server-ping", "a ping is answered at once", "server", *opened, arrives(Frame(CONTROL, ping)), sends(pong)
        ),
        transcript(
            "client-ping",
            "a ping and its pong",
            "client",
            *asked,
            does("ping"),
            sends(ping),
            arrives(Frame(CONTROL, pong)),
            {"ponged": True},
        ),
        transcript(
            "unasked-pong",
            "a pong that nobody waits for is ignored",
            "server",
            *opened,
            arrives(Frame(CONTROL, pong)),
            *echo,
        ),
        transcript(
            "pipelined",
            "frames right behind the request lose no byte",
            "server",
            arrives(ask, Frame(DATA, b"first"), Frame(CONTROL, ping), Frame(COMMAND, b"second")),
            sends(answer.payload),
            sends(pong),
            delivers(DATA, b"first"),
            delivers(COMMAND, b"second"),
        ),
        transcript(
            "shutdown-by-client",
            "asked, answered, and what arrived before stays readable",
            "server",
            *opened,
            arrives(Frame(DATA, b"last words"), Frame(CONTROL, leave)),
            sends(left),
            delivers(DATA, b"last words"),
            {"eof": True},
            gone,
        ),
        transcript(
            "shutdown-by-server",
            "this side asks",
            "server",
            *opened,
            does("drain"),
            sends(leave),
            arrives(Frame(CONTROL, left)),
            {"drained": True},
        ),
        transcript(
            "shutdown-crossing",
            "both ask at once, both answer, both are done",
            "server",
            *opened,
            does("drain"),
            sends(leave),
            arrives(Frame(CONTROL, leave)),
            sends(left),
            arrives(Frame(CONTROL, left)),
            {"drained": True},
        ),
        transcript(
            "shutdown-late-pong",
            "a late pong does not disturb a drain",
            "client",
            *asked,
            does("drain"),
            sends(leave),
            arrives(Frame(CONTROL, pong), Frame(CONTROL, left)),
            {"drained": True},
        ),
        transcript(
            "unasked-ack",
            "a shutdown_ack that nobody waits for is ignored",
            "server",
            *opened,
            arrives(Frame(CONTROL, left)),
            *echo,
        ),
        transcript(
            "half-closed",
            "what is sent after the other side has nothing more to say",
            "server",
            *opened,
            arrives(Frame(DATA, b"over")),
            {"eof": True},
            delivers(DATA, b"over"),
            does("send", channel=DATA, payload=hexed(b"and out")),
            {"sends": {"channel": DATA, "payload": hexed(b"and out")}},
            gone,
        ),
        transcript(
            "shutdown-force",
            "ends the connection",
            "server",
            *opened,
            arrives(Frame(CONTROL, encode_control("shutdown_force"))),
            {"ends": ["peer_closed"]},
        ),
        transcript(
            "large-control",
            "CONTROL keeps the limit of the handshake",
            "server",
            *opened,
            {"arrives": "4950014000000000"},
            {"ends": ["frame_too_large"]},
        ),
        transcript(
            "largest-control",
            "16384 bytes are legal",
            "server",
            *opened,
            {
                "arrives": [
                    "4950004000000000",
                    {"text": '{"type":"ping","payload":"'},
                    {"hex": "61", "times": 16356},
                    {"text": '"}'},
                ]
            },
            sends(pong),
        ),
        transcript(
            "unknown-control",
            "ends the connection",
            "server",
            *opened,
            arrives(Frame(CONTROL, b'{"type":"hello"}')),
            {"ends": ["unknown_control"]},
        ),
        transcript(
            "bad-control",
            "ends the connection",
            "server",
            *opened,
            arrives(Frame(CONTROL, b"ping")),
            {"ends": ["bad_control"]},
        ),
        transcript(
            "unknown-channel",
            "ends the connection",
            "server",
            *opened,
            arrives(Frame(300, b"x")),
            {"ends": ["unknown_channel"]},
        ),
        transcript(
            "bad-magic",
            "ends the connection",
            "server",
            *opened,
            {"arrives": "4958000000000100"},
            {"ends": ["bad_magic"]},
        ),
        transcript(
            "oversize",
            "ends the connection from the header alone",
            "server",
            *opened,
            {"arrives": "4950010000010200"},
            {"ends": ["frame_too_large"]},
        ),
        transcript(
            "truncated",
            "the stream ends inside a frame",
            "server",
            *opened,
            {"arrives": "49500500000002006865"},
            {"eof": True},
            {"ends": ["truncated"]},
        ),
        transcript(
            "messages-before-an-error",
            "what came first is delivered first",
            "server",
            *opened,
            {"arrives": Frame(DATA, b"kept").encode().hex() + "0000000000000000"},
            delivers(DATA, b"kept"),
            {"ends": ["bad_magic"]},
        ),
        transcript(
            "request-on-data",
            "the first frame has to be on CONTROL",
            "server",
            arrives(Frame(DATA, ask.payload)),
            {"refuses": ["bad_handshake", "unknown_channel"]},
            {"ends": ["bad_handshake", "unknown_channel"]},
        ),
        transcript(
            "silent-refusal",
            "a stock server just closes",
            "client",
            sends(ask.payload),
            {"eof": True},
            {"ends": ["refused"]},
        ),
        transcript(
            "typed-refusal",
            "the reason reaches the caller",
            "client",
            sends(ask.payload),
            {"arrives": hexed(Frame(CONTROL, raw(refusing(310, "no_common_channel", "nothing in common"))).encode())},
            {"ends": ["no_common_channel"]},
        ),
        transcript(
            "lost-with-a-call",
            "a call in flight learns that the connection is gone",
            "client",
            *asked,
            does("request", payload=hexed(b"x")),
            {"sends": {"channel": COMMAND, "payload": hexed(b"x")}},
            {"eof": True},
            {"ends": ["connection_lost", "peer_closed"]},
        ),
    ]
