"""Wire level 0 in plain Python: frames, the handshake of both roles, control messages, refusals.

An independent second implementation: it shares no code with the core and imports only the
standard library, so a mistake in one of the two shows as a disagreement. It does no I/O: bytes in,
frames and values out. `stock.py` puts sockets around it.

Every broken rule raises `Violation`, whose `names` are the error names of `core/errors.toml` that
an implementation may answer with. There is more than one where the protocol leaves the choice open.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

MAGIC = b"IP"
HEADER = struct.Struct("<2sIH")
MAX_PAYLOAD = 16 * 1024 * 1024
MAX_HANDSHAKE = 16 * 1024
MAX_CHANNELS = 256
MAX_TOKEN = 4096
MAX_DEPTH = 127  # what a stock peer's JSON parser follows
PROTOCOL = "ipcprims"
VERSION = "1.0"

CONTROL, COMMAND, DATA, TELEMETRY, ERROR = range(5)
FIRST_USER = 256
DEFAULT_CHANNELS = (COMMAND, DATA, TELEMETRY, ERROR)
# What a refusal may say, by the number that is the contract; the name beside it is for people.
REASONS = {
    204: "permission_denied", 205: "timeout", 301: "bad_magic", 302: "frame_too_large", 303: "truncated",
    304: "unknown_channel", 307: "bad_handshake", 308: "protocol_mismatch", 309: "version_mismatch",
    310: "no_common_channel", 311: "authentication_failed", 314: "too_many_handshakes",
}  # fmt: skip
CONTROL_TYPES = ("ping", "pong", "shutdown_request", "shutdown_ack", "shutdown_force")


class Violation(Exception):
    """A rule of the protocol was broken; `names[0]` is the usual error name, the others are legal too."""

    def __init__(self, text: str, *names: str) -> None:
        super().__init__(f"{names[0]}: {text}")
        self.names = names


# ---------------------------------------------------------------- frames


@dataclass(frozen=True)
class Frame:
    channel: int
    payload: bytes = b""

    def encode(self) -> bytes:
        return HEADER.pack(MAGIC, len(self.payload), self.channel) + self.payload


class Decoder:
    """Cuts a byte stream into frames. Errors are sticky: there is no search for the next magic."""

    def __init__(self, limit: int = MAX_PAYLOAD) -> None:
        self.limit = limit
        self.buffer = bytearray()
        self.broken: Violation | None = None

    def feed(self, data: bytes) -> None:
        self.buffer += data

    def next(self) -> Frame | None:
        """The next complete frame, or None while bytes are missing. Judges the header alone."""
        if self.broken:
            raise self.broken
        if len(self.buffer) < HEADER.size:
            return None
        magic, length, channel = HEADER.unpack_from(self.buffer)
        if magic != MAGIC:
            self.broken = Violation(f"magic {magic!r}", "bad_magic")
        elif length > self.limit:
            self.broken = Violation(f"{length} bytes declared, {self.limit} allowed", "frame_too_large")
        if self.broken:
            raise self.broken
        end = HEADER.size + length
        if len(self.buffer) < end:
            return None
        payload = bytes(self.buffer[HEADER.size : end])
        del self.buffer[:end]
        return Frame(channel, payload)

    def all(self) -> list[Frame]:
        frames = []
        while (frame := self.next()) is not None:
            frames.append(frame)
        return frames

    def eof(self) -> None:
        """The stream ended: clean between frames, `truncated` inside one."""
        if self.broken:
            raise self.broken
        if self.buffer:
            raise Violation(f"{len(self.buffer)} bytes of an unfinished frame", "truncated")


# ---------------------------------------------------------------- JSON


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member appears twice")
    return members


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def parse_object(payload: bytes, error: str) -> dict[str, Any]:
    try:
        value = json.loads(payload.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as problem:
        raise Violation(str(problem), error) from None
    if not isinstance(value, dict):
        raise Violation("not a JSON object", error)
    if _deeper_than(value, MAX_DEPTH):
        raise Violation(f"nested deeper than {MAX_DEPTH}", error)
    return value


def _deeper_than(value: Any, depth: int) -> bool:
    layer = [value]
    for _ in range(depth):
        layer = [c for v in layer for c in (v.values() if isinstance(v, dict) else v if isinstance(v, list) else ())]
    return bool(layer)


def dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def _text(members: dict[str, Any], name: str, shortest: int, longest: int) -> str:
    value = members.get(name)
    if not isinstance(value, str):
        raise Violation(f"{name} is missing or no string", "bad_handshake")
    try:
        size = len(value.encode("utf-8"))
    except UnicodeEncodeError:
        raise Violation(f"{name} holds a lone surrogate", "bad_handshake") from None
    if not shortest <= size <= longest:
        raise Violation(f"{name} has {size} bytes", "bad_handshake")
    return value


def _channels(members: dict[str, Any]) -> list[int]:
    value = members.get("channels")
    if not isinstance(value, list):
        raise Violation("channels is missing or no list", "bad_handshake")
    if len(value) > MAX_CHANNELS:
        raise Violation(f"{len(value)} channel entries", "bad_handshake")
    for entry in value:
        if type(entry) is not int or not 0 <= entry <= 0xFFFF:
            raise Violation(f"channel {entry!r}", "bad_handshake")
        if entry == CONTROL:
            raise Violation("channel 0 is never negotiated", "bad_handshake")
    return list(dict.fromkeys(value))


def _version(members: dict[str, Any]) -> tuple[int, int]:
    text = _text(members, "version", 1, 16)
    match = re.fullmatch(r"([0-9]{1,16})\.([0-9]{1,16})", text, re.ASCII)
    if not match or max(int(part) for part in match.groups()) > 0xFFFF:
        raise Violation(f"version {text!r}", "bad_handshake")
    return int(match[1]), int(match[2])


# ---------------------------------------------------------------- handshake


@dataclass(frozen=True)
class Request:
    channels: list[int]
    auth_token: str | None = None
    protocol: str = PROTOCOL
    version: tuple[int, int] = (1, 0)
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Response:
    channels: list[int]
    peer_id: str
    extra: dict[str, Any] = field(default_factory=dict)


def encode_request(channels: Sequence[int], token: str | None = None, **members: Any) -> bytes:
    """The stock request; `members` adds to it or replaces, `...` as a value removes."""
    request: dict[str, Any] = {"protocol": PROTOCOL, "version": VERSION, "channels": list(channels)}
    if token is not None:
        request["auth_token"] = token
    request |= members
    return dump({name: value for name, value in request.items() if value is not ...})


def parse_request(payload: bytes) -> Request:
    """The form alone: everything that is wrong here is `bad_handshake`. `agree` judges what it says."""
    members = parse_object(payload, "bad_handshake")
    protocol, version, channels = _text(members, "protocol", 1, 32), _version(members), _channels(members)
    token = None
    if members.get("auth_token") is not None:
        token = _text(members, "auth_token", 1, MAX_TOKEN)
    known = {"protocol", "version", "channels", "auth_token"}
    return Request(channels, token, protocol, version, {k: v for k, v in members.items() if k not in known})


def agree(request: Request, served: Sequence[int], peer_id: str = "peer-1", auth_token: str | None = None) -> Response:
    """The server's decision. Channels 5 to 255 are reserved: never granted, whatever was asked for."""
    if request.protocol != PROTOCOL:
        raise Violation(f"protocol {request.protocol!r}", "protocol_mismatch")
    if request.version[0] != 1 or request.version[1] < 0:
        raise Violation(f"version {request.version}", "version_mismatch")
    if auth_token is not None and request.auth_token != auth_token:
        raise Violation("token missing or wrong", "authentication_failed")
    granted = [c for c in request.channels if c in served and (c <= ERROR or c >= FIRST_USER)]
    if not granted:
        raise Violation("no common channel", "no_common_channel")
    return Response(granted, peer_id)


