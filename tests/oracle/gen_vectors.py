"""Writes tests/vectors/framing/*.json and tests/vectors/level1/*.json. The inputs are listed here, in
`gen_handshakes.py` and in `gen_transcripts.py`, those of level 1 in the `gen_level1_*.py`; the
expectations are what the oracle answers.

    python3 tests/oracle/gen_vectors.py            rewrites the files
    python3 tests/oracle/gen_vectors.py --check    fails when a file differs from what would be written
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from level0 import (
    CONTROL,
    DATA,
    HEADER,
    MAGIC,
    MAX_HANDSHAKE,
    MAX_PAYLOAD,
    Decoder,
    Frame,
    Violation,
    encode_control,
    parse_control,
)

TARGET = Path(__file__).resolve().parent.parent / "vectors" / "framing"
LEVEL1 = TARGET.parent / "level1"

Bytes = Any  # a hex string, {"text": …}, {"hex": …, "times": …}, or a list of these; see the README


def hexed(data: bytes) -> Bytes:
    return data.hex()


def text(value: str) -> Bytes:
    return {"text": value}


def times(data: bytes, count: int) -> Bytes:
    return {"hex": data.hex(), "times": count}


def raw(value: Bytes) -> bytes:
    """The bytes that a vector's byte value stands for."""
    if isinstance(value, str):
        return bytes.fromhex(value)
    if isinstance(value, list):
        return b"".join(raw(part) for part in value)
    if "text" in value:
        return str(value["text"]).encode("utf-8")
    return bytes.fromhex(value["hex"]) * int(value.get("times", 1))


def short(data: bytes) -> Bytes:
    """Long payloads of one repeated byte are written as a repetition."""
    if len(data) > 64 and len(set(data)) == 1:
        return times(data[:1], len(data))
    return hexed(data)


def header(length: int, channel: int, magic: bytes = MAGIC) -> Bytes:
    return hexed(HEADER.pack(magic, length, channel))


# ---------------------------------------------------------------- frames


def decode_case(name: str, doc: str, *chunks: Bytes, eof: bool = False, limit: int = MAX_PAYLOAD) -> dict[str, Any]:
    decoder = Decoder(limit)
    frames: list[Frame] = []
    end = "more"
    try:
        for chunk in chunks:
            decoder.feed(raw(chunk))
            while (frame := decoder.next()) is not None:
                frames.append(frame)
        if eof:
            decoder.eof()
            end = "clean"
    except Violation as problem:
        end = problem.names[0]
    expect = {"frames": [{"channel": f.channel, "payload": short(f.payload)} for f in frames], "end": end}
    return {"id": name, "doc": doc, "limit": limit, "chunks": list(chunks), "eof": eof, "expect": expect}


