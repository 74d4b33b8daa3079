"""The door to the native module: nothing else in the package imports it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias, TypedDict

from hostlane._native import (
    DEFAULT_TIMEOUT,
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
    from typing import Any

    from _typeshed import FileDescriptorLike, ReadableBuffer

    from hostlane.types import (
        CallOptions,
        ConnectOptions,
        Info,
        LinkOptions,
        ListenOptions,
        SendOptions,
        Stats,
    )

__all__ = [
    "DEFAULT_TIMEOUT",
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
    "options",
    "panic",
    "told",
    "with_",
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


_SEQUENCES = ("channels", "allow_uids", "command")


def options(known: frozenset[str], given: ConnectOptions | ListenOptions | LinkOptions) -> Options:
    """Completes the options a program gave; ``known`` are those there are for what it does."""
    for name in given:
        if name not in known:
            message = f"{name!r} is no option"
            raise TypeError(message)
    told: dict[str, Any] = dict(given)
    every: dict[str, Any] = {name: told.get(name) for name in Options.__annotations__}
    for name in _SEQUENCES:
        if every[name] is not None:
            every[name] = list(every[name])
    if every["policies"] is not None:
        every["policies"] = list(every["policies"].items())
    return every  # type: ignore[return-value]


def with_(
    idempotency_key: bytes | None,
    trace: bytes | None,
    fds: Sequence[FileDescriptorLike] | None,
) -> With:
    """Gathers what goes with a message."""
    if idempotency_key is None and trace is None and fds is None:
        return None
    return idempotency_key, trace, None if fds is None else list(fds)


def told(options: CallOptions | SendOptions, known: frozenset[str], channel: int) -> Told:
    """What the options of a message say, on ``channel`` unless they name one."""
    for name in options:
        if name not in known:
            message = f"{name!r} is no option"
            raise TypeError(message)
    key: bytes | None = options.get("idempotency_key")  # type: ignore[assignment]
    with__ = with_(key, options.get("trace"), options.get("fds"))
    return options.get("channel", channel), with__


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
