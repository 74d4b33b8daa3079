"""One thread that serves all clients of a listener.

It drives a context: polls its descriptor, tells whoever asked how an operation ended, and runs the
handler or has an executor run it. What the handler returns is sent without waiting, see
:class:`hostlane._served.Client`. Who calls on one of the peers meanwhile waits in
:meth:`Server.wait`: a handler on this very thread by taking turns itself, one in an executor until
the loop tells it.
"""

from __future__ import annotations

import math
import os
import select
import threading
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from hostlane import _core
from hostlane._executing import Running
from hostlane._served import Cell, Client, ServedPeer, ServedStream
from hostlane.errors import ClosedError, Error, PeerClosedError
from hostlane.peer import Peer
from hostlane.stream import Stream
from hostlane.types import DEFAULT_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from hostlane._core import Message, NativeListener, NativeStream
    from hostlane._serving import Handler

    Ended: TypeAlias = "tuple[Any, BaseException | None]"
    Then: TypeAlias = "Callable[[Ended], None]"

__all__ = ["Server"]

_BUDGET = 256
"""Operations taken from the context at a time."""

_ROUNDS = 8
"""How often in a row, before what came is handled."""

_LONGEST = 2**31 - 1
"""The most milliseconds of one poll; who waits longer polls again."""

_BATCH = 64
"""Messages taken from one peer before others have their turn."""


