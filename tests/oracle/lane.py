"""The hostlane library itself, called through its C interface: what no command line program can do,
such as draining, closing from another thread, and calls that time out. Blocking calls release the
interpreter lock, so a test may hold the other end of the conversation in the same process."""

from __future__ import annotations

import ctypes as c
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from errors import ERROR_NAMES
from harness import BIN

LIBRARY = Path(os.environ.get("HOSTLANE_LIB", BIN.parent / "libhostlane.so")).resolve()
NAMES = ERROR_NAMES | {0: "ok"}


class LaneError(Exception):
    """A status of the library; `name` is its name in the error table."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name = name


class Handle(c.Structure):
    _fields_ = [("id", c.c_uint64)]


class ConnectOptions(c.Structure):
    """The members of the first version of the struct; later ones are longer."""

    _fields_ = [
        ("size", c.c_size_t),
        ("channels", c.POINTER(c.c_uint16)), ("channels_len", c.c_size_t),
        ("handshake_timeout_ms", c.c_int64),
        ("auth_token", c.c_char_p), ("auth_token_len", c.c_size_t),
        ("max_message", c.c_uint64),
        ("allow_uids", c.POINTER(c.c_uint32)), ("allow_uids_len", c.c_size_t),
    ]  # fmt: skip


class ListenOptions(c.Structure):
    _fields_ = [*ConnectOptions._fields_, ("backlog", c.c_uint32)]


_library: Any = None


def library() -> Any:
    global _library
    if _library is None:
        assert LIBRARY.exists(), f"{LIBRARY} is not built"
        _library = c.CDLL(str(LIBRARY))
        _library.hostlane_message_data.restype = c.c_void_p
        _library.hostlane_message_channel.restype = c.c_uint16
        for name in ("hostlane_error_message", "hostlane_error_free", "hostlane_message_free"):
            getattr(_library, name).restype = None
    return _library


def _call(name: str, *arguments: Any) -> None:
    error = c.c_void_p()
    status = getattr(library(), name)(*arguments, c.byref(error))
    if status:
        text, size = c.c_char_p(), c.c_size_t()
        library().hostlane_error_message(error, c.byref(text), c.byref(size))
        message = (text.value or b"")[: size.value].decode("utf-8", "replace")
        library().hostlane_error_free(c.byref(error))
        raise LaneError(NAMES[status], message)


def _milliseconds(timeout: float | None) -> c.c_int64:
    return c.c_int64(-1 if timeout is None else round(timeout * 1000))


def _options(kind: Any, channels: Sequence[int] | None, token: str | None) -> Any:
    # Zero is the default of every member, and the size says which of them this program knows.
    options = kind(size=c.sizeof(kind))
    if channels is not None:
        options.channels = (c.c_uint16 * len(channels))(*channels)
        options.channels_len = len(channels)
    if token is not None:
        options.auth_token, options.auth_token_len = token.encode(), len(token.encode())
    return options


class Message:
    """A received message: its channel, its payload, and `reply`."""

    def __init__(self, pointer: c.c_void_p) -> None:
        size = c.c_size_t()
        self._pointer = pointer
        self.channel: int = library().hostlane_message_channel(pointer)
        data = library().hostlane_message_data(pointer, c.byref(size))
        self.payload = c.string_at(data, size.value) if size.value else b""

    def reply(self, payload: bytes, timeout: float = 5.0) -> None:
        _call("hostlane_reply", self._pointer, payload, c.c_size_t(len(payload)), _milliseconds(timeout))

    def __del__(self) -> None:
        library().hostlane_message_free(c.byref(self._pointer))


class Lane:
    """A hostlane peer."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    @classmethod
    def connect(
        cls, path: str, channels: Sequence[int] | None = None, token: str | None = None, timeout: float = 5.0
    ) -> Lane:
        handle, options = Handle(), _options(ConnectOptions, channels, token)
        address = path.encode()
        _call(
            "hostlane_connect",
            address,
            c.c_size_t(len(address)),
            c.byref(options),
            _milliseconds(timeout),
            c.byref(handle),
        )
        return cls(handle)

    def send(self, channel: int, payload: bytes, timeout: float = 5.0) -> None:
        _call(
            "hostlane_send",
            self._handle,
            c.c_uint16(channel),
            payload,
            c.c_size_t(len(payload)),
            _milliseconds(timeout),
        )

    def recv(self, timeout: float | None = 5.0) -> Message:
        message = c.c_void_p()
        _call("hostlane_recv", self._handle, _milliseconds(timeout), c.byref(message))
        return Message(message)

    def recv_on(self, channel: int, timeout: float | None = 5.0) -> Message:
        message = c.c_void_p()
        _call("hostlane_recv_on", self._handle, c.c_uint16(channel), _milliseconds(timeout), c.byref(message))
        return Message(message)

    def request(self, payload: bytes, timeout: float = 5.0) -> bytes:
        message = c.c_void_p()
        _call(
            "hostlane_request",
            self._handle,
            payload,
            c.c_size_t(len(payload)),
            _milliseconds(timeout),
            c.byref(message),
        )
        return Message(message).payload

    def ping(self, timeout: float = 5.0) -> float:
        nanoseconds = c.c_uint64()
        _call("hostlane_ping", self._handle, _milliseconds(timeout), c.byref(nanoseconds))
        return nanoseconds.value / 1e9

    def drain(self, timeout: float = 5.0) -> None:
        _call("hostlane_drain", self._handle, _milliseconds(timeout))

    def close(self) -> None:
        """Idempotent here; the C interface answers `closed` to the second call."""
        try:
            _call("hostlane_close", self._handle)
        except LaneError as problem:
            if problem.name != "closed":
                raise


class LaneListener:
    """A hostlane listener."""

    def __init__(self, path: str, channels: Sequence[int] | None = None, token: str | None = None) -> None:
        self._handle = Handle()
        options, address = _options(ListenOptions, channels, token), path.encode()
        _call("hostlane_listen", address, c.c_size_t(len(address)), c.byref(options), c.byref(self._handle))

    def accept(self, timeout: float = 5.0) -> Lane:
        handle = Handle()
        _call("hostlane_accept", self._handle, _milliseconds(timeout), c.byref(handle))
        return Lane(handle)

    def close(self) -> None:
        _call("hostlane_listener_close", self._handle)

    def __enter__(self) -> LaneListener:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def fails(name: str | tuple[str, ...], work: Callable[..., object], *arguments: object) -> float:
    """`work` fails with the error of that name; returns the seconds it took."""
    began = time.monotonic()
    with pytest.raises(LaneError) as caught:
        work(*arguments)
    assert caught.value.name in ((name,) if isinstance(name, str) else name), caught.value
    return time.monotonic() - began
