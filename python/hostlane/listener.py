"""Serving an address."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, NoReturn

from hostlane import _core, _options
from hostlane._server import Server
from hostlane.errors import ClosedError
from hostlane.peer import Peer
from hostlane.types import ListenerStats, ListenOptions, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Executor
    from types import TracebackType
    from typing import Self, Unpack

    from hostlane._core import NativeListener
    from hostlane._serving import Handler

__all__ = ["Listener", "listen"]


def listen(address: str, **options: Unpack[ListenOptions]) -> Listener:
    """Serves an address from now on.

    Args:
        address: Where: a bare name (private to the user), a path, ``unix:@name`` and so on.
        **options: See :class:`hostlane.ListenOptions`.

    Raises:
        InvalidAddressError: The address is in none of the known forms.
        AddressInUseError: Another process serves it.
        NotASocketError: The path is another kind of file; it was left untouched.
        AuthenticationRequiredError: ``tcp:`` is served only with ``secret``, ``unix:@name`` with
            that or ``allow_uids``.
        InvalidArgumentError: An option is out of its range.
    """
    known = ListenOptions.__optional_keys__
    return Listener(_core.listen(address, _options.options(known, options)))


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

    def serve(self, handler: Handler, *, executor: Executor | None = None) -> None:
        """Has the handler answer what all clients send, until the listener is closed.

        This one thread drives all connections, and runs the handler for one message after the
        other, or has the executor run it; see :meth:`Peer.serve`. Once the listener is closed,
        by whatever thread or handler, the connections are drained. What is raised in here, by
        Ctrl-C say, closes them.

        What the handler returns is sent without waiting for the client to take it. A client that
        has left 64 answers, or 1 MiB of them, has its next messages held; an answer it does not
        take within 5 seconds is given up and logged. Nobody else waits for it.

        Nothing moves while a handler runs on this thread and does not itself wait for one of these
        peers: who uses one of them from another thread meanwhile waits for that handler, whatever
        the ``timeout``. And no other message is handled while a handler on this thread waits, for
        the next item of a stream say: one silent client keeps all others waiting for as long. Give
        an executor, with more threads than will wait at once, where handlers wait or take their
        time; or accept the clients and have a thread for each in :meth:`Peer.serve`.
        """
        _options.serving(handler)
        Server(self._native, handler, executor).run()

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
