"""What running a handler means, the same in threads and in event loops."""

from __future__ import annotations

import contextlib
import logging
import operator
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, TypeVar

from hostlane import _core
from hostlane.errors import (
    CallEndedError,
    Error,
    PayloadTooLargeError,
    RemoteError,
    TimeoutError,
    UnsupportedError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from _typeshed import ReadableBuffer

    from hostlane._core import AioMessage, Message
    from hostlane.peer import Peer

__all__ = [
    "HANDLER_FAILED",
    "Handler",
    "capped",
    "deadline",
    "describe",
    "failure",
    "run",
    "unanswered",
]

Handler: TypeAlias = "Callable[[Message, Peer], ReadableBuffer | None]"
"""What serves messages: it gets one and the peer it came from. What it returns is the answer; with
``None`` it has answered by itself, or wants none."""

HANDLER_FAILED: Final[int] = _core.HANDLER_FAILED
"""The ``status`` of a call whose handler raised; the ``data`` is the exception's type and text."""

deadline: ContextVar[float | None] = ContextVar("hostlane.deadline", default=None)
"""When the caller of the call that is served stops waiting, on the clock of ``time.monotonic``."""

_MOST_STATUS = 2**32 - 1

_log = logging.getLogger("hostlane")


def capped(timeout: float | None) -> float | None:
    """The timeout of a call, which ends with the call it is made for."""
    end = deadline.get()
    if end is None:
        return timeout
    left = end - time.monotonic()
    if left <= 0:
        message = "the deadline of the call that is served has passed"
        raise TimeoutError(message)
    return left if timeout is None or left < timeout else timeout


def failure(message: Message | AioMessage, error: Exception) -> tuple[int, bytes]:
    """The status and data a caller gets for an exception of the handler's, whatever that is.

    It is logged unless it is one that says them itself.
    """
    if isinstance(error, RemoteError):
        try:
            return _said(error)
        except Exception as wrong:  # noqa: BLE001
            error = wrong
    describe(message, error)
    return HANDLER_FAILED, _text(error)


def _said(error: RemoteError) -> tuple[int, bytes]:
    """What it says, which is whatever the program put there."""
    status = operator.index(error.status)
    if not 0 <= status <= _MOST_STATUS:
        message = f"a status is a number from 0 to {_MOST_STATUS}, not {status}"
        raise ValueError(message)
    return status, bytes(memoryview(error.data))


def _text(error: BaseException) -> bytes:
    try:
        return f"{type(error).__name__}: {error}".encode(errors="replace")
    except Exception:  # noqa: BLE001
        return b"what was raised has no text"


def describe(message: Message | AioMessage, error: Exception) -> None:
    """Logs an exception of a handler's."""
    _log.error("the handler failed on %r", message, exc_info=error)


Source = TypeVar("Source")
"""What a message came from, as its handler gets it."""


def unanswered(message: Message | AioMessage, error: BaseException) -> None:
    """Logs why an answer did not leave."""
    if isinstance(error, (CallEndedError, UnsupportedError, ConnectionError)):
        _log.debug("no answer to %r: %s", message, error)
    else:
        _log.warning("no answer to %r: %s", message, error)


def run(
    handler: Callable[[Message, Source], ReadableBuffer | None],
    message: Message,
    source: Source,
    reply: Callable[[Message, ReadableBuffer], None] = _core.Message.reply,
    fail: Callable[[Message, int, bytes], None] = _core.Message.fail,
    *,
    elsewhere: bool = False,
) -> None:
    """Has one message answered, on this thread, by ``reply`` or ``fail``.

    ``elsewhere`` than where what the handler raises ends the serving: on an executor's thread.
    """
    token = deadline.set(message.deadline)
    try:
        try:
            answer = handler(message, source)
            if answer is not None:
                try:
                    reply(message, answer)
                except ConnectionError as error:
                    # No failure of the handler's, which one is that it used itself.
                    unanswered(message, error)
        except CallEndedError:
            _log.debug("nobody waits for the answer to %r any more", message)
        except Exception as error:  # noqa: BLE001
            told = failure(message, error)
            if message.is_request:
                try:
                    fail(message, *told)
                except PayloadTooLargeError as large:
                    fail(message, *failure(message, large))
        except BaseException as error:
            # Meant for the whole thread. One of an executor goes on all the same, so the caller is
            # told.
            if elsewhere and message.is_request:
                with contextlib.suppress(Error, ConnectionError):
                    fail(message, HANDLER_FAILED, _text(error))
            raise
    except (CallEndedError, UnsupportedError, ConnectionError) as error:
        unanswered(message, error)
    except Error as error:
        describe(message, error)
    finally:
        deadline.reset(token)
