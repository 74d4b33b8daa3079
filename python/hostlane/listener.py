"""Serving an address."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, NoReturn

from hostlane import _core
from hostlane.errors import ClosedError
from hostlane.peer import Peer
from hostlane.types import ListenerStats, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType
    from typing import Self

    from hostlane._core import NativeListener

__all__ = ["Listener", "listen"]


def listen(
    address: str,
    *,
    channels: Iterable[int] | None = None,
    auth_token: str | None = None,
    allow_uids: Iterable[int] | None = None,
    handshake_timeout: float | None = None,
    max_message: int | None = None,
    backlog: int | None = None,
) -> Listener:
    """Serves an address from now on.

    Args:
        address: Where: a bare name (private to the user), a path, ``unix:@name`` and so on.
        channels: Channel numbers to agree to; 1 to 4 by default.
        auth_token: A shared secret that every client has to give; it crosses the wire in clear, so
            only names and paths accept it.
        allow_uids: User ids whose processes may connect. By default whoever may open the socket;
            for a bare name this user and root.
        handshake_timeout: Seconds a client has for its whole handshake; 5 by default.
        max_message: Largest payload accepted and sent, in bytes; 16 MiB by default and at most.
        backlog: Connections the kernel holds while nobody accepts them.

    Raises:
        InvalidAddressError: The address is in none of the known forms.
        AddressInUseError: Another process serves it.
        NotASocketError: The path is another kind of file; it was left untouched.
        AuthenticationRequiredError: ``unix:@name`` is served only with ``allow_uids``.
        InvalidArgumentError: An option is out of its range.
    """
    options: _core.Options = {
        "channels": None if channels is None else list(channels),
        "auth_token": auth_token,
        "allow_uids": None if allow_uids is None else list(allow_uids),
        "handshake_timeout": handshake_timeout,
        "max_message": max_message,
        "backlog": backlog,
    }
    return Listener(_core.listen(address, options))


class Listener:
    """A served address; made by :func:`listen`.

    Handshakes run side by side while a thread is in :meth:`accept`: a silent or hostile client
    never delays another. Iterating yields a :class:`Peer` per client until it is closed.
    """

    __slots__ = ("__weakref__", "_native", "_open_in")

    def __init__(self, native: NativeListener) -> None:
        self._native = native
        # The process that has to close it: a forked child never does.
        self._open_in: int | None = os.getpid()

    @property
    def address(self) -> str:
        """The served address, in a form that :func:`connect` takes."""
        return self._native.address

    def accept(self, timeout: float | None = None) -> Peer:
        """Returns the next client that has finished its handshake.

        Args:
            timeout: Seconds until giving up; nothing is lost by it.

        Raises:
            TimeoutError: The deadline passed first.
            ClosedError: The listener was closed.
        """
        return Peer(self._native.accept(timeout))

    def stats(self) -> ListenerStats:
        """Returns the counters of the listener, as of now."""
        return self._native.stats()

    def refusals(self) -> list[Refusal]:
        """Returns the latest refused clients, each once, oldest first."""
        return self._native.refusals()

    def close(self) -> None:
        """Stops serving and removes the socket; waiting threads get :class:`ClosedError`.

        Accepted connections go on. Closing twice is no error.
        """
        self._open_in = None
        self._native.close()

    def __iter__(self) -> Iterator[Peer]:
        while True:
            try:
                peer = self.accept()
            except ClosedError:
                return
            yield peer

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
        return f"<hostlane.Listener {self.address} {state}>"

    def __del__(self) -> None:
        if getattr(self, "_open_in", None) == os.getpid():
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
            self.close()

    def __reduce__(self) -> NoReturn:
        message = "a Listener belongs to its process: send its address instead"
        raise TypeError(message)
