"""The level-1 conversations of the vectors, with one side under test; `gen_vectors.py` writes them down
and `replay1.py` plays them with the oracle's own engine."""

from __future__ import annotations

import struct
from typing import Any

import level0
from engine1 import NUMBERS
from gen_level1 import A, B
from gen_vectors import Bytes, hexed, text, times
from hello1 import grant, offer
from level0 import CONTROL, encode_request, encode_response
from level1 import CHARGE, HEADER, NO_LAST, WHOLE, Extensions, Flag, Frame, Type, control, extension, frames_of, message

SERVED = [1, 2, 3, 4]
M, Q, R, S = Type.MESSAGE, Type.REQUEST, Type.RESPONSE, Type.STREAM
Step = dict[str, Any]


def transcript(name: str, doc: str, role: str, *steps: Step | list[Step], **options: Any) -> dict[str, Any]:
    flat = [s for step in steps for s in (step if isinstance(step, list) else [step])]
    return {"id": name, "doc": doc, "level": 1, "role": role, "channels": SERVED} | options | {"steps": flat}


def arrives(*parts: bytes | Bytes) -> Step:
    values = [hexed(part) if isinstance(part, bytes) else part for part in parts]
    if all(isinstance(value, str) for value in values):
        return {"arrives": "".join(values)}
    return {"arrives": values}


def handshake(payload: bytes) -> list[Bytes]:
    return [level0.HEADER.pack(level0.MAGIC, len(payload), CONTROL).hex(), text(payload.decode())]


def does(what: str, **arguments: Any) -> Step:
    return {"does": {"what": what} | {k: hexed(v) if isinstance(v, bytes) else v for k, v in arguments.items()}}


def sends(kind: Type, **fields: Any) -> Step:
    return {"sends": {"type": kind.name} | {k: hexed(v) if isinstance(v, bytes) else v for k, v in fields.items()}}


def step(name: str, value: Any = True, **fields: Any) -> Step:
    return {name: {k: hexed(v) if isinstance(v, bytes) else v for k, v in fields.items()} if fields else value}


def delivers(channel: int, payload: bytes, **more: Any) -> Step:
    return step("delivers", channel=channel, payload=payload, **more)


def fails(name: str, *errors: str, **more: Any) -> Step:
    return step("fails", call=name, error=list(errors), **more)


def bad(*names: str) -> list[Step]:
    """The fault is told in CLOSE and to the program."""
    return [{"closes": list(names)}, {"ends": list(names)}]


def calls(*names: str) -> list[Step]:
    """Calls of this side, by their names; their ids count up from 1 or 2."""
    return [s for name in names for s in (does("call", op=name, payload=name.encode()), sends(Q, channel=1, payload=name.encode()))]


def status(code: int) -> Extensions:
    return Extensions(status=code)


def opened(role: str, **limits: int) -> list[Step]:
    """The handshake up to both READY; `limits` are those of the other side."""
    members = {"limits": limits} if limits else {}
    if role == "server":
        return [
            arrives(*handshake(encode_request(SERVED, hostlane=offer(A, **members)))),
            step("answers", level=1, auth=False), sends(Type.READY), arrives(control(Type.READY)),
        ]  # fmt: skip
    return [
        step("asks", auth=False),
        arrives(*handshake(encode_response(SERVED, hostlane=grant(B, **members))), control(Type.READY)),
        sends(Type.READY),
    ]


