"""Slow, silent, stopped and killed peers, and a server without descriptors."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness import BIN, Process, Server, assert_fails, echo_server, hostlane, refusal, say, wait_until
from level0 import CONTROL, DATA, MAX_PAYLOAD, Frame, encode_request, parse_refusal
from stock import Wire

HANDSHAKE_DEADLINE = 5.0
PATIENCE = 5.0  # with a busy machine; those who drip would stay for much longer
ASKED = Frame(CONTROL, encode_request([1, 2, 3, 4])).encode()


class Watch:
    """Notes when each connection ends."""

    def __init__(self, wires: list[Wire]) -> None:
        self.wires = wires
        self.ended: dict[int, float] = {}
        self.poll = select.poll()
        self.by_fd = {wire.sock.fileno(): i for i, wire in enumerate(wires)}
        for fd in self.by_fd:
            self.poll.register(fd, select.POLLIN | select.POLLHUP)

    def look(self, seconds: float) -> None:
        for fd, _ in self.poll.poll(seconds * 1000):
            wire = self.wires[self.by_fd[fd]]
            for frame in wire.rest(5.0):
                assert parse_refusal(frame.payload)[1] == "timeout"
            self.ended[self.by_fd[fd]] = time.monotonic()
            self.poll.unregister(fd)


def test_silent_and_dripping_clients_end_at_the_total_deadline(server: Server) -> None:
    """20 say nothing, 10 drip a byte every 400 ms; an honest client is served at once all the while."""
    began = time.monotonic()
    silent = [Wire.connect(server.path) for _ in range(20)]
    dripping = [Wire.connect(server.path) for _ in range(10)]
    watch = Watch(silent + dripping)
    probes: list[float] = []
    dripped = 0
    try:
        while len(watch.ended) < 30:
            assert time.monotonic() < began + HANDSHAKE_DEADLINE + PATIENCE, f"{30 - len(watch.ended)} still open"
            if time.monotonic() - began > 0.4 * (dripped + 1):
                for i, wire in enumerate(dripping):
                    if 20 + i not in watch.ended:
                        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # closed just now
                            wire.send(ASKED[dripped : dripped + 1])
                dripped += 1
            probes.append(server.probe())
            watch.look(0.05)
    finally:
        for wire in silent + dripping:
            wire.close()
    for i, when in watch.ended.items():
        took = when - began
        assert HANDSHAKE_DEADLINE - 0.1 <= took <= HANDSHAKE_DEADLINE + PATIENCE, f"client {i}: {took:.3f} s"
    assert dripped >= 5
    served_at_once(probes)


def served_at_once(probes: list[float]) -> None:
    """The median says whether honest clients wait for the others; the slowest say how busy the machine is."""
    median, slowest = statistics.median(probes), max(probes)
    say(f"{len(probes)} honest clients: median {median * 1e3:.1f} ms, slowest {slowest * 1e3:.1f} ms")
    assert len(probes) >= 20
    assert median < 0.05, "an honest client waits for the others"


def test_two_hundred_silent_and_fifty_dripping_clients_delay_nobody(server: Server) -> None:
    began = time.monotonic()
    crowd = [Wire.connect(server.path) for _ in range(250)]
    probes: list[float] = []
    try:
        while len(probes) < 200 and time.monotonic() < began + HANDSHAKE_DEADLINE - 1.0:
            if len(probes) % 5 == 0:
                byte = ASKED[len(probes) // 5 :][:1]
                for wire in crowd[:50]:
                    wire.send(byte)
            probes.append(server.probe())
        ended = Watch(crowd).poll.poll(0)
        assert not ended or time.monotonic() > began + HANDSHAKE_DEADLINE, f"{len(ended)} ended early"
    finally:
        for wire in crowd:
            wire.close()
    served_at_once(probes)


def test_too_many_unfinished_handshakes_cost_the_oldest(server: Server) -> None:
    """256 may be unfinished; each one more ends the oldest, with the reason."""
    crowd = [Wire.connect(server.path) for _ in range(256 + 20)]
    try:
        for wire in crowd[:19]:
            refusal(wire, "too_many_handshakes", timeout=5.0)
        assert server.probe() < 1.0
        with pytest.raises(TimeoutError):
            crowd[-1].frame(0.1)
    finally:
        for wire in crowd:
            wire.close()


def test_an_open_connection_may_be_idle_for_longer_than_a_handshake(server: Server) -> None:
    with server.client() as client:
        time.sleep(HANDSHAKE_DEADLINE + 0.5)  # idleness is what is tested
        assert client.request(b"still here") == b"still here"


def test_an_honest_client_is_not_delayed_by_one_that_never_reads(server: Server) -> None:
    with server.client() as stuck:
        with pytest.raises(TimeoutError):  # the server reads no more, as no answer is read
            for _ in range(400):
                stuck.send(DATA, bytes(65536), 0.5)
        for _ in range(20):
            assert server.probe() < 2.0


def test_memory_is_bounded_when_a_client_never_reads(server: Server) -> None:
    before = server.rss()
    with server.client() as stuck:
        sent = 0
        try:
            for _ in range(2000):
                stuck.send(DATA, bytes(65536), 0.5)
                sent += 65536
        except TimeoutError:
            pass
        say(f"{sent} bytes accepted, resident memory grew by {server.rss() - before}")
        assert sent < 64 << 20, "reading never paused"
        assert server.rss() - before < 48 << 20


# ---------------------------------------------------------------- descriptors


def test_descriptor_exhaustion(tmp_path: Path) -> None:
    server = echo_server(tmp_path, open_files=48)
    crowd: list[Wire] = []
    try:
        with server.client() as early:
            for _ in range(120):
                try:
                    crowd.append(Wire.connect(server.path, 0.2))
                except (TimeoutError, BlockingIOError):
                    break  # the backlog is full as well
            wait_until(lambda: server.descriptors() >= 44, 5.0, "the descriptors being used up")
            cpu, began = server.cpu(), time.monotonic()
            while time.monotonic() < began + 1.0:
                assert early.request(b"served before") == b"served before"
                time.sleep(0.05)  # sampling
            used, took = server.cpu() - cpu, time.monotonic() - began
            say(f"{used:.2f} s of processor time in {took:.2f} s without descriptors")
            assert used < 0.25 * took, "accept spins"
            assert server.alive(), server.err
            for wire in crowd:
                wire.close()
            crowd.clear()
            wait_until(lambda: _served(server), 5.0, "new clients being served again")
            assert early.request(b"served before") == b"served before"
    finally:
        for wire in crowd:
            wire.close()
        server.kill()


def _served(server: Server) -> bool:
    try:
        return server.probe() < 1.0
    except (OSError, Exception) as problem:
        say(f"not yet: {problem}")
        return False


# ---------------------------------------------------------------- killed and stopped

VICTIM = """
import sys, time
sys.path.insert(0, sys.argv[1])
from level0 import *
from stock import StockClient, Wire
path, step = sys.argv[2:]
request = Frame(CONTROL, encode_request([1, 2, 3, 4])).encode()
if step in ("connected", "half-header", "half-request", "requested"):
    peer = Wire.connect(path)
    peer.send(request[: {"connected": 0, "half-header": 5, "half-request": 30, "requested": len(request)}[step]])
