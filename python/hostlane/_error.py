"""The base of every error class in :mod:`hostlane.errors`."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

__all__ = ["Error", "Remote", "Sent"]

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
        if not isinstance(message, str):
            wrong = f"message is a str, not {type(message).__name__}"
            raise TypeError(wrong)
        if sent not in ("no", "maybe"):
            wrong = f"sent is 'no' or 'maybe', not {sent!r}"
            raise TypeError(wrong)
        super().__init__(message)
        self.message = message
        self.sent = sent

    # Subclasses of OSError would otherwise format and pickle errno, strerror and filename,
    # none of which exists here.
    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message, self.sent), self.__dict__


class Remote(Error):  # noqa: N818 - a part of the class that ends so
    """What :class:`hostlane.RemoteError` has beyond the others.

    A handler that raises ``RemoteError("no", status=42, data=b"...")`` fails its call with these.
    """

    status: int
    """The code the program on the other side failed the call with."""

    data: bytes
    """The bytes it gave along."""

    def __init__(
        self, message: str = "", sent: Sent = "maybe", *, status: int = 0, data: bytes = b""
    ) -> None:
        try:
            super().__init__(message, sent)
        except TypeError as error:
            wrong = f"{error}: write RemoteError('text', status=42, data=b'...')"
            raise TypeError(wrong) from None
        self.status = status
        self.data = data