def handshakes() -> list[dict[str, Any]]:
    ask = handshake(encode_request(SERVED, hostlane=offer(A)))
    ask_auth = handshake(encode_request(SERVED, hostlane=offer(A, nonce=A)))
    answer = handshake(encode_response(SERVED, hostlane=grant(B)))
    answer_auth = handshake(encode_response(SERVED, hostlane=grant(B, nonce=B)))
    ready = control(Type.READY)
    grease = Frame(0x7C, Flag.RESERVED, 9, 9, b"grease").encode()
    proved = sends(Type.AUTH, proof=True)
    server_auth = [arrives(*ask_auth), step("answers", level=1, auth=True)]
    client_auth = [step("asks", auth=True), arrives(*answer_auth), proved]
    secret = {"secret": "s3cret"}
    hi = [arrives(message(M, 2, 0, b"hi")), delivers(2, b"hi")]
    level0_hi = [arrives(level0.Frame(2, b"hi").encode()), delivers(2, b"hi")]
    return [
        transcript("server-opens", "both READY, and a message", "server", opened("server"), hi),
        transcript("client-opens", "both READY, and a message", "client", opened("client"), hi),
        transcript("server-answers-level-0", "a stock request", "server", arrives(*handshake(encode_request(SERVED))),
                   step("answers", level=0, auth=False), level0_hi),
        transcript("server-stays-on-level-0", "a malformed offer", "server",
                   arrives(*handshake(encode_request(SERVED, hostlane=[]))), step("answers", level=0, auth=False), level0_hi),
        transcript("client-falls-back", "a stock answer", "client", step("asks", auth=False),
                   arrives(*handshake(encode_response(SERVED))), level0_hi),
        transcript("server-demands", "level 1 or nothing", "server", arrives(*handshake(encode_request(SERVED))),
                   step("refuses", ["version_mismatch"]), step("ends", ["version_mismatch"]), demand=True),
        transcript("client-demands", "level 1 or nothing", "client", step("asks", auth=False),
                   arrives(*handshake(encode_response(SERVED))), step("ends", ["version_mismatch"]), demand=True),
        transcript("client-not-offered", "an answer with a version nobody offered", "client", step("asks", auth=False),
                   arrives(*handshake(encode_response(SERVED, hostlane=grant(B, version=9)))), step("ends", ["bad_handshake"])),
        transcript("client-malformed-grant", "limits are no list", "client", step("asks", auth=False),
                   arrives(*handshake(encode_response(SERVED, hostlane=grant(B) | {"limits": []}))), step("ends", ["bad_handshake"])),
        transcript("client-response-and-frames", "response, READY and a message in one read", "client", step("asks", auth=False),
                   arrives(*answer, ready, message(M, 2, 0, b"hi")), sends(Type.READY), delivers(2, b"hi")),
        transcript("server-early-level-0", "level-0 frames behind a request that offered level 1", "server",
                   arrives(*ask, level0.Frame(2, b"too early").encode()), step("answers", level=1, auth=False),
                   sends(Type.READY), bad("protocol_error")),
        transcript("server-grease-before-ready", "skipped", "server", arrives(*ask), step("answers", level=1, auth=False),
                   sends(Type.READY), arrives(grease, control(Type.NOP), ready, grease), hi),
        transcript("server-message-before-ready", "not legal yet", "server", arrives(*ask), step("answers", level=1, auth=False),
                   sends(Type.READY), arrives(message(M, 2, 0, b"hi")), bad("protocol_error")),
        transcript("client-ping-before-ready", "not legal yet", "client", step("asks", auth=False),
                   arrives(*answer, control(Type.PING, b"01234567")), sends(Type.READY), bad("protocol_error")),
        transcript("client-close-before-ready", "the acceptor found a fault", "client", step("asks", auth=False),
                   arrives(*answer), sends(Type.READY), arrives(control(Type.CLOSE, NUMBERS["protocol_error"], text="no")),
                   step("ends", ["protocol_error"])),
        transcript("server-ends-before-ready", "the other side goes without a word", "server", arrives(*ask),
                   step("answers", level=1, auth=False), sends(Type.READY), step("eof"),
                   step("ends", ["peer_closed", "refused"])),
        transcript("server-auth-unasked", "AUTH where nobody has a secret", "server", arrives(*ask),
                   step("answers", level=1, auth=False), sends(Type.READY), arrives(control(Type.AUTH, bytes(32))), bad("protocol_error")),
        transcript("server-auth", "both prove, then READY", "server", server_auth, step("proof", "right"), proved,
                   sends(Type.READY), arrives(ready), hi, **secret),
        transcript("client-auth", "both prove, then READY", "client", client_auth, step("proof", "right"),
                   sends(Type.READY), arrives(ready), hi, **secret),
        transcript("server-auth-wrong", "a proof with another secret", "server", server_auth, step("proof", "other-secret"),
                   bad("authentication_failed"), **secret),
        transcript("client-auth-wrong", "a proof with another secret", "client", client_auth, step("proof", "other-secret"),
                   bad("authentication_failed"), **secret),
        transcript("client-auth-reflected", "its own proof comes back", "client", client_auth, step("proof", "reflected"),
                   bad("authentication_failed"), **secret),
        transcript("server-auth-zeros", "32 bytes that are no proof", "server", server_auth,
                   arrives(control(Type.AUTH, bytes(32))), bad("authentication_failed"), **secret),
        transcript("server-auth-short", "31 bytes", "server", server_auth, arrives(Frame(Type.AUTH, payload=bytes(31)).encode()),
                   bad("protocol_error"), **secret),
        transcript("server-ready-without-proof", "READY where a proof is due", "server", server_auth, arrives(ready),
                   bad("protocol_error", "authentication_failed"), **secret),
        transcript("client-ready-without-proof", "READY where a proof is due", "client", client_auth, arrives(ready),
                   bad("protocol_error", "authentication_failed"), **secret),
        transcript("server-auth-missing", "this side has a secret, the connector has none", "server", arrives(*ask),
                   step("refuses", ["authentication_failed"]), step("ends", ["authentication_failed"]), **secret),
        transcript("client-auth-missing", "this side has a secret, the acceptor has none", "client", step("asks", auth=True),
                   arrives(*answer), bad("authentication_failed"), **secret),
        transcript("server-auth-level-0", "a proof is demanded, and level 1 with it", "server",
                   arrives(*handshake(encode_request(SERVED))), step("refuses", ["version_mismatch"]),
                   step("ends", ["version_mismatch"]), **secret),
        transcript("server-auth-of-the-connector-alone", "this side has no secret: its answer has no auth", "server",
                   arrives(*ask_auth), step("answers", level=1, auth=False), sends(Type.READY),
                   arrives(control(Type.CLOSE, NUMBERS["authentication_failed"])), step("ends", ["authentication_failed"])),
    ]  # fmt: skip


