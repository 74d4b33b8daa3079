"""What a hostlane server answers to a handshake, byte for byte."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gen_vectors import TARGET, raw
from harness import BIN, Server, Violation, echo_server, refusal
from level0 import CONTROL, DATA, MAX_HANDSHAKE, Frame, encode_request, parse_object, parse_response
from stock import Disconnected, StockClient, Wire

CASES = json.loads((TARGET / "requests.json").read_text("utf-8"))["cases"]
PLAIN = [c for c in CASES if c["server"] == {"channels": [1, 2, 3, 4], "auth_token": None}]
TOKEN = [c for c in CASES if c["server"]["auth_token"] is not None]
USER = [c for c in CASES if c["server"]["channels"] in ([300], [1, 256, 65535])]
ASKED = encode_request([1, 2, 3, 4])


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for every case: refusing one client never spoils the next."""
    process = echo_server(tmp_path_factory.mktemp("handshake"))
    yield process
    assert process.alive() and process.probe() < 1.0
    process.kill()


def check(server: Server, case: dict[str, Any]) -> None:
    payload = raw(case["payload"])
    with Wire.connect(server.path) as wire:
        wire.send_frame(CONTROL, payload)
        if "refused" in case["expect"]:
            refusal(wire, *case["expect"]["refused"])
            return
        frame = wire.frame(1.0)
        assert frame is not None and frame.channel == CONTROL
        members = parse_object(frame.payload, "bad_handshake")
        assert set(members) == {"protocol", "version", "channels", "peer_id"}
        assert (members["protocol"], members["version"]) == ("ipcprims", "1.0")
        assert members["channels"] == case["expect"]["channels"]
        assert 1 <= len(members["peer_id"].encode()) <= 128


@pytest.mark.parametrize("case", PLAIN, ids=[c["id"] for c in PLAIN])
def test_request(shared: Server, case: dict[str, Any]) -> None:
    check(shared, case)


@pytest.mark.parametrize("case", TOKEN, ids=[c["id"] for c in TOKEN])
def test_request_with_a_token(tmp_path: Path, case: dict[str, Any]) -> None:
    path, secret = str(tmp_path / "s.sock"), tmp_path / "secret"
    secret.write_text(case["server"]["auth_token"], "utf-8")
    secret.chmod(0o600)
    server = Server(tmp_path, [BIN, "listen", path, "--token-file", secret], path)
    try:
        check(server, case)
    finally:
        server.kill()
    assert case["server"]["auth_token"] not in server.err + server.out.decode("utf-8", "replace")


@pytest.mark.parametrize("case", USER, ids=[c["id"] for c in USER])
def test_request_for_user_channels(tmp_path: Path, case: dict[str, Any]) -> None:
    path = str(tmp_path / "s.sock")
    chosen = [a for c in case["server"]["channels"] for a in ("--channel", str(c))]
    server = Server(tmp_path, [BIN, "listen", path, *chosen], path)
    try:
        check(server, case)
    finally:
        server.kill()


def test_a_missing_and_a_wrong_token_get_the_same_answer(tmp_path: Path) -> None:
    path, secret = str(tmp_path / "s.sock"), tmp_path / "secret"
    secret.write_text("s3cret")
    secret.chmod(0o600)
    server = Server(tmp_path, [BIN, "listen", path, "--token-file", secret], path)
    try:
        texts = []
        for token in (None, "wrong", "s3cre", "s3cret2"):
            with Wire.connect(path) as wire:
                wire.send_frame(CONTROL, encode_request([1], token))
                texts.append(refusal(wire, "authentication_failed"))
        assert len(set(texts)) == 1, texts
        with StockClient(path, [1], "s3cret") as client:
            assert client.channels == [1]
    finally:
        server.kill()


def test_every_reserved_channel_is_refused(shared: Server) -> None:
    with Wire.connect(shared.path) as wire:
        wire.send_frame(CONTROL, encode_request(range(5, 256)))
        refusal(wire, "no_common_channel")
    with shared.client([*range(5, 256), 2]) as client:
        assert client.channels == [2]


def test_a_stock_client_takes_the_answer_and_no_refusal_for_an_answer(shared: Server) -> None:
    with shared.client([4, 3, 3, 1]) as client:
        assert client.channels == [4, 3, 1]
    with pytest.raises((Disconnected, Violation)):
        shared.client([9000])


def test_peer_ids_differ(shared: Server) -> None:
    with shared.client() as one, shared.client() as two:
        assert one.peer_id != two.peer_id


def test_the_answer_is_one_frame_and_nothing_more(shared: Server) -> None:
    with Wire.connect(shared.path) as wire:
        wire.send_frame(CONTROL, ASKED)
        frame = wire.frame(1.0)
        assert frame is not None and len(frame.payload) <= MAX_HANDSHAKE
        parse_response(frame.payload, [1, 2, 3, 4])
        with pytest.raises(TimeoutError):
            wire.frame(0.2)


def test_the_request_may_come_byte_by_byte(shared: Server) -> None:
    with Wire.connect(shared.path) as wire:
        for byte in Frame(CONTROL, ASKED).encode():
            wire.send(bytes([byte]))
        frame = wire.frame(1.0)
        assert frame is not None
        parse_response(frame.payload, [1, 2, 3, 4])


@pytest.mark.parametrize("count", [1, 100])
def test_frames_behind_the_request_lose_no_byte(shared: Server, count: int) -> None:
    behind = b"".join(Frame(DATA, b"%d" % i * 50).encode() for i in range(count))
    with shared.client(pipelined=behind) as client:
        for i in range(count):
            assert client.recv(2.0) == (DATA, b"%d" % i * 50)


def test_half_a_frame_behind_the_request_is_kept(shared: Server) -> None:
    frame = Frame(DATA, b"in two pieces").encode()
    with shared.client(pipelined=frame[:11]) as client:
        client.wire.send(frame[11:])
        assert client.recv(2.0) == (DATA, b"in two pieces")


@pytest.mark.parametrize("channel", [1, 2, 300, 65535])
def test_a_request_on_another_channel_is_refused(shared: Server, channel: int) -> None:
    with Wire.connect(shared.path) as wire:
        wire.send_frame(channel, ASKED)
        refusal(wire, "bad_handshake", "unknown_channel")


def test_a_second_request_ends_the_connection(shared: Server) -> None:
    with shared.client() as client:
        client.wire.send_frame(CONTROL, ASKED)
        assert client.wire.rest(1.0) == []


def test_a_request_cut_at_every_byte_only_ends_its_own_connection(shared: Server) -> None:
    whole = Frame(CONTROL, ASKED).encode()
    for cut in range(len(whole)):
        with Wire.connect(shared.path) as wire:
            wire.send(whole[:cut])
            wire.sock.shutdown(1)
            frames = wire.rest(1.0)
            assert len(frames) <= 1 and all(f.channel == CONTROL for f in frames), f"cut at {cut}: {frames}"
            for frame in frames:
                assert b"peer_id" not in frame.payload
    assert shared.probe() < 1.0
