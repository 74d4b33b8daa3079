"""Connections."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, NoReturn

from hostlane import _core
from hostlane.errors import ClosedError, PeerClosedError
from hostlane.types import DATA, DEFAULT_TIMEOUT, Info, Stats

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType
    from typing import Self

    from _typeshed import ReadableBuffer

    from hostlane._core import Message, NativePeer

__all__ = ["Peer", "connect"]


def connect(
    address: str,
    *,
    timeout: float | None = DEFAULT_TIMEOUT,
    channels: Iterable[int] | None = None,
    auth_token: str | None = None,
    allow_uids: Iterable[int] | None = None,
    handshake_timeout: float | None = None,
    max_message: int | None = None,
) -> Peer:
    """Connects to a listener.

    Args:
        address: Where it serves: a bare name, a path, ``unix:@name`` and so on.
        timeout: Seconds for everything until the connection is usable, handshake included.
        channels: Channel numbers to offer; 1 to 4 by default. The server chooses among them.
        auth_token: The shared secret the server asks for.
        allow_uids: User ids the server may run under. By default any; for a bare name this user and
            root.
        handshake_timeout: Seconds for the handshake alone; 5 by default.
        max_message: Largest payload accepted and sent, in bytes; 16 MiB by default and at most.

    Raises:
        InvalidAddressError: The address is in none of the known forms.
        NotFoundError: Nothing exists at the address.
        ConnectionRefusedError: Nobody serves it.
        TimeoutError: The deadline passed first.
        RefusedError: The server ended the handshake; other handshake failures have own classes.
    """
    options: _core.Options = {
        "channels": None if channels is None else list(channels),
        "auth_token": auth_token,
        "allow_uids": None if allow_uids is None else list(allow_uids),
        "handshake_timeout": handshake_timeout,
        "max_message": max_message,
        "backlog": None,
    }
    return Peer(_core.connect(address, options, timeout))


class Peer:
    """One connection; made by :func:`connect` and :meth:`Listener.accept`.

    Any number of threads may use it at once. Close it, or use it as a context manager. Iterating
    yields messages until either side ends the connection in good order.
    """

    __slots__ = ("__weakref__", "_native", "_open_in", "_peer_id")

    def __init__(self, native: NativePeer) -> None:
        self._native = native
        self._peer_id = native.peer_id
        # The process that has to close it: a forked child never does.
        self._open_in: int | None = os.getpid()

    def send(
        self,
        data: ReadableBuffer,
        *,
        channel: int = DATA,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> None:
        """Sends one message and returns when the kernel has all of it.

        Args:
            data: Any contiguous object with the buffer protocol; used without a copy.
            channel: One of the agreed channels, see :meth:`info`.
            timeout: Seconds until giving up. When nothing was sent by then the connection goes
                on; a message cut in the middle ends it.

        Raises:
            TimeoutError: The other side does not read.
            PayloadTooLargeError: Nothing was sent.
            InvalidChannelError: The channel is reserved or was not agreed.
            ClosedError: This side has closed the connection.
            ConnectionLostError: The other side is gone; ``.sent`` says whether it may have the
                message.
        """
        self._native.send(data, channel, timeout)

    def recv(self, channel: int | None = None, *, timeout: float | None = None) -> Message:
        """Returns the next message, in order of arrival.

        Args:
            channel: Take only messages of this channel; the others stay queued in order.
            timeout: Seconds until giving up. Nothing is lost by it: call again.

        Raises:
            TimeoutError: The deadline passed first.
            PeerClosedError: The other side ended the connection, and all it sent has been read.
            ClosedError: This side has closed the connection.
            ConnectionLostError: It broke; what the other side did wrong has own classes.
        """
        return self._native.recv(channel, timeout)

    def request(self, data: ReadableBuffer, *, timeout: float | None = DEFAULT_TIMEOUT) -> Message:
        """Makes a call and returns its reply.

        Calls of several threads are made one after the other, in order. A call that times out
        when it was already sent ends the connection, so that a late reply never answers the next
        call.

        Args:
            data: Any contiguous object with the buffer protocol.
            timeout: Seconds for everything, the time in the queue included.

        Raises:
            TimeoutError: ``.sent`` says whether the other side may have acted on the call.
            QueueFullError: Too many calls wait for their turn.
            PayloadTooLargeError: Nothing was sent.
            ClosedError: This side has closed the connection.
            ConnectionLostError: The connection ended before the reply.
        """
        return self._native.request(data, timeout)

    def ping(self, *, timeout: float | None = DEFAULT_TIMEOUT) -> float:
        """Returns the seconds of one round trip to the other side's library.

        Raises:
            TimeoutError: No answer in time; the connection goes on.
        """
        return self._native.ping(timeout)

    def drain(self, *, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        """Ends the connection in good order: calls in flight finish, nothing new starts.

        Messages received before stay readable.

        Raises:
            TimeoutError: The other side did not agree in time; the connection was closed without.
        """
        self._native.drain(timeout)
        self._open_in = None

    def close(self) -> None:
        """Ends the connection now; threads waiting on it get :class:`ClosedError`.

        Closing twice is no error.
        """
        self._open_in = None
        self._native.close()

    def info(self) -> Info:
        """Returns what is known about the connection and the other side."""
        return self._native.info()

    def stats(self) -> Stats:
        """Returns the counters of the connection, as of now."""
        return self._native.stats()

    def __iter__(self) -> Iterator[Message]:
        while True:
            try:
                message = self._native.recv(None, None)
            except (PeerClosedError, ClosedError):
                return
            yield message

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._open_in is None else "open"
        return f"<hostlane.Peer {self._peer_id} {state}>"

    def __del__(self) -> None:
        if getattr(self, "_open_in", None) == os.getpid():
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
            self.close()

    def __reduce__(self) -> NoReturn:
        message = "a Peer belongs to its process: send the address and call hostlane.connect there"
        raise TypeError(message)