def messages() -> list[dict[str, Any]]:
    ping = control(Type.PING, b"01234567")
    pong = sends(Type.PONG, token="3031323334353637")
    server, client = opened("server"), opened("client")

    def hostile(name: str, doc: str, *data: bytes | Bytes, error: str = "protocol_error", role: str = "server") -> dict[str, Any]:
        return transcript(name, doc, role, opened(role), arrives(*data), bad(error))

    parts = [f.encode() for f in frames_of(M, 2, 0, b"abcdef", cut=2)]
    return [
        transcript("message-each-way", "one message each way", "server", server, arrives(message(M, 2, 0, b"ping")),
                   delivers(2, b"ping"), does("send", op="m", channel=3, payload=b"pong"), sends(M, channel=3, id=0, payload=b"pong")),
        transcript("empty-message", "0 bytes are a message", "client", client, arrives(message(M, 4)), delivers(4, b""),
                   does("send", op="m", channel=4, payload=b""), sends(M, channel=4, payload=b"")),
        transcript("cut-message", "a message in three frames", "server", server, arrives(*parts), delivers(2, b"abcdef")),
        transcript("cut-message-and-ping", "a ping between the frames is answered before the message is complete", "server",
                   server, arrives(parts[0]), arrives(ping), pong, arrives(*parts[1:]), delivers(2, b"abcdef")),
        transcript("cut-message-and-another-channel", "a whole message between the frames of another", "server", server,
                   arrives(parts[0], message(M, 3, 0, b"between")), delivers(3, b"between"), arrives(*parts[1:]), delivers(2, b"abcdef")),
        transcript("long-message", "1 MiB, in frames of any size", "client", client,
                   does("send", op="m", channel=2, payload=times(b"L", 1 << 20)), sends(M, channel=2, payload=times(b"L", 1 << 20))),
        transcript("ping-answered", "the token comes back", "server", server, arrives(ping), pong),
        transcript("ping-long", "the token is the first 8 bytes", "server", server,
                   arrives(Frame(Type.PING, payload=b"01234567later").encode()), pong),
        transcript("pings-in-order", "answers come in the order of the pings", "client", client,
                   arrives(*[control(Type.PING, b"%08d" % i) for i in range(3)]),
                   [sends(Type.PONG, token=(b"%08d" % i).hex()) for i in range(3)]),
        transcript("grease", "skipped anywhere, and changes nothing", "server", server,
                   arrives(Frame(0x70, 0x3F, 2, 1, b"g" * 100).encode(), parts[0], Frame(0x7F, WHOLE, 2, 0, b"x").encode(), *parts[1:]),
                   delivers(2, b"abcdef")),
        transcript("unknown-frame", "a type of a later version is skipped", "server", server,
                   arrives(Frame(0x42, WHOLE, 2, 77, b"later").encode(), message(M, 2, 0, b"hi")), delivers(2, b"hi")),
        transcript("unknown-extensions", "ignored", "server", server,
                   arrives(Frame(M, WHOLE | Flag.EXT, 2, 0, struct.pack("<H", 9) + extension(0x0777, b"later") + b"hi").encode()),
                   delivers(2, b"hi")),
        transcript("good-then-bad", "what came first is delivered", "server", server,
                   arrives(message(M, 2, 0, b"kept"), Frame(0x01).encode(), message(M, 2, 0, b"lost")),
                   step("closes", ["protocol_error"]), delivers(2, b"kept"), step("ends", ["protocol_error"])),
        hostile("unknown-critical", "a critical frame of a later version", Frame(0x42, Flag.CRITICAL).encode(), error="unknown_frame"),
        hostile("nop-with-length", "a level-0 frame reads like this", Frame(0, payload=b"x").encode()),
        hostile("type-1", "never used", Frame(1).encode(), role="client"),
        hostile("unknown-channel", "not agreed", message(M, 300, 0, b"x"), error="unknown_channel"),
        hostile("reserved-channel", "not agreed", message(M, 5, 0, b"x"), error="unknown_channel", role="client"),
        hostile("channel-zero", "CONTROL carries no message", message(M, 0, 0, b"x"), error="unknown_channel"),
        hostile("request-on-unknown-channel", "not agreed", message(Q, 300, 1, b"x"), error="unknown_channel"),
        hostile("oversize-length", "from the header alone", HEADER.pack(0xFFFFFFFF, M, WHOLE, 2, 0), error="frame_too_large"),
        hostile("oversize-control", "from the header alone", HEADER.pack(1025, Type.PING, 0, 0, 0), error="frame_too_large"),
        hostile("oversize-skipped", "from the header alone", HEADER.pack(16385, 0x70, 0, 0, 0), error="frame_too_large"),
        hostile("oversize-total", "the first frame says it", Frame(M, Flag.FIRST, 2, 0, b"\xff\xff\xff\xffx").encode(), error="frame_too_large"),
        hostile("short-ping", "7 bytes", Frame(Type.PING, payload=b"0123456").encode()),
        hostile("short-credit", "7 bytes", Frame(Type.CREDIT, 0, 2, 0, bytes(7)).encode()),
        hostile("interleaved", "another message inside one of the same channel", parts[0], message(M, 2, 0, b"x")),
        hostile("critical-extension", "of a later version",
                Frame(M, WHOLE | Flag.EXT, 2, 0, struct.pack("<H", 4) + extension(0x8777, b"") + b"hi").encode()),
        hostile("descriptors-not-agreed", "the feature fds was not agreed",
                Frame(M, WHOLE | Flag.EXT | Flag.FDS, 2, 0, struct.pack("<H", 5) + extension(5, b"\1") + b"hi").encode()),
        transcript("small-max-message", "this side takes 100 bytes", "server", server, arrives(message(M, 2, 0, b"x" * 100)),
                   delivers(2, b"x" * 100), arrives(HEADER.pack(101, M, WHOLE, 2, 0)), bad("frame_too_large"),
                   limits={"max_message": 100}),
        transcript("their-max-message", "the other side takes 100 bytes", "client", opened("client", max_message=100),
                   does("send", op="a", channel=2, payload=b"x" * 101), step("fails", op="a", error=["payload_too_large"]),
                   does("send", op="b", channel=2, payload=b"x" * 100), sends(M, channel=2, payload=b"x" * 100)),
        transcript("eof", "without CLOSE, between frames", "server", server, step("eof"), step("ends", ["peer_closed"])),
        transcript("eof-in-a-frame", "inside a frame", "server", server, arrives(parts[0][:5]), step("eof"), step("ends", ["truncated"])),
        transcript("eof-in-a-message", "between the frames of a message", "client", client, arrives(parts[0]), step("eof"), step("ends", ["truncated"])),
        transcript("close", "an orderly end", "server", server, arrives(message(M, 2, 0, b"bye"), control(Type.CLOSE, NUMBERS["closed"])),
                   delivers(2, b"bye"), step("ends", ["peer_closed"])),
        transcript("close-with-code", "the other side found a fault", "client", client,
                   arrives(control(Type.CLOSE, NUMBERS["credit_exceeded"], text="too much")), step("ends", ["credit_exceeded"])),
        transcript("close-with-unknown-code", "of a later version", "client", client,
                   arrives(control(Type.CLOSE, 399, text="too blue")), step("ends", ["remote_error"])),
        transcript("closes", "this side closes", "server", server, does("close"), step("closes", ["closed"]), step("ends", ["closed"])),
    ]  # fmt: skip