def frames() -> list[dict[str, Any]]:
    every_byte = bytes(range(256))
    three = Frame(1, b"one").encode() + Frame(2).encode() + Frame(0xFFFF, b"three").encode()
    cases = [
        decode_case("empty-stream", "no byte at all is a clean end", eof=True),
        decode_case("empty-payload", "a frame of length 0 is legal", header(0, DATA), eof=True),
        decode_case("one-byte", "the smallest payload", [header(1, 1), "00"], eof=True),
        decode_case("all-byte-values", "the payload is opaque", hexed(Frame(DATA, every_byte).encode()), eof=True),
        decode_case("length-is-little-endian", "258 bytes: 02 01 00 00", [header(258, DATA), times(b"a", 258)]),
        decode_case("channel-is-little-endian", "channel 0x0201: 01 02", [header(0, 0x0201)]),
        decode_case("highest-channel", "channel 65535", [header(2, 0xFFFF), "6869"]),
        decode_case("three-in-one-chunk", "many frames in one read", hexed(three), eof=True),
        decode_case("byte-by-byte", "every cut is legal", *[hexed(bytes([b])) for b in three], eof=True),
        decode_case(
            "payload-that-looks-like-a-frame",
            "no search inside a payload",
            hexed(Frame(DATA, Frame(1, b"x").encode()).encode()),
            eof=True,
        ),
        decode_case("at-the-limit", "the limit is inclusive", [header(MAX_PAYLOAD, DATA), times(b"\xa5", MAX_PAYLOAD)]),
        decode_case("one-over-the-limit", "judged from the header alone", header(MAX_PAYLOAD + 1, DATA)),
        decode_case("length-2-to-the-31", "judged from the header alone", header(1 << 31, DATA)),
        decode_case("length-2-to-the-32-minus-1", "judged from the header alone", header(0xFFFFFFFF, DATA)),
        decode_case(
            "big-endian-length",
            "00 00 00 05 read as little-endian is over the limit",
            ["4950", "00000005", "0200", {"text": "hello"}],
        ),
        decode_case("small-limit", "a smaller limit of this side", [header(17, DATA), times(b"a", 17)], limit=16),
        decode_case("small-limit-reached", "exactly at it", [header(16, DATA), times(b"a", 16)], limit=16),
        decode_case(
            "handshake-limit",
            "16384 bytes while the handshake lasts",
            [header(MAX_HANDSHAKE, CONTROL), times(b" ", MAX_HANDSHAKE)],
            limit=MAX_HANDSHAKE,
        ),
        decode_case(
            "handshake-limit-plus-1",
            "16385 bytes are refused from the header",
            header(MAX_HANDSHAKE + 1, CONTROL),
            limit=MAX_HANDSHAKE,
        ),
        decode_case(
            "frames-before-an-error-count",
            "what came before the bad frame is delivered",
            [hexed(Frame(1, b"good").encode()), header(0, 1, b"IX")],
        ),
        decode_case(
            "no-resync",
            "a valid frame behind a bad header is never found",
            header(0, 1, b"XX"),
            hexed(Frame(1, b"late").encode()),
        ),
        decode_case("http-request", "another protocol", text("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")),
        decode_case("zeros", "eight zero bytes are no header", times(b"\0", 8)),
    ]
    for magic in (b"IX", b"XP", b"PI", b"ip", b"\0\0", b"\xff\xff", b"I\0", b"\0P"):
        cases.append(decode_case(f"magic-{magic.hex()}", "any other magic", header(0, 1, magic)))
    stream = Frame(DATA, b"payload").encode()
    for cut in range(len(stream)):
        cases.append(
            decode_case(f"cut-at-{cut}", "end of stream inside or before a frame", hexed(stream[:cut]), eof=True)
        )
    second = Frame(1, b"a").encode() + stream
    for cut in (9, 10, 16, 17, 18, len(second) - 1):
        cases.append(
            decode_case(f"second-cut-at-{cut}", "end of stream after a whole frame", hexed(second[:cut]), eof=True)
        )
    return cases


# ---------------------------------------------------------------- control


def control_case(name: str, doc: str, payload: Bytes) -> dict[str, Any]:
    try:
        expect: dict[str, Any] = {"type": parse_control(raw(payload))}
    except Violation as problem:
        expect = {"error": list(problem.names)}
    return {"id": name, "doc": doc, "payload": payload, "expect": expect}


