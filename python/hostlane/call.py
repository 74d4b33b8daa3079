"""Calls that were started."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from hostlane._waiting import limit
from hostlane.errors import CancelledError, Error, TimeoutError

if TYPE_CHECKING:
    from hostlane._core import CallOps, Message

__all__ = ["Call"]


class Call:
    """A call in flight; made by :meth:`hostlane.Peer.start`.

    Dropping it gives the call up, and the other side is told.
    """

    __slots__ = ("__weakref__", "_error", "_lock", "_native", "_reply")

    def __init__(self, native: CallOps) -> None:
        self._native = native
        self._lock = threading.Lock()
        self._reply: Message | None = None
        self._error: Error | None = None

    def result(self, timeout: float | None = None) -> Message:
        """Returns the reply, again and again.

        Args:
            timeout: Seconds of this wait; the call has its own limit, given when it was started,
                and stays open until that has passed.

        Raises:
            InvalidArgumentError: The timeout is below zero, or no number.
            TimeoutError: This wait was too short, or the call's own time is over.
            RemoteError: The program at the other end failed the call.
            CallAbandonedError: It let the call go.
            CancelledError: The call was given up.
            ConnectionLostError: The connection ended before the reply.
        """
        timeout = self._acquire(limit(timeout))
        try:
            if self._reply is None:
                self._reply = self._wait(timeout)
            return self._reply
        finally:
            self._lock.release()

    def _acquire(self, timeout: float | None) -> float | None:
        """Lets one thread at a time wait; what is left of its time then."""
        if self._lock.acquire(blocking=False):
            return timeout
        start = time.monotonic()
        if not self._lock.acquire(timeout=threading.TIMEOUT_MAX if timeout is None else timeout):
            message = "another thread waits for the same call"
            raise TimeoutError(message)
        return None if timeout is None else max(0.0, timeout - (time.monotonic() - start))

    def _wait(self, timeout: float | None) -> Message:
        if self._error is not None:
            raise self._error
        try:
            return self._native.result(timeout)
        except Error as error:
            if self._native.ended:
                self._error = error
            raise

    def done(self) -> bool:
        """Whether :meth:`result` would return or raise at once; looks at what has arrived."""
        return self._native.done()

    def cancel(self) -> None:
        """Gives the call up unless it has ended; the other side is told.

        A thread that waits for it goes on to its own deadline. Cancelling twice is no error.
        """
        if self._native.ended:
            return
        self._native.cancel()
        if self._native.ended:
            # Nobody waits any more for what says whether it had left.
            self._error = CancelledError("the call was given up", "maybe")
