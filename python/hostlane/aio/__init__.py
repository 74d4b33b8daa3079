"""hostlane for asyncio and trio.

    from hostlane import aio

    async with await aio.connect("greeter") as peer:
        print((await peer.request(b"hello")).data)

The nouns are those of :mod:`hostlane`; what waits there is awaited here, and cancelling the task
gives it up at once, on the other side too. Every event loop watches one descriptor for all its
connections and one for each link; no thread is started. An object belongs to the loop it was
made in.
"""

from __future__ import annotations

from hostlane._core import AioMessage as Message
from hostlane.aio._driver import Handler
from hostlane.aio.link import Link, LinkEvent
from hostlane.aio.listener import Listener, listen
from hostlane.aio.peer import Peer, connect
from hostlane.aio.stream import Stream

__all__ = [
    "Handler",
    "Link",
    "LinkEvent",
    "Listener",
    "Message",
    "Peer",
    "Stream",
    "connect",
    "listen",
]
