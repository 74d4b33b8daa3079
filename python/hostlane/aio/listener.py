"""Serving an address."""

from __future__ import annotations

import os
import warnings
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from hostlane import _core, _options
from hostlane.aio._driver import current
from hostlane.aio.peer import Peer
from hostlane.errors import ClosedError, Error, PeerClosedError
from hostlane.types import ListenerStats, ListenOptions, Refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType
    from typing import Self, Unpack

    from hostlane._core import NativeListener
    from hostlane.aio._driver import Driver, Handler

__all__ = ["Listener", "listen"]


def listen(address: str, **options: Unpack[ListenOptions]) -> Listener:
    """Serves an address from now on; takes and raises what :func:`hostlane.listen` does.

    It never waits. Call it in a running event loop.
    """
    known = ListenOptions.__optional_keys__
    return Listener(current(), _core.listen(address, _options.options(known, options)))


class Listener:
    """A served address; made by :func:`listen`.

    Handshakes run side by side while a task is in :meth:`accept`: a silent or hostile client never
    delays another. Iterating yields a :class:`Peer` per client until it is closed.
    """

    __slots__ = ("__weakref__", "_driver", "_native", "_open_in")

    def __init__(self, driver: Driver, native: NativeListener) -> None:
        self._driver = driver
        self._native = native
        # The process that has to close it: a forked child never does.
        self._open_in: int | None = os.getpid()

    @property
    def address(self) -> str:
        """The served address, in a form that :func:`connect` takes."""
        return self._native.address

    async def accept(self, timeout: float | None = None) -> Peer:
        """Returns the next client that has finished its handshake.

        Args:
            timeout: Seconds until giving up; nothing is lost by it, nor by a cancel.

        Raises:
            TimeoutError: The deadline passed first.
            ClosedError: The listener was closed.
        """
        driver = self._driver
        accept = partial(driver.context.accept, driver, self._native)
        return Peer(driver, await driver.take(accept, timeout))

    async def serve(self, handler: Handler) -> None:
        """Has the handler answer what all clients send, until the listener is closed.

        Every message is handled in a task of its own; see :meth:`Peer.serve`. Once the listener is
        closed the connections are drained. Cancelled, it closes them.
        """
        _options.serving(handler)
        peers: set[Peer] = set()

        async def serve(peer: Peer) -> None:
            try:
                async with peer:
                    await peer.serve(handler)
            except Error:
                # The connection broke; the others go on.
                pass
            finally:
                peers.discard(peer)

        async def drain(peer: Peer) -> None:
            try:
                await peer.drain()
            except Error:
                peer.close()

        async with self._driver.group() as group:
            async for peer in self:
                peers.add(peer)
                group.start(serve, peer)
            for peer in list(peers):
                group.start(drain, peer)

    def stats(self) -> ListenerStats:
        """Returns the counters of the listener, as of now."""
        return self._native.stats()

    def refusals(self) -> list[Refusal]:
        """Returns the latest refused clients, each once, oldest first."""
        return self._native.refusals()

    def close(self) -> None:
        """Stops serving and removes the socket; waiting tasks get :class:`ClosedError`.

        Accepted connections go on. Closing twice is no error.
        """
        self._open_in = None
        self._native.close()

    async def __aiter__(self) -> AsyncIterator[Peer]:
        while True:
            try:
                peer = await self.accept()
            except (ClosedError, PeerClosedError):
                return
            yield peer

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._open_in is None else "open"
        return f"<hostlane.aio.Listener {self.address} {state}>"

    def __del__(self) -> None:
        if getattr(self, "_open_in", None) == os.getpid():
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
            self._native.close()

    def __reduce__(self) -> NoReturn:
        message = "a Listener belongs to its process: send its address instead"
        raise TypeError(message)
