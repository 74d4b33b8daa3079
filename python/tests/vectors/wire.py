"""The raw side of the vectors: what it writes, and the frames that it reads."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import queue
import socket
import struct
import termios
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NamedTuple

from script import until
from wire import Wire

# Seconds that bound what must happen.
PATIENCE = 20.0

KINDS = {
    0x03: "AUTH",
    0x04: "READY",
    0x05: "PING",
    0x06: "PONG",
    0x07: "GOAWAY",
    0x08: "DRAIN_ACK",
    0x09: "CLOSE",
    0x0A: "ERROR",
    0x0B: "CREDIT",
    0x0C: "CANCEL",
    0x0D: "REFUSE",
    0x10: "MESSAGE",
    0x11: "REQUEST",
    0x12: "RESPONSE",
    0x13: "STREAM",
}
NUMBERS = {name: number for number, name in KINDS.items()}
FIRST, LAST, EXT, FIN, STREAM = 0x01, 0x02, 0x04, 0x08, 0x10
HEADER1 = struct.Struct("<IBBHQ")


def later(run: Callable[[], Any]) -> Future[Any]:
    """Runs on a thread of its own what may wait."""
    future: Future[Any] = Future()

    def body() -> None:
        try:
            future.set_result(run())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=body, daemon=True).start()
    return future


def frame1(kind: int, flags: int, channel: int, call: int, payload: bytes) -> bytes:
    """A frame of level 1."""
    return HEADER1.pack(len(payload), kind, flags, channel, call) + payload


READY = frame1(0x04, 0, 0, 0, b"")


def proof(secret: bytes, connector: bool, request: bytes, response: bytes) -> bytes:
    """What a side proves a secret by."""
    text = b"hostlane auth 1" + (b"c" if connector else b"a")
    text += hashlib.sha256(request).digest() + hashlib.sha256(response).digest()
    return hmac.digest(secret, text, "sha256")


class Out(NamedTuple):
    """What the side under test sent: a frame, or a message put together from its frames."""

    kind: str
    flags: int
    channel: int
    id: int
    payload: bytes
    status: int | None = None
    deadline: int | None = None


class Raw(Wire):
    """The other side of whatever is tested."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(connection)
        self.socket.settimeout(PATIENCE)

    def put(self, data: bytes) -> None:
        """Writes, and waits until the bytes were taken, or nobody will take them."""
        with contextlib.suppress(OSError):  # whoever found a fault hangs up in the middle
            self.socket.sendall(data)
        until(lambda: self.gone() or self.unread() == 0, PATIENCE, "the bytes are read")

    def unread(self) -> int:
        # SIOCOUTQ: bytes the other side has not taken.
        count: int = struct.unpack("i", fcntl.ioctl(self.socket, termios.TIOCOUTQ, bytes(4)))[0]
        return count

    def gone(self) -> bool:
        try:
            self.socket.getpeername()
        except OSError:
            return True
        return False

    def frames1(self) -> queue.Queue[Out | None]:
        """Reads level 1 from now on; None is the end of the stream."""
        found: queue.Queue[Out | None] = queue.Queue()
        later(lambda: self.read1(found))
        return found

    def read1(self, found: queue.Queue[Out | None]) -> None:
        """Reads level 1 until the stream ends."""
        started: dict[int, Out] = {}
        with contextlib.suppress(EOFError, OSError):
            while True:
                length, kind, flags, channel, id = HEADER1.unpack(self.exactly(HEADER1.size))
                payload = self.exactly(length)
                if kind not in KINDS:
                    continue  # NOP, GREASE and the like
                out = Out(KINDS[kind], flags, channel, id, payload)
                if kind < 0x10:
                    found.put(out)
                    continue
                out = whole(started.pop(channel, None), out)
                if out.flags & LAST:
                    found.put(out)
                else:
                    started[channel] = out
        found.put(None)


def whole(before: Out | None, out: Out) -> Out:
    """A message with what one more frame brings."""
    if before is not None:
        return before._replace(
            flags=before.flags | out.flags & LAST, payload=before.payload + out.payload
        )
    payload, told = out.payload, {}
    if out.flags & EXT:
        size = 2 + int.from_bytes(payload[:2], "little")
        extensions, payload = payload[2:size], payload[size:]
        while extensions:
            kind, length = struct.unpack_from("<HH", extensions)
            told[kind] = int.from_bytes(extensions[4 : 4 + length], "little")
            extensions = extensions[4 + length :]
    if not out.flags & LAST:
        payload = payload[4:]
    return out._replace(payload=payload, deadline=told.get(1), status=told.get(4))
