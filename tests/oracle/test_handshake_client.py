"""What a hostlane client sends first, byte for byte, and what it makes of every answer."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gen_vectors import TARGET, raw
from harness import BIN, Process, assert_fails, hostlane
from level0 import CONTROL, MAX_HANDSHAKE, Frame, Request, encode_refusal, encode_response, parse_object, parse_request
from stock import Background, StockServer, Wire, echo

CASES = json.loads((TARGET / "responses.json").read_text("utf-8"))["cases"]
GOOD = [c for c in CASES if "channels" in c["expect"] and 1 in c["expect"]["channels"]]
BAD = [c for c in CASES if "error" in c["expect"]]


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[StockServer]:
    with StockServer(str(tmp_path / "stock.sock")) as server:
        yield server


def scripted(server: StockServer, answer: Callable[[Wire, Request], Any]) -> Background:
    """Takes one client by hand: reads its request and leaves the rest to the script."""

    def run() -> Any:
        server.sock.settimeout(5)
        sock, _ = server.sock.accept()
        with Wire(sock, MAX_HANDSHAKE) as wire:
            frame = wire.frame(2.0)
            assert frame is not None and frame.channel == CONTROL
            return answer(wire, parse_request(frame.payload))

    return Background(run)


def call(directory: Path, server: StockServer, *more: str) -> Process:
    return Process(directory, [BIN, "request", server.path, "--data", "question", "--deadline", "3s", *more])


def test_the_request_is_the_stock_one_and_one_ignorable_member(tmp_path: Path, listening: StockServer) -> None:
    def answer(wire: Wire, request: Request) -> tuple[Request, list[Frame]]:
        # Nothing may follow the request before the answer, whatever the program wants to send.
        with pytest.raises(TimeoutError):
            wire.frame(0.3)
        wire.send_frame(CONTROL, encode_response([1, 2, 3, 4]))
        first = wire.frame(2.0)
        assert first == Frame(1, b"question")
        wire.send_frame(1, b"answer")
        return request, wire.rest(2.0)

    other = scripted(listening, answer)
    process = call(tmp_path, listening)
    request, after = other.result()
    assert process.wait() == 0, process.err
    assert b"answer" in process.out
    assert request.channels == [1, 2, 3, 4]
    assert request.version == (1, 0)
    assert request.auth_token is None
    assert set(request.extra) == {"hostlane"} and isinstance(request.extra["hostlane"], dict)
    for frame in after:  # a polite goodbye is legal
        assert frame.channel == CONTROL and parse_object(frame.payload, "bad_control")["type"] == "shutdown_request"


def test_the_bytes_of_the_request(tmp_path: Path, listening: StockServer) -> None:
    def run() -> bytes:
        listening.sock.settimeout(5)
        sock, _ = listening.sock.accept()
        with sock:
            sock.settimeout(1.0)
            data = b""
            while chunk := sock.recv(65536):
                data += chunk
                if len(data) >= 8 and len(data) >= 8 + int.from_bytes(data[2:6], "little"):
                    break
            return data

    other = Background(run)
    process = call(tmp_path, listening)
    data = other.result()
    assert_fails(process, "refused")
    assert data[:2] == b"IP" and data[6:8] == b"\0\0"
    assert int.from_bytes(data[2:6], "little") == len(data) - 8 <= MAX_HANDSHAKE
    members = json.loads(data[8:].decode("utf-8"))
    assert members.pop("hostlane") is not None
    assert members == {"protocol": "ipcprims", "version": "1.0", "channels": [1, 2, 3, 4]}


def test_a_token_goes_where_the_stock_client_puts_it(tmp_path: Path, listening: StockServer) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret")
    secret.chmod(0o600)

    def answer(wire: Wire, request: Request) -> str | None:
        wire.send_frame(CONTROL, encode_refusal(311, "authentication_failed", "not accepted"))
        return request.auth_token

    other = scripted(listening, answer)
    process = call(tmp_path, listening, "--token-file", str(secret))
    assert other.result() == "s3cret"
    assert_fails(process, "authentication_failed")
    assert "s3cret" not in process.err


@pytest.mark.parametrize("case", GOOD, ids=[c["id"] for c in GOOD])
def test_good_answer(tmp_path: Path, listening: StockServer, case: dict[str, Any]) -> None:
    def answer(wire: Wire, request: Request) -> None:
        assert request.channels == case["asked"]
        wire.send_frame(CONTROL, raw(case["payload"]))
        frame = wire.frame(2.0)
        assert frame == Frame(1, b"question"), frame
        wire.send_frame(1, b"answer")
        wire.rest(2.0)

    other = scripted(listening, answer)
    process = call(tmp_path, listening)
    other.result()
    assert process.wait() == 0, process.err
    assert b"answer" in process.out


@pytest.mark.parametrize("case", BAD, ids=[c["id"] for c in BAD])
def test_bad_answer(tmp_path: Path, listening: StockServer, case: dict[str, Any]) -> None:
    def answer(wire: Wire, request: Request) -> list[Frame]:
        wire.send_frame(CONTROL, raw(case["payload"]))
        return wire.rest(2.0)

    other = scripted(listening, answer)
    process = call(tmp_path, listening)
    assert other.result() == [], "the client goes without another frame"
    assert_fails(process, *case["expect"]["error"])
    assert time.monotonic() - process.began < 2.0


def test_an_answer_on_another_channel(tmp_path: Path, listening: StockServer) -> None:
    def answer(wire: Wire, _: Request) -> list[Frame]:
        wire.send_frame(1, encode_response([1]))
        return wire.rest(2.0)

    other = scripted(listening, answer)
    process = call(tmp_path, listening)
    assert other.result() == []
    assert_fails(process, "bad_handshake", "unknown_channel")


def test_an_answer_cut_at_every_byte(tmp_path: Path, listening: StockServer) -> None:
    whole = Frame(CONTROL, encode_response([1, 2, 3, 4])).encode()
    for cut in sorted({0, 1, 2, 6, 7, 8, 9, len(whole) // 2, len(whole) - 1}):
        other = scripted(listening, lambda wire, _, cut=cut: wire.send(whole[:cut]))  # type: ignore[misc]
        process = call(tmp_path, listening)
        other.result()
        assert_fails(process, *(["refused"] if cut == 0 else ["truncated", "refused", "connection_lost"]))


def test_an_answer_byte_by_byte(tmp_path: Path, listening: StockServer) -> None:
    def answer(wire: Wire, request: Request) -> None:
        for byte in Frame(CONTROL, encode_response([1])).encode():
            wire.send(bytes([byte]))
        assert wire.frame(2.0) == Frame(1, b"question")
        for byte in Frame(1, b"answer").encode():
            wire.send(bytes([byte]))
        wire.rest(2.0)

    other = scripted(listening, answer)
    process = call(tmp_path, listening)
    other.result()
    assert process.wait() == 0 and b"answer" in process.out, process.err


def test_frames_in_the_same_write_as_the_answer(tmp_path: Path, listening: StockServer) -> None:
    """A server may speak at once: a message and a ping right behind its answer."""

    def answer(wire: Wire, request: Request) -> list[Frame]:
        wire.send(Frame(CONTROL, encode_response([1, 2])).encode() + Frame(CONTROL, b'{"type":"ping"}').encode())
        seen = [wire.frame(2.0), wire.frame(2.0)]
        wire.send_frame(1, b"answer")
        wire.rest(2.0)
        return [f for f in seen if f]

    other = scripted(listening, answer)
    process = call(tmp_path, listening)
    seen = other.result()
    assert process.wait() == 0, process.err
    assert {f.channel for f in seen} == {CONTROL, 1}
    assert [json.loads(f.payload) for f in seen if f.channel == CONTROL] == [{"type": "pong"}]


@pytest.mark.parametrize(
    "stream", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"IX\0\0\0\0\0\0", b"\0" * 64], ids=["http", "magic", "zeros"]
)
def test_a_server_of_another_protocol(tmp_path: Path, listening: StockServer, stream: bytes) -> None:
    def answer(wire: Wire, request: Request) -> list[Frame]:
        wire.send(stream)
        return wire.rest(2.0)

    other = scripted(listening, answer)
    process = call(tmp_path, listening)
    assert other.result() == []
    assert_fails(process, "bad_magic")


@pytest.mark.parametrize("length", [MAX_HANDSHAKE + 1, 1 << 31, 0xFFFFFFFF])
def test_an_oversized_answer_is_refused_from_its_header(tmp_path: Path, listening: StockServer, length: int) -> None:
    def answer(wire: Wire, request: Request) -> list[Frame]:
        wire.send(b"IP" + length.to_bytes(4, "little") + b"\0\0")
        return wire.rest(2.0)

    other = scripted(listening, answer)
    process = call(tmp_path, listening)
    assert other.result() == []
    assert_fails(process, "frame_too_large")


def test_a_silent_server_ends_at_the_deadline_of_the_call(tmp_path: Path, listening: StockServer) -> None:
    other = scripted(listening, lambda wire, _: wire.rest(5.0))
    began = time.monotonic()
    process = hostlane(tmp_path, "request", listening.path, "--data", "x", "--deadline", "300ms")
    took = time.monotonic() - began
    other.result()
    assert_fails(process, "timeout", status=124)
    assert 0.29 <= took < 0.6, took


def test_info_shows_what_was_agreed(tmp_path: Path, listening: StockServer) -> None:
    other = Background(lambda: echo(listening.accept()))
    process = hostlane(tmp_path, "--format", "json", "info", listening.path)
    assert process.wait() == 0, process.err
    shown = json.loads(process.out)
    assert shown["peer_id"] == "peer-1" and shown["level"] == 0
    assert [c["id"] if isinstance(c, dict) else c for c in shown["channels"]] == [1, 2, 3, 4]
    assert other.result() == "connection closed"
