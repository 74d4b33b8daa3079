"""The shared vectors of tests/vectors, played against a real listener or a real connection.

The test is the other side, at a raw socket. What the steps mean stands in tests/vectors/README.md.
"""

from __future__ import annotations

from typing import Any

import pytest
from hostlane import errors
from vectors import conversations, frames, handshakes
from vectors.reader import cases


def test_the_error_table() -> None:
    table = [case.values[0] for case in cases("errors.json")]
    assert list(errors.BY_CODE) == [row["number"] for row in table]
    for row in table:
        kind = errors.BY_CODE[row["number"]]
        told = (kind.code, kind.kind, kind.__doc__, kind.retryable)
        assert told == (row["number"], row["name"], row["doc"], row["retryable"])


# Handshakes


@pytest.mark.parametrize("case", cases("framing/requests.json", handshakes.unfit_request))
def test_requests(case: dict[str, Any]) -> None:
    handshakes.play_request(case)


@pytest.mark.parametrize("case", cases("framing/responses.json"))
def test_responses(case: dict[str, Any]) -> None:
    handshakes.play_response(case)


@pytest.mark.parametrize("case", cases("level1/offers.json", handshakes.unfit_offer))
def test_offers(case: dict[str, Any]) -> None:
    handshakes.play_offer(case)


@pytest.mark.parametrize("case", cases("level1/grants.json", handshakes.unfit_grant))
def test_grants(case: dict[str, Any]) -> None:
    handshakes.play_grant(case)


@pytest.mark.parametrize("case", cases("level1/proofs.json"))
def test_proofs_of_the_raw_side(case: dict[str, Any]) -> None:
    handshakes.play_proof(case)


# Frames


@pytest.mark.parametrize("case", cases("framing/frames.json", frames.unfit_frames))
def test_frames(case: dict[str, Any]) -> None:
    frames.play_frames(case)


@pytest.mark.parametrize("case", cases("framing/control.json"))
def test_control(case: dict[str, Any]) -> None:
    frames.play_control(case)


@pytest.mark.parametrize("case", cases("level1/frames.json", frames.unfit_frames1))
def test_level1_frames(case: dict[str, Any]) -> None:
    frames.play_frames1(case)


@pytest.mark.parametrize("case", cases("level1/extensions.json", frames.unfit_extensions))
def test_extensions(case: dict[str, Any]) -> None:
    frames.play_extensions(case)


@pytest.mark.parametrize("case", cases("level1/control.json", frames.unfit_control1))
def test_level1_control(case: dict[str, Any]) -> None:
    frames.play_control1(case)


# Conversations


@pytest.mark.parametrize("case", cases("framing/transcripts.json", conversations.unfit_transcript))
def test_transcripts(case: dict[str, Any]) -> None:
    conversations.play_transcript(case)


@pytest.mark.parametrize("case", cases("level1/transcripts.json", conversations.unfit_transcript))
def test_level1_transcripts(case: dict[str, Any]) -> None:
    conversations.play_transcript(case)
