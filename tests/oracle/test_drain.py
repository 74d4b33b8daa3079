"""Drain, shutdown and ping of the library itself, against stock peers and scripted ones."""

from __future__ import annotations

import ctypes
import json

import pytest

from harness import wait_until
from lane import Lane, LaneListener, fails, library
from level0 import COMMAND, CONTROL, DATA, TELEMETRY, Frame, encode_control
from stock import Background, StockClient, StockPeer, echo

PING, PONG = encode_control("ping"), encode_control("pong")
LEAVE, LEFT = encode_control("shutdown_request"), encode_control("shutdown_ack")


def control_types(frames: list[Frame]) -> list[str]:
    return [json.loads(f.payload)["type"] for f in frames if f.channel == CONTROL]


def test_drain_towards_a_stock_server(to_stock: tuple[Lane, StockPeer]) -> None:
    lane, peer = to_stock
    other = Background(lambda: echo(peer))
    lane.drain()
    assert other.result() == "connection closed"
    fails("closed", lane.send, DATA, b"x")


def test_drain_towards_a_stock_client(from_stock: tuple[Lane, StockClient]) -> None:
    lane, client = from_stock
    other = Background(lambda: echo(client))
    lane.drain()
    assert other.result() == "connection closed"


def test_shutdown_by_a_stock_client(from_stock: tuple[Lane, StockClient]) -> None:
    lane, client = from_stock
    receiving = Background(lambda: fails("peer_closed", lane.recv, 5.0))
    client.shutdown(timeout=1.0)
    receiving.result()


def test_shutdown_by_a_stock_server(to_stock: tuple[Lane, StockPeer]) -> None:
    """A receive on another channel is enough for the answer; what came before it stays readable."""
    lane, peer = to_stock
    receiving = Background(lambda: fails("peer_closed", lane.recv_on, TELEMETRY, 5.0))
    peer.send(DATA, b"last words")
    peer.shutdown(timeout=1.0)
    receiving.result()
    assert lane.recv(1.0).payload == b"last words"
    fails("peer_closed", lane.recv, 1.0)


def test_messages_received_before_a_drain_stay_readable(to_stock: tuple[Lane, StockPeer]) -> None:
    lane, peer = to_stock
    for i in range(3):
        peer.send(DATA, b"%d" % i)
    other = Background(lambda: echo(peer))
    lane.drain()
    other.result()
    assert [lane.recv(1.0).payload for _ in range(3)] == [b"0", b"1", b"2"]
    fails(("closed", "peer_closed"), lane.recv, 1.0)


def test_messages_that_arrive_during_a_drain_are_kept(to_stock: tuple[Lane, StockPeer]) -> None:
    lane, peer = to_stock
    draining = Background(lane.drain)
    frame = peer.wire.frame()
    assert frame == Frame(CONTROL, LEAVE)
    peer.wire.send(Frame(DATA, b"on its way").encode() + Frame(CONTROL, LEFT).encode())
    draining.result()
    assert lane.recv(1.0).payload == b"on its way"


def test_crossing_drains(to_stock: tuple[Lane, StockPeer]) -> None:
    """Both sides ask before either answers: both are answered, both are done."""
    lane, peer = to_stock
    draining = Background(lane.drain)
    assert peer.wire.frame() == Frame(CONTROL, LEAVE)
    peer.wire.send_frame(CONTROL, LEAVE)
    peer.wire.send_frame(CONTROL, LEFT)
    draining.result()
    assert control_types(peer.wire.rest()) == ["shutdown_ack"]


def test_two_lanes_drain_towards_each_other(path: str) -> None:
    for _ in range(20):
        with LaneListener(path) as listener:
            accepting = Background(listener.accept)
            one = Lane.connect(path)
            two: Lane = accepting.result()
            both = [Background(one.drain), Background(two.drain)]
            for side in both:
                side.result()
            one.close()
            two.close()


def test_a_late_pong_does_not_disturb_a_drain(to_stock: tuple[Lane, StockPeer]) -> None:
    lane, peer = to_stock
    draining = Background(lane.drain)
    assert peer.wire.frame() == Frame(CONTROL, LEAVE)
    peer.wire.send(Frame(CONTROL, PONG).encode() + Frame(CONTROL, PING).encode() + Frame(CONTROL, LEFT).encode())
    draining.result()
    assert control_types(peer.wire.rest()) in (["pong"], [])


