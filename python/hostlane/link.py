"""The same program on both sides."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, NoReturn, TypeAlias

from hostlane import _core, _options
from hostlane._core import Message
from hostlane._executing import Running
from hostlane._serving import capped
from hostlane.errors import ClosedError
from hostlane.types import (
    COMMAND,
    DATA,
    DEFAULT_TIMEOUT,
    Info,
    LinkDown,
    LinkOptions,
    LinkUp,
    Stats,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor
    from types import TracebackType
    from typing import Self, Unpack

    from _typeshed import ReadableBuffer

    from hostlane._core import NativeLink

    Handler: TypeAlias = "Callable[[Message, Link], ReadableBuffer | None]"

__all__ = ["Link", "LinkEvent"]

LinkEvent: TypeAlias = LinkUp | LinkDown | Message
"""What a link tells. A message is answered with :meth:`Message.reply` or :meth:`Message.fail`."""


class Link:
    """Two instances of one program, joined by an address; made by :meth:`open`.

        with hostlane.Link.open("engine") as link:
            threading.Thread(target=link.serve, args=(handler,)).start()
            print(link.request(b"hello").data)

    The first to open listens, the second connects, a third waits as a standby. When one of a pair
    dies, the other takes over within moments, and the next one joins. Calls go both ways. A call
    that was lost with its connection is made again on the next one only if it surely was not
    executed, or has an idempotency key; otherwise it raises :class:`ConnectionLostError` once,
    whose ``.sent`` says whether it may have been executed.

    Nothing happens by itself: the link lives while some thread is in one of its waiting calls,
    best in :meth:`serve`, or while an event loop polls :meth:`fileno` and calls :meth:`process`;
    in asyncio and trio :class:`hostlane.aio.Link` does so. Any number of threads may use it at
    once. Close it, or use it as a context manager. Iterating yields events until this side closes
    it, and raises what ended it otherwise.

    A link has no streams, and :meth:`Message.wait_cancelled` is unsupported on its messages:
    look at :attr:`Message.cancelled`.
    """

    __slots__ = ("__weakref__", "_address", "_native", "_open_in")

    def __init__(self, native: NativeLink, address: str) -> None:
        self._native = native
        self._address = address
        # The process that has to close it: a forked child never does.
        self._open_in: int | None = os.getpid()

    @classmethod
    def open(cls, address: str, **options: Unpack[LinkOptions]) -> Self:
        """Opens a link; its first attempt is under way then.

        Args:
            address: One that can be listened at and connected to: a bare name, a path,
                ``unix:@name``, ``tcp:``.
            **options: See :class:`hostlane.LinkOptions`.

        Raises:
            InvalidAddressError: The address is in none of the known forms.
            UnsupportedError: The address has a fixed server.
            InvalidArgumentError: An option is out of its range.
            NotASocketError: The path is another kind of file; it was left untouched.
            AuthenticationRequiredError: ``tcp:`` needs a ``secret``.
        """
        known = LinkOptions.__optional_keys__
        return cls(_core.open_link(address, _options.options(known, options), aio=False), address)

    def next(self, *, timeout: float | None = None) -> LinkEvent:
        """Returns the next event.

        Args:
            timeout: Seconds until giving up. Nothing is lost by it: call again.

        Raises:
            TimeoutError: The deadline passed first.
            ClosedError: This side has closed the link.
            Error: What ended the link, again and again: its attempts ran out, or it was not to
                reconnect.
        """
        event: LinkEvent = self._native.next(timeout)
        return event

    def request(
        self,
        data: ReadableBuffer,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        channel: int = COMMAND,
        idempotency_key: bytes | None = None,
        trace: bytes | None = None,
    ) -> Message:
        """Makes a call and returns its reply; waits for the other side while it is not there.

        Any number of threads may call at once, from handlers too. Inside a handler the call ends
        with the one that is served, at the latest.

        Args:
            data: Any contiguous object with the buffer protocol.
            timeout: Seconds for everything; the other side is told. A call that times out is
                cancelled.
            channel: One of the agreed channels.
            idempotency_key: Says that the call may be made again under this key of 1 to 64 bytes,
                and has it made again when its connection is lost.
            trace: Handed to the other program as it is; 1 to 64 bytes.

        Raises:
            TimeoutError: ``.sent`` says whether the other side may have acted on the call.
            ConnectionLostError: The connection ended before the reply; ``.sent`` says the same.
            RemoteError: The program at the other end failed it, with ``.status`` and ``.data``.
            CallAbandonedError: It let the call go without an answer.
            QueueFullError: Too many calls are open.
            ClosedError: This side has closed the link.
            Error: What ended the link.
        """
        with_ = _options.with_(idempotency_key, trace, None)
        reply: Message = self._native.request(data, channel, capped(timeout), with_)
        return reply

    def send(
        self, data: ReadableBuffer, *, channel: int = DATA, trace: bytes | None = None
    ) -> None:
        """Sends one message; never waits.

        Raises:
            ConnectionLostError: The other side is not there; the message is not kept for it.
            WouldBlockError: It does not take what was sent before.
            PayloadTooLargeError: Nothing was sent.
        """
        self._native.send(data, channel, _options.with_(None, trace, None))

    def serve(self, handler: Handler, *, executor: Executor | None = None) -> None:
        """Has the handler answer what arrives, until this side closes the link.

        As :meth:`hostlane.Peer.serve`, across all connections the link has; the handler gets each
        message and this link. Any number of threads may serve. Raises what ended the link
        otherwise.
        """
        _options.serving(handler)
        running = Running(executor)
        while True:
            try:
                event: LinkEvent = self._native.next(None)
            except ClosedError:
                return
            if isinstance(event, Message):
                running.call(handler, event, self)
            # A call is abandoned once nobody has its message any more.
            del event

    @property
    def is_serving(self) -> bool | None:
        """Whether this side is the one that listens; None while there is no decision."""
        return self._native.is_serving

    def info(self) -> Info:
        """Returns what is known about the connection there is and the other side.

        Raises:
            ConnectionLostError: The other side is not there.
        """
        return self._native.info()

    def stats(self) -> Stats:
        """Returns the counters of the connection there is, as of now; raises as :meth:`info`."""
        return self._native.stats()

    def fileno(self) -> int:
        """The descriptor to poll for reading before :meth:`process`; for nothing else."""
        return self._native.fileno()

    def process(self) -> list[LinkEvent]:
        """Moves the link on without waiting, and returns the events there are.

        Raises what :meth:`next` raises, once all events were returned.
        """
        return self._native.process()

    def close(self) -> None:
        """Ends the link now; threads waiting on it get :class:`ClosedError`, the address is free.

        Closing twice is no error.
        """
        self._open_in = None
        self._native.close()

    def __iter__(self) -> Iterator[LinkEvent]:
        while True:
            try:
                event: LinkEvent = self._native.next(None)
            except ClosedError:
                return
            yield event
            # Nor does this keep the call of a message that nobody has any more.
            del event

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
        return f"<hostlane.Link {self._address} {state}>"

    def __del__(self) -> None:
        if getattr(self, "_open_in", None) == os.getpid():
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
            self.close()

    def __reduce__(self) -> NoReturn:
        message = "a Link belongs to its process: send the address and open one there"
        raise TypeError(message)
