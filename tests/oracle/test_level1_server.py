"""A level-1 server and honest clients: agreeing on the level, messages, calls side by side, credit, drain."""

from __future__ import annotations

import json
import random
import threading
from typing import Any

import pytest

import hello1
import level0
from gen_vectors import LEVEL1, raw
from harness import BIN, Server
from hello1 import Limits, offer
from level0 import CONTROL, parse_response
from level1 import NO_LAST, Extensions, Flag, Frame, Type, control, frames_of, message
from peer1 import Ended, Level1Client, probe
from raw1 import INSTANCE, RawLevel1
from stock import Background, StockClient, Wire

MIB = 1 << 20
OFFERS = json.loads((LEVEL1 / "offers.json").read_text("utf-8"))["cases"]
PLAIN = [c for c in OFFERS if c["server"] == {"features": [], "secret": None, "demand": False}]


@pytest.mark.parametrize("case", PLAIN, ids=[c["id"] for c in PLAIN])
def test_every_offer(echo1: Any, case: dict[str, Any]) -> None:
    """The level is what the vector says, and a connection on it works."""
    payload = raw(case["payload"])
    with RawLevel1.connect(echo1.path) as peer:
        peer.send(level0.Frame(CONTROL, payload).encode())
        frame = peer.plain(2.0)
        assert frame is not None
        parse_response(frame.payload, [1, 2])
        member = json.loads(frame.payload).get("hostlane")
        if case["expect"]["level"] == 0:
            assert member is None
            peer.send(level0.Frame(2, b"plain").encode())
            assert peer.plain(2.0) == level0.Frame(2, b"plain")
            return
        offered = hello1.parse_offer(json.loads(payload)["hostlane"])
        granted = hello1.parse_grant(member, offered)
        assert granted.versions == [1] and granted.nonce is None
        peer.go_on()
        peer.send(control(Type.READY))
        peer.expect(Type.READY)
        if case["expect"]["limits"]["window"]:
            peer.send(message(Type.MESSAGE, 2, 0, b"x"))
            assert bytes(peer.message().payload) == b"x"


def test_a_stock_client(echo1: Any) -> None:
    with StockClient(echo1.path) as client:
        assert client.request(b"plain") == b"plain"


def test_instances_and_nonces_are_random(echo1: Any) -> None:
    """An instance is one per process, and looks like nothing else."""
    seen = set()
    for _ in range(3):
        with RawLevel1.connect(echo1.path) as peer:
            seen.add(peer.ask()["instance"])
    assert INSTANCE not in seen and all(len(set(instance)) > 4 for instance in seen)
    if hasattr(echo1, "popen"):
        assert len(seen) == 1


def test_the_ready_may_come_with_the_response(echo1: Any) -> None:
    with RawLevel1.connect(echo1.path) as peer:
        peer.ask()
        peer.expect(Type.READY)
        peer.send(control(Type.READY) + message(Type.REQUEST, 1, 1, b"at once"))
        reply = peer.message()
        assert (reply.type, reply.id, bytes(reply.payload)) == (Type.RESPONSE, 1, b"at once")


def test_level_0_frames_behind_an_offer(echo1: Any) -> None:
    with RawLevel1.connect(echo1.path) as peer:
        request = level0.encode_request([1, 2], hostlane=offer(INSTANCE))
        peer.send(level0.Frame(CONTROL, request).encode() + level0.Frame(2, b"too early").encode())
        frame = peer.plain(2.0)
        assert frame is not None and json.loads(frame.payload)["hostlane"]["version"] == 1
        peer.go_on()
        peer.closed("protocol_error")