def conversations() -> list[dict[str, Any]]:
    server, client = opened("server"), opened("client")

    def reply(ident: int, payload: bytes, **options: Any) -> bytes:
        return message(R, 1, ident, payload, **options)

    def hostile(name: str, doc: str, *data: bytes, before: list[Step] | None = None, role: str = "server") -> dict[str, Any]:
        return transcript(name, doc, role, opened(role), before or [], arrives(*data), bad("protocol_error"))

    one = [arrives(message(Q, 1, 1, b"?")), delivers(1, b"?", call="x")]
    answered = [*one, does("reply", call="x", payload=b"!"), sends(R, channel=1, id=1, payload=b"!")]
    long_reply = [f.encode() for f in frames_of(R, 1, 1, b"abcdef", cut=3)]
    long_request = [f.encode() for f in frames_of(Q, 1, 1, b"abcdef", cut=3)]
    return [
        transcript("call", "a call and its reply", "client", client, does("call", op="a", payload=b"2+2"),
                   sends(Q, channel=1, id=1, payload=b"2+2"), arrives(reply(1, b"4")), step("replies", call="a", payload=b"4")),
        transcript("call-by-the-acceptor", "its ids are even", "server", server, does("call", op="a", payload=b"2+2"),
                   sends(Q, channel=1, id=2, payload=b"2+2"), arrives(reply(2, b"4")), step("replies", call="a", payload=b"4")),
        transcript("call-on-another-channel", "any agreed channel carries calls", "client", client,
                   does("call", op="a", channel=3, payload=b"t"), sends(Q, channel=3, id=1, payload=b"t"),
                   arrives(message(R, 3, 1, b"r")), step("replies", call="a", payload=b"r")),
        transcript("answer", "a call of the other side", "server", server, answered),
        transcript("answer-by-the-connector", "a call of the acceptor", "client", client, arrives(message(Q, 2, 2, b"?")),
                   delivers(2, b"?", call="x"), does("reply", call="x", payload=b"!"), sends(R, channel=2, id=2, payload=b"!")),
        transcript("out-of-order", "replies in any order", "client", client, calls("a", "b", "c"),
                   arrives(reply(5, b"C"), reply(1, b"A"), reply(3, b"B")),
                   [step("replies", call=n, payload=n.upper().encode()) for n in "cab"]),
        transcript("answers-out-of-order", "the program answers in any order", "server", server,
                   arrives(message(Q, 1, 1, b"a"), message(Q, 2, 3, b"b"), message(Q, 1, 9, b"c")),
                   delivers(1, b"a", call="a"), delivers(2, b"b", call="b"), delivers(1, b"c", call="c"),
                   does("reply", call="c", payload=b"C"), sends(R, channel=1, id=9, payload=b"C"),
                   does("reply", call="a", payload=b"A"), sends(R, channel=1, id=1, payload=b"A"),
                   does("reply", call="b", payload=b"B"), sends(R, channel=2, id=3, payload=b"B")),
        transcript("both-call", "ids of both sides never meet", "server", server, does("call", op="a", payload=b"mine"),
                   sends(Q, channel=1, id=2, payload=b"mine"), one, does("reply", call="x", payload=b"!"),
                   sends(R, channel=1, id=1, payload=b"!"), arrives(reply(2, b"yours")), step("replies", call="a", payload=b"yours")),
        transcript("nested-calls", "a call back while a call is served, three deep", "server", server, one,
                   does("call", op="a", payload=b"back"), sends(Q, channel=1, id=2, payload=b"back"),
                   arrives(message(Q, 1, 3, b"again")), delivers(1, b"again", call="y"),
                   does("reply", call="y", payload=b"3"), sends(R, channel=1, id=3, payload=b"3"),
                   arrives(reply(2, b"2")), step("replies", call="a", payload=b"2"),
                   does("reply", call="x", payload=b"1"), sends(R, channel=1, id=1, payload=b"1")),
        transcript("refused", "provably not executed", "client", client, calls("a"),
                   arrives(control(Type.REFUSE, NUMBERS["queue_full"], id=1, text="later")), fails("a", "queue_full", sent="no")),
        transcript("refused-unknown-code", "a code of a later version", "client", client, calls("a"),
                   arrives(control(Type.REFUSE, 299, id=1)), fails("a", "remote_error", sent="no")),
        transcript("abandoned-by-the-other", "no reply will come", "client", client, calls("a"),
                   arrives(control(Type.ERROR, NUMBERS["call_abandoned"], id=1)), fails("a", "call_abandoned", sent="maybe")),
        transcript("abandons", "the program lets a call go", "server", server, one, does("abandon", call="x"),
                   sends(Type.ERROR, id=1, code=NUMBERS["call_abandoned"])),
        transcript("failed", "a code and data of the program", "client", client, calls("a"),
                   arrives(reply(1, b'{"why":"blue"}', extensions=status(4711))),
                   fails("a", "remote_error", code=4711, payload=b'{"why":"blue"}')),
        transcript("fails", "the program fails a call", "server", server, one,
                   does("reply", op="r", call="x", status=4711, payload=b"data"), sends(R, channel=1, id=1, status=4711, payload=b"data")),
        transcript("second-reply", "a call is answered once", "server", server, answered,
                   does("reply", op="r", call="x", payload=b"!!"), step("fails", op="r", error=["call_ended"]), step("silent")),
        # giving up
        transcript("cancel", "the caller lost interest; the late reply is dropped, the next call works", "client", client,
                   calls("a"), does("cancel", call="a"), sends(Type.CANCEL, id=1), fails("a", "cancelled", sent="maybe"),
                   arrives(reply(1, b"late")), calls("b"), arrives(reply(3, b"B")), step("replies", call="b", payload=b"B")),
        transcript("cancel-crossing-reply", "CANCEL for a call that was just answered", "server", server, answered,
                   arrives(control(Type.CANCEL, id=1)), step("silent")),
        transcript("cancelled", "the program is told, its reply goes nowhere", "server", server, one,
                   arrives(control(Type.CANCEL, id=1)), step("told", call="x", why="cancelled"),
                   does("reply", op="r", call="x", payload=b"!"), step("fails", op="r", error=["call_ended"]), step("silent")),
        transcript("late-of-every-kind", "RESPONSE, ERROR and REFUSE of an ended call are dropped", "client", client, calls("a"),
                   arrives(reply(1, b"A")), step("replies", call="a", payload=b"A"),
                   arrives(reply(1, b"again"), control(Type.ERROR, 502, id=1), control(Type.REFUSE, 211, id=1)),
                   step("silent"), calls("b"), arrives(reply(3, b"B")), step("replies", call="b", payload=b"B")),
        transcript("cancel-in-a-long-reply", "half of the reply is here when the call is given up", "client", client, calls("a"),
                   arrives(long_reply[0]), does("cancel", call="a"), sends(Type.CANCEL, id=1), fails("a", "cancelled", sent="maybe"),
                   arrives(long_reply[1]), calls("b"), arrives(reply(3, b"B")), step("replies", call="b", payload=b"B")),
        transcript("late-long-reply", "a dropped message is still put together", "client", client, calls("a"),
                   does("cancel", call="a"), sends(Type.CANCEL, id=1), fails("a", "cancelled"), arrives(long_reply[0]),
                   arrives(message(R, 1, 1, b"x")), bad("protocol_error")),
        transcript("cancel-in-a-long-request", "given up between its frames, and finished all the same", "server", server,
                   arrives(long_request[0], control(Type.CANCEL, id=1)), arrives(long_request[1]), step("silent"),
                   arrives(message(Q, 1, 3, b"next"))),
        transcript("deadline-passes", "the caller's deadline: timeout, CANCEL, and the late reply is dropped", "client", client,
                   does("call", op="a", payload=b"slow", deadline=100), sends(Q, channel=1, id=1, payload=b"slow", deadline_us=100_000),
                   step("clock", 50), step("silent"), step("clock", 51), sends(Type.CANCEL, id=1),
                   fails("a", "timeout", sent="maybe"), arrives(reply(1, b"late")), step("silent")),
        transcript("deadline-passes-here", "the callee counts the deadline from the arrival", "server", server,
                   arrives(message(Q, 1, 1, b"slow", extensions=Extensions(deadline_us=100_000))), delivers(1, b"slow", call="x"),
                   step("clock", 101), step("told", call="x", why="deadline"), does("reply", op="r", call="x", payload=b"late"),
                   step("fails", op="r", error=["call_ended", "timeout"]), step("silent"), arrives(control(Type.CANCEL, id=1)), step("silent")),
        transcript("lost", "a call in flight when the stream ends", "client", client, calls("a"), step("eof"),
                   fails("a", "connection_lost", sent="maybe"), step("ends", ["peer_closed"])),
        # limits
        transcript("max-calls", "beyond what this side serves calls are refused", "server", server,
                   arrives(message(Q, 1, 1, b"a"), message(Q, 1, 3, b"b"), message(Q, 1, 5, b"c")),
                   sends(Type.REFUSE, id=5, code=NUMBERS["queue_full"]), delivers(1, b"a", call="a"),
                   does("reply", call="a", payload=b"A"), sends(R, id=1, payload=b"A"),
                   arrives(message(Q, 1, 7, b"d")), delivers(1, b"b", call="b"), delivers(1, b"d", call="d"), limits={"max_calls": 2}),
        transcript("their-max-calls", "the caller waits for a place", "client", opened("client", max_calls=1), calls("a"),
                   does("call", op="b", payload=b"b"), step("silent"), arrives(reply(1, b"A")), step("replies", call="a", payload=b"A"),
                   sends(Q, channel=1, id=3, payload=b"b"), arrives(reply(3, b"B")), step("replies", call="b", payload=b"B")),
        # ids
        hostile("id-again", "never used again", message(Q, 1, 1, b"again"), before=answered),
        hostile("id-while-open", "never used again", message(Q, 1, 1, b"again"), before=one),
        hostile("id-below", "above every id before", message(Q, 1, 7, b"a"), message(Q, 1, 5, b"b")),
        hostile("id-even-from-a-connector", "odd for the connector", message(Q, 1, 2, b"a")),
        hostile("id-odd-from-an-acceptor", "even for the acceptor", message(Q, 1, 1, b"a"), role="client"),
        hostile("id-0-from-an-acceptor", "0 is the connection", message(Q, 1, 0, b"a"), role="client"),
        hostile("id-0-from-a-connector", "0 is the connection", message(Q, 1, 0, b"a")),
        hostile("reply-never-asked", "no call was ever opened", reply(1, b"x"), role="client"),
        hostile("reply-above", "not opened yet", reply(3, b"x"), before=calls("a"), role="client"),
        hostile("reply-to-ones-own", "a call of the other side is not answered by it", reply(1, b"x"), before=one),
        hostile("reply-on-another-channel", "the channel of the request", message(R, 2, 1, b"x"), before=calls("a"), role="client"),
        hostile("error-never-asked", "no call was ever opened", control(Type.ERROR, 502, id=1), role="client"),
        hostile("refuse-never-asked", "no call was ever opened", control(Type.REFUSE, 211, id=7), role="client"),
        hostile("cancel-never-opened", "no call was ever opened", control(Type.CANCEL, id=1)),
        hostile("cancel-0", "0 is the connection", control(Type.CANCEL, id=0)),
        hostile("credit-never-opened", "no call was ever opened", control(Type.CREDIT, 9, id=1)),
        hostile("stream-never-opened", "no call was ever opened", message(S, 1, 1, b"x")),
        hostile("stream-of-a-plain-call", "the call is no stream", message(S, 1, 1, b"x"), before=one),
        hostile("stream-of-a-plain-call-from-the-callee", "the call is no stream", message(S, 1, 1, b"x"), before=calls("a"), role="client"),
    ]  # fmt: skip


