"""The base of every error class in :mod:`hostlane.errors`."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

__all__ = ["Error", "Sent"]

Sent = Literal["no", "maybe"]
"""Whether the message of a failed call can have reached the other side."""


class Error(Exception):
    """The base of all hostlane errors; one subclass per row of the error table.

    Decide on the class, or on :attr:`code`, never on the text: the number means the same in
    every language, the text is for people and may change.
    """

    code: ClassVar[int] = 0
    """Number of the row in the error table; unique and never reused."""

    kind: ClassVar[str] = "error"
    """Name of the row in the error table, in snake_case."""

    retryable: ClassVar[bool] = False
    """Whether the same call may succeed later without a change in the program."""

    message: str
    """What happened, for people."""

    sent: Sent
    """``"no"``: the message surely did not leave; ``"maybe"``: the other side may have it."""

    def __init__(self, message: str = "", sent: Sent = "no") -> None:
        super().__init__(message)
        self.message = message
        self.sent = sent

    # Subclasses of OSError would otherwise format and pickle errno, strerror and filename,
    # none of which exists here.
    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message, self.sent), self.__dict__
