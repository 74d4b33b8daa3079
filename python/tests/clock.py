"""Bounds on durations: exact below, generous above, since test machines are busy."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator


@contextlib.contextmanager
def lasts(at_least: float, at_most: float) -> Iterator[None]:
    """The body lasts between so many seconds."""
    start = time.monotonic()
    yield
    elapsed = time.monotonic() - start
    assert at_least <= elapsed <= at_most, f"lasted {elapsed:.3f} s"