def streams() -> list[dict[str, Any]]:
    server, client = opened("server"), opened("client")
    theirs = [arrives(message(Q, 1, 1, b"open", Flag.STREAM)), delivers(1, b"open", call="x", stream=True)]
    mine = [does("call", op="a", payload=b"open", stream=True), sends(Q, channel=1, id=1, payload=b"open", stream=True)]

    def item(payload: bytes, fin: bool = False, ident: int = 1) -> bytes:
        return message(S, 1, ident, payload, Flag.FIN if fin else 0)

    end = [arrives(message(R, 1, 1, b"done")), step("replies", call="a", payload=b"done")]
    return [
        transcript("stream-in", "items of the caller, FIN without an item, and the reply", "server", server, theirs,
                   arrives(item(b"1"), item(b""), item(b"3")), step("item", call="x", payload=b"1"), step("item", call="x", payload=b""),
                   step("item", call="x", payload=b"3"), arrives(item(b"", True)), step("finished", "x"),
                   does("reply", call="x", payload=b"done"), sends(R, channel=1, id=1, payload=b"done")),
        transcript("stream-in-fin-on-the-last", "FIN on the last item", "server", server, theirs,
                   arrives(item(b"1"), item(b"2", True)), step("item", call="x", payload=b"1"), step("item", call="x", payload=b"2"),
                   step("finished", "x")),
        transcript("stream-in-fin-at-once", "the caller sends no items at all", "server", server,
                   arrives(message(Q, 1, 1, b"open", Flag.STREAM | Flag.FIN)), delivers(1, b"open", call="x", stream=True),
                   step("finished", "x"), does("item", call="x", payload=b"1"), sends(S, channel=1, id=1, payload=b"1"),
                   does("reply", call="x", payload=b"done"), sends(R, channel=1, id=1, payload=b"done")),
        transcript("stream-out", "this side calls and sends items", "client", client, mine,
                   does("item", call="a", payload=b"1"), sends(S, channel=1, id=1, payload=b"1"),
                   does("item", call="a", payload=b"", fin=True), sends(S, channel=1, id=1, payload=b"", fin=True), end),
        transcript("stream-out-fin-at-once", "FIN in the REQUEST", "client", client,
                   does("call", op="a", payload=b"open", stream=True, fin=True),
                   sends(Q, channel=1, id=1, payload=b"open", stream=True, fin=True),
                   arrives(item(b"1"), item(b"2")), step("item", call="a", payload=b"1"), step("item", call="a", payload=b"2"), end),
        transcript("stream-both-ways", "items cross, FIN both ways", "client", client, mine,
                   does("item", call="a", payload=b"1"), sends(S, id=1, payload=b"1"), arrives(item(b"A")), step("item", call="a", payload=b"A"),
                   does("item", call="a", payload=b"2", fin=True), sends(S, id=1, payload=b"2", fin=True),
                   arrives(item(b"B", True)), step("item", call="a", payload=b"B"), end),
        transcript("two-streams", "streams of both sides do not disturb each other", "server", server, theirs,
                   does("call", op="a", payload=b"back", stream=True), sends(Q, channel=1, id=2, payload=b"back", stream=True),
                   arrives(item(b"x1"), item(b"a1", ident=2), item(b"x2")), step("item", call="a", payload=b"a1"),
                   step("item", call="x", payload=b"x1"), step("item", call="x", payload=b"x2")),
        transcript("reply-before-fin", "the call is over, and what the caller still sends is late", "server", server, theirs,
                   does("reply", call="x", payload=b"enough"), sends(R, channel=1, id=1, payload=b"enough"),
                   arrives(item(b"late"), control(Type.CREDIT, 1 << 20, id=1), item(b"", True)), step("silent")),
        transcript("stream-cancelled", "CANCEL ends both directions", "server", server, theirs, arrives(item(b"1")),
                   arrives(control(Type.CANCEL, id=1)), step("told", call="x", why="cancelled"),
                   does("item", op="i", call="x", payload=b"2"), step("fails", op="i", error=["call_ended"]), step("silent")),
        transcript("stream-cancel", "items that cross a CANCEL are late", "client", client, mine, does("cancel", call="a"),
                   sends(Type.CANCEL, id=1), fails("a", "cancelled"), arrives(item(b"late"), control(Type.CREDIT, 9, id=1)), step("silent")),
        transcript("item-after-fin", "nothing more comes", "server", server, theirs, arrives(item(b"1", True), item(b"2")), bad("protocol_error")),
        transcript("item-after-fin-at-once", "nothing more comes", "server", server,
                   arrives(message(Q, 1, 1, b"open", Flag.STREAM | Flag.FIN), item(b"1")), bad("protocol_error")),
        transcript("fin-twice", "nothing more comes, not even FIN", "server", server, theirs,
                   arrives(item(b"", True), item(b"", True)), bad("protocol_error")),
        transcript("item-on-another-channel", "the channel of the request", "server", server, theirs,
                   arrives(message(S, 2, 1, b"x")), bad("protocol_error")),
        transcript("stream-credit-exhausted", "its own credit, not the channel's", "client", opened("client", stream_window=200), mine,
                   does("item", call="a", payload=b"x" * 100), sends(S, id=1, payload=b"x" * 100),
                   does("item", call="a", payload=b"y" * 100), sends(S, id=1, payload=b"y" * 100),
                   does("item", call="a", payload=b"z"), step("silent"), does("send", op="m", channel=1, payload=b"free"),
                   sends(M, channel=1, payload=b"free"), arrives(control(Type.CREDIT, 328, id=1)), step("silent"),
                   arrives(control(Type.CREDIT, 329, id=1)), sends(S, id=1, payload=b"z")),
        transcript("stream-credit-exceeded", "the window of a stream", "server", server, theirs,
                   arrives(item(b"x" * 936), item(b"y")), bad("credit_exceeded"), limits={"stream_window": 1000}),
        transcript("stream-credit-renewed", "as the program takes items", "server", server, theirs,
                   arrives(item(b"x" * 936)), step("item", call="x", payload=b"x" * 936), step("credits", id=1, at_least=1500),
                   arrives(item(b"y")), step("item", call="x", payload=b"y"), limits={"stream_window": 1000}),
    ]  # fmt: skip