else:
    peer = StockClient(path)
    frame = Frame(DATA, bytes(1 << 20)).encode()
    if step == "half-frame":
        peer.wire.send(frame[: len(frame) // 2])
    elif step == "unread-answer":
        peer.send(DATA, b"unread")
    elif step == "many-unread":
        for _ in range(8):
            peer.send(DATA, bytes(16384))
    elif step == "pinging":
        peer.wire.send_frame(CONTROL, encode_control("ping"))
    elif step == "leaving":
        peer.wire.send_frame(CONTROL, encode_control("shutdown_request"))
print("there", flush=True)
time.sleep(60)
"""
STEPS = [
    "connected",
    "half-header",
    "half-request",
    "requested",
    "open",
    "half-frame",
    "unread-answer",
    "many-unread",
    "pinging",
    "leaving",
]


@pytest.mark.parametrize("step", STEPS)
def test_a_client_killed_at_every_step(server: Server, step: str) -> None:
    victims = [
        subprocess.Popen(
            [sys.executable, "-c", VICTIM, str(Path(__file__).parent), server.path, step], stdout=subprocess.PIPE
        )
        for _ in range(2)
    ]
    try:
        for victim in victims:
            assert victim.stdout is not None and victim.stdout.readline() == b"there\n"
    finally:
        for victim in victims:
            victim.kill()
            victim.communicate()
    assert server.probe() < 1.0


def test_a_stopped_server_times_a_call_out(tmp_path: Path) -> None:
    server = echo_server(tmp_path)
    try:
        server.probe()
        server.signal(signal.SIGSTOP)
        for _ in range(3):
            began = time.monotonic()
            process = hostlane(tmp_path, "request", server.path, "--data", "x", "--deadline", "300ms")
            took = time.monotonic() - began
            assert_fails(process, "timeout", status=124)
            assert 0.28 <= took < 3.0, took  # the process is started in it, too
        server.signal(signal.SIGCONT)
        assert wait_until(lambda: _served(server), 5.0)
    finally:
        server.kill()


def test_a_server_that_stops_while_a_large_call_is_written(tmp_path: Path) -> None:
    server = echo_server(tmp_path)
    source = tmp_path / "large"
    source.write_bytes(bytes(MAX_PAYLOAD))
    try:
        server.signal(signal.SIGSTOP)
        process = hostlane(tmp_path, "request", server.path, "--file", str(source), "--deadline", "300ms")
        assert_fails(process, "timeout", status=124)
    finally:
        server.kill()


def test_a_server_killed_during_a_call(tmp_path: Path) -> None:
    path = str(tmp_path / "l.sock")
    server = Server(tmp_path, [BIN, "listen", "--level", "0", path], path)  # cannot even say that it will not answer
    try:
        process = Process(tmp_path, [BIN, "request", path, "--data", "x", "--deadline", "8s"])
        wait_until(lambda: b"x" in server.out, what="the call arriving")
        server.kill()
        assert_fails(process, "connection_lost", status=1)
        assert time.monotonic() - process.began < 4.0
    finally:
        server.kill()


def test_nobody_there(tmp_path: Path) -> None:
    assert_fails(
        hostlane(tmp_path, "request", str(tmp_path / "none.sock"), "--data", "x", "--deadline", "1s"), "not_found"
    )
    server = echo_server(tmp_path)
    server.kill()
    assert os.path.exists(server.path), "killed, so its socket stays behind"
    assert_fails(
        hostlane(tmp_path, "request", server.path, "--data", "x", "--deadline", "1s"), "connection_refused", status=1
    )