def encode_response(channels: Sequence[int], peer_id: str = "peer-1", **members: Any) -> bytes:
    response: dict[str, Any] = {"protocol": PROTOCOL, "version": VERSION, "channels": list(channels)}
    response |= {"peer_id": peer_id} | members
    return dump({name: value for name, value in response.items() if value is not ...})


def parse_response(payload: bytes, asked: Sequence[int]) -> Response:
    members = parse_object(payload, "bad_handshake")
    if "error" in members and "channels" not in members and "peer_id" not in members:
        code, name, message = parse_refusal(payload)
        raise Violation(f"refused: {name}: {message}", REASONS.get(code, "refused"))
    protocol, version, channels = _text(members, "protocol", 1, 32), _version(members), _channels(members)
    peer_id = _text(members, "peer_id", 1, 128)
    if any(ord(c) < 0x20 or ord(c) == 0x7F for c in peer_id):
        raise Violation("control character in peer_id", "bad_handshake")
    if protocol != PROTOCOL:
        raise Violation(f"protocol {protocol!r}", "protocol_mismatch")
    if version != (1, 0):
        raise Violation(f"version {version}", "version_mismatch")
    for channel in channels:
        if channel not in asked:
            raise Violation(f"channel {channel} was not asked for", "bad_handshake")
    if not channels:
        raise Violation("no channel granted", "no_common_channel", "bad_handshake")
    known = {"protocol", "version", "channels", "peer_id"}
    return Response(channels, peer_id, {k: v for k, v in members.items() if k not in known})


def encode_refusal(code: int, name: str, message: str) -> bytes:
    error = {"code": code, "name": name, "message": message}
    return dump({"protocol": PROTOCOL, "version": VERSION, "error": error})


def parse_refusal(payload: bytes) -> tuple[int, str, str]:
    """Exactly the refusal shape; anything more or less is no refusal."""
    members = parse_object(payload, "bad_handshake")
    error = members.get("error")
    if set(members) != {"protocol", "version", "error"} or not isinstance(error, dict):
        raise Violation(f"not a refusal: {sorted(members)}", "bad_handshake")
    if members["protocol"] != PROTOCOL or members["version"] != VERSION:
        raise Violation("a refusal of another protocol", "bad_handshake")
    code, name, message = error.get("code"), error.get("name"), error.get("message")
    if set(error) != {"code", "name", "message"} or type(code) is not int:
        raise Violation(f"not a refusal: {sorted(error)}", "bad_handshake")
    if not (isinstance(name, str) and name and isinstance(message, str) and message):
        raise Violation("a refusal without name or message", "bad_handshake")
    return code, name, message


# ---------------------------------------------------------------- control


def encode_control(kind: str, **members: Any) -> bytes:
    return dump({"type": kind} | members)


def parse_control(payload: bytes) -> str:
    """The type of a control message; an unknown type is a violation of its own."""
    members = parse_object(payload, "bad_control")
    kind = members.get("type")
    if not isinstance(kind, str):
        raise Violation("type is missing or no string", "bad_control")
    if not isinstance(members.get("timestamp"), str | None):
        raise Violation("timestamp is no string", "bad_control")
    if kind not in CONTROL_TYPES:
        raise Violation(f"type {kind!r}", "unknown_control")
    return kind
