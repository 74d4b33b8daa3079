"""The table of errors, and what the other side's codes are to a program."""

from __future__ import annotations

import tomllib
from pathlib import Path

_TABLE = Path(__file__).resolve().parents[2] / "core" / "errors.toml"
NUMBERS: dict[str, int] = {r["name"]: r["number"] for r in tomllib.loads(_TABLE.read_text("utf-8"))["error"]}
ERROR_NAMES = {number: name for name, number in NUMBERS.items()}

OF_CALLS = {"remote_error", "call_abandoned", "cancelled", "timeout", "queue_full", "draining"}
OF_OPENINGS = {"permission_denied", "timeout", "queue_full"}


def end_of_call(code: int) -> str:
    """What a caller is told of ERROR or REFUSE (section 15)."""
    name = ERROR_NAMES.get(code)
    return name if name in OF_CALLS else "remote_error"


def end_of_connection(code: int, *, ready: bool) -> str:
    """What a program is told of CLOSE (section 15)."""
    name = ERROR_NAMES.get(code)
    if name is None:
        return "connection_lost"
    if name == "closed":
        return "peer_closed"
    return name if 300 <= code < 400 or name in ({"peer_unresponsive"} if ready else OF_OPENINGS) else "connection_lost"
