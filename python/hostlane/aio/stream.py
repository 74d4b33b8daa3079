"""Calls with many messages in both directions."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from hostlane.types import DEFAULT_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType
    from typing import Self

    from _typeshed import ReadableBuffer

    from hostlane._core import NativeStream
    from hostlane.aio._driver import Driver

__all__ = ["Stream"]


class Stream:
    """The items of one call; made by :meth:`Peer.open_stream` and :meth:`Message.stream`.

    Each direction has a credit of its own: a stream nobody reads stops nobody else, and takes a
    bounded amount of memory. Iterating yields the other side's items until its end.
    """

    __slots__ = ("__weakref__", "_driver", "_native", "_reply")

    def __init__(self, driver: Driver, native: NativeStream) -> None:
        self._driver = driver
        self._native = native
        self._reply: bytes | None = None

    @property
    def call_id(self) -> int:
        """The id of its call, unique in its connection."""
        return self._native.call_id

    @property
    def reply(self) -> bytes | None:
        """The reply that ended the call, for its caller, once all items were received."""
        return self._reply

    async def send(self, item: ReadableBuffer, *, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        """Sends an item; waits while the other side does not take what it has.

        Raises:
            CallEndedError: The call is over.
            TimeoutError: The item was not sent if ``.sent`` is ``"no"``.
            InvalidArgumentError: After :meth:`finish`.
            ConnectionLostError: The connection ended.
        """
        driver = self._driver
        await driver.finish(driver.context.stream_send(driver, self._native, item, timeout))

    async def finish(self, *, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        """Says that this side sends no more items; the other direction goes on."""
        driver = self._driver
        await driver.finish(driver.context.stream_finish(driver, self._native, timeout))

    async def recv(self, *, timeout: float | None = None) -> bytes | None:
        """Returns the next item; None at the end.

        For the caller that is the end of the call, whose :attr:`reply` is then there; for the
        other side it is the caller's :meth:`finish`.

        Raises:
            RemoteError: The program at the other end failed the call.
            CallEndedError: The call ended otherwise.
            TimeoutError: Nothing came in time; nothing is lost.
            ConnectionLostError: The connection ended; what had arrived was returned before.
        """
        driver = self._driver
        item = await driver.take(partial(driver.context.stream_recv, driver, self._native), timeout)
        if isinstance(item, bytes):
            return item
        (reply,) = item
        self._reply = self._reply if reply is None else reply
        return None

    def close(self) -> None:
        """Gives the call up unless it has ended, if this side made it. Closing twice is no error.

        The side that serves it answers through its message.
        """
        self._native.close()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (item := await self.recv()) is not None:
            yield item

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
