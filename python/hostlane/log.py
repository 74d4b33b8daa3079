"""What happens to connections, for the program's own log. Silent until :func:`enable`.

    import logging, hostlane

    logging.basicConfig(level=logging.INFO)
    hostlane.log.enable()

Events become records of the logger ``"hostlane"``. The library has no thread that logs: it keeps
up to 1024 events, and they are handed over at the end of every call into the library, by whatever
thread makes it, at every turn of an event loop that has something to do, and by :func:`drain`. A
program whose threads all wait for long calls that from a timer of its own.

Each record has, beside its text, the attributes ``event`` (such as ``"connected"``, ``"ended"``,
``"link_up"``), ``peer`` (the id of the connection, or empty), ``address`` and ``code`` (the
``kind`` of an error, or None). Payloads and secrets are in none of them. The record ``"dropped"``
says, in ``dropped``, how many events were dropped because nobody took them: the oldest go first.
"""

from __future__ import annotations

import atexit
import logging
from typing import TYPE_CHECKING, Any

from hostlane import _core

if TYPE_CHECKING:
    from collections.abc import Iterable

    Entry = tuple[int, int, str, str, str, str | None, str]

__all__ = ["disable", "drain", "enable"]

_log = logging.getLogger("hostlane")

# By the level of the core: off, error, warn, info, debug.
_LEVELS = (0, logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG)


def enable(level: int | None = None) -> None:
    """Keeps events from now on, for the whole process; again to change the level.

    Args:
        level: A level of :mod:`logging`; by default the effective level of the logger
            ``"hostlane"``. What matters less is not even made.
    """
    if level is None:
        level = _log.getEffectiveLevel()
    _core.log_enable(sum(level <= known for known in _LEVELS[1:]))
    atexit.unregister(drain)
    atexit.register(drain)


def disable() -> None:
    """Keeps no events any more; those kept already are still handed over by :func:`drain`."""
    _core.log_enable(0)


def drain() -> int:
    """Hands over what is kept, on the calling thread: how many events."""
    events, dropped = _core.log_drain()
    _tell(events, dropped)
    return len(events)


def _tell(events: Iterable[Entry], dropped: int) -> None:
    """Makes records of events; called by the native module as well."""
    if dropped:
        text = f"{dropped} events were dropped: nobody took them"
        _handle(logging.WARNING, text, None, {"event": "dropped", "dropped": dropped})
    for micros, level, event, peer, address, code, text in events:
        facts = {"event": event, "peer": peer, "address": address, "code": code}
        where = " ".join(filter(None, (event, peer, address)))
        _handle(_LEVELS[level], f"{where}: {text}" if text else where, micros, facts)


def _handle(level: int, text: str, micros: int | None, facts: dict[str, Any]) -> None:
    if not _log.isEnabledFor(level):
        return
    record = _log.makeRecord(_log.name, level, __name__, 0, text, (), None, extra=facts)
    if micros is not None:
        record.created = micros / 1e6
        record.msecs = micros // 1000 % 1000
    _log.handle(record)
