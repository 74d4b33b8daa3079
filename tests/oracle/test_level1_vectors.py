"""Level 1 of the oracle against itself: its engine plays every transcript, cuts change nothing, and a few
values are written down by hand so that the oracle cannot drift with its output."""

from __future__ import annotations

import hashlib
import hmac
import json
import random
from typing import Any

import pytest

import gen_level1_wire
import hello1
from engine1 import Engine
from gen_vectors import LEVEL1, raw
from level0 import Violation, encode_request, encode_response
from level1 import NO_LAST, Decoder, Extensions, Flag, Frame, Type, charge, control, message, parse_extensions
from replay1 import Mismatch, play


def cases(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((LEVEL1 / f"{name}.json").read_text("utf-8"))["cases"]
    return found


FRAMES, TRANSCRIPTS = cases("frames"), cases("transcripts")


@pytest.mark.parametrize("case", TRANSCRIPTS, ids=[c["id"] for c in TRANSCRIPTS])
def test_the_engine_plays_every_transcript(case: dict[str, Any]) -> None:
    play(case)


SENDING = [c for c in TRANSCRIPTS if any("sends" in step for step in c["steps"])]


@pytest.mark.parametrize("case", SENDING, ids=[c["id"] for c in SENDING])
def test_a_frame_that_no_step_names_is_noticed(case: dict[str, Any]) -> None:
    last = max(i for i, step in enumerate(case["steps"]) if "sends" in step)
    with pytest.raises(Mismatch):
        play(case | {"steps": case["steps"][:last] + case["steps"][last + 1 :]})


@pytest.mark.parametrize("case", FRAMES, ids=[c["id"] for c in FRAMES])
def test_how_bytes_are_cut_changes_nothing(case: dict[str, Any]) -> None:
    data = b"".join(raw(chunk) for chunk in case["chunks"])
    want = (case["expect"]["items"], case["expect"]["end"])

    def decoded(chunks: list[bytes]) -> Any:
        return gen_level1_wire.decode(chunks, case["eof"], case["max_message"], case["ready"])

    assert decoded([data]) == want
    if len(data) < 40_000:
        assert decoded([data[i : i + 1] for i in range(len(data))]) == want
    dice = random.Random(case["id"])
    for _ in range(5):
        cuts = sorted(dice.randrange(len(data) + 1) for _ in range(7))
        ends = [*cuts, len(data)]
        assert decoded([data[a:b] for a, b in zip([0, *cuts], ends, strict=True)]) == want


def test_frames_by_hand() -> None:
    assert message(Type.MESSAGE, 2, 0, b"hi") == bytes.fromhex("02000000 10 03 0200 0000000000000000 6869")
    assert control(Type.CREDIT, 258, channel=2) == bytes.fromhex(
        "08000000 0b 00 0200 0000000000000000 0201000000000000"
    )
    assert control(Type.CLOSE, 315, text="no") == bytes.fromhex("06000000 09 00 0000 0000000000000000 3b010000 6e6f")
    assert control(Type.GOAWAY, NO_LAST, 104) == bytes.fromhex(
        "0c000000 07 00 0000 0000000000000000 ffffffffffffffff 68000000"
    )
    assert message(
        Type.REQUEST, 1, 7, b"q", Flag.STREAM | Flag.FIN, extensions=Extensions(deadline_us=1)
    ) == bytes.fromhex("0f000000 11 1f 0100 0700000000000000 0c00 0100 0800 0100000000000000 71")
    cut = message(Type.MESSAGE, 2, 0, b"abc", cut=2)
    assert cut == bytes.fromhex(
        "06000000 10 01 0200 0000000000000000 03000000 616201000000 10 02 0200 0000000000000000 63"
    )
    decoder = Decoder()
    decoder.feed(bytes.fromhex("00000000 13 0b 0100 0100000000000000"))
    assert decoder.next() == Frame(Type.STREAM, Flag.FIRST | Flag.LAST | Flag.FIN, 1, 1, b"")


def test_charges_by_hand() -> None:
    assert (charge(0), charge(5), charge(0, 1), charge(5, 4)) == (64, 69, 4160, 16_453)


def test_extensions_by_hand() -> None:
    assert parse_extensions(bytes.fromhex("0100 0800 40420f0000000000 0400 0400 f5010000")) == Extensions(
        deadline_us=1_000_000, status=501
    )
    with pytest.raises(Violation):
        parse_extensions(bytes.fromhex("0180 0000"))


def test_a_proof_by_hand() -> None:
    request, response, secret = b'{"a":1}', b'{"b":2}', b"secret"
    text = b"hostlane auth 1c" + hashlib.sha256(request).digest() + hashlib.sha256(response).digest()
    assert len(text) == 15 + 1 + 64
    assert hello1.proof(secret, True, request, response) == hmac.new(secret, text, "sha256").digest()
    assert hello1.proof(secret, True, request, response) != hello1.proof(secret, False, request, response)


def test_the_member_by_hand() -> None:
    text = (
        b'{"protocol":"ipcprims","version":"1.0","channels":[1],"hostlane":{"versions":[1],'
        b'"instance":"00000000000000000000000000000000","features":[],"limits":{}}}'
    )
    assert encode_request([1], hostlane=hello1.offer("0" * 32)) == text
    found = hello1.parse_offer(json.loads(text)["hostlane"])
    assert found == hello1.Hello([1], "0" * 32)
    answer = encode_response([1], hostlane=hello1.grant("1" * 32, nonce="2" * 32))
    assert json.loads(answer)["hostlane"]["auth"] == {"method": "hmac-sha256", "nonce": "2" * 32}


@pytest.mark.parametrize("secret", [None, b"s3cret"], ids=["open", "proof"])
@pytest.mark.parametrize("cut", [1, 7, 262_144])
def test_two_engines_understand_each_other(secret: bytes | None, cut: int) -> None:
    """Both sides call, stream and drain; the bytes between them come in pieces of every size."""
    dice = random.Random(cut)
    sides = [Engine(True, [1, 2], secret=secret, cut=cut), Engine(False, [1, 2], secret=secret, cut=cut)]
    moved = 0

    def exchange() -> None:
        nonlocal moved
        while any(side.out for side in sides):
            for side, other in (sides, reversed(sides)):
                size = dice.randrange(1, 2000)
                data = bytes(side.out[:size])
                del side.out[:size]
                moved += len(data)
                if data:
                    other.feed(data)

    exchange()
    assert all(side.is_open() and side.level == 1 for side in sides)
    for turn in range(20):
        for side in sides:
            side.call(f"c{turn}", b"%d" % turn * turn)
            side.send(f"m{turn}", 2, b"m" * turn * 100)
    exchange()
    for side in sides:
        while (taken := side.recv()) is not None:
            if taken.call is not None:
                side.reply("r", taken.call, taken.payload)
    exchange()
    for side in sides:
        replies = {d.op: d.payload for d in side.done if d.outcome == "reply"}
        assert replies == {f"c{turn}": b"%d" % turn * turn for turn in range(20)}
        side.done.clear()
    for side in sides:
        side.drain("bye")
    exchange()
    assert [[d.outcome for d in side.done if d.op == "bye"] for side in sides] == [["drained"], ["drained"]]
    assert moved > 1000
