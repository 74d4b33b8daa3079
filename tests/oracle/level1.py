"""Wire level 1 in plain Python: frames, flags, extensions, control frames, cut messages.

Like `level0.py` it shares no code with the core, imports only the standard library and does no I/O.
`hello1.py` holds the handshake's part, `engine1.py` the rules of a conversation, `peer1.py` sockets.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag

from level0 import MAX_PAYLOAD, Violation

HEADER = struct.Struct("<IBBHQ")
MAX_CONTROL = 1024  # also every frame before READY
MAX_SKIPPED = 16_384
MAX_EXTENSIONS = 1024
MAX_FDS = 4
CUT = 262_144
CHARGE = 64
DESCRIPTOR_CHARGE = 4096
NO_LAST = (1 << 64) - 1


class Type(IntEnum):
    NOP = 0x00
    AUTH = 0x03
    READY = 0x04
    PING = 0x05
    PONG = 0x06
    GOAWAY = 0x07
    DRAIN_ACK = 0x08
    CLOSE = 0x09
    ERROR = 0x0A
    CREDIT = 0x0B
    CANCEL = 0x0C
    REFUSE = 0x0D
    MESSAGE = 0x10
    REQUEST = 0x11
    RESPONSE = 0x12
    STREAM = 0x13


KNOWN = {int(kind) for kind in Type}
GREASE = range(0x70, 0x80)
NEVER = (0x01, 0x02)
BEFORE_READY = {Type.NOP, Type.AUTH, Type.READY, Type.CLOSE}


class Flag(IntFlag):
    NONE = 0
    FIRST = 0x01
    LAST = 0x02
    EXT = 0x04
    FIN = 0x08
    STREAM = 0x10
    FDS = 0x20
    RESERVED = 0x40
    CRITICAL = 0x80


WHOLE = Flag.FIRST | Flag.LAST


def wrong(text: str, *names: str) -> Violation:
    return Violation(text, *(names or ("protocol_error",)))


# ---------------------------------------------------------------- frames


@dataclass(frozen=True)
class Frame:
    """One frame as it stands on the wire; `type` may be one this level does not know."""

    type: int
    flags: int = 0
    channel: int = 0
    id: int = 0
    payload: bytes = b""

    def encode(self) -> bytes:
        return HEADER.pack(len(self.payload), self.type, self.flags, self.channel, self.id) + self.payload

    def carries_message(self) -> bool:
        return self.type in (Type.MESSAGE, Type.REQUEST, Type.RESPONSE, Type.STREAM)


def _largest(flags: int, max_message: int) -> int:
    """The longest legal frame of a message, before its extensions say how long they are."""
    longest = max_message
    if flags & Flag.EXT:
        longest += 2 + MAX_EXTENSIONS
    if flags & Flag.FIRST and not flags & Flag.LAST:
        longest += 4
    return longest


def judge(length: int, kind: int, flags: int, max_message: int, ready: bool) -> None:
    """Everything that a header alone gives away."""
    if kind in NEVER:
        raise wrong(f"type {kind:#04x}")
    if kind == Type.NOP and length:
        raise wrong(f"NOP with {length} bytes")
    unknown = kind not in KNOWN and kind not in GREASE
    if unknown and flags & Flag.CRITICAL:
        raise wrong(
            f"critical type {kind:#04x}", *(["unknown_frame"] if ready else ["unknown_frame", "protocol_error"])
        )
    if not ready:
        names = [] if kind in GREASE or kind in BEFORE_READY else ["protocol_error"]
        names += ["frame_too_large"] if length > MAX_CONTROL else []
        if names:
            raise wrong(f"type {kind:#04x} with {length} bytes before READY", *names)
    if kind not in KNOWN:
        if length > MAX_SKIPPED:
            raise wrong(f"{length} bytes to skip", "frame_too_large")
    elif kind < Type.MESSAGE:
        if length > MAX_CONTROL:
            raise wrong(f"control frame of {length} bytes", "frame_too_large")
    elif length > _largest(flags, max_message):
        raise wrong(f"{length} bytes declared, messages have at most {max_message}", "frame_too_large")


class Decoder:
    """Cuts a byte stream into frames; what has to be skipped never comes out. Errors are sticky."""

    def __init__(self, max_message: int = MAX_PAYLOAD, ready: bool = True) -> None:
        self.max_message = max_message
        self.ready = ready
        self.buffer = bytearray()
        self.broken: Violation | None = None
        self.skipped = 0

    def feed(self, data: bytes) -> None:
        self.buffer += data

    def next(self) -> Frame | None:
        if self.broken:
            raise self.broken
        while len(self.buffer) >= HEADER.size:
            length, kind, flags, channel, ident = HEADER.unpack_from(self.buffer)
            try:
                judge(length, kind, flags, self.max_message, self.ready)
            except Violation as problem:
                self.broken = problem
                raise
            end = HEADER.size + length
            if len(self.buffer) < end:
                return None
            payload = bytes(self.buffer[HEADER.size : end])
            del self.buffer[:end]
            if kind in KNOWN:
                if kind == Type.READY:
                    self.ready = True
                return Frame(kind, flags, channel, ident, payload)
            self.skipped += 1
        return None

    def inside(self) -> bool:
        return bool(self.buffer)


# ---------------------------------------------------------------- extensions


@dataclass
class Extensions:
    deadline_us: int | None = None
    idempotency: bytes | None = None
    trace: bytes | None = None
    status: int | None = None
    fds: int | None = None
    dropped: int | None = None

    def known(self) -> dict[str, int | bytes]:
        return {name: value for name, value in vars(self).items() if value is not None}

    def encode(self) -> bytes:
        """The extensions without their length in front."""
        out = b""
        for number, (name, low, high) in EXTENSIONS.items():
            value = getattr(self, name)
            if value is not None:
                data = value if isinstance(value, bytes) else value.to_bytes(low, "little")
                assert low <= len(data) <= high
                out += extension(number, data)
        return out


EXTENSIONS = {  # type: name, shortest and longest value
    1: ("deadline_us", 8, 8),
    2: ("idempotency", 1, 64),
    3: ("trace", 1, 64),
    4: ("status", 4, 4),
    5: ("fds", 1, 1),
    6: ("dropped", 8, 8),
}


def extension(number: int, value: bytes) -> bytes:
    return struct.pack("<HH", number, len(value)) + value


def block(extensions: bytes) -> bytes:
    """Extensions as they stand in a frame: their length first."""
    return struct.pack("<H", len(extensions)) + extensions


def parse_extensions(data: bytes) -> Extensions:
    if len(data) > MAX_EXTENSIONS:
        raise wrong(f"{len(data)} bytes of extensions")
    found = Extensions()
    at = 0
    while at < len(data):
        if len(data) - at < 4:
            raise wrong("an extension without room for its head")
        number, length = struct.unpack_from("<HH", data, at)
        value = data[at + 4 : at + 4 + length]
        if len(value) < length:
            raise wrong("an extension longer than its frame says")
        at += 4 + length
        if number not in EXTENSIONS:
            if number & 0x8000:
                raise wrong(f"critical extension {number:#06x}")
            continue
        name, low, high = EXTENSIONS[number]
        if not low <= length <= high:
            raise wrong(f"{name} of {length} bytes")
        if getattr(found, name) is not None:
            raise wrong(f"{name} twice")
        number_of = value if name in ("idempotency", "trace") else int.from_bytes(value, "little")
        setattr(found, name, number_of)
    if found.fds is not None and not 1 <= found.fds <= MAX_FDS:
        raise wrong(f"{found.fds} descriptors")
    return found


def split_block(payload: bytes) -> tuple[Extensions, bytes]:
    """The extensions in front of a payload, and what follows them."""
    if len(payload) < 2:
        raise wrong("EXT without a length of extensions")
    length = int.from_bytes(payload[:2], "little")
    if length > MAX_EXTENSIONS or len(payload) < 2 + length:
        raise wrong(f"{length} bytes of extensions in a frame of {len(payload)}")
    return parse_extensions(payload[2 : 2 + length]), payload[2 + length :]


# ---------------------------------------------------------------- control frames

FIELDS = {  # what a payload starts with; text is what follows a code
    Type.NOP: "",
    Type.AUTH: "32s",
    Type.READY: "",
    Type.PING: "8s",
    Type.PONG: "8s",
    Type.GOAWAY: "QI",
    Type.DRAIN_ACK: "",
    Type.CLOSE: "I",
    Type.ERROR: "I",
    Type.CREDIT: "Q",
    Type.CANCEL: "",
    Type.REFUSE: "I",
}
NAMES = {
    Type.AUTH: ("proof",), Type.PING: ("token",), Type.PONG: ("token",), Type.GOAWAY: ("last", "code"),
    Type.CLOSE: ("code",), Type.ERROR: ("code",), Type.CREDIT: ("total",), Type.REFUSE: ("code",),
}  # fmt: skip
WITH_TEXT = (Type.CLOSE, Type.ERROR, Type.REFUSE)


def parse_control(kind: int, payload: bytes) -> dict[str, int | bytes | str]:
    """The fields of a control frame. A longer payload is legal, a shorter one is not."""
    form = struct.Struct("<" + FIELDS[Type(kind)])
    if len(payload) < form.size:
        raise wrong(f"{Type(kind).name} of {len(payload)} bytes")
    fields: dict[str, int | bytes | str] = dict(zip(NAMES.get(Type(kind), ()), form.unpack_from(payload), strict=True))
    if kind in WITH_TEXT:
        fields["text"] = payload[form.size :].decode("utf-8", "replace")
    if kind == Type.READY:
        parse_extensions(payload)
    return fields


def control(kind: Type, *values: int | bytes, text: str = "", channel: int = 0, id: int = 0) -> bytes:
    payload = struct.pack("<" + FIELDS[kind], *values) + text.encode("utf-8")
    return Frame(kind, 0, channel, id, payload).encode()


# ---------------------------------------------------------------- messages


def charge(length: int, descriptors: int = 0) -> int:
    """What a message with so many bytes and descriptors takes of the credit."""
    return length + CHARGE + descriptors * DESCRIPTOR_CHARGE


@dataclass
class Message:
    """A message, perhaps not all of it here yet."""

    type: int
    channel: int
    id: int
    flags: int
    extensions: Extensions
    total: int
    payload: bytearray = field(default_factory=bytearray)

    @property
    def charge(self) -> int:
        return charge(self.total, self.extensions.fds or 0)

    @property
    def fin(self) -> bool:
        return bool(self.flags & Flag.FIN) and self.type in (Type.REQUEST, Type.STREAM)

    @property
    def stream(self) -> bool:
        return bool(self.flags & Flag.STREAM) and self.type == Type.REQUEST


@dataclass(frozen=True)
class Piece:
    """What one frame added to its message."""

    message: Message
    first: bool
    last: bool


class Assembler:
    """Puts cut messages together: at most one is open in each channel."""

    def __init__(self, max_message: int = MAX_PAYLOAD) -> None:
        self.max_message = max_message
        self.open: dict[int, Message] = {}

    def accept(self, frame: Frame) -> Piece:
        first, last = bool(frame.flags & Flag.FIRST), bool(frame.flags & Flag.LAST)
        if frame.flags & (Flag.EXT | Flag.FDS) and not first:
            raise wrong("EXT or FDS without FIRST")
        open_here = self.open.get(frame.channel)
        if open_here is None:
            if not first:
                raise wrong(f"no message is open on channel {frame.channel}")
            message, rest = self._begin(frame, last)
        else:
            if first or (frame.type, frame.id) != (open_here.type, open_here.id):
                raise wrong(f"a message is open on channel {frame.channel}")
            message, rest = open_here, frame.payload
        if not rest and not (first and last):
            raise wrong("a frame of an unfinished message without a byte of it")
        message.payload += rest
        if len(message.payload) > message.total:
            raise wrong("a message passes its total")
        if last != (len(message.payload) == message.total):
            raise wrong("a message ends short of its total, or does not end at it")
        if last:
            self.open.pop(frame.channel, None)
        else:
            self.open[frame.channel] = message
        return Piece(message, first, last)

    def _begin(self, frame: Frame, last: bool) -> tuple[Message, bytes]:
        found, rest = split_block(frame.payload) if frame.flags & Flag.EXT else (Extensions(), frame.payload)
        if bool(frame.flags & Flag.FDS) != (found.fds is not None):
            raise wrong("the flag FDS and its extension come together")
        total = len(rest)
        if not last:
            if len(rest) < 4:
                raise wrong("a cut message without its total")
            total, rest = int.from_bytes(rest[:4], "little"), rest[4:]
        if total > self.max_message:
            raise wrong(f"a message of {total} bytes, at most {self.max_message} are taken", "frame_too_large")
        return Message(frame.type, frame.channel, frame.id, frame.flags, found, total), rest


def frames_of(
    kind: Type,
    channel: int,
    id: int,
    payload: bytes,
    flags: int = 0,
    extensions: Extensions | None = None,
    cut: int = CUT,
) -> Iterator[Frame]:
    """A message as it is sent: in one frame, or cut after every `cut` bytes."""
    front = b""
    if extensions is not None and (encoded := extensions.encode()):
        flags |= Flag.EXT
        front = block(encoded)
    if len(payload) <= cut:
        yield Frame(kind, flags | WHOLE, channel, id, front + payload)
        return
    total = len(payload).to_bytes(4, "little")
    yield Frame(kind, flags | Flag.FIRST, channel, id, front + total + payload[:cut])
    for at in range(cut, len(payload), cut):
        end = Flag.LAST if at + cut >= len(payload) else Flag.NONE
        yield Frame(kind, end, channel, id, payload[at : at + cut])


def message(kind: Type, channel: int, id: int = 0, payload: bytes = b"", flags: int = 0, **options: object) -> bytes:
    return b"".join(f.encode() for f in frames_of(kind, channel, id, payload, flags, **options))  # type: ignore[arg-type]
