"""The other side of a connection, by hand: raw bytes over a plain socket."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
from collections.abc import Iterator
from typing import Any

CONTROL, COMMAND, DATA = 0, 1, 2
HEADER = struct.Struct("<2sIH")
LIMIT = 10.0

REQUEST: dict[str, Any] = {"protocol": "ipcprims", "version": "1.0", "channels": [1, 2, 3, 4]}
RESPONSE: dict[str, Any] = {**REQUEST, "peer_id": "peer-1"}


def frame(channel: int, payload: bytes) -> bytes:
    return HEADER.pack(b"IP", len(payload), channel) + payload


def control(message: object) -> bytes:
    return frame(CONTROL, json.dumps(message).encode())


class Wire:
    """A plain socket that knows frames."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.socket.settimeout(LIMIT)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise EOFError(data)
            data += more
        return data

    def recv(self) -> tuple[int, bytes]:
        """The next frame: channel and payload."""
        magic, length, channel = HEADER.unpack(self.exactly(HEADER.size))
        assert magic == b"IP"
        return channel, self.exactly(length)

    def recv_control(self) -> Any:
        channel, payload = self.recv()
        assert channel == CONTROL
        return json.loads(payload)

    def ended(self) -> bool:
        """Whether the other side ends the connection here; waits for it."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True


@contextlib.contextmanager
def dial(address: str) -> Iterator[Wire]:
    """Connects without a word."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(LIMIT)
        connection.connect(address.removeprefix("unix:"))
        yield Wire(connection)


@contextlib.contextmanager
def dial_and_greet(address: str) -> Iterator[Wire]:
    """Connects and shakes hands as a stock client does."""
    with dial(address) as wire:
        wire.send(control(REQUEST))
        response = wire.recv_control()
        assert response["channels"] == REQUEST["channels"], response
        yield wire


@contextlib.contextmanager
def serve(address: str) -> Iterator[socket.socket]:
    """A plain listening socket."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.settimeout(LIMIT)
        listener.bind(address)
        listener.listen()
        yield listener


def answer(listener: socket.socket, data: bytes | None, *, keep: float = 0.0) -> Any:
    """Accepts one client, reads its request, answers with `data`; the request.

    With `keep` it leaves the connection open until the client ends it.
    """
    connection, _ = listener.accept()
    with connection:
        wire = Wire(connection)
        request = wire.recv_control()
        if data is not None:
            wire.send(data)
        if keep:
            connection.settimeout(keep)
            wire.ended()
        return request
