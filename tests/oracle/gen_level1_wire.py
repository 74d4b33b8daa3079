"""The vectors of level 1's frames, extensions and control frames. `gen_vectors.py` writes them down; the
expectations are what `level1.py` answers."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from gen_vectors import Bytes, hexed, raw, short, times
from level0 import MAX_PAYLOAD, Violation
from level1 import (
    CUT,
    GREASE,
    HEADER,
    MAX_CONTROL,
    MAX_EXTENSIONS,
    MAX_SKIPPED,
    NO_LAST,
    WHOLE,
    Assembler,
    Decoder,
    Flag,
    Frame,
    Message,
    Type,
    block,
    control,
    extension,
    message,
    parse_control,
    parse_extensions,
    split_block,
)


def head(length: int, kind: int, flags: int = 0, channel: int = 0, id: int = 0) -> str:
    return HEADER.pack(length, kind, flags, channel, id).hex()


def frame(kind: int, flags: int = 0, channel: int = 0, id: int = 0, payload: bytes = b"") -> bytes:
    return Frame(kind, flags, channel, id, payload).encode()


# ---------------------------------------------------------------- frames


def values(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in fields.items()}


def item(kind: int, channel: int, id: int, found: dict[str, Any] | Message) -> dict[str, Any]:
    if isinstance(found, Message):
        entry: dict[str, Any] = {"type": Type(kind).name, "channel": channel, "id": id}
        entry["payload"] = short(bytes(found.payload))
        entry |= {name: True for name in ("stream", "fin") if getattr(found, name)}
        if found.extensions.known():
            entry["extensions"] = values(found.extensions.known())
        return entry
    entry = {"type": Type(kind).name}
    if kind == Type.CREDIT:
        entry["channel"] = channel
    if kind in (Type.ERROR, Type.CREDIT, Type.CANCEL, Type.REFUSE):
        entry["id"] = id
    return entry | values(found)


def decode(chunks: Sequence[bytes], eof: bool, max_message: int, ready: bool) -> tuple[list[dict[str, Any]], Any]:
    """What comes out of these bytes, and where the decoder stands then."""
    decoder, assembler = Decoder(max_message, ready), Assembler(max_message)
    items: list[dict[str, Any]] = []
    try:
        for chunk in chunks:
            decoder.feed(chunk)
            while (found := decoder.next()) is not None:
                if not found.carries_message():
                    fields = parse_control(found.type, found.payload)
                    if found.type != Type.NOP:
                        items.append(item(found.type, found.channel, found.id, fields))
                elif (piece := assembler.accept(found)).last:
                    items.append(item(found.type, found.channel, found.id, piece.message))
    except Violation as problem:
        return items, list(problem.names)
    if not eof:
        return items, "more"
    return items, ["truncated"] if decoder.inside() or assembler.open else "clean"


def frames_case(
    name: str, doc: str, *chunks: Bytes, eof: bool = False, max_message: int = MAX_PAYLOAD, ready: bool = True
) -> dict[str, Any]:
    items, end = decode([raw(chunk) for chunk in chunks], eof, max_message, ready)
    return {
        "id": name,
        "doc": doc,
        "max_message": max_message,
        "ready": ready,
        "chunks": list(chunks),
        "eof": eof,
        "expect": {"items": items, "end": end},
    }


def frames() -> list[dict[str, Any]]:
    M, Q, R, S = Type.MESSAGE, Type.REQUEST, Type.RESPONSE, Type.STREAM
    first, last, middle = Flag.FIRST, Flag.LAST, Flag.NONE
    hi = message(M, 2, 0, b"hi")
    ping = control(Type.PING, b"01234567")

    def cut(total: int, *parts: tuple[int, bytes], kind: int = M, channel: int = 2, id: int = 0) -> bytes:
        """Frames of one message, with any total and any flags."""
        out = b""
        for index, (flags, data) in enumerate(parts):
            front = total.to_bytes(4, "little") if index == 0 else b""
            out += frame(kind, flags, channel, id, front + data)
        return out

    def case(name: str, doc: str, *chunks: bytes | Bytes, **options: Any) -> dict[str, Any]:
        return frames_case(name, doc, *[hexed(c) if isinstance(c, bytes) else c for c in chunks], **options)

    two = cut(5, (first, b"hel"), (last, b"lo"))
    three = cut(9, (first, b"one"), (middle, b"two"), (last, b"six"))
    mixed = hi + ping + three + message(Q, 1, 7, b"", Flag.STREAM | Flag.FIN) + control(Type.CANCEL, id=7)
    cases = [
        case("empty-stream", "no byte at all is a clean end", eof=True),
        case("the-example", "the text hi as a MESSAGE on channel 2", "020000001003020000000000000000006869", eof=True),
        case("empty-message", "0 bytes are a message", message(M, 2), eof=True),
        case(
            "every-message-type",
            "the four types that carry messages",
            message(M, 2, 0, b"m") + message(Q, 1, 1, b"q") + message(R, 1, 1, b"r") + message(S, 1, 1, b"s"),
            eof=True,
        ),
        case(
            "flags-of-streams",
            "STREAM and FIN of a REQUEST, FIN of a STREAM message",
            message(Q, 1, 1, b"q", Flag.STREAM)
            + message(Q, 1, 3, b"q", Flag.STREAM | Flag.FIN)
            + message(S, 1, 1, b"s")
            + message(S, 1, 1, b"s", Flag.FIN)
            + message(S, 1, 3, b"", Flag.FIN),
        ),
        case("highest-numbers", "channel 65535 and id 2^64-1", message(Q, 0xFFFF, NO_LAST, b"x")),
        case(
            "little-endian",
            "length 258, channel 0x0201, id 0x0807060504030201",
            [head(258, Q, WHOLE, 0x0201, 0x0807060504030201), times(b"a", 258)],
        ),
        case("reserved-flag", "0x40 is ignored", frame(M, WHOLE | Flag.RESERVED, 2, 0, b"x")),
        case(
            "critical-known",
            "CRITICAL says nothing about a known type",
            frame(M, WHOLE | Flag.CRITICAL, 2, 0, b"x") + frame(Type.PING, Flag.CRITICAL, 0, 0, b"01234567"),
        ),
        case(
            "byte-by-byte", "every cut into chunks is legal", *[mixed[i : i + 1] for i in range(len(mixed))], eof=True
        ),
        case("many-in-one-chunk", "the same bytes in one read", mixed, eof=True),
        # cut messages
        case("two-frames", "a message in two frames", two, eof=True),
        case("three-frames", "a message in three frames", three, eof=True),
        case("frames-of-one-byte", "frames of any size", cut(3, (first, b"a"), (middle, b"b"), (last, b"c"))),
        case(
            "cut-with-extensions",
            "extensions, then the total, then bytes",
            frame(M, first | Flag.EXT, 2, 0, block(extension(3, b"tr")) + (4).to_bytes(4, "little") + b"ab")
            + frame(M, last, 2, 0, b"cd"),
        ),
        case(
            "cut-like-hostlane",
            "cut at 262144 bytes",
            [head(4 + CUT, M, first, 2), (CUT + 1).to_bytes(4, "little").hex(), times(b"z", CUT)],
            [head(1, M, last, 2), "7a"],
        ),
        case(
            "control-between",
            "control frames between the frames of a message",
            cut(5, (first, b"hel")) + ping + control(Type.CREDIT, 99, channel=2) + cut(0) + frame(M, last, 2, 0, b"lo"),
        ),
        case(
            "grease-between",
            "skipped frames between the frames of a message, on its own channel too",
            cut(5, (first, b"hel"))
            + frame(0x70, 0, 2, 0, b"xx")
            + frame(0x55, WHOLE, 2, 9, b"yy")
            + frame(M, last, 2, 0, b"lo"),
        ),
        case(
            "other-channel-between",
            "messages of other channels between, cut ones too",
            cut(4, (first, b"ab"))
            + message(M, 3, 0, b"whole")
            + cut(4, (first, b"AB"), channel=4)
            + frame(M, last, 2, 0, b"cd")
            + frame(M, last, 4, 0, b"CD"),
        ),
        case("other-message-between", "one message is open in a channel at a time", cut(4, (first, b"ab")) + hi),
        case(
            "other-first-between",
            "the first frame of another one",
            cut(
                4,
                (first, b"ab"),
            )
            + cut(4, (first, b"cd")),
        ),
        case(
            "other-type-between",
            "a frame of another type does not continue a message",
            cut(4, (first, b"ab"), kind=Q, id=1) + frame(R, last, 2, 1, b"cd"),
        ),
        case(
            "other-id-between",
            "a frame with another id does not continue a message",
            cut(4, (first, b"ab"), kind=R, id=1) + frame(R, last, 2, 3, b"cd"),
        ),
        case("continuation-without-first", "nothing is open", frame(M, last, 2, 0, b"x")),
        case("middle-without-first", "nothing is open", frame(M, 0, 2, 0, b"x")),
        case("continuation-after-the-end", "the message is complete", hi + frame(M, last, 2, 0, b"x")),
        case("short-of-total", "LAST comes too early", cut(6, (first, b"abc"), (last, b"de"))),
        case("past-total", "one byte too many", cut(4, (first, b"abc"), (last, b"de"))),
        case("past-total-at-once", "the first frame carries more than all of it", cut(2, (first, b"abc"))),
        case("total-without-last", "all of it, and then a frame with nothing", cut(3, (first, b"abc"), (last, b""))),
        case(
            "empty-first",
            "a frame of an unfinished message carries at least a byte",
            cut(3, (first, b""), (last, b"abc")),
        ),
        case(
            "empty-middle",
            "a frame of an unfinished message carries at least a byte",
            cut(3, (first, b"a"), (middle, b""), (last, b"bc")),
        ),
        case(
            "empty-last", "a frame of an unfinished message carries at least a byte", cut(3, (first, b"a"), (last, b""))
        ),
        case("total-zero", "an empty message cannot be cut", cut(0, (first, b""), (last, b""))),
        case("no-room-for-the-total", "3 bytes where the total has 4", frame(M, first, 2, 0, b"\1\0\0")),
        case(
            "ext-on-continuation",
            "EXT only with FIRST",
            cut(6, (first, b"ab")) + frame(M, last | Flag.EXT, 2, 0, b"\0\0cd"),
        ),
        case(
            "fds-on-continuation",
            "FDS only with FIRST",
            cut(4, (first, b"ab")) + frame(M, last | Flag.FDS, 2, 0, b"cd"),
        ),
        # sizes
        case("largest-message", "max_message is inclusive", [head(16, M, WHOLE, 2), times(b"a", 16)], max_message=16),
        case(
            "largest-with-extensions",
            "extensions are no part of the message",
            frame(M, WHOLE | Flag.EXT, 2, 0, block(extension(3, b"t" * 64)) + b"a" * 16),
            max_message=16,
        ),
        case("largest-cut", "max_message is inclusive", cut(16, (first, b"a" * 8), (last, b"a" * 8)), max_message=16),
        case("message-too-large", "judged from the header alone", head(17, M, WHOLE, 2), max_message=16),
        case(
            "message-too-large-with-extensions",
            "what is no extension is over the limit",
            frame(M, WHOLE | Flag.EXT, 2, 0, block(b"") + b"a" * 17),
            max_message=16,
        ),
        case(
            "total-too-large", "the whole message is judged by its first frame", cut(17, (first, b"a")), max_message=16
        ),
        case("total-2-to-the-32-minus-1", "no memory is set aside", cut(0xFFFFFFFF, (first, b"a"))),
        case("length-2-to-the-32-minus-1", "judged from the header alone", head(0xFFFFFFFF, M, WHOLE, 2)),
        case("one-over-16-mib", "judged from the header alone", head(MAX_PAYLOAD + 1, M, WHOLE, 2)),
        case(
            "exactly-16-mib",
            "the largest message there is",
            [head(MAX_PAYLOAD, M, WHOLE, 2), times(b"\xa5", MAX_PAYLOAD)],
        ),
        case(
            "largest-control",
            "1024 bytes, the rest behind the token is ignored",
            [head(MAX_CONTROL, Type.PING), "3031323334353637", times(b"x", MAX_CONTROL - 8)],
        ),
        case("control-too-large", "judged from the header alone", head(MAX_CONTROL + 1, Type.PING)),
        case("close-too-large", "judged from the header alone", head(1 << 24, Type.CLOSE)),
        # types
        case("nop", "does nothing", control(Type.NOP) + hi),
        case("nop-with-length", "judged from the header alone", head(1, Type.NOP)),
        case("type-1", "never used", head(0, 1)),
        case("type-2", "never used, however long it says it is", head(0xFFFFFFFF, 2)),
        case(
            "level-0-frame", "a short level-0 frame reads as a NOP with a length", "495002000000020068696869" + "00" * 8
        ),
        case("level-0-frame-of-64-kib", "a longer one reads as type 1", "49500000010002006869686968696869"),
        case("unknown-skipped", "a later version's frame", frame(0x20, 0x7F, 9, 9, b"later") + hi, eof=True),
        case(
            "every-unknown-type",
            "0x0e, 0x0f and all from 0x14 on are skipped",
            b"".join(frame(kind, 0, 2, 5, b"?") for kind in [0x0E, 0x0F, *range(0x14, 0x100)]) + hi,
            eof=True,
        ),
        case(
            "skipped-16384",
            "the largest that is skipped",
            [head(MAX_SKIPPED, 0x33), times(b"s", MAX_SKIPPED)],
            hexed(hi),
        ),
        case("skipped-16385", "judged from the header alone", head(MAX_SKIPPED + 1, 0x33)),
        case("grease-16385", "GREASE is not endless either", head(MAX_SKIPPED + 1, 0x7F)),
        case("unknown-critical", "judged from the header alone", head(5, 0x20, Flag.CRITICAL)),
        case("unknown-critical-0xff", "kept for later", head(0, 0xFF, Flag.CRITICAL)),
        case("good-before-bad", "what came first is delivered", hi + frame(0x21, Flag.CRITICAL)),
        case("nothing-after-bad", "no frame behind a fault is found", head(0, 1), hi),
        # before READY
        case(
            "before-ready",
            "what is legal until READY, and what after it",
            control(Type.NOP)
            + frame(0x7A, 0, 1, 1, b"grease")
            + control(Type.AUTH, bytes(range(32)))
            + control(Type.READY)
            + hi,
            ready=False,
        ),
        case("close-before-ready", "legal", control(Type.CLOSE, 311, text="no"), ready=False),
        case("grease-before-ready", "at most 1024 bytes", head(MAX_CONTROL + 1, 0x70), ready=False),
        case("unknown-before-ready", "not even skipped", frame(0x30, 0, 0, 0, b""), ready=False),
        case("message-before-ready", "judged from the header alone", hi[:16], ready=False),
        case(
            "large-message-before-ready",
            "either rule may be judged first",
            head(MAX_CONTROL + 1, M, WHOLE, 2),
            ready=False,
        ),
        case(
            "ready-with-extensions",
            "extensions without their length in front",
            frame(Type.READY, 0, 0, 0, extension(0x7F00, b"grease") + extension(0x0999, b"")) + hi,
            ready=False,
        ),
    ]
    cases += [
        case(
            f"{kind.name.lower().replace('_', '-')}-before-ready",
            "not legal yet",
            frame(kind, 0, 0, 1, bytes(32)),
            ready=False,
        )
        for kind in (
            Type.PING,
            Type.PONG,
            Type.GOAWAY,
            Type.DRAIN_ACK,
            Type.ERROR,
            Type.CREDIT,
            Type.CANCEL,
            Type.REFUSE,
        )
    ]
    cases += [
        case(f"grease-{kind:02x}", "skipped", frame(kind, 0, 77, kind, b"gr") + hi, eof=True)
        for kind in (GREASE[0], GREASE[-1])
    ]
    for at in (1, 15, 16, 17):
        cases.append(case(f"cut-at-{at}", "the stream ends inside a frame", hi[:at], eof=True))
    cases += [
        case("ends-inside-a-message", "between two frames, yet inside a message", cut(5, (first, b"hel")), eof=True),
        case("ends-inside-a-skipped-frame", "a frame is a frame", frame(0x70, 0, 0, 0, b"abc")[:-1], eof=True),
        case(
            "ends-after-control-in-a-message",
            "a control frame does not close a message",
            cut(5, (first, b"hel")) + ping,
            eof=True,
        ),
    ]
    return cases


# ---------------------------------------------------------------- extensions


def extensions_case(name: str, doc: str, value: Bytes, form: str = "frame") -> dict[str, Any]:
    try:
        data = raw(value)
        if form == "ready":
            expect: dict[str, Any] = {"extensions": values(parse_extensions(data).known())}
        else:
            found, rest = split_block(data)
            expect = {"extensions": values(found.known()), "rest": rest.hex()}
    except Violation as problem:
        expect = {"error": list(problem.names)}
    return {"id": name, "doc": doc, "form": form, "payload": value, "expect": expect}


def extensions() -> list[dict[str, Any]]:
    def case(name: str, doc: str, *parts: bytes, rest: bytes = b"hi", form: str = "frame") -> dict[str, Any]:
        data = b"".join(parts)
        return extensions_case(name, doc, hexed(data if form == "ready" else block(data) + rest), form)

    def u64(number: int) -> bytes:
        return struct.pack("<Q", number)

    unknown = extension(0x0123, b"later")
    cases = [
        case("none", "length 0"),
        case("none-and-nothing", "no byte of the message either", rest=b""),
        case("deadline", "microseconds", extension(1, u64(1_500_000))),
        case("deadline-0", "a number like any other", extension(1, u64(0))),
        case("deadline-largest", "2^64-1", extension(1, u64(NO_LAST))),
        case("idempotency-1", "the shortest", extension(2, b"k")),
        case("idempotency-64", "the longest", extension(2, b"k" * 64)),
        case("trace-1", "the shortest", extension(3, b"\0")),
        case("trace-64", "the longest", extension(3, bytes(range(64)))),
        case("status", "a code", extension(4, struct.pack("<I", 501))),
        case("dropped", "a count", extension(6, u64(7))),
        case("all-of-a-request", "several, in any order", extension(3, b"t"), extension(1, u64(9)), extension(2, b"k")),
        case("unknown", "ignored", unknown, extension(1, u64(5)), unknown),
        case("unknown-twice", "only known ones stand once", unknown, unknown),
        case("unknown-empty", "no value", extension(0x0123, b"")),
        case("grease", "ignored", extension(0x7F00, b"g"), extension(0x7FFF, b"")),
        case("unknown-critical", "the highest bit", extension(0x8001, b"")),
        case("unknown-critical-ffff", "the highest bit", extension(1, u64(5)), extension(0xFFFF, b"x")),
        case("1024-bytes", "the most", extension(0x7F10, b"x" * (MAX_EXTENSIONS - 4))),
        case("1025-bytes", "one more", extension(0x7F10, b"x" * (MAX_EXTENSIONS - 3))),
    ]
    lengths = {1: (7, 9), 2: (0, 65), 3: (0, 65), 4: (3, 5), 6: (7, 9)}
    for number, wrong_lengths in lengths.items():
        good = {1: u64(1), 2: b"k", 3: b"t", 4: bytes(4), 6: u64(1)}[number]
        cases.append(
            case(f"type-{number}-twice", "a known type stands once", extension(number, good), extension(number, good))
        )
        for length in wrong_lengths:
            cases.append(
                case(
                    f"type-{number}-of-{length}-bytes", "a known type has its length", extension(number, bytes(length))
                )
            )
    cases += [
        extensions_case("no-length", "nothing where the length has 2 bytes", ""),
        extensions_case("half-a-length", "one byte where the length has 2", "00"),
        extensions_case("longer-than-the-frame", "10 bytes are said to follow", "0a00" + "01000400" + "00000000"),
        extensions_case("length-65535", "more than 1024", ["ffff", times(b"\0", 65535)]),
        extensions_case("head-cut", "3 bytes where a head has 4", "0300" + "010008" + "6869"),
        extensions_case("value-cut", "the value passes the end", "0800" + "01000800" + "00000000" + "6869"),
        extensions_case(
            "value-reaches-into-the-message", "the value passes the end", "0600" + "99000400" + "0000" + "6869"
        ),
        case("ready-empty", "nothing at all", form="ready"),
        case("ready-unknown", "ignored", unknown, extension(0x7F42, b"g"), form="ready"),
        case("ready-critical", "the highest bit", extension(0x8000, b""), form="ready"),
        case("ready-head-cut", "3 bytes where a head has 4", b"\1\2\3", form="ready"),
        case("ready-value-cut", "the value passes the end", extension(0x0123, b"later")[:-1], form="ready"),
    ]
    return cases


# ---------------------------------------------------------------- control frames


def control_case(name: str, doc: str, kind: Type, payload: bytes) -> dict[str, Any]:
    try:
        expect: dict[str, Any] = {"fields": values(parse_control(kind, payload))}
    except Violation as problem:
        expect = {"error": list(problem.names)}
    return {"id": name, "doc": doc, "type": kind.name, "payload": short(payload), "expect": expect}


def controls() -> list[dict[str, Any]]:
    code = struct.pack("<I", 315)
    cases = []
    exact = {
        Type.AUTH: bytes(range(32)),
        Type.READY: b"",
        Type.PING: b"\0\1\2\3\4\5\6\7",
        Type.PONG: b"\xff" * 8,
        Type.GOAWAY: struct.pack("<QI", NO_LAST, 104),
        Type.DRAIN_ACK: b"",
        Type.CLOSE: code,
        Type.ERROR: code,
        Type.CREDIT: struct.pack("<Q", 1 << 63),
        Type.CANCEL: b"",
        Type.REFUSE: code,
    }
    for kind, payload in exact.items():
        name = kind.name.lower().replace("_", "-")
        cases.append(control_case(name, "exactly what the table says", kind, payload))
        if payload:
            cases.append(control_case(f"{name}-short", "a byte is missing", kind, payload[:-1]))
            cases.append(control_case(f"{name}-empty", "nothing", kind, b""))
        if kind in (Type.CLOSE, Type.ERROR, Type.REFUSE):
            cases.append(control_case(f"{name}-text", "a code and a text", kind, code + "größer".encode()))
            cases.append(control_case(f"{name}-unknown-code", "a code of a later version", kind, b"\xff" * 4 + b"new"))
            cases.append(control_case(f"{name}-longest", "1024 bytes", kind, code + b"x" * (MAX_CONTROL - 4)))
        elif kind != Type.READY:
            cases.append(control_case(f"{name}-longer", "the rest is ignored", kind, payload + b"later"))
    return cases