class Server:
    """Serves a listener until it is closed."""

    def __init__(
        self, listener: NativeListener, handler: Handler, executor: Executor | None
    ) -> None:
        self.context = _core.NativeContext(aio=False)
        self._listener = listener
        self._handler = handler
        self._running = Running(executor, self._ring)
        self._thread = threading.get_ident()
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self._bell, select.POLLIN)
        self._poll.register(self.context.fileno(), select.POLLIN)
        # What the lock guards: what to do when an operation ends, what ended before that was said,
        # and whether all is over.
        self._lock = threading.Lock()
        self._then: dict[int, Then] = {}
        self._ended: dict[int, Ended] = {}
        self._over = False
        # Whose turn it is. A client without a message is to be read on.
        self._messages: deque[tuple[Message | None, Client]] = deque()
        # What belongs to the thread that serves.
        self._clients: set[Client] = set()
        self._accepting = True
        # Whether the context may have more, whatever its descriptor says.
        self._more = False
        self._draining = 0

    # --- the loop --------------------------------------------------------------------------------

    def run(self) -> None:
        """Runs until the listener is closed and the connections are drained."""
        try:
            self._accept()
            while self._accepting or self._draining:
                self._turn()
                self._handle()
        finally:
            self._close()

    def _turn(self, timeout: float | None = None) -> None:
        """Waits until operations have ended, and tells who asked.

        A client that never stops sending does not keep the others waiting: after some rounds
        what came of them is handled first.
        """
        milliseconds = None if timeout is None else min(math.ceil(timeout * 1000), _LONGEST)
        if self._more:
            milliseconds = 0
        for descriptor, _ in self._poll.poll(milliseconds):
            if descriptor == self._bell:
                os.eventfd_read(self._bell)
        for _ in range(_ROUNDS):
            ended, failed, self._more = self.context.process(self, _BUDGET)
            for op, value in ended:
                self._end(op, (value, None))
            for op, error in failed or ():
                self._end(op, (None, error))
            if not self._more:
                break

    def _handle(self) -> None:
        """Has the messages answered that came, as far as there is room."""
        while self._messages and self._running.has_room():
            message, client = self._messages.popleft()
            if client.holds(message):
                continue
            if message is None:
                self._read(client)
            else:
                self._running.call(self._handler, message, client.peer, client.reply, client.fail)

    def resume(self, client: Client, held: deque[Message | None]) -> None:
        """Has handled what was held of a client, on any thread: before what came behind it."""
        self._messages.extendleft((message, client) for message in reversed(held))
        self._ring()

    def _ring(self) -> None:
        """Tells the loop, from any thread, that there is something to handle, or room for it."""
        with self._lock:
            if not self._over:
                os.eventfd_write(self._bell, 1)

    def _close(self) -> None:
        self.context.close()
        with self._lock:
            self._over = True
            os.close(self._bell)
            waiting = list(self._then.values())
            self._then.clear()
        for client in self._clients:
            client.peer.close()
        for then in waiting:
            then(_closed())

    # --- clients ---------------------------------------------------------------------------------

    def _accept(self) -> None:
        """Takes the clients that are there, and is called again when there may be more."""
        while self._accepting:
            try:
                native = self.context.accept(self, self._listener, None)
            except (ClosedError, PeerClosedError):
                self._stop()
            else:
                if type(native) is int:
                    self.when(native, self._acceptable)
                    return
                client = Client(self, native, Peer(ServedPeer(self, native)))
                self._clients.add(client)
                self._read(client)

    def _acceptable(self, ended: Ended) -> None:
        error = ended[1]
        if error is None:
            self._accept()
        elif isinstance(error, (ClosedError, PeerClosedError)):
            self._stop()
        else:
            raise error

    def _read(self, client: Client) -> None:
        if client not in self._clients:
            return
        try:
            readable = self.context.readable(self, client.native, None)
            self.when(readable, partial(self._readable, client))
        except Error as error:
            self._readable(client, (None, error))

    def _readable(self, client: Client, ended: Ended) -> None:
        if client not in self._clients:
            return
        if ended[1] is not None:
            self._clients.discard(client)
            client.peer.close()
            return
        for message in self.context.recv_now(self, client.native, _BATCH):
            self._messages.append((message, client))
        self._messages.append((None, client))

    def _stop(self) -> None:
        """The listener was closed: ends the connections in good order."""
        if not self._accepting:
            return
        self._accepting = False
        for client in list(self._clients):
            self._draining += 1
            try:
                drain = self.context.drain(self, client.native, DEFAULT_TIMEOUT)
                self.when(drain, self._drained)
            except Error:
                self._draining -= 1

    def _drained(self, _: Ended) -> None:
        self._draining -= 1

    # --- operations ------------------------------------------------------------------------------

    def _end(self, op: int, ended: Ended) -> None:
        with self._lock:
            then = self._then.pop(op, None)
            if then is None:
                self._ended[op] = ended
                return
        then(ended)

    def when(self, started: object, then: Then) -> None:
        """Has ``then`` called with the end of an operation: at once, or by the loop."""
        ended: Ended | None = (started, None)
        if type(started) is int:
            with self._lock:
                ended = self._ended.pop(started, None)
                if ended is None and self._over:
                    ended = _closed()
                elif ended is None:
                    self._then[started] = then
        if ended is not None:
            then(ended)

    def wait(self, started: object) -> Any:
        """Waits for the end of an operation, on any thread: its result."""
        if type(started) is not int:
            return started
        cell = Cell()
        self.when(started, cell.put)
        try:
            self.wait_for(cell, None)
        except BaseException:
            self.forget(started)
            raise
        return cell.result()

    def take(self, start: Callable[[float | None], Any], timeout: float | None) -> Any:
        """Waits until ``start`` finds something to take."""
        end = None if timeout is None else time.monotonic() + timeout
        while type(started := start(timeout)) is int:
            self.wait(started)
            timeout = None if end is None else max(0.0, end - time.monotonic())
        return started

    def wait_for(self, cell: Cell, timeout: float | None) -> bool:
        """Waits until a cell is full; says whether it is."""
        if threading.get_ident() != self._thread:
            return cell.wait(timeout)
        end = None if timeout is None else time.monotonic() + timeout
        left = timeout
        while cell.ended is None:
            if left is not None and left < 0:
                return False
            self._turn(left)
            left = None if end is None else end - time.monotonic()
        return True

    def forget(self, op: int) -> None:
        """Gives up an operation that nobody waits for any more."""
        with self._lock:
            if self._ended.pop(op, None) is not None:
                return
            self._then[op] = _ignore
        self.context.cancel(op)

    # --- what messages ask of their host ---------------------------------------------------------

    def reply(self, message: Message, data: bytes, timeout: float | None) -> None:
        """Answers a message."""
        self.wait(self.context.reply(self, message, data, timeout))

    def fail(self, message: Message, status: int, data: bytes, timeout: float | None) -> None:
        """Answers a call with an error."""
        self.wait(self.context.fail(self, message, status, data, timeout))

    def stream(self, native: NativeStream) -> Stream:
        """The stream a request opened."""
        return Stream(ServedStream(self, native))

    def wait_cancelled(self, message: Message, timeout: float | None) -> None:
        """Waits until no answer is wanted any more."""
        self.wait(self.context.call_ended(self, message, timeout))


def _closed() -> Ended:
    return None, ClosedError("the server has ended")


def _ignore(_: Ended) -> None:
    """Nobody waits any more."""
