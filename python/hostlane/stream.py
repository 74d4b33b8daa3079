"""Calls with many messages in both directions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostlane.types import DEFAULT_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

    from _typeshed import ReadableBuffer

    from hostlane._core import StreamOps

__all__ = ["Stream"]


class Stream:
    """The items of one call; made by :meth:`hostlane.Peer.open_stream` and :meth:`Message.stream`.

    Each direction has a credit of its own: a stream nobody reads stops nobody else, and takes a
    bounded amount of memory. One thread may send while another receives. Iterating yields the
    other side's items until its end.
    """

    __slots__ = ("__weakref__", "_native")

    def __init__(self, native: StreamOps) -> None:
        self._native = native

    @property
    def call_id(self) -> int:
        """The id of its call, unique in its connection."""
        return self._native.call_id

    @property
    def reply(self) -> bytes | None:
        """The reply that ended the call, for its caller, once all items were received."""
        return self._native.reply

    def send(self, item: ReadableBuffer, *, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        """Sends an item; waits while the other side does not take what it has.

        Raises:
            CallEndedError: The call is over.
            TimeoutError: The item was not sent if ``.sent`` is ``"no"``.
            InvalidArgumentError: After :meth:`finish`.
            ConnectionLostError: The connection ended.
        """
        self._native.send(item, timeout)

    def finish(self, *, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        """Says that this side sends no more items; the other direction goes on."""
        self._native.finish(timeout)

    def recv(self, *, timeout: float | None = None) -> bytes | None:
        """Returns the next item; None at the end.

        For the caller that is the end of the call, whose :attr:`reply` is then there; for the
        other side it is the caller's :meth:`finish`.

        Raises:
            RemoteError: The program at the other end failed the call.
            CallEndedError: The call ended otherwise.
            TimeoutError: Nothing came in time; nothing is lost.
            ConnectionLostError: The connection ended; what had arrived was returned before.
        """
        return self._native.recv(timeout)

    def close(self) -> None:
        """Gives the call up unless it has ended, if this side made it. Closing twice is no error.

        The side that serves it answers through its message.
        """
        self._native.close()

    def __iter__(self) -> Iterator[bytes]:
        while (item := self._native.recv(None)) is not None:
            yield item

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