def credit() -> list[dict[str, Any]]:
    small = opened("client", window=200)

    def put(payload: bytes, channel: int = 2) -> Step:
        return does("send", op="m", channel=channel, payload=payload)

    def out(payload: bytes, channel: int = 2) -> Step:
        return sends(M, channel=channel, payload=payload)

    full = message(M, 2, 0, b"x" * (1000 - CHARGE))
    return [
        transcript("credit-exhausted", "a message is begun below the total, and may pass it once", "client", small,
                   put(b"a" * 100), out(b"a" * 100), put(b"b" * 100), out(b"b" * 100), put(b"c"), step("silent"),
                   arrives(control(Type.CREDIT, 328, channel=2)), step("silent"),
                   arrives(control(Type.CREDIT, 329, channel=2)), out(b"c")),
        transcript("credit-of-one-message", "a message larger than the window passes", "client", small, put(b"L" * 5000), out(b"L" * 5000),
                   put(b"next"), step("silent"), arrives(control(Type.CREDIT, 5065, channel=2)), out(b"next")),
        transcript("credit-lower", "a lower or equal total is ignored", "client", small, put(b"L" * 136), out(b"L" * 136), put(b"next"),
                   step("silent"), arrives(control(Type.CREDIT, 100, channel=2), control(Type.CREDIT, 200, channel=2), control(Type.CREDIT, 0, channel=2)),
                   step("silent"), arrives(control(Type.CREDIT, 201, channel=2), control(Type.CREDIT, 5, channel=2)), out(b"next")),
        transcript("credit-by-channel", "a channel without credit stops no other", "client", small, put(b"L" * 200), out(b"L" * 200),
                   put(b"waits"), step("silent"), put(b"goes", 4), out(b"goes", 4), arrives(control(Type.CREDIT, 1000, channel=4)),
                   step("silent"), arrives(control(Type.CREDIT, 265, channel=2)), out(b"waits")),
        transcript("credit-for-calls", "REQUEST is charged, the reply needs none", "client", opened("client", window=64),
                   calls("a"), does("call", op="b", payload=b"b"), step("silent"), arrives(message(R, 1, 1, b"r" * 500)),
                   step("replies", call="a", payload=b"r" * 500), step("silent"), arrives(control(Type.CREDIT, 66, channel=1)),
                   sends(Q, channel=1, id=3, payload=b"b")),
        transcript("replies-need-none", "answers leave without credit", "server", opened("server", window=0),
                   put(b"waits", 1), arrives(message(Q, 1, 1, b"?")), delivers(1, b"?", call="x"),
                   does("reply", call="x", payload=b"!" * 500), sends(R, channel=1, id=1, payload=b"!" * 500), step("silent")),
        transcript("control-needs-none", "a ping is answered without credit", "server", opened("server", window=0), put(b"waits"),
                   arrives(control(Type.PING, b"01234567")), sends(Type.PONG, token="3031323334353637"), step("silent")),
        transcript("credit-2-to-the-64", "the largest total", "client", small, put(b"L" * 200), out(b"L" * 200),
                   arrives(control(Type.CREDIT, NO_LAST, channel=2)), put(b"a" * 1000), out(b"a" * 1000), put(b"b" * 1000), out(b"b" * 1000)),
        transcript("credit-exceeded", "a message begun without credit", "server", opened("server"), arrives(full, message(M, 2, 0, b"y")),
                   bad("credit_exceeded"), limits={"window": 1000}),
        transcript("credit-exceeded-empty", "an empty message is charged too", "server", opened("server"), arrives(full, message(M, 2)),
                   bad("credit_exceeded"), limits={"window": 1000}),
        transcript("credit-exceeded-by-a-call", "REQUEST is charged like MESSAGE", "server", opened("server"),
                   arrives(full, message(Q, 2, 1, b"y")), bad("credit_exceeded"), limits={"window": 1000}),
        transcript("credit-passed-once", "a message may pass the total, a channel beside it is free", "server", opened("server"),
                   arrives(message(M, 2, 0, b"x" * 935), message(M, 2, 0, b"y" * 5000), message(M, 3, 0, b"z")),
                   delivers(2, b"x" * 935), delivers(2, b"y" * 5000), delivers(3, b"z"), limits={"window": 1000}),
        transcript("credit-charged-at-once", "all of a cut message with its first frame", "server", opened("server"),
                   arrives(*[f.encode() for f in frames_of(M, 2, 0, b"x" * 936, cut=400)][:2], message(M, 3, 0, b"z")), delivers(3, b"z"),
                   arrives(*[f.encode() for f in frames_of(M, 2, 0, b"x" * 936, cut=400)][2:]), arrives(message(M, 2, 0, b"y")),
                   bad("credit_exceeded"), limits={"window": 1000}),
        transcript("credit-renewed", "as the program takes messages", "server", opened("server"), arrives(full), delivers(2, b"x" * 936),
                   step("credits", channel=2, at_least=1500), arrives(full), delivers(2, b"x" * 936),
                   step("credits", channel=2, at_least=2500), arrives(message(M, 2, 0, b"y")), delivers(2, b"y"), limits={"window": 1000}),
        transcript("credit-for-a-refused-call", "what is refused is given back", "server", opened("server"),
                   arrives(message(Q, 1, 1, b"a")), delivers(1, b"a", call="a"), arrives(message(Q, 1, 3, b"x" * 936)),
                   sends(Type.REFUSE, id=3, code=NUMBERS["queue_full"]), step("credits", channel=1, at_least=1500),
                   limits={"window": 1000, "max_calls": 1}),
    ]  # fmt: skip