def control() -> list[dict[str, Any]]:
    cases = [
        control_case(kind.replace("_", "-"), "as it is sent", hexed(encode_control(kind)))
        for kind in ("ping", "pong", "shutdown_request", "shutdown_ack", "shutdown_force")
    ]
    cases += [
        control_case(
            "ping-with-payload", "payload may be any JSON", text('{"type":"ping","payload":[1,null,{"a":"b"}]}')
        ),
        control_case(
            "ping-with-timestamp", "timestamp is a string", text('{"type":"ping","timestamp":"2026-01-01T00:00:00Z"}')
        ),
        control_case("payload-null", "null is a value like any other", text('{"type":"ping","payload":null}')),
        control_case(
            "shutdown-with-reason",
            "the payload may carry a reason",
            text('{"type":"shutdown_request","payload":{"reason":"bye"}}'),
        ),
        control_case("unknown-member", "unknown members are ignored", text('{"type":"pong","nonce":7}')),
        control_case(
            "member-order-and-space",
            "order and white space are free",
            text(' {\n"payload" : 1 , "type" : "ping"\t}\r\n'),
        ),
        control_case("unicode-escape", "escapes are JSON's", text('{"\\u0074ype":"p\\u0069ng"}')),
        control_case("unknown-type", "a type this level does not have", text('{"type":"hello"}')),
        control_case("type-is-case-sensitive", "PING is not ping", text('{"type":"PING"}')),
        control_case("empty-type", "the empty string is no known type", text('{"type":""}')),
        control_case("no-type", "type is required", text("{}")),
        control_case("type-number", "type is a string", text('{"type":1}')),
        control_case("type-null", "type is a string", text('{"type":null}')),
        control_case("empty", "an empty frame on CONTROL", ""),
        control_case("array", "not an object", text('["ping"]')),
        control_case("string", "not an object", text('"ping"')),
        control_case("null", "not an object", text("null")),
        control_case("cut", "unfinished JSON", text('{"type":"ping"')),
        control_case("trailing-garbage", "one value, nothing behind it", text('{"type":"ping"}x')),
        control_case("two-values", "one value, nothing behind it", text('{"type":"ping"}{"type":"ping"}')),
        control_case("single-quotes", "not JSON", text("{'type':'ping'}")),
        control_case("invalid-utf8", "not UTF-8", ["7b2274797065223a22", "ff", "227d"]),
        control_case("duplicate-type", "a member that appears twice", text('{"type":"ping","type":"pong"}')),
        control_case(
            "deep",
            "nesting is bounded",
            [text('{"type":"ping","payload":'), times(b"[", 4096), times(b"]", 4096), text("}")],
        ),
    ]
    return cases


def document(kind: str, doc: str, cases: list[dict[str, Any]]) -> str:
    seen = [case["id"] for case in cases]
    assert len(set(seen)) == len(seen), f"{kind}: a case id appears twice"
    lines = ",\n    ".join(json.dumps(case, ensure_ascii=False) for case in cases)
    return f'{{\n  "kind": {json.dumps(kind)},\n  "doc": {json.dumps(doc)},\n  "cases": [\n    {lines}\n  ]\n}}\n'


def files() -> dict[str, str]:
    from gen_handshakes import requests, responses
    from gen_transcripts import transcripts

    return {
        "frames.json": document("frames", "Byte streams and the frames they hold.", frames()),
        "control.json": document("control", "Payloads of CONTROL frames after the handshake.", control()),
        "requests.json": document("requests", "Handshake requests as a server sees them.", requests()),
        "responses.json": document("responses", "Handshake answers as a client sees them.", responses()),
        "transcripts.json": document("transcripts", "Whole conversations with one side under test.", transcripts()),
    }


def level1_files() -> dict[str, str]:
    from gen_level1_hello import grants, offers, proofs
    from gen_level1_transcripts import transcripts
    from gen_level1_wire import controls, extensions
    from gen_level1_wire import frames as level1_frames

    kinds = {
        "frames": ("Byte streams, and the control frames and messages they hold.", level1_frames()),
        "extensions": ("Extensions as they stand in a frame and in READY.", extensions()),
        "control": ("Payloads of control frames.", controls()),
        "offers": ("The hostlane member of requests, as a server sees them.", offers()),
        "grants": ("The hostlane member of responses, as a client sees them.", grants()),
        "proofs": ("The proofs of both sides.", proofs()),
        "transcripts": ("Whole conversations with one side under test.", transcripts()),
    }
    return {f"{name}.json": document(f"level1_{name}", doc, cases) for name, (doc, cases) in kinds.items()}


def trees() -> dict[Path, dict[str, str]]:
    return {TARGET: files(), LEVEL1: level1_files()}


def main(arguments: list[str]) -> int:
    wanted = {directory / name: content for directory, found in trees().items() for name, content in found.items()}
    stale = [path for path, content in wanted.items() if not path.exists() or path.read_text("utf-8") != content]
    if arguments == ["--check"]:
        for path in stale:
            print(f"tests/vectors/{path.parent.name}/{path.name} is out of date", file=sys.stderr)
        return 1 if stale else 0
    if arguments:
        print(__doc__, file=sys.stderr)
        return 64
    for path, content in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
