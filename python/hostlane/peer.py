"""Connections."""

from __future__ import annotations

import os
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NoReturn

from hostlane import _core, _options
from hostlane._executing import Running
from hostlane._serving import Handler, capped, deadline
from hostlane.call import Call
from hostlane.errors import ClosedError, PeerClosedError
from hostlane.stream import Stream
from hostlane.types import (
    COMMAND,
    DATA,
    DEFAULT_TIMEOUT,
    CallOptions,
    ConnectOptions,
    Info,
    SendOptions,
    Stats,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from concurrent.futures import Executor
    from types import TracebackType
    from typing import Self, Unpack

    from _typeshed import ReadableBuffer

    from hostlane._core import Message, PeerOps

__all__ = ["Peer", "connect"]

# A call pays for every parameter it does not name, so the rare ones are options.
_CALL: Final[_core.Told] = (COMMAND, None)
_CALL_OPTIONS: Final = CallOptions.__optional_keys__
_SEND: Final[_core.Told] = (DATA, None)
_SEND_OPTIONS: Final = SendOptions.__optional_keys__


def connect(
    address: str,
    *,
    timeout: float | None = DEFAULT_TIMEOUT,
    **options: Unpack[ConnectOptions],
) -> Peer:
    """Connects to a listener.

    Args:
        address: Where it serves: a bare name, a path, ``unix:@name`` and so on.
        timeout: Seconds for everything until the connection is usable, handshake included.
        **options: See :class:`hostlane.ConnectOptions`.

    Raises:
        InvalidAddressError: The address is in none of the known forms.
        NotFoundError: Nothing exists at the address.
        ConnectionRefusedError: Nobody serves it.
        TimeoutError: The deadline passed first.
        RefusedError: The server ended the handshake; other handshake failures have own classes.
        InvalidArgumentError: An option is out of its range.
    """
    known = ConnectOptions.__optional_keys__
    return Peer(_core.connect(address, _options.options(known, options), timeout))


class Peer:
    """One connection; made by :func:`connect` and :meth:`Listener.accept`.

    Any number of threads may use it at once. Close it, or use it as a context manager. Iterating
    yields messages until either side ends the connection in good order.
    """

    __slots__ = ("__weakref__", "_native", "_open_in", "_peer_id")

    def __init__(self, native: PeerOps) -> None:
        self._native = native
        self._peer_id = native.peer_id
        # The process that has to close it: a forked child never does.
        self._open_in: int | None = os.getpid()

    def send(
        self,
        data: ReadableBuffer,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        **options: Unpack[SendOptions],
    ) -> None:
        """Sends one message and returns when the kernel has all of it.

        Args:
            data: Any contiguous object with the buffer protocol; used without a copy.
            timeout: Seconds until giving up. When nothing was sent by then the connection goes
                on.
            **options: ``channel``, ``trace`` and ``fds``, see :class:`hostlane.SendOptions`.

        Raises:
            TimeoutError: The other side does not read; ``.sent`` says whether the message may
                still arrive. On wire level 0 a message cut in the middle ends the connection.
            WouldBlockError: The same, on a channel with the policy ``"error"``.
            PayloadTooLargeError: Nothing was sent.
            InvalidChannelError: The channel is reserved or was not agreed.
            UnsupportedError: The connection has no form for what goes along.
            ClosedError: This side has closed the connection.
            ConnectionLostError: The other side is gone; ``.sent`` says whether it may have the
                message.
        """
        channel, with_ = _options.told(options, _SEND_OPTIONS, DATA) if options else _SEND
        self._native.send(data, channel, timeout, with_)

    def send_batch(
        self,
        batch: Iterable[ReadableBuffer],
        *,
        channel: int = DATA,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> None:
        """Sends many messages of one channel in as few system calls as they allow.

        Returns when the kernel has all of them, and raises what :meth:`send` raises; how many
        were accepted before an error is in :meth:`stats`.
        """
        self._native.send_batch(list(batch), channel, timeout)

    @contextmanager
    def cork(self) -> Iterator[None]:
        """Gathers what any thread sends, requests and replies in the ``with``; then it leaves.

        Meanwhile :meth:`send` and :meth:`Message.reply` return once a message is queued. What
        fills a write leaves before; a call that waits for its reply lets all go.

        Raises:
            ClosedError: This side has closed the connection.
        """
        self._native.cork()
        try:
            yield
        finally:
            self._native.uncork()

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

    def recv_batch(self, most: int = 64, *, timeout: float | None = None) -> list[Message]:
        """Returns all messages that are there, at most ``most``; waits for the first.

        Raises what :meth:`recv` raises, and :class:`InvalidArgumentError` where none is wanted.
        """
        return self._native.recv_batch(most, timeout)

    def request(
        self,
        data: ReadableBuffer,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        **options: Unpack[CallOptions],
    ) -> Message:
        """Makes a call and returns its reply.

        Any number of threads may call at once; replies come in any order. Inside a handler the
        call ends with the one that is served, at the latest.

        Args:
            data: Any contiguous object with the buffer protocol.
            timeout: Seconds for everything; the other side is told. A call that times out is
                cancelled. On wire level 0, where that cannot be told, the connection ends.
            **options: ``channel``, ``idempotency_key``, ``trace`` and ``fds``, see
                :class:`hostlane.CallOptions`.

        Raises:
            TimeoutError: ``.sent`` says whether the other side may have acted on the call.
            RemoteError: The program at the other end failed it, with ``.status`` and ``.data``.
            CallAbandonedError: It let the call go without an answer.
            QueueFullError: Too many calls wait for their turn.
            DrainingError: The other side takes no new calls.
            PayloadTooLargeError: Nothing was sent.
            UnsupportedError: The connection has no form for what goes along.
            ClosedError: This side has closed the connection.
            ConnectionLostError: The connection ended before the reply.
        """
        channel, with_ = _options.told(options, _CALL_OPTIONS, COMMAND) if options else _CALL
        if deadline.get() is not None:
            timeout = capped(timeout)
        return self._native.request(data, channel, timeout, with_)

    def start(
        self,
        data: ReadableBuffer,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        **options: Unpack[CallOptions],
    ) -> Call:
        """Starts a call and returns at once; any number may be in flight.

        Takes and raises what :meth:`request` does; what ends the call later is raised by
        :meth:`Call.result`.
        """
        channel, with_ = _options.told(options, _CALL_OPTIONS, COMMAND) if options else _CALL
        if deadline.get() is not None:
            timeout = capped(timeout)
        return Call(self._native.start(data, channel, timeout, with_))

    def open_stream(
        self,
        data: ReadableBuffer = b"",
        *,
        timeout: float | None = None,
        **options: Unpack[CallOptions],
    ) -> Stream:
        """Opens a stream: a call with many messages in both directions. Never waits.

        Args:
            data: The request.
            timeout: Seconds the whole stream may take; the other side is told.
            **options: As in :meth:`request`.

        Raises:
            UnsupportedError: On wire level 0.
        """
        channel, with_ = _options.told(options, _CALL_OPTIONS, COMMAND) if options else _CALL
        if deadline.get() is not None:
            timeout = capped(timeout)
        return Stream(self._native.open_stream(data, channel, timeout, with_))

    def serve(self, handler: Handler, *, executor: Executor | None = None) -> None:
        """Has the handler answer what arrives, until the connection ends.

        The handler gets each message and this peer. It runs on the calling thread, or by the
        executor if one is given; never on a thread of the library's. What it returns is the
        answer; with None it has answered by itself, or the call is abandoned. When it raises, the
        caller gets :class:`RemoteError`: that of a ``RemoteError`` it raised, else with the
        status :data:`HANDLER_FAILED`. Calls it makes end with the one it serves. What is no
        ``Exception``, such as ``SystemExit``, ends the serving; on an executor's thread it is told
        the caller like one, goes to ``threading.excepthook``, and the serving goes on.
        """
        _options.serving(handler)
        running = Running(executor)
        while True:
            try:
                message = self._native.recv(None, None)
            except (PeerClosedError, ClosedError):
                return
            running.call(handler, message, self)
            # A call is abandoned once nobody has its message any more.
            del message

    def attach(self) -> None:
        """Has the I/O thread of the process move this connection's bytes while no call on it does.

        The other side's pings are then answered, its messages collected, and its end is noticed,
        whatever the program does meanwhile. There is one such thread per process; it runs no
        Python. A connection with a keepalive of either side has it from the start. Attaching
        twice is no error.

        Raises:
            WrongDriverError: The connection is one of :meth:`Listener.serve`, which does the same.
            TooManyFilesError: The process has no descriptors left.
        """
        self._native.attach()

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
            ClosedError: This side has closed the connection.
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
            # Nor does this keep the call of a message that nobody has any more.
            del message

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