@pytest.mark.parametrize("channel", [1, 2, 3, 4])
def test_messages_and_calls_on_every_channel(echo1: Any, channel: int) -> None:
    with Level1Client(echo1.path) as client:
        for payload in (b"hello", b"", bytes(range(256))):
            client.send(channel, payload)
            assert client.recv().payload == payload
            assert client.request(payload, channel=channel) == payload


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 65_535, 65_536, 262_143, 262_144, 262_145, 3 * MIB])
def test_every_size_comes_back(echo1: Any, size: int) -> None:
    payload = (bytes(range(256)) * (size // 256 + 1))[:size]
    with Level1Client(echo1.path) as client:
        assert client.request(payload, 20.0) == payload


def test_the_largest_message(echo1: Any) -> None:
    payload = bytes(range(256)) * (level0.MAX_PAYLOAD // 256)
    with Level1Client(echo1.path, limits=Limits()) as client:
        assert client.request(payload, 30.0) == payload


@pytest.mark.parametrize("cut", [1, 3, 1000, 65_536])
def test_messages_cut_anywhere(echo1: Any, cut: int) -> None:
    payload = bytes(range(256)) * (1 if cut < 1000 else 1000)
    with RawLevel1.opened(echo1.path) as peer:
        peer.send(b"".join(f.encode() for f in frames_of(Type.REQUEST, 1, 1, payload, cut=cut)), 20.0)
        assert bytes(peer.message(10.0).payload) == payload


def test_a_ping_inside_a_message(echo1: Any) -> None:
    first, second, third = [f.encode() for f in frames_of(Type.REQUEST, 1, 1, b"abcdef", cut=2)]
    with RawLevel1.opened(echo1.path) as peer:
        peer.send(first)
        for token in (b"01234567", b"\0" * 8):
            peer.send(control(Type.PING, token))
            assert peer.expect(Type.PONG)["token"] == token
        peer.send(second + Frame(0x7B, 0x3F, 1, 1, b"grease").encode() + message(Type.REQUEST, 2, 3, b"beside"))
        beside = peer.message()
        assert (beside.id, bytes(beside.payload)) == (3, b"beside")
        peer.send(third)
        assert bytes(peer.message().payload) == b"abcdef"


def test_byte_by_byte(echo1: Any) -> None:
    data = control(Type.READY) + message(Type.REQUEST, 1, 1, b"slow", extensions=Extensions(deadline_us=60_000_000))
    with RawLevel1.connect(echo1.path) as peer:
        peer.ask()
        for byte in data:
            peer.send(bytes([byte]))
        peer.expect(Type.READY)
        assert bytes(peer.message().payload) == b"slow"


def test_a_thousand_calls_in_one_write(echo1: Any) -> None:
    with RawLevel1.connect(echo1.path) as peer:
        most = peer.ask().get("limits", {}).get("max_calls", 1024)
        peer.send(control(Type.READY))
        peer.expect(Type.READY)
        count = min(most, 900)
        calls = b"".join(message(Type.REQUEST, 1, 2 * i + 1, b"%d" % i) for i in range(count))
        peer.send(calls)
        replies = [peer.message() for _ in range(count)]
        assert sorted(m.id for m in replies) == [2 * i + 1 for i in range(count)]
        assert all(bytes(m.payload) == b"%d" % (m.id // 2) and m.type == Type.RESPONSE for m in replies)


def test_calls_side_by_side_in_one_connection(echo1: Any) -> None:
    dice = random.Random(1)
    sizes = [dice.choice([0, 10, 1000, 100_000, 400_000]) for _ in range(100)]
    with Level1Client(echo1.path) as client:
        ops = [(client.begin(b"%d" % size + b"x" * size), size) for size in sizes]
        for op, size in dice.sample(ops, len(ops)):
            assert client.wait(op, 30.0) == b"%d" % size + b"x" * size


def test_many_clients_at_once(echo1: Any) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with Level1Client(echo1.path) as client:
                ops = [client.begin(b"%d %d" % (number, i)) for i in range(30)]
                assert [client.wait(op, 20.0) for op in ops] == [b"%d %d" % (number, i) for i in range(30)]
        except BaseException as problem:  # looked at below
            failures.append(problem)

    threads = [threading.Thread(target=work, args=[number]) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []


def test_ping(echo1: Any) -> None:
    with Level1Client(echo1.path) as client:
        assert max(client.ping() for _ in range(50)) < 1.0


def test_more_than_every_window(echo1: Any) -> None:
    """20 MiB each way, with the smallest window of its own that goes far."""
    payload, count = b"w" * 100_000, 200
    with Level1Client(echo1.path, limits=Limits(window=150_000)) as client:
        sent = got = 0
        while got < count:
            if sent < count:
                client.engine.send(f"m{sent}", 2, payload)
                sent += 1
            while (taken := client.engine.recv()) is not None:
                assert taken.payload == payload
                got += 1
            client.step(0.0 if sent < count else 0.05)


def test_a_client_that_grants_nothing(echo1: Any) -> None:
    """Without credit no message comes back; replies and PONGs need none."""
    with RawLevel1.opened(echo1.path, limits={"window": 0}) as peer:
        assert bytes(peer.call(message(Type.REQUEST, 1, 1, b"goes")).payload) == b"goes"
        peer.send(message(Type.MESSAGE, 2, 0, b"waits") + control(Type.PING, b"01234567"))
        peer.expect(Type.PONG)
        with pytest.raises(TimeoutError):
            peer.frame(0.2)
        peer.send(control(Type.CREDIT, 1, channel=2))
        assert bytes(peer.message().payload) == b"waits"


def test_credit_is_given_back(echo1: Any) -> None:
    with RawLevel1.opened(echo1.path, limits={"window": 1 << 40}) as peer:
        for i in range(300):
            peer.send(message(Type.MESSAGE, 2, 0, b"x" * 20_000))
            assert len(peer.message().payload) == 20_000, i


def test_a_small_max_message(echo1: Any) -> None:
    """The other side takes 100 bytes: what is longer does not come back, and the connection goes on."""
    with RawLevel1.opened(echo1.path, limits={"max_message": 100}) as peer:
        peer.send(message(Type.REQUEST, 1, 1, b"x" * 100))
        assert len(peer.message().payload) == 100


def test_late_frames_are_dropped(echo1: Any) -> None:
    with RawLevel1.opened(echo1.path) as peer:
        assert bytes(peer.call(message(Type.REQUEST, 1, 1, b"a")).payload) == b"a"
        peer.send(control(Type.CANCEL, id=1) + control(Type.CREDIT, 1 << 30, id=1) + control(Type.CANCEL, id=1))
        assert bytes(peer.call(message(Type.REQUEST, 1, 3, b"b")).payload) == b"b"


def test_cancelled_while_it_arrives(echo1: Any) -> None:
    """A call given up between its frames: the rest of it still comes, is no fault, and ends it."""
    first, second = [f.encode() for f in frames_of(Type.REQUEST, 1, 1, b"abcd", cut=2)]
    with RawLevel1.opened(echo1.path) as peer:
        peer.send(first + control(Type.CANCEL, id=1) + second)
        ended = peer.expect(Type.ERROR)
        assert (ended["id"], ended["code"]) == (1, 110)
        assert peer.call(message(Type.REQUEST, 1, 3, b"next")).id == 3


def test_a_client_drains(echo1: Any) -> None:
    with Level1Client(echo1.path) as client:
        ops = [client.begin(b"%d" % i) for i in range(10)]
        client.drain()
        assert {d.outcome for d in client.engine.done if d.op in ops} == {"reply"}


def test_the_steps_of_a_drain(echo1: Any) -> None:
    with RawLevel1.opened(echo1.path) as peer:
        peer.send(message(Type.REQUEST, 1, 1, b"last") + control(Type.GOAWAY, NO_LAST, 104))
        frames = [peer.frame(), peer.frame()]
        assert sorted(f.type for f in frames if f) == [Type.DRAIN_ACK, Type.RESPONSE]
        peer.send(control(Type.GOAWAY, 0, 104) + control(Type.CLOSE, 104))
        while (frame := peer.frame(2.0)) is not None:
            assert frame.type == Type.CLOSE


@pytest.mark.parametrize("code", [104, 315, 399, 0, 0xFFFFFFFF])
def test_a_client_closes(echo1: Any, code: int) -> None:
    with RawLevel1.opened(echo1.path) as peer:
        peer.send(control(Type.CLOSE, code, text="bye"))
        while (frame := peer.frame(2.0)) is not None:
            assert frame.type == Type.CLOSE


@pytest.mark.parametrize("at", [0, 1, 15, 16, 17])
def test_a_client_vanishes(echo1: Any, at: int) -> None:
    with RawLevel1.opened(echo1.path) as peer:
        peer.send(message(Type.REQUEST, 1, 1, b"x")[:at])
    assert probe(echo1.path) < 1.0


def test_grease(echo1: Any) -> None:
    with RawLevel1.opened(echo1.path, features=["grease-x"], grease_member={"a": 1}) as peer:
        for kind in (0x14, 0x20, 0x27, 0x55, 0x70, 0x7F, 0xFF):
            peer.send(Frame(kind, 0x7F, 9, 9, b"g" * 100).encode())
        assert bytes(peer.call(message(Type.REQUEST, 1, 1, b"here")).payload) == b"here"


def test_unknown_extensions(echo1: Any) -> None:
    extensions = bytes.fromhex("0800 7707 0000 107f 0000")
    with RawLevel1.opened(echo1.path) as peer:
        flags = Flag.FIRST | Flag.LAST | Flag.EXT
        assert bytes(peer.call(Frame(Type.REQUEST, flags, 1, 1, extensions + b"ok").encode()).payload) == b"ok"


def test_a_handshake_ends_at_its_deadline(echo1: Any) -> None:
    """No READY: frames that are legal before it do not extend the time."""
    with RawLevel1.connect(echo1.path) as peer:
        peer.ask()
        peer.expect(Type.READY)
        stop = threading.Event()

        def drip() -> None:
            try:
                while not stop.wait(0.2):
                    peer.send(Frame(0x71, 0, 0, 0, b"drip").encode())
            except OSError:
                pass  # closed, as it should be

        dripping = Background(drip)
        try:
            assert probe(echo1.path) < 1.0
            frame = peer.frame(8.0)
            assert frame is None or frame.type == Type.CLOSE, frame
        finally:
            stop.set()
            dripping.result()


def test_level_0_and_level_1_side_by_side(echo1: Any) -> None:
    with StockClient(echo1.path) as old, Level1Client(echo1.path) as new:
        for _ in range(3):
            assert new.request(b"new") == b"new"
            assert old.request(b"old") == b"old"


def test_a_silent_client_is_asked_and_ended(tmp_path: Any, path: str) -> None:
    server = Server(tmp_path, [BIN, "echo", path, "--keepalive", "100ms"], path)
    with RawLevel1.connect(path) as silent, RawLevel1.connect(path) as lively:
        assert silent.ask()["limits"]["keepalive_ms"] == 100
        lively.ask()
        for peer in (silent, lively):
            peer.send(control(Type.READY))
            peer.expect(Type.READY)
        for _ in range(6):
            token = lively.expect(Type.PING)["token"]
            lively.send(control(Type.PONG, token))
        silent.expect(Type.PING)
        silent.until_end()
        assert bytes(lively.call(message(Type.REQUEST, 1, 1, b"alive")).payload) == b"alive"
    assert "peer_unresponsive" in server.err


def test_a_stream_gets_its_items_back(server: Server) -> None:
    """And the opening payload at the end. Of `hostlane echo` alone: the oracle's knows no streams."""
    with Level1Client(server.path) as client:
        op = client.begin(b"open", stream=True)
        call = client.engine.my_call(op)
        assert call is not None
        for i in range(200):
            client.item(call, b"%d" % i * 1000)
            assert client.recv_item(call) == b"%d" % i * 1000
        client.item(call, b"", fin=True)
        assert client.wait(op) == b"open"


def test_what_a_client_without_a_deadline_sees(echo1: Any) -> None:
    """The end of the stream without CLOSE is an orderly end too."""
    with Level1Client(echo1.path) as client:
        client.sock.shutdown(1)
        with pytest.raises(Ended) as end:
            client.recv()
        assert end.value.names == ("peer_closed",)
    with Wire.connect(echo1.path):
        pass
