"""Deadlines, closes and ends of the library itself, against stock peers and scripted ones."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from harness import wait_until
from lane import Lane, LaneError, LaneListener, fails
from level0 import COMMAND, CONTROL, DATA, MAX_PAYLOAD, TELEMETRY, Frame, Violation, encode_response
from stock import Background, Disconnected, StockClient, StockPeer, StockServer, Wire, echo


def test_a_receive_that_times_out_loses_nothing(to_stock: tuple[Lane, StockPeer]) -> None:
    lane, peer = to_stock
    whole = Frame(DATA, b"in many pieces").encode()
    for cut in range(len(whole) - 1):
        peer.wire.send(whole[cut : cut + 1])
        fails("timeout", lane.recv, 0.01)
    peer.wire.send(whole[-1:])
    assert lane.recv(1.0).payload == b"in many pieces"


@pytest.mark.parametrize("timeout", [0.05, 0.3])
def test_a_receive_ends_at_its_deadline(to_stock: tuple[Lane, StockPeer], timeout: float) -> None:
    lane, _ = to_stock
    took = fails("timeout", lane.recv, timeout)
    assert timeout - 0.005 <= took < timeout + 2.0


def test_a_call_that_timed_out_closes_the_connection(to_stock: tuple[Lane, StockPeer]) -> None:
    lane, peer = to_stock
    took = fails("timeout", lane.request, b"slow", 0.2)
    assert 0.19 <= took < 2.0
    assert peer.recv() == (COMMAND, b"slow")
    with pytest.raises((Disconnected, OSError)):
        for _ in range(3):
            peer.send(COMMAND, b"too late")
            peer.recv(1.0)
    fails(("closed", "connection_lost"), lane.request, b"next", 1.0)


def test_one_call_at_a_time_is_on_the_wire(to_stock: tuple[Lane, StockPeer]) -> None:
    lane, peer = to_stock
    calls = [Background(lambda i=i: lane.request(b"%d" % i)) for i in range(5)]  # type: ignore[misc]
    for _ in calls:
        channel, payload = peer.recv()
        assert channel == COMMAND
        with pytest.raises(TimeoutError):
            peer.wire.frame(0.05)
        peer.send(COMMAND, payload + b"!")
    assert sorted(call.result() for call in calls) == [b"%d!" % i for i in range(5)]


def test_a_queued_call_that_times_out_harms_nobody(to_stock: tuple[Lane, StockPeer]) -> None:
    lane, peer = to_stock
    first = Background(lambda: lane.request(b"first"))
    assert peer.recv() == (COMMAND, b"first")
    fails("timeout", lane.request, b"queued", 0.1)
    peer.send(COMMAND, b"first!")
    assert first.result() == b"first!"
    third = Background(lambda: lane.request(b"third"))
    assert peer.recv() == (COMMAND, b"third"), "the queued call was never sent"
    peer.send(COMMAND, b"third!")
    assert third.result() == b"third!"


def test_a_send_that_times_out_between_frames_changes_nothing(to_stock: tuple[Lane, StockPeer]) -> None:
    lane, peer = to_stock
    sent = 0
    with pytest.raises(LaneError, match="timeout"):
        while sent < 1_000_000:
            lane.send(DATA, b"%09d" % sent, 0.05)
            sent += 1
    for i in range(sent):
        assert peer.recv(1.0) == (DATA, b"%09d" % i)
    lane.send(DATA, b"intact", 1.0)
    assert peer.recv(1.0) == (DATA, b"intact"), "the message that timed out was never sent"


def test_a_send_that_times_out_inside_a_frame_ends_the_connection(to_stock: tuple[Lane, StockPeer]) -> None:
    lane, peer = to_stock
    assert 0.19 <= fails("timeout", lane.send, DATA, bytes(MAX_PAYLOAD), 0.2) < 2.0
    fails(("closed", "connection_lost"), lane.send, DATA, b"next", 0.2)
    with pytest.raises(Violation, match="truncated"):
        peer.wire.frame()


def all_sleep(waiting: list[Background]) -> None:
    """Returns once every thread is blocked in the kernel. One that only waits for the interpreter is not: between
    two looks the interpreter is free, so such a thread moves on, which its state or its switches show."""
    seen: list[list[str]] = []

    def unmoved() -> bool:
        before = seen[:]
        seen[:] = [_state(one.thread) for one in waiting]
        return seen == before and all("S (sleeping)" in state[0] for state in seen)

    wait_until(unmoved, what="every thread waiting")


def _state(thread: threading.Thread) -> list[str]:
    status = Path(f"/proc/self/task/{thread.native_id}/status").read_text().splitlines()
    return [line for line in status if line.startswith("State:") or "voluntary_ctxt_switches:" in line]


def test_close_from_another_thread_wakes_every_waiter(to_stock: tuple[Lane, StockPeer]) -> None:
    lane, peer = to_stock
    waiting = [Background(lambda: fails("closed", lane.recv, None)) for _ in range(3)]
    waiting += [Background(lambda: fails("closed", lane.request, b"x", 30.0)) for _ in range(2)]
    assert peer.recv() == (COMMAND, b"x")
    all_sleep(waiting)
    began = time.monotonic()
    lane.close()
    for one in waiting:
        one.result(5.0)
    assert time.monotonic() - began < 5.0
    lane.close()


def test_close_wakes_accept(path: str) -> None:
    listener = LaneListener(path)
    waiting = Background(lambda: fails("closed", listener.accept, 30.0))
    all_sleep([waiting])
    listener.close()
    waiting.result(5.0)


# ---------------------------------------------------------------- ends and errors


@pytest.mark.parametrize(
    ("last", "name"),
    [
        (b"", "peer_closed"),
        (Frame(DATA, b"cut").encode()[:9], "truncated"),
        (b"I", "truncated"),
        (b"XX\0\0\0\0\2\0", "bad_magic"),
        (b"IP\1\0\0\1\2\0", "frame_too_large"),
        (Frame(300, b"").encode(), "unknown_channel"),
        (Frame(CONTROL, b"{}").encode(), "bad_control"),
        (Frame(CONTROL, b'{"type":"hello"}').encode(), "unknown_control"),
        (Frame(CONTROL, b'{"type":"shutdown_force"}').encode(), "peer_closed"),
        (b"IP\1\x40\0\0\0\0", "frame_too_large"),
    ],
    ids=[
        "clean",
        "cut",
        "one-byte",
        "magic",
        "oversize",
        "channel",
        "bad-control",
        "unknown-control",
        "force",
        "large-control",
    ],
)
def test_how_a_connection_ends(to_stock: tuple[Lane, StockPeer], last: bytes, name: str) -> None:
    """What arrived whole is delivered first; the reason comes after it, and stays."""
    lane, peer = to_stock
    peer.wire.send(Frame(DATA, b"one").encode() + Frame(TELEMETRY, b"two").encode() + last)
    if last in (b"", b"I") or name == "truncated":
        peer.close()
    assert [lane.recv(1.0).payload for _ in range(2)] == [b"one", b"two"]
    for _ in range(3):
        fails(name, lane.recv, 1.0)


def test_a_refusal_reaches_the_caller_by_name(path: str) -> None:
    with LaneListener(path, token="s3cret") as listener:
        accepting = Background(lambda: fails("closed", listener.accept, 30.0))
        for token in (None, "wrong"):
            fails("authentication_failed", lambda: Lane.connect(path, token=token))
    accepting.result()
    with LaneListener(path, [300]) as listener:
        accepting = Background(lambda: fails("closed", listener.accept, 30.0))
        fails("no_common_channel", lambda: Lane.connect(path))
    accepting.result()


def test_a_token_is_accepted(path: str) -> None:
    with LaneListener(path, token="s3cret") as listener:
        accepting = Background(listener.accept)
        with StockClient(path, auth_token="s3cret") as client:
            lane: Lane = accepting.result()
            client.send(DATA, b"let in")
            assert lane.recv().payload == b"let in"
            lane.close()


def test_a_stock_server_that_closes_without_a_word(path: str) -> None:
    with StockServer(path, [300]) as server:
        accepting = Background(server.accept)
        fails("refused", lambda: Lane.connect(path))
        with pytest.raises(Violation):
            accepting.result()


def test_an_unanswered_client_does_not_block_accept(path: str) -> None:
    with LaneListener(path) as listener:
        silent = [Wire.connect(path) for _ in range(10)]
        try:
            accepting = Background(lambda: listener.accept(4.0))
            with StockClient(path, timeout=4.0):  # less than a handshake may take
                accepting.result(4.0).close()
        finally:
            for wire in silent:
                wire.close()


def test_many_threads_use_one_peer(to_stock: tuple[Lane, StockPeer]) -> None:
    lane, peer = to_stock
    other = Background(lambda: echo(peer, 20.0))
    count = 200

    def work(i: int) -> None:
        for n in range(count):
            lane.send(DATA, b"%d:%d:" % (i, n) + bytes(n))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    seen: dict[int, list[int]] = {i: [] for i in range(8)}
    for _ in range(8 * count):
        head, n, tail = lane.recv().payload.split(b":", 2)
        assert tail == bytes(int(n))
        seen[int(head)].append(int(n))
    for thread in threads:
        thread.join()
    assert all(order == list(range(count)) for order in seen.values())
    lane.close()
    other.result()


def test_the_answer_of_a_stock_shaped_server_may_come_late(path: str) -> None:
    with StockServer(path) as server:

        def slow() -> None:
            sock, _ = server.sock.accept()
            with Wire(sock) as wire:
                assert wire.frame() is not None
                time.sleep(0.3)  # slower than any spin
                wire.send_frame(CONTROL, encode_response([1, 2]))
                wire.rest()

        other = Background(slow)
        lane = Lane.connect(path)
        lane.close()
        other.result()
