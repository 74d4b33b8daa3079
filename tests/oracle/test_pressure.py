"""Full backlogs, full queues, floods towards a client, and frames that nobody asked for."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import BIN, Process, Server, assert_fails, crowded, say, wait_until
from lane import Lane, LaneListener, fails
from level0 import COMMAND, CONTROL, DATA, Frame, encode_control
from stock import Background, StockPeer, StockServer, Wire, echo

PING = Frame(CONTROL, encode_control("ping")).encode()


Crowd = tuple[StockServer, list[socket.socket]]


@pytest.fixture
def crowd(path: str) -> Iterator[Crowd]:
    """A stock server and the clients that fill its backlog."""
    with StockServer(path) as server, crowded(server.sock) as waiting:
        yield server, waiting


def test_a_full_backlog_ends_at_the_deadline_without_spinning(tmp_path: Path, crowd: Crowd) -> None:
    before = _processor_time_of_ended_children()
    process = Process(tmp_path, [BIN, "request", crowd[0].path, "--data", "x", "--deadline", "1s"])
    assert_fails(process, "timeout", status=124)
    took = time.monotonic() - process.began
    used = _processor_time_of_ended_children() - before
    say(f"{used:.2f} s of processor time in {took:.2f} s")
    assert 0.98 <= took < 4.0
    assert used < 0.3 * took


def _processor_time_of_ended_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_a_full_backlog_that_empties_in_time(tmp_path: Path, crowd: Crowd) -> None:
    server, waiting = crowd
    process = Process(tmp_path, [BIN, "--format", "raw", "request", server.path, "--data", "x", "--deadline", "5s"])
    wait_until(lambda: _waits_with_a_socket(process), what="the client trying")
    for _ in waiting:
        server.sock.accept()[0].close()
    other = Background(lambda: echo(server.accept()))
    assert process.wait() == 0, process.err
    assert process.out == b"x"
    other.result()


def _waits_with_a_socket(process: Process) -> bool:
    if "State:\tS" not in Path(f"/proc/{process.pid}/status").read_text():
        return False
    directory = f"/proc/{process.pid}/fd"
    for name in os.listdir(directory):
        with contextlib.suppress(FileNotFoundError):  # closed just now
            if os.readlink(f"{directory}/{name}").startswith("socket:"):
                return True
    return False


def test_connecting_and_leaving_two_thousand_times(server: Server) -> None:
    for i in range(2000):
        with server.client() if i % 2 else contextlib.closing(socket.socket(socket.AF_UNIX)) as peer:
            if isinstance(peer, socket.socket):
                peer.connect(server.path)
    # The fixture checks that every descriptor is back.


def test_a_listener_that_closes_ends_the_handshakes_it_had_begun(path: str) -> None:
    listener = LaneListener(path)
    accepting = Background(lambda: fails("closed", listener.accept, 10.0))
    with Wire.connect(path) as wire:
        wire.send(b"IP")
        listener.close()
        accepting.result(2.0)
        assert wire.rest(2.0) == []
    assert not os.path.lexists(path)


def test_messages_of_another_channel_fill_a_bounded_queue_and_none_is_lost(to_stock: tuple[Lane, StockPeer]) -> None:
    """A receive on COMMAND while DATA floods in: reading pauses at the bound, and goes on when DATA is taken."""
    lane, peer = to_stock
    count, payload = 600, bytes(65536)

    def flood() -> None:
        for i in range(count):
            peer.send(DATA, b"%06d" % i + payload, 30.0)
        peer.send(COMMAND, b"at last", 30.0)

    flooding = Background(flood)
    before = _resident()
    fails("timeout", lane.recv_on, COMMAND, 1.0)
    grown = _resident() - before
    say(f"{grown} bytes held")
    assert grown < 40 << 20, "the queue has no bound"
    for i in range(count):
        message = lane.recv_on(DATA, 5.0)
        assert message.payload[:6] == b"%06d" % i
    assert lane.recv_on(COMMAND, 5.0).payload == b"at last"
    flooding.result()


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_both_sides_send_more_than_every_buffer_holds(path: str) -> None:
    """Nobody reads while both write: a typed timeout on both sides, never a hang."""
    with LaneListener(path) as listener:
        accepting = Background(listener.accept)
        one = Lane.connect(path)
        two: Lane = accepting.result()

        def fill(lane: Lane) -> float:
            def sending() -> None:
                for _ in range(4000):
                    lane.send(DATA, bytes(65536), 0.5)

            return fails(("timeout", "connection_lost", "peer_closed"), sending)

        for side in [Background(lambda lane=lane: fill(lane)) for lane in (one, two)]:  # type: ignore[misc]
            assert side.result(20.0) < 10.0
        one.close()
        two.close()


def test_a_command_that_was_there_before_the_call_is_no_reply(to_stock: tuple[Lane, StockPeer]) -> None:
    lane, peer = to_stock
    peer.send(COMMAND, b"unasked")
    fails("timeout", lane.recv_on, DATA, 0.1)  # takes it from the wire and keeps it
    calling = Background(lambda: lane.request(b"question"))
    assert peer.recv() == (COMMAND, b"question")
    peer.send(COMMAND, b"answer")
    assert calling.result() == b"answer"
    assert lane.recv_on(COMMAND, 1.0).payload == b"unasked"


def test_a_control_flood_towards_a_client(to_stock: tuple[Lane, StockPeer]) -> None:
    lane, peer = to_stock
    receiving = Background(lambda: fails("control_flood", lane.recv, 5.0))
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        for _ in range(20):
            peer.wire.send(PING * 500)
    receiving.result()
    assert len(peer.wire.rest(2.0)) <= 2000


def test_pings_that_nobody_reads_the_answers_of(to_stock: tuple[Lane, StockPeer]) -> None:
    """Answers that cannot be sent are bounded: the connection ends, or reading pauses; memory stays flat."""
    lane, peer = to_stock
    before = _resident()
    receiving = Background(lambda: fails(("timeout", "control_flood"), lane.recv, 1.5))
    with contextlib.suppress(BrokenPipeError, ConnectionResetError, TimeoutError):
        for _ in range(100):
            peer.wire.send(PING * 5000, 0.5)
    receiving.result()
    assert _resident() - before < 16 << 20
