"""Options as the native module takes them; what is wrong with one is said by its name."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from hostlane._core import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from _typeshed import FileDescriptorLike

    from hostlane._core import Told, With
    from hostlane.types import CallOptions, ConnectOptions, LinkOptions, ListenOptions, SendOptions

__all__ = ["options", "serving", "told", "with_"]

_Read: TypeAlias = "Callable[[str, Any], Any]"


def _refuse(name: str, value: object, wanted: str) -> NoReturn:
    # Not the value: it may be a secret.
    message = f"{name} is {wanted}, not {type(value).__name__}"
    raise TypeError(message)


def _is_integer(value: object) -> bool:
    return hasattr(type(value), "__index__")


def _text(name: str, value: object) -> object:
    if not isinstance(value, str):
        _refuse(name, value, "a str")
    return value


def _integer(name: str, value: object) -> object:
    if not _is_integer(value):
        _refuse(name, value, "an int")
    return value


def _seconds(name: str, value: object) -> object:
    if not hasattr(type(value), "__float__") and not _is_integer(value):
        _refuse(name, value, "a number of seconds")
    return value


def _flag(name: str, value: object) -> object:
    if not isinstance(value, bool):
        _refuse(name, value, "a bool")
    return value


def _integers(name: str, value: object) -> list[object]:
    if not isinstance(value, Iterable) or isinstance(value, str):
        _refuse(name, value, "an iterable of int")
    return [_integer(f"{name}[{at}]", one) for at, one in enumerate(value)]


def _words(name: str, value: object) -> list[object]:
    if not isinstance(value, Iterable) or isinstance(value, (str, bytes)):
        _refuse(name, value, "a sequence of words")
    words = list(value)
    for at, word in enumerate(words):
        if not isinstance(word, (str, os.PathLike)):
            _refuse(f"{name}[{at}]", word, "a str or a path")
    return words


def _policies(name: str, value: object) -> list[tuple[object, object]]:
    if not isinstance(value, Mapping):
        _refuse(name, value, "a mapping from channels to policies")
    return [
        (_integer(f"a channel of {name}", channel), _text(f"{name}[{channel}]", policy))
        for channel, policy in value.items()
    ]


_READ: dict[str, _Read] = {
    "channels": _integers,
    "auth_token": _text,
    "secret": _text,
    "allow_uids": _integers,
    "handshake_timeout": _seconds,
    "max_message": _integer,
    "level": _integer,
    "max_calls": _integer,
    "keepalive": _seconds,
    "policies": _policies,
    "fds": _flag,
    "spin": _seconds,
    "backlog": _integer,
    "command": _words,
    "reconnect": _flag,
    "retries": _integer,
    "delay": _seconds,
    "max_delay": _seconds,
}


def options(known: frozenset[str], given: ConnectOptions | ListenOptions | LinkOptions) -> Options:
    """Completes the options a program gave; ``known`` are those there are for what it does."""
    every: dict[str, Any] = dict.fromkeys(Options.__annotations__)
    for name, value in given.items():
        if name not in known:
            _refuse_name(name, known)
        if value is not None:
            every[name] = _READ[name](name, value)
    return every  # type: ignore[return-value]


def with_(
    idempotency_key: bytes | None,
    trace: bytes | None,
    fds: Sequence[FileDescriptorLike] | None,
) -> With:
    """Gathers what goes with a message."""
    if idempotency_key is None and trace is None and fds is None:
        return None
    for name, value in (("idempotency_key", idempotency_key), ("trace", trace)):
        if value is not None and not isinstance(value, (bytes, bytearray)):
            _refuse(name, value, "bytes")
    if fds is None:
        return idempotency_key, trace, None
    if not isinstance(fds, Iterable):
        _refuse("fds", fds, "a sequence of descriptors")
    files = list(fds)
    for at, file in enumerate(files):
        if not _is_integer(file) and not hasattr(file, "fileno"):
            _refuse(f"fds[{at}]", file, "a descriptor or has one")
    return idempotency_key, trace, files


def told(given: CallOptions | SendOptions, known: frozenset[str], channel: int) -> Told:
    """What the options of a message say, on ``channel`` unless they name one."""
    for name in given:
        if name not in known:
            _refuse_name(name, known)
    key: bytes | None = given.get("idempotency_key")  # type: ignore[assignment]
    return given.get("channel", channel), with_(key, given.get("trace"), given.get("fds"))


def serving(handler: object) -> None:
    """Refuses what cannot handle anything, before it is asked to."""
    if not callable(handler):
        _refuse("handler", handler, "a function")


def _refuse_name(name: str, known: frozenset[str]) -> NoReturn:
    message = f"{name!r} is no option; there are {', '.join(sorted(known))}"
    raise TypeError(message)
