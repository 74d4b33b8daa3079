"""The level-1 conversations of the vectors, with one side under test; `gen_vectors.py` writes them down
and `replay1.py` plays them with the oracle's own engine."""

from __future__ import annotations

from typing import Any

from gen_level1_calls import conversations
from gen_level1_credit import credit
from gen_level1_endings import ends
from gen_level1_messages import messages
from gen_level1_openings import handshakes
from gen_level1_streams import streams


def transcripts() -> list[dict[str, Any]]:
    return [*handshakes(), *messages(), *conversations(), *streams(), *credit(), *ends()]
