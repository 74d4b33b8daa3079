"""What running a handler means, the same in threads and in event loops."""

from __future__ import annotations

import logging
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, TypeVar

from hostlane import _core
from hostlane.errors import CallEndedError, Error, RemoteError, TimeoutError, UnsupportedError

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


def failure(error: Exception) -> tuple[int, bytes]:
    """The status and data a caller gets for an exception of the handler's."""
    if isinstance(error, RemoteError):
        return error.status, error.data
    return HANDLER_FAILED, f"{type(error).__name__}: {error}".encode(errors="replace")


def describe(message: Message | AioMessage, error: Exception) -> None:
    """Logs an exception of a handler's."""
    _log.error("the handler failed on %r", message, exc_info=error)


Source = TypeVar("Source")
"""What a message came from, as its handler gets it."""


def unanswered(message: Message, error: BaseException) -> None:
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
) -> None:
    """Has one message answered, on this thread, by ``reply`` or ``fail``."""
    token = deadline.set(message.deadline)
    try:
        try:
            answer = handler(message, source)
            if answer is not None:
                reply(message, answer)
        except CallEndedError:
            _log.debug("nobody waits for the answer to %r any more", message)
        except Exception as error:  # noqa: BLE001
            if not isinstance(error, RemoteError):
                describe(message, error)
            if message.is_request:
                fail(message, *failure(error))
    except (CallEndedError, UnsupportedError, ConnectionError) as error:
        _log.debug("no answer to %r: %s", message, error)
    except Error as error:
        describe(message, error)
    finally:
        deadline.reset(token)
