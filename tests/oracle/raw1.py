"""`RawLevel1`: a socket that does the handshake of level 1 and then sends and receives whatever a test wants. There is
no engine behind it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Sequence
from typing import Any, Self

import hello1
import level0
from errors import ERROR_NAMES
from level0 import CONTROL, DEFAULT_CHANNELS, MAX_HANDSHAKE
from level1 import Assembler, Decoder, Frame, Message, Type, control, parse_control
from wire import TIMEOUT, Wire

INSTANCE = "00112233445566778899aabbccddeeff"
CHUNK = 256 * 1024


def hello() -> bytes:
    """The first frame of a connector that offers level 1."""
    request = level0.encode_request(DEFAULT_CHANNELS, hostlane=hello1.offer(INSTANCE))
    return level0.Frame(CONTROL, request).encode()


class RawLevel1:
    """A socket with level-1 frames on it and no manners. It keeps no credit and answers nothing."""

    def __init__(self, sock: socket.socket, connector: bool = True) -> None:
        self.sock, self.connector = sock, connector
        self.hello = level0.Decoder(MAX_HANDSHAKE)
        self.decoder, self.assembler = Decoder(), Assembler()
        self.decoder.ready = True  # what comes before READY is judged by whoever reads it here
        self.ended = False
        self.request = self.response = b""

    @classmethod
    def connect(cls, path: str, timeout: float = TIMEOUT) -> RawLevel1:
        return cls(Wire.connect(path, timeout).sock)

    @classmethod
    def opened(cls, path: str, channels: Sequence[int] = DEFAULT_CHANNELS, **members: Any) -> RawLevel1:
        """A connector on level 1 after both READY."""
        raw = cls.connect(path)
        try:
            assert raw.ask(channels, **members)["version"] == 1
            raw.send(control(Type.READY))
            raw.expect(Type.READY)
        except BaseException:
            raw.close()
            raise
        return raw

    def send(self, data: bytes, timeout: float = TIMEOUT) -> None:
        self.sock.settimeout(timeout)
        self.sock.sendall(data)

    def _read(self, deadline: float) -> bytes:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("nothing arrived before the deadline")
        self.sock.settimeout(left)
        try:
            data = self.sock.recv(CHUNK)
        except (ConnectionResetError, BrokenPipeError):
            data = b""
        self.ended = not data
        return data

    def until_end(self, timeout: float = TIMEOUT) -> None:
        """Reads to the end of the stream, whatever comes."""
        deadline = time.monotonic() + timeout
        while self._read(deadline):
            pass

    def plain(self, timeout: float = TIMEOUT) -> level0.Frame | None:
        """The next frame of the handshake, or None at the end of the stream."""
        deadline = time.monotonic() + timeout
        while (frame := self.hello.next()) is None:
            if self.ended or not (data := self._read(deadline)):
                return None
            self.hello.feed(data)
        return frame

    def ask(self, channels: Sequence[int] = DEFAULT_CHANNELS, **members: Any) -> dict[str, Any]:
        """Offers level 1; returns the member of the answer, empty where there is none."""
        value = members.pop("hostlane", None) or hello1.offer(INSTANCE, **members)
        self.request = level0.encode_request(channels, hostlane=value)
        self.send(level0.Frame(CONTROL, self.request).encode())
        frame = self.plain()
        assert frame is not None and frame.channel == CONTROL, frame
        self.response = frame.payload
        level0.parse_response(frame.payload, channels)
        member: dict[str, Any] = json.loads(frame.payload).get("hostlane", {})
        self.go_on()
        return member

    def answer(self, channels: Sequence[int] = DEFAULT_CHANNELS, ready: bool = True, **members: Any) -> None:
        """Takes the offer of a connector; `members` go into the grant."""
        frame = self.plain()
        assert frame is not None and frame.channel == CONTROL, frame
        self.request = frame.payload
        request = level0.parse_request(frame.payload)
        granted = level0.agree(request, channels)
        value = members.pop("hostlane", None) or hello1.grant(INSTANCE, **members)
        self.response = level0.encode_response(granted.channels, "peer-1", hostlane=value)
        self.send(level0.Frame(CONTROL, self.response).encode())
        self.go_on()
        if ready:
            self.send(control(Type.READY))
            self.expect(Type.READY)

    def go_on(self) -> None:
        self.decoder.feed(bytes(self.hello.buffer))
        self.hello.buffer.clear()

    def prove(self, secret: bytes, connector: bool | None = None) -> None:
        side = self.connector if connector is None else connector
        self.send(control(Type.AUTH, hello1.proof(secret, side, self.request, self.response)))

    def frame(self, timeout: float = TIMEOUT) -> Frame | None:
        """The next frame but CREDIT, or None at the end of the stream."""
        deadline = time.monotonic() + timeout
        while True:
            while (frame := self.decoder.next()) is None:
                if self.ended or not (data := self._read(deadline)):
                    assert not self.decoder.inside(), "the stream ended inside a frame"
                    return None
                self.decoder.feed(data)
            if frame.type not in (Type.CREDIT, Type.NOP):
                return frame

    def expect(self, kind: Type, timeout: float = TIMEOUT) -> dict[str, Any]:
        """The next frame is a control frame of this type; returns its fields, and its id."""
        frame = self.frame(timeout)
        assert frame is not None and frame.type == kind, f"{frame}, expected {kind.name}"
        return parse_control(kind, frame.payload) | {"id": frame.id}

    def message(self, timeout: float = TIMEOUT) -> Message:
        """The next frames are one whole message."""
        deadline = time.monotonic() + timeout
        while True:
            frame = self.frame(deadline - time.monotonic())
            assert frame is not None and frame.carries_message(), frame
            if (piece := self.assembler.accept(frame)).last:
                return piece.message

    def closed(self, *names: str, timeout: float = 2.0) -> str:
        """The other side ends the connection for one of these reasons; returns the name it told."""
        deadline = time.monotonic() + timeout
        last: Frame | None = None
        while (frame := self.frame(deadline - time.monotonic())) is not None:
            assert last is None or last.type != Type.CLOSE, f"{frame} behind CLOSE"
            last = frame
        assert last is not None and last.type == Type.CLOSE, f"no CLOSE at the end, but {last}"
        code = parse_control(Type.CLOSE, last.payload)["code"]
        name = ERROR_NAMES.get(int(code), str(code))
        assert name in names, f"CLOSE({name}), expected one of {names}: {last.payload[4:]!r}"
        return name

    def call(self, frame: bytes, timeout: float = TIMEOUT) -> Message:
        self.send(frame, timeout)
        return self.message(timeout)

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