def test_a_drain_that_nobody_answers(to_stock: tuple[Lane, StockPeer]) -> None:
    lane, peer = to_stock
    took = fails("timeout", lane.drain, 0.3)
    assert 0.29 <= took < 2.0
    assert peer.wire.frame() == Frame(CONTROL, LEAVE)
    lane.close()
    assert peer.wire.rest() == []


def test_a_drain_waits_for_the_call_in_flight(to_stock: tuple[Lane, StockPeer]) -> None:
    lane, peer = to_stock
    calling = Background(lambda: lane.request(b"question"))
    assert peer.recv() == (COMMAND, b"question")
    draining = Background(lane.drain)
    wait_until(lambda: _pending(lane) == 2, what="the call and the drain waiting")
    peer.send(COMMAND, b"answer")
    other = Background(lambda: echo(peer))
    assert calling.result() == b"answer"
    draining.result()
    other.result()


def _pending(lane: Lane) -> int:
    """The operations that wait: `pending_operations` of `hostlane_stats_t`."""
    stats = (ctypes.c_uint64 * 64)()  # more than it has
    assert library().hostlane_stats(lane._handle, ctypes.byref(stats), None) == 0
    return stats[10]


def test_an_unasked_shutdown_ack_is_never_sent(from_stock: tuple[Lane, StockClient]) -> None:
    lane, client = from_stock
    other = Background(lambda: echo(client))
    for i in range(20):
        lane.send(DATA, b"%d" % i)
        assert lane.recv().payload == b"%d" % i
    lane.close()
    assert other.result() == "connection closed", "a stock peer would have complained"


# ---------------------------------------------------------------- ping


def test_ping_a_stock_peer(to_stock: tuple[Lane, StockPeer]) -> None:
    lane, peer = to_stock
    other = Background(lambda: echo(peer))
    for _ in range(3):
        assert 0 < lane.ping() < 1.0
    lane.close()
    other.result()


@pytest.mark.parametrize("inside", ["recv", "recv_on", "request", "ping"])
def test_a_ping_is_answered_while_any_call_waits(from_stock: tuple[Lane, StockClient], inside: str) -> None:
    lane, client = from_stock
    calls = {
        "recv": lambda: lane.recv(1.0),
        "recv_on": lambda: lane.recv_on(TELEMETRY, 1.0),
        "request": lambda: lane.request(b"?", 1.0),
        "ping": lambda: lane.ping(1.0),
    }
    waiting = Background(lambda: fails("timeout", calls[inside]))
    if inside == "request":
        assert client.recv() == (COMMAND, b"?")
    if inside == "ping":
        assert client.wire.frame() == Frame(CONTROL, PING)
    for _ in range(3):
        assert client.ping(0.5) < 0.1
    waiting.result()


def test_a_ping_that_came_while_nobody_called_is_answered_by_the_next_call(
    from_stock: tuple[Lane, StockClient],
) -> None:
    lane, client = from_stock
    client.wire.send_frame(CONTROL, PING)
    client.send(DATA, b"behind it")
    assert lane.recv(1.0).payload == b"behind it"
    assert client.wire.frame(1.0) == Frame(CONTROL, PONG)


def test_an_unasked_shutdown_ack_is_ignored(to_stock: tuple[Lane, StockPeer]) -> None:
    lane, peer = to_stock
    peer.wire.send_frame(CONTROL, LEFT)
    peer.send(DATA, b"still here")
    assert lane.recv(1.0).payload == b"still here"


def test_a_ping_that_nobody_answers(to_stock: tuple[Lane, StockPeer]) -> None:
    lane, peer = to_stock
    assert 0.19 <= fails("timeout", lane.ping, 0.2) < 2.0
    assert peer.wire.frame() == Frame(CONTROL, PING)
    peer.wire.send_frame(CONTROL, PONG)  # too late, and no reason to end anything
    peer.send(DATA, b"still here")
    assert lane.recv(1.0).payload == b"still here"


def test_nothing_is_sent_unasked(to_stock: tuple[Lane, StockPeer]) -> None:
    """No automatic ping: an idle lane is silent."""
    lane, peer = to_stock
    with pytest.raises(TimeoutError):
        peer.wire.frame(2.0)
    fails("timeout", lane.recv, 0.0)
