"""Fast, safe, framed messages between the processes of one host.

    import hostlane

    with hostlane.connect("greeter") as peer:
        print(peer.request(b"hello").data)

:func:`connect` and :func:`listen` are the two ways in; :class:`Link` is one for two instances of
the same program. Every function that waits takes a
``timeout`` in seconds; ``None`` waits for ever, ``0`` takes only what is there now. All objects
may be used from many threads at once. Every failure is a subclass of :class:`hostlane.Error`.
:mod:`hostlane.aio` has the same for asyncio and trio; :mod:`hostlane.log` tells what happens.
"""

from __future__ import annotations

from hostlane import errors, log
from hostlane._core import Message, __version__
from hostlane._serving import HANDLER_FAILED, Handler
from hostlane.call import Call
from hostlane.errors import *  # noqa: F403
from hostlane.link import Link, LinkEvent
from hostlane.listener import Listener, listen
from hostlane.peer import Peer, connect
from hostlane.stream import Stream
from hostlane.types import (
    COMMAND,
    DATA,
    DEFAULT_TIMEOUT,
    ERROR,
    TELEMETRY,
    CallOptions,
    ConnectOptions,
    Info,
    LinkDown,
    LinkOptions,
    LinkUp,
    ListenOptions,
    Policy,
    Refusal,
    SendOptions,
    Stats,
)

__all__ = [
    "COMMAND",
    "DATA",
    "DEFAULT_TIMEOUT",
    "ERROR",
    "HANDLER_FAILED",
    "TELEMETRY",
    "Call",
    "CallOptions",
    "ConnectOptions",
    "Handler",
    "Info",
    "Link",
    "LinkDown",
    "LinkEvent",
    "LinkOptions",
    "LinkUp",
    "ListenOptions",
    "Listener",
    "Message",
    "Peer",
    "Policy",
    "Refusal",
    "SendOptions",
    "Stats",
    "Stream",
    "__version__",
    "connect",
    "listen",
    "log",
]
__all__ += errors.__all__
