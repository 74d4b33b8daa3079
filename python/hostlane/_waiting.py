"""How long to wait, by the rules of the native module, for what waits in Python."""

from __future__ import annotations

import threading

from hostlane.errors import InvalidArgumentError

__all__ = ["limit"]


def limit(timeout: float | None) -> float | None:
    """The seconds of a timeout; None, for ever, for what no clock can express."""
    if timeout is None:
        return None
    # Nor is what is no number.
    if not timeout >= 0:
        message = "a timeout is seconds from zero up, or None to wait for ever"
        raise InvalidArgumentError(message)
    return timeout if timeout <= threading.TIMEOUT_MAX else None
