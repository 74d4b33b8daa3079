"""`hostlane listen` with level-1 clients: every message once, in order, whatever it was cut into."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from errors import NUMBERS
from harness import BIN, Server
from level1 import Frame, Type, control, frames_of, message
from peer1 import Level1Client
from raw1 import RawLevel1


def test_messages_are_printed(tmp_path: Path, path: str) -> None:
    listening = Server(tmp_path, [BIN, "--format", "json", "listen", path, "--count", "4"], path)
    with RawLevel1.opened(path) as peer:
        cut = [f.encode() for f in frames_of(Type.MESSAGE, 2, 0, b"in three", cut=3)]
        peer.send(cut[0] + message(Type.MESSAGE, 3, 0, b"between") + b"".join(cut[1:]))
        peer.send(Frame(0x70, payload=b"grease").encode() + message(Type.MESSAGE, 2))
        peer.send(message(Type.MESSAGE, 4, 0, b"\xff"))
        peer.until_end()
    assert listening.wait() == 0, listening.err
    lines = [json.loads(line) for line in listening.out.splitlines()]
    assert [(line["channel"], line["size"]) for line in lines if line["channel"] == 2] == [(2, 8), (2, 0)]
    assert sorted((line["channel"], line.get("text", "")) for line in lines) == [
        (2, ""),
        (2, "in three"),
        (3, "between"),
        (4, ""),
    ]


def test_far_more_than_the_window(tmp_path: Path, path: str) -> None:
    """A listener takes what comes, so credit never runs out for long."""
    count = 600
    listening = Server(tmp_path, [BIN, "--format", "json", "listen", path, "--count", str(count)], path)
    with Level1Client(path) as client:
        for i in range(count):
            client.send(2, b"%06d" % i + b"x" * 20_000)
        assert listening.wait(30) == 0, listening.err
    lines = [json.loads(line)["text"] for line in listening.out.splitlines()]
    assert [line[:6] for line in lines] == [f"{i:06}" for i in range(count)]


def test_a_bad_client_ends_only_itself(tmp_path: Path, path: str) -> None:
    listening = Server(tmp_path, [BIN, "--format", "json", "listen", path, "--count", "2"], path)
    with RawLevel1.opened(path) as bad, RawLevel1.opened(path) as good:
        for peer in (bad, good):
            peer.send(control(Type.PING, b"01234567"))
            peer.expect(Type.PONG)
        bad.send(message(Type.MESSAGE, 2, 0, b"first") + Frame(1).encode() + message(Type.MESSAGE, 2, 0, b"never"))
        bad.closed("protocol_error")
        good.send(message(Type.MESSAGE, 2, 0, b"second"))
        good.until_end()
    assert listening.wait() == 0, listening.err
    assert [json.loads(line)["text"] for line in listening.out.splitlines()] == ["first", "second"]


LAST = {"close": control(Type.CLOSE, NUMBERS["closed"]), "fault": Frame(1).encode(), "eof": b""}


@pytest.mark.parametrize("last", LAST.values(), ids=LAST.keys())
def test_a_client_in_a_hurry(tmp_path: Path, path: str, last: bytes) -> None:
    """READY, a message and the end in one write: the handshake is over, and the message is delivered."""
    listening = Server(tmp_path, [BIN, "--format", "json", "listen", path, "--count", "1"], path)
    with RawLevel1.connect(path) as peer:
        peer.ask()
        peer.send(control(Type.READY) + message(Type.MESSAGE, 2, 0, b"only") + last)
        peer.sock.shutdown(1)
        assert listening.wait() == 0, listening.err
    assert [json.loads(line)["text"] for line in listening.out.splitlines()] == ["only"]
