"""A hand-written Unix socket: a message is its length (4 bytes, little-endian) and its bytes."""

from __future__ import annotations

import socket

from payload import Service
from works import Client, ready, serve_each

_HEADER = 4
_CHUNK = 256 * 1024
_COPIED = 4096  # a longer message is not copied behind its header


def header(length: int) -> bytes:
    """The length as it stands before a message."""
    return length.to_bytes(_HEADER, "little")


def _send_large(sock: socket.socket, message: bytes) -> None:
    head = header(len(message))
    sent = sock.sendmsg([head, message])
    if sent < len(head) + len(message):
        sock.sendall(memoryview(message)[sent - len(head) :])


class Plain:
    """One write and one read for a message."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._expected = _HEADER
        self._rest = b""

    def write(self, message: bytes) -> None:
        """Sends one message."""
        if len(message) > _COPIED:
            _send_large(self.sock, message)
        else:
            self.sock.sendall(header(len(message)) + message)

    def flush(self) -> None:
        """Nothing is ever kept."""

    def has_one(self) -> bool:
        """Nothing is ever here before it is asked for."""
        return False

    def read(self) -> bytes | None:
        """The next message; none at the end. One read will do if it is as long as the last."""
        data = self._rest
        while len(data) < _HEADER:
            piece = self.sock.recv(self._expected - len(data))
            if not piece:
                return None
            data += piece
        length = int.from_bytes(data[:_HEADER], "little")
        end = _HEADER + length
        self._expected = end
        if len(data) < end:
            whole = bytearray(end)
            whole[: len(data)] = data
            view, at = memoryview(whole), len(data)
            while at < end:
                got = self.sock.recv_into(view[at:])
                if not got:
                    raise ConnectionError("the stream ended inside a message")
                at += got
            self._rest = b""
            return bytes(view[_HEADER:])
        self._rest = data[end:]
        return data[_HEADER:end]


class Batched:
    """As many messages in a write and in a read as there are."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._out: list[bytes] = []
        self._kept = 0
        self._messages: list[bytes] = []
        self._at = 0
        self._buffer = bytearray(_CHUNK)
        self._have = 0

    def write(self, message: bytes) -> None:
        """Keeps one message, or sends what is kept with it."""
        if len(message) > _COPIED:
            self.flush()
            _send_large(self.sock, message)
            return
        self._out.append(message)
        self._kept += len(message)
        if self._kept >= _CHUNK // 4:
            self.flush()

    def write_all(self, messages: list[bytes]) -> None:
        """Sends messages of one length together."""
        if len(messages[0]) > _COPIED:
            for message in messages:
                self.write(message)
        else:
            self.flush()
            head = header(len(messages[0]))
            self.sock.sendall(head + head.join(messages))

    def flush(self) -> None:
        """Sends what is kept."""
        if self._out:
            self.sock.sendall(
                b"".join([part for one in self._out for part in (header(len(one)), one)])
            )
            self._out.clear()
            self._kept = 0

    def has_one(self) -> bool:
        """Whether `read` would not have to wait."""
        return self._at < len(self._messages)

    def read(self) -> bytes | None:
        """The next message; none at the end."""
        if self._at == len(self._messages) and not self.read_all():
            return None
        message = self._messages[self._at]
        self._at += 1
        return message

    def read_all(self) -> list[bytes]:
        """All messages that are here, at least one; none at the end."""
        self._messages, self._at = [], 0
        while not self._messages:
            got = self.sock.recv_into(memoryview(self._buffer)[self._have :])
            if not got:
                return []
            self._have += got
            self._cut()
        return self._messages

    def _cut(self) -> None:
        data, at, have = bytes(memoryview(self._buffer)[: self._have]), 0, self._have
        messages = self._messages
        while have - at >= _HEADER:
            end = at + _HEADER + int.from_bytes(data[at : at + _HEADER], "little")
            if end > have:
                if end - at > len(self._buffer):
                    self._read_large(data[at:], end - at)
                    return
                break
            messages.append(data[at + _HEADER : end])
            at = end
        self._have = have - at
        self._buffer[: self._have] = data[at:]

    def _read_large(self, head: bytes, length: int) -> None:
        whole = bytearray(length)
        whole[: len(head)] = head
        view, at = memoryview(whole), len(head)
        while at < length:
            got = self.sock.recv_into(view[at:])
            if not got:
                raise ConnectionError("the stream ended inside a message")
            at += got
        self._messages.append(bytes(view[_HEADER:]))
        self._have = 0


class Lane(Client):
    """A client on either of them."""

    kind: type[Plain | Batched]

    def __init__(self, address: str) -> None:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(address)
        self._end = self.kind(sock)
        self.post = self._end.write
        if isinstance(self._end, Batched):
            self.send_all = self._end.write_all

    def take(self) -> bytes:
        """Waits for the server's next message."""
        if not self._end.has_one():
            self._end.flush()
        message = self._end.read()
        if message is None:
            raise ConnectionError("the server is gone")
        return message

    def close(self) -> None:
        """Ends the connection."""
        self._end.sock.close()


def listen(address: str) -> socket.socket:
    """A listening socket."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    ready(address)
    return listener


def _answer_plain(sock: socket.socket) -> None:
    end, service = Plain(sock), Service()
    while (message := end.read()) is not None:
        reply = service.handle(message)
        if reply is not None:
            end.write(reply)
    sock.close()


def _answer_batched(sock: socket.socket) -> None:
    end, service = Batched(sock), Service()
    while messages := end.read_all():
        for reply in service.handle_all(messages):
            end.write(reply)
        end.flush()
    sock.close()


def serve_plain(address: str) -> None:
    """Serves all clients, one message after the other."""
    listener = listen(address)
    serve_each(lambda: listener.accept()[0], _answer_plain)


def serve_batched(address: str) -> None:
    """Serves all clients, all messages that came together at once."""
    listener = listen(address)
    serve_each(lambda: listener.accept()[0], _answer_batched)
