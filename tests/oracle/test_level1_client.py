"""What a hostlane client makes of level-1 servers: scripted ones, hostile ones, and the oracle's own."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import hello1
import level0
from errors import NUMBERS
from gen_vectors import LEVEL1, raw
from harness import BIN, Process, assert_fails, hostlane
from level0 import CONTROL, encode_response, parse_request
from level1 import HEADER, WHOLE, Extensions, Flag, Frame, Message, Type, control, frames_of, message, parse_control
from peer1 import EchoServer, Level1Server, echo
from raw1 import INSTANCE, RawLevel1
from stock import Background

GRANTS = json.loads((LEVEL1 / "grants.json").read_text("utf-8"))["cases"]
PLAIN = [c for c in GRANTS if c["client"] == {"features": [], "secret": None, "demand": False}]


@pytest.fixture
def listening(path: str) -> Iterator[Level1Server]:
    with Level1Server(path) as server:
        yield server


def scripted(server: Level1Server, script: Callable[[RawLevel1], Any], **members: Any) -> Background:
    """Takes one client up to both READY and leaves the rest to the script."""

    def run() -> Any:
        with server.accept_raw(**members) as peer:
            return script(peer)

    return Background(run)


def request(directory: Path, server: Level1Server, deadline: str = "3s") -> Process:
    arguments = ["--format", "raw", "request", server.path, "--data", "question", "--deadline", deadline]
    return Process(directory, [BIN, *arguments])


def asked(peer: RawLevel1) -> Message:
    call = peer.message()
    assert call.type == Type.REQUEST and call.id % 2 == 1 and call.channel == 1
    assert bytes(call.payload) == b"question" and not call.stream
    return call


def end(peer: RawLevel1) -> list[int]:
    """The code of every CLOSE until the end of the stream; nothing else may come but what drains."""
    codes = []
    while (frame := peer.frame(3.0)) is not None:
        if frame.type == Type.CLOSE:
            codes.append(int(parse_control(Type.CLOSE, frame.payload)["code"]))
        else:
            assert frame.type in (Type.GOAWAY, Type.DRAIN_ACK, Type.CANCEL), frame
    return codes


def test_the_offer(tmp_path: Path, listening: Level1Server) -> None:
    """Well-formed, random per process, and greased."""
    seen = []
    for _ in range(2):
        other = Background(lambda: RawLevel1(listening.take(), connector=False))
        process = request(tmp_path, listening)
        with other.result() as peer:
            frame = peer.plain()
            assert frame is not None and frame.channel == CONTROL
            with pytest.raises(TimeoutError):  # nothing follows the request before the answer
                peer.plain(0.2)
        process.wait()
        found = parse_request(frame.payload)
        member = found.extra["hostlane"]
        seen.append(hello1.parse_offer(member))
        assert seen[-1].versions == [1]
        assert any(name.startswith("grease") for name in member)
        assert any(name.startswith("grease") for name in seen[-1].features)
        assert set(found.extra) == {"hostlane"}
    assert seen[0].instance != seen[1].instance


def test_a_call(tmp_path: Path, listening: Level1Server) -> None:
    def script(peer: RawLevel1) -> tuple[Message, list[int]]:
        call = asked(peer)
        peer.send(message(Type.RESPONSE, 1, call.id, b"answer"))
        return call, end(peer)

    other = scripted(listening, script)
    process = request(tmp_path, listening)
    call, codes = other.result()
    assert process.wait() == 0, process.err
    assert process.out == b"answer"
    assert codes == [NUMBERS["closed"]]
    assert call.extensions.deadline_us is None or 0 < call.extensions.deadline_us <= 3_000_000


def test_a_call_to_the_oracle(tmp_path: Path, listening: Level1Server) -> None:
    other = Background(lambda: echo(listening.accept()))
    process = request(tmp_path, listening)
    assert process.wait() == 0, process.err
    assert process.out == b"question" and other.result() == ("peer_closed",)


def test_many_clients(tmp_path: Path, path: str) -> None:
    server = EchoServer(path)
    try:
        processes = [
            Process(tmp_path, [BIN, "--format", "raw", "request", path, "--data", f"{i}", "--deadline", "10s"])
            for i in range(10)
        ]
        for i, process in enumerate(processes):
            assert process.wait(15) == 0, process.err
            assert process.out == b"%d" % i
    finally:
        server.close()


def test_info(tmp_path: Path, listening: Level1Server) -> None:
    other = Background(lambda: echo(listening.accept()))
    process = hostlane(tmp_path, "--format", "json", "info", listening.path)
    assert process.popen.returncode == 0, process.err
    facts = json.loads(process.out)
    assert facts["level"] == 1 and facts["peer_id"] == "peer-1" and facts["features"] == []
    assert other.result() == ("peer_closed",)


def test_info_of_what_the_server_accepts(tmp_path: Path, listening: Level1Server) -> None:
    def script(peer: RawLevel1) -> None:
        peer.send(control(Type.PONG, peer.expect(Type.PING)["token"]))
        end(peer)

    other = scripted(listening, script, limits={"max_message": 4096})
    process = hostlane(tmp_path, "--format", "json", "info", listening.path)
    other.result()
    assert json.loads(process.out)["max_message"] == 4096


def test_what_surrounds_a_reply(tmp_path: Path, listening: Level1Server) -> None:
    """GREASE, unknown frames, CREDIT, a cut reply with a ping inside, unknown extensions."""

    def script(peer: RawLevel1) -> None:
        call = asked(peer)
        peer.send(Frame(0x77, 0x3F, 1, call.id, b"grease").encode() + Frame(0x42, 0, 1, 1, b"later").encode())
        peer.send(control(Type.CREDIT, 1 << 40, channel=1) + control(Type.NOP))
        first, second, third = [f.encode() for f in frames_of(Type.RESPONSE, 1, call.id, b"answer", cut=2)]
        peer.send(first + control(Type.PING, b"01234567"))
        assert peer.expect(Type.PONG)["token"] == b"01234567"
        peer.send(second)
        peer.send(third)
        end(peer)

    other = scripted(listening, script, features=[], grease={"a": 1})
    process = request(tmp_path, listening)
    other.result()
    assert process.wait() == 0, process.err
    assert process.out == b"answer"


FAILURES: list[tuple[str, Callable[[Message], bytes], str]] = [
    ("refused", lambda c: control(Type.REFUSE, NUMBERS["queue_full"], id=c.id, text="later"), "queue_full"),
    ("draining", lambda c: control(Type.REFUSE, NUMBERS["draining"], id=c.id), "draining"),
    ("refused-unknown", lambda c: control(Type.REFUSE, 399, id=c.id, text="too blue"), "remote_error"),
    ("abandoned", lambda c: control(Type.ERROR, NUMBERS["call_abandoned"], id=c.id), "call_abandoned"),
    ("failed", lambda c: message(Type.RESPONSE, 1, c.id, b"why", extensions=Extensions(status=4711)), "remote_error"),
]


@pytest.mark.parametrize(("answer", "name"), [f[1:] for f in FAILURES], ids=[f[0] for f in FAILURES])
def test_a_call_that_fails(tmp_path: Path, listening: Level1Server, answer: Any, name: str) -> None:
    def script(peer: RawLevel1) -> None:
        peer.send(answer(asked(peer)))
        end(peer)

    other = scripted(listening, script)
    process = request(tmp_path, listening)
    other.result()
    assert_fails(process, name)


def test_a_deadline(tmp_path: Path, listening: Level1Server) -> None:
    """The caller gives up, and says so."""

    def script(peer: RawLevel1) -> list[int]:
        call = asked(peer)
        kinds: list[int] = []
        while (frame := peer.frame(3.0)) is not None:
            kinds.append(frame.type)
            assert frame.type != Type.CANCEL or frame.id == call.id
        return kinds

    other = scripted(listening, script)
    process = request(tmp_path, listening, "300ms")
    kinds = other.result()
    assert_fails(process, "timeout", status=124)
    assert Type.CANCEL in kinds


def test_a_server_that_is_stuck(tmp_path: Path, listening: Level1Server) -> None:
    """With a keepalive the client asks for a sign of life, and leaves when none comes."""

    def script(peer: RawLevel1) -> bool:
        asked(peer)
        peer.expect(Type.PING)
        peer.until_end()
        return peer.ended

    other = scripted(listening, script)
    arguments = ["request", listening.path, "--data", "question", "--deadline", "8s", "--keepalive", "100ms"]
    process = Process(tmp_path, [BIN, *arguments])
    assert_fails(process, "peer_unresponsive", status=124)
    assert other.result()


@pytest.mark.parametrize("name", ["protocol_error", "credit_exceeded", "control_flood", "frame_too_large"])
def test_the_server_found_a_fault(tmp_path: Path, listening: Level1Server, name: str) -> None:
    def script(peer: RawLevel1) -> None:
        asked(peer)
        peer.send(control(Type.CLOSE, NUMBERS[name], text="found"))

    other = scripted(listening, script)
    process = request(tmp_path, listening)
    other.result()
    assert_fails(process, name, "connection_lost")


@pytest.mark.parametrize("cut", [0, 1, 15, 17])
def test_the_server_vanishes(tmp_path: Path, listening: Level1Server, cut: int) -> None:
    def script(peer: RawLevel1) -> None:
        call = asked(peer)
        peer.send(message(Type.RESPONSE, 1, call.id, b"answer")[:cut])

    other = scripted(listening, script)
    process = request(tmp_path, listening)
    other.result()
    assert_fails(process, "connection_lost", "truncated", "peer_closed")


CRITICAL = bytes.fromhex("0400 0180 0000")


def first_of(ident: int, total: int) -> bytes:
    """The first frame of a reply that says to have so many bytes, with two of them."""
    return Frame(Type.RESPONSE, Flag.FIRST, 1, ident, total.to_bytes(4, "little") + b"ab").encode()


FAULTS: list[tuple[str, Callable[[int], bytes], str]] = [
    ("type-1", lambda _: Frame(1).encode(), "protocol_error"),
    ("nop-with-length", lambda _: Frame(0, payload=b"x").encode(), "protocol_error"),
    ("unknown-critical", lambda _: Frame(0x42, Flag.CRITICAL).encode(), "unknown_frame"),
    ("unknown-channel", lambda _: message(Type.MESSAGE, 300, 0, b"x"), "unknown_channel"),
    ("oversize", lambda _: HEADER.pack((16 << 20) + 1, Type.MESSAGE, WHOLE, 2, 0), "frame_too_large"),
    ("oversize-control", lambda _: HEADER.pack(1025, Type.PONG, 0, 0, 0), "frame_too_large"),
    ("oversize-total", lambda i: first_of(i, 0xFFFFFFFF), "frame_too_large"),
    ("oversize-skipped", lambda _: HEADER.pack(16_385, 0x7F, 0, 0, 0), "frame_too_large"),
    ("short-pong", lambda _: Frame(Type.PONG, payload=b"1234567").encode(), "protocol_error"),
    ("reply-above", lambda i: message(Type.RESPONSE, 1, i + 2, b"x"), "protocol_error"),
    ("reply-even", lambda _: message(Type.RESPONSE, 1, 2, b"x"), "protocol_error"),
    ("reply-0", lambda _: message(Type.RESPONSE, 1, 0, b"x"), "protocol_error"),
    ("reply-elsewhere", lambda i: message(Type.RESPONSE, 2, i, b"x"), "protocol_error"),
    ("request-odd", lambda i: message(Type.REQUEST, 1, i + 2, b"x"), "protocol_error"),
    ("request-0", lambda _: message(Type.REQUEST, 1, 0, b"x"), "protocol_error"),
    ("stream-of-a-call", lambda i: message(Type.STREAM, 1, i, b"x"), "protocol_error"),
    ("cancel-never", lambda _: control(Type.CANCEL, id=2), "protocol_error"),
    ("second-ready", lambda _: control(Type.READY), "protocol_error"),
    (
        "short-of-total",
        lambda i: first_of(i, 5) + Frame(Type.RESPONSE, Flag.LAST, 1, i, b"c").encode(),
        "protocol_error",
    ),
    ("critical-extension", lambda i: Frame(Type.RESPONSE, WHOLE | Flag.EXT, 1, i, CRITICAL).encode(), "protocol_error"),
    ("credit-exceeded", lambda _: message(Type.MESSAGE, 2, 0, b"x" * (1 << 20)) * 20, "credit_exceeded"),
]


@pytest.mark.parametrize(("data", "name"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS])
def test_a_broken_rule(tmp_path: Path, listening: Level1Server, data: Any, name: str) -> None:
    """The client says why in CLOSE, reports it, and ends."""

    def script(peer: RawLevel1) -> str:
        call = asked(peer)
        sending = Background(lambda: send_all(peer, data(call.id)))
        try:
            return peer.closed(name, timeout=4.0)
        finally:
            sending.result()

    other = scripted(listening, script)
    process = request(tmp_path, listening)
    assert other.result() == name
    assert_fails(process, name, "connection_lost")


def send_all(peer: RawLevel1, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the client was faster to close
        peer.send(data)


BEFORE_READY = [kind for kind in Type if kind not in (Type.NOP, Type.READY, Type.CLOSE)]


@pytest.mark.parametrize("kind", BEFORE_READY, ids=[kind.name for kind in BEFORE_READY])
def test_too_early(tmp_path: Path, listening: Level1Server, kind: Type) -> None:
    def script(peer: RawLevel1) -> str:
        peer.send(Frame(kind, WHOLE if kind >= Type.MESSAGE else 0, 1, 2, bytes(32)).encode())
        return peer.closed("protocol_error")

    other = scripted(listening, script, ready=False)
    process = request(tmp_path, listening)
    assert other.result() == "protocol_error"
    assert_fails(process, "protocol_error")


@pytest.mark.parametrize("case", PLAIN, ids=[c["id"] for c in PLAIN])
def test_every_grant(tmp_path: Path, listening: Level1Server, case: dict[str, Any]) -> None:
    def script() -> list[Any]:
        with RawLevel1(listening.take(), connector=False) as peer:
            assert peer.plain() is not None
            members = json.loads(raw(case["payload"]))
            members["channels"] = [1, 2, 3, 4]
            peer.send(level0.Frame(CONTROL, level0.dump(members)).encode())
            if "error" in case["expect"]:
                peer.until_end()
            elif case["expect"]["level"] == 0:
                assert peer.plain() == level0.Frame(1, b"question")
                peer.send(level0.Frame(1, b"answer").encode())
            else:
                peer.send(control(Type.READY))
                peer.expect(Type.READY)
                call = asked(peer)
                peer.send(message(Type.RESPONSE, 1, call.id, b"answer"))
                end(peer)
            return []

    other = Background(script)
    process = request(tmp_path, listening)
    other.result()
    if "error" in case["expect"]:
        assert_fails(process, *case["expect"]["error"])
    else:
        assert process.wait() == 0, process.err
        assert process.out == b"answer"


def test_a_server_that_never_gets_ready(tmp_path: Path, listening: Level1Server) -> None:
    """The deadline of the call bounds the handshake too; skipped frames do not extend it."""

    def script() -> None:
        with RawLevel1(listening.take(), connector=False) as peer:
            peer.answer(ready=False)
            for _ in range(100):
                try:
                    peer.send(Frame(0x70, payload=b"drip").encode())
                    frame = peer.frame(0.1)
                except TimeoutError:
                    continue
                except (BrokenPipeError, ConnectionResetError):
                    return
                if frame is None:
                    return

    other = Background(script)
    process = request(tmp_path, listening, "500ms")
    assert_fails(process, "timeout", status=124)
    other.result()


def test_without_credit_a_call_waits(tmp_path: Path, listening: Level1Server) -> None:
    def script(peer: RawLevel1) -> None:
        with pytest.raises(TimeoutError):
            peer.frame(0.3)
        peer.send(control(Type.CREDIT, 1, channel=1))
        peer.send(message(Type.RESPONSE, 1, asked(peer).id, b"answer"))
        end(peer)

    other = scripted(listening, script, limits={"window": 0})
    process = request(tmp_path, listening)
    other.result()
    assert process.wait() == 0, process.err


def test_a_message_larger_than_the_server_takes(tmp_path: Path, listening: Level1Server) -> None:
    other = scripted(listening, end, limits={"max_message": 7})
    process = request(tmp_path, listening)
    other.result()
    assert_fails(process, "payload_too_large")


def test_the_server_drains(tmp_path: Path, listening: Level1Server) -> None:
    """GOAWAY while the call is open: it is answered all the same."""

    def script(peer: RawLevel1) -> None:
        call = asked(peer)
        peer.send(control(Type.GOAWAY, (1 << 64) - 1, NUMBERS["closed"]))
        peer.expect(Type.DRAIN_ACK)
        peer.send(control(Type.GOAWAY, call.id, NUMBERS["closed"]) + message(Type.RESPONSE, 1, call.id, b"answer"))
        end(peer)

    other = scripted(listening, script)
    process = request(tmp_path, listening)
    other.result()
    assert process.wait() == 0, process.err
    assert process.out == b"answer"


def test_a_call_into_a_drain(tmp_path: Path, listening: Level1Server) -> None:
    """GOAWAY says that the call was not executed."""

    def script(peer: RawLevel1) -> None:
        asked(peer)
        peer.send(control(Type.GOAWAY, (1 << 64) - 1, NUMBERS["closed"]))
        peer.expect(Type.DRAIN_ACK)
        peer.send(control(Type.GOAWAY, 0, NUMBERS["closed"]) + control(Type.CLOSE, NUMBERS["closed"]))
        end(peer)

    other = scripted(listening, script)
    process = request(tmp_path, listening)
    other.result()
    assert_fails(process, "draining", "connection_lost")


def test_no_silent_downgrade(tmp_path: Path, listening: Level1Server) -> None:
    """A response with hostlane.version 9 is a fault, never level 0."""

    def script() -> None:
        with RawLevel1(listening.take(), connector=False) as peer:
            peer.plain()
            payload = encode_response([1, 2], hostlane=hello1.grant(INSTANCE, version=9))
            peer.send(level0.Frame(CONTROL, payload).encode())
            peer.until_end()

    other = Background(script)
    process = request(tmp_path, listening)
    other.result()
    assert_fails(process, "bad_handshake")
