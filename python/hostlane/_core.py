"""The door to the native module: nothing else in the package imports it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from hostlane._native import (
    DEFAULT_TIMEOUT,
    Message,
    NativeListener,
    NativePeer,
    __version__,
    connect,
    listen,
    panic,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "DEFAULT_TIMEOUT",
    "Message",
    "NativeListener",
    "NativePeer",
    "Options",
    "__version__",
    "connect",
    "listen",
    "panic",
]


class Options(TypedDict):
    """What connect and listen can be told; ``None`` leaves the default of the core."""

    channels: Sequence[int] | None
    auth_token: str | None
    allow_uids: Sequence[int] | None
    handshake_timeout: float | None
    max_message: int | None
    backlog: int | None
