"""Fast, safe, framed messages between the processes of one host.

    import hostlane

    with hostlane.connect("greeter") as peer:
        print(peer.request(b"hello").data)

:func:`connect` and :func:`listen` are the two ways in. Every function that waits takes a
``timeout`` in seconds; ``None`` waits for ever, ``0`` takes only what is there now. All objects
may be used from many threads at once. Every failure is a subclass of :class:`hostlane.Error`.
"""

from __future__ import annotations

import logging

from hostlane import errors
from hostlane._core import Message, __version__
from hostlane.errors import *  # noqa: F403
from hostlane.listener import Listener, listen
from hostlane.peer import Peer, connect
from hostlane.types import (
    COMMAND,
    DATA,
    DEFAULT_TIMEOUT,
    ERROR,
    TELEMETRY,
    Info,
    Refusal,
    Stats,
)

__all__ = [
    "COMMAND",
    "DATA",
    "DEFAULT_TIMEOUT",
    "ERROR",
    "TELEMETRY",
    "Info",
    "Listener",
    "Message",
    "Peer",
    "Refusal",
    "Stats",
    "__version__",
    "connect",
    "listen",
]
__all__ += errors.__all__

logging.getLogger(__name__).addHandler(logging.NullHandler())
