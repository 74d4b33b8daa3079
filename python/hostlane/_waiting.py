"""How long to wait, by the rules of the native module, for what waits in Python."""

from __future__ import annotations

import threading

from hostlane.errors import InvalidArgumentError

__all__ = ["limit", "some"]


def some(most: int) -> int:
    """How many messages are wanted, if that is one or more."""
    if most < 1:
        message = f"the number of messages is one or more, not {most}"
        raise InvalidArgumentError(message)
    return most


def limit(timeout: float | None) -> float | None:
    """The seconds of a timeout; None, for ever, for what no clock can express."""
    if timeout is None:
        return None
    message = "a timeout is seconds from zero up, or None to wait for ever"
    try:
        timeout = float(timeout)
    except OverflowError:
        raise InvalidArgumentError(message) from None
    # Nor is what is no number.
    if not timeout >= 0:
        raise InvalidArgumentError(message)
    return timeout if timeout <= threading.TIMEOUT_MAX else None
