"""Running handlers: here, or by an executor, a bounded number of them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from hostlane._serving import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor, Future

__all__ = ["MAX_RUNNING", "Running"]

MAX_RUNNING = 1024
"""Handlers that run or wait in an executor; at this number no more messages are taken."""


class Running:
    """The handlers that run now."""

    def __init__(
        self, executor: Executor | None, when_room: Callable[[], None] | None = None
    ) -> None:
        self._executor = executor
        self._when_room = when_room
        self._changed = threading.Condition()
        self._count = 0

    def has_room(self) -> bool:
        """Whether :meth:`call` would not wait for room; if not, ``when_room`` is called later."""
        with self._changed:
            return self._count < MAX_RUNNING

    def call(self, *arguments: Any) -> None:
        """Has :func:`run` answer a message, once there is room for it."""
        if self._executor is None:
            run(*arguments)
            return
        with self._changed:
            self._changed.wait_for(lambda: self._count < MAX_RUNNING)
            self._count += 1
        try:
            future = self._executor.submit(lambda: run(*arguments, elsewhere=True))
        except BaseException:
            self._leave()
            raise
        future.add_done_callback(self._done)

    def _leave(self) -> None:
        with self._changed:
            full = self._count == MAX_RUNNING
            self._count -= 1
            self._changed.notify()
        if full and self._when_room is not None:
            self._when_room()

    def _done(self, future: Future[Any]) -> None:
        self._leave()
        error = None if future.cancelled() else future.exception()
        if error is not None:
            # A handler's own exceptions were answered; this one is meant for the whole thread.
            threading.excepthook(
                threading.ExceptHookArgs((type(error), error, error.__traceback__, None))
            )
