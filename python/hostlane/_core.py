"""The door to the native module: nothing else in the package imports it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias, TypedDict

from hostlane._native import (
    DEFAULT_TIMEOUT,
    HANDLER_FAILED,
    AioMessage,
    Message,
    NativeCall,
    NativeContext,
    NativeLink,
    NativeListener,
    NativePeer,
    NativeStream,
    __version__,
    connect,
    listen,
    log_drain,
    log_enable,
    open_link,
    panic,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from _typeshed import FileDescriptorLike, ReadableBuffer

    from hostlane.types import Info, Stats

__all__ = [
    "DEFAULT_TIMEOUT",
    "HANDLER_FAILED",
    "AioMessage",
    "CallOps",
    "Message",
    "NativeCall",
    "NativeContext",
    "NativeLink",
    "NativeListener",
    "NativePeer",
    "NativeStream",
    "Options",
    "PeerOps",
    "StreamOps",
    "Told",
    "With",
    "__version__",
    "connect",
    "listen",
    "log_drain",
    "log_enable",
    "open_link",
    "panic",
]

With: TypeAlias = "tuple[bytes | None, bytes | None, list[FileDescriptorLike] | None] | None"
"""What goes with a message: idempotency key, trace, descriptors."""


Told: TypeAlias = "tuple[int, With]"
"""The channel of a message, and what goes with it."""


class Options(TypedDict):
    """What connections and links can be told; ``None`` leaves the default of the core."""

    channels: Sequence[int] | None
    auth_token: str | None
    secret: str | None
    allow_uids: Sequence[int] | None
    handshake_timeout: float | None
    max_message: int | None
    level: int | None
    max_calls: int | None
    keepalive: float | None
    policies: Sequence[tuple[int, str]] | None
    fds: bool | None
    spin: float | None
    backlog: int | None
    command: Sequence[str | PathLike[str]] | None
    reconnect: bool | None
    retries: int | None
    delay: float | None
    max_delay: float | None


class PeerOps(Protocol):
    """What :class:`hostlane.Peer` asks of what drives its connection."""

    @property
    def peer_id(self) -> str: ...
    def send(
        self,
        data: ReadableBuffer,
        channel: int,
        timeout: float | None,
        with_: With,
        /,
    ) -> None: ...
    def send_batch(
        self, batch: list[ReadableBuffer], channel: int, timeout: float | None, /
    ) -> None: ...
    def recv(self, channel: int | None, timeout: float | None, /) -> Message: ...
    def recv_batch(self, most: int, timeout: float | None, /) -> list[Message]: ...
    def request(
        self, data: ReadableBuffer, channel: int, timeout: float | None, with_: With, /
    ) -> Message: ...
    def start(
        self, data: ReadableBuffer, channel: int, timeout: float | None, with_: With, /
    ) -> CallOps: ...
    def open_stream(
        self, data: ReadableBuffer, channel: int, timeout: float | None, with_: With, /
    ) -> StreamOps: ...
    def cork(self) -> None: ...
    def uncork(self) -> None: ...
    def attach(self) -> None: ...
    def ping(self, timeout: float | None, /) -> float: ...
    def drain(self, timeout: float | None, /) -> None: ...
    def close(self) -> None: ...
    def info(self) -> Info: ...
    def stats(self) -> Stats: ...


class CallOps(Protocol):
    """The same for :class:`hostlane.Call`."""

    @property
    def ended(self) -> bool: ...
    def result(self, timeout: float | None, /) -> Message: ...
    def done(self) -> bool: ...
    def cancel(self) -> None: ...


class StreamOps(Protocol):
    """The same for :class:`hostlane.Stream`."""

    @property
    def call_id(self) -> int: ...
    @property
    def reply(self) -> bytes | None: ...
    def send(self, data: ReadableBuffer, timeout: float | None, /) -> None: ...
    def finish(self, timeout: float | None, /) -> None: ...
    def recv(self, timeout: float | None, /) -> bytes | None: ...
    def close(self) -> None: ...
