"""The reader of the vectors: files to cases, and which of them are played."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

VECTORS = Path(__file__).parents[3] / "tests/vectors"


def cases(file: str, unfit: Callable[[dict[str, Any]], str] = lambda case: "") -> list[Any]:
    """The cases of a file; those that `unfit` has a reason against are skipped with it."""
    found = json.loads((VECTORS / file).read_text(encoding="utf-8"))["cases"]
    return [
        pytest.param(
            case,
            id=case["id"],
            marks=[pytest.mark.skip(reason=reason)] if (reason := unfit(case)) else [],
        )
        for case in found
    ]


def bytes_of(value: Any) -> bytes:
    """A byte value of tests/vectors/README.md."""
    if isinstance(value, str):
        return bytes.fromhex(value)
    if isinstance(value, list):
        return b"".join(bytes_of(part) for part in value)
    if "text" in value:
        return str(value["text"]).encode()
    return bytes_of(value["hex"]) * int(value["times"])
