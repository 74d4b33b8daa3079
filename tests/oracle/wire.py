"""A socket with level-0 frames on it and no manners, and a thread for the other side of a conversation."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from level0 import MAX_PAYLOAD, Decoder, Frame

TIMEOUT = 5.0


class Wire:
    """One socket, whole frames or any bytes; every wait has a deadline and fails by TimeoutError."""

    def __init__(self, sock: socket.socket, limit: int = MAX_PAYLOAD) -> None:
        self.sock = sock
        self.decoder = Decoder(limit)
        self.ended = False

    @classmethod
    def connect(cls, path: str, timeout: float = TIMEOUT) -> Wire:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(timeout)
        try:
            sock.connect(path)
        except BaseException:
            sock.close()
            raise
        return cls(sock)

    def send(self, data: bytes, timeout: float = TIMEOUT) -> None:
        self.sock.settimeout(timeout)
        self.sock.sendall(data)

    def send_frame(self, channel: int, payload: bytes = b"", timeout: float = TIMEOUT) -> None:
        self.send(Frame(channel, payload).encode(), timeout)

    def _read(self, deadline: float) -> bool:
        """One read into the decoder; False at end of stream. A reset counts as an end."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("nothing arrived before the deadline")
        self.sock.settimeout(left)
        try:
            data = self.sock.recv(256 * 1024)
        except (ConnectionResetError, BrokenPipeError):
            data = b""
        self.ended = not data
        self.decoder.feed(data)
        return not self.ended

    def frame(self, timeout: float = TIMEOUT) -> Frame | None:
        """The next frame, or None at a clean end of the stream."""
        deadline = time.monotonic() + timeout
        while (frame := self.decoder.next()) is None:
            if self.ended or not self._read(deadline):
                self.decoder.eof()
                return None
        return frame

    def rest(self, timeout: float = TIMEOUT) -> list[Frame]:
        """Every frame up to the end of the stream, which has to come before the deadline."""
        deadline = time.monotonic() + timeout
        frames = []
        while (frame := self.frame(max(0.0, deadline - time.monotonic()))) is not None:
            frames.append(frame)
        return frames

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Background:
    """Runs one side of a conversation in a thread; `result` returns its value or raises its error."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.value: Any = None
        self.error: BaseException | None = None

        def run() -> None:
            try:
                self.value = work()
            except BaseException as problem:  # handed to whoever asks for the result
                self.error = problem

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()

    def result(self, timeout: float = 10.0) -> Any:
        self.thread.join(timeout)
        if self.thread.is_alive():
            raise TimeoutError("the other side of the conversation did not finish")
        if self.error:
            raise self.error
        return self.value
