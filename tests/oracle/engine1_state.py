"""What an engine of level 1 keeps: finished operations, deliveries, credit of both sides, and open calls."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from level1 import Extensions, Type, charge, wrong


@dataclass(frozen=True)
class Done:
    """How an operation ended: `reply`, `pong`, `drained`, `sent`, or an error name."""

    op: Any
    outcome: str
    payload: bytes = b""
    sent: str | None = None
    code: int | None = None


@dataclass(frozen=True)
class Delivered:
    channel: int
    payload: bytes
    call: int | None = None
    stream: bool = False
    fin: bool = False
    extensions: Extensions = field(default_factory=Extensions)

    @property
    def charge(self) -> int:
        return charge(len(self.payload), self.extensions.fds or 0)


@dataclass
class Credit:
    """What this side may still send."""

    total: int
    charged: int = 0

    def may_begin(self) -> bool:
        return self.charged < self.total


@dataclass
class Window:
    """What this side allows to be sent to it."""

    size: int
    total: int = -1
    charged: int = 0
    taken: int = 0

    def __post_init__(self) -> None:
        self.total = self.size

    def begin(self, charged: int) -> None:
        if self.charged >= self.total:
            raise wrong(f"{self.charged} charged of {self.total}", "credit_exceeded")
        self.charged += charged

    def take(self, charged: int) -> int | None:
        """The program took a message; the new total, when it is time to tell it."""
        self.taken += charged
        if self.taken + self.size - self.total < (self.size + 1) // 2:
            return None
        self.total = self.taken + self.size
        return self.total


@dataclass
class Outgoing:
    op: Any
    kind: Type
    payload: bytes
    flags: int = 0
    extensions: Extensions | None = None
    call: Call | None = None

    @property
    def charge(self) -> int:
        return charge(len(self.payload), self.extensions.fds or 0 if self.extensions else 0)


@dataclass
class Call:
    """A call of either side while it is open."""

    op: Any
    channel: int
    stream: bool
    credit: Credit
    window: Window
    id: int = 0
    deadline: float | None = None
    fin_in: bool = False
    fin_out: bool = False
    items: deque[bytes] = field(default_factory=deque)
    finished: bool = False  # the program may learn that no item follows
    queue: deque[Outgoing] = field(default_factory=deque)