def ends() -> list[dict[str, Any]]:
    server, client = opened("server"), opened("client")
    first, second = sends(Type.GOAWAY, last=NO_LAST), sends(Type.GOAWAY, last=0)
    away = control(Type.GOAWAY, NO_LAST, NUMBERS["closed"])
    ack, bye = control(Type.DRAIN_ACK), control(Type.CLOSE, NUMBERS["closed"])
    closed = [{"closes": ["closed"]}, step("eof"), step("drained")]

    def last(ident: int) -> bytes:
        return control(Type.GOAWAY, ident, NUMBERS["closed"])

    return [
        transcript("drain", "in two steps", "client", client, does("drain"), first, arrives(ack), second, closed),
        transcript("drain-with-calls", "its own calls are waited for, the other side's are answered", "server", server,
                   does("call", op="a", payload=b"a"), sends(Q, id=2, payload=b"a"), does("drain"), first,
                   arrives(message(Q, 1, 1, b"crossing"), ack), sends(Type.GOAWAY, last=1), delivers(1, b"crossing", call="x"),
                   does("reply", call="x", payload=b"yes"), sends(R, id=1, payload=b"yes"), step("silent"),
                   arrives(message(R, 1, 2, b"A")), step("replies", call="a", payload=b"A"), closed),
        transcript("drain-starts-nothing-new", "the draining side opens nothing", "client", client, does("drain"), first,
                   does("send", op="m", channel=2, payload=b"x"), step("fails", op="m", error=["draining"]),
                   does("call", op="a", payload=b"x"), fails("a", "draining", sent="no"), arrives(ack), second, closed),
        transcript("drained-by-the-other", "the receiver acknowledges and opens nothing new", "server", server, arrives(away),
                   sends(Type.DRAIN_ACK), does("send", op="m", channel=2, payload=b"x"), step("fails", op="m", error=["draining"]),
                   does("call", op="a", payload=b"x"), fails("a", "draining", sent="no"), arrives(last(0)), step("silent"),
                   arrives(bye), step("ends", ["peer_closed"])),
        transcript("drained-while-serving", "open calls end before", "server", server, arrives(message(Q, 1, 1, b"?"), away),
                   sends(Type.DRAIN_ACK), delivers(1, b"?", call="x"), arrives(last(0)), does("reply", call="x", payload=b"!"),
                   sends(R, id=1, payload=b"!"), arrives(bye), step("ends", ["peer_closed"])),
        transcript("drained-while-calling", "its own calls below the last id are answered", "client", client, calls("a"), arrives(away),
                   sends(Type.DRAIN_ACK), arrives(last(1), message(R, 1, 1, b"A")), step("replies", call="a", payload=b"A"),
                   arrives(bye), step("ends", ["peer_closed"])),
        transcript("drained-with-a-queue", "what is queued still leaves, and behind it DRAIN_ACK", "client", opened("client", window=64),
                   does("send", op="m", channel=2, payload=b"1"), sends(M, channel=2, payload=b"1"),
                   does("send", op="n", channel=2, payload=b"2"), step("silent"), arrives(away), step("silent"),
                   arrives(control(Type.CREDIT, 1000, channel=2)), sends(M, channel=2, payload=b"2"), sends(Type.DRAIN_ACK)),
        transcript("call-above-the-last", "a call above the last GOAWAY was not executed", "client", client, calls("a", "b"), arrives(away),
                   sends(Type.DRAIN_ACK), arrives(last(1), message(R, 1, 1, b"A")), step("replies", call="a", payload=b"A"),
                   arrives(bye), fails("b", "draining", "connection_lost", sent="no"), step("ends", ["peer_closed"])),
        transcript("crossing-drains", "both drain, both succeed", "server", server, does("drain"), first, arrives(away),
                   sends(Type.DRAIN_ACK), arrives(ack), second, closed),
        transcript("crossing-drains-with-calls", "each side answers, each waits for its own", "client", client, calls("a"),
                   does("drain"), first, arrives(message(Q, 1, 2, b"?"), away), sends(Type.DRAIN_ACK), arrives(ack),
                   sends(Type.GOAWAY, last=2), arrives(last(1)), delivers(1, b"?", call="x"), does("reply", call="x", payload=b"!"),
                   sends(R, id=2, payload=b"!"), arrives(message(R, 1, 1, b"A")), step("replies", call="a", payload=b"A"), closed),
        transcript("stream-drained", "an open stream goes on until it ends", "client", client,
                   does("call", op="a", payload=b"open", stream=True), sends(Q, id=1, payload=b"open", stream=True), does("drain"), first,
                   arrives(ack), second, does("item", call="a", payload=b"1"), sends(S, id=1, payload=b"1"),
                   arrives(message(R, 1, 1, b"done")), step("replies", call="a", payload=b"done"), closed),
        transcript("ping", "a ping of the program", "client", client, does("ping"), sends(Type.PING)),
        transcript("keepalive", "this side pings when nothing arrives", "server", server, step("clock", 999), step("silent"), step("clock", 2),
                   sends(Type.PING), step("clock", 500), step("silent"), arrives(message(M, 2, 0, b"x")), delivers(2, b"x"),
                   step("clock", 998), step("silent"), step("clock", 3), sends(Type.PING), limits={"keepalive_ms": 1000}),
        transcript("keepalive-unanswered", "the other side is stuck", "client", client, step("clock", 1001), sends(Type.PING),
                   step("clock", 500), step("silent"), step("clock", 2000), step("ends", ["peer_unresponsive"]), limits={"keepalive_ms": 1000}),
        transcript("no-keepalive", "a side that announced none never pings", "client", opened("client", keepalive_ms=1000),
                   step("clock", 100_000), step("silent")),
    ]  # fmt: skip


def transcripts() -> list[dict[str, Any]]:
    return [*handshakes(), *messages(), *conversations(), *streams(), *credit(), *ends()]
