"""Processes and time: stopped, killed and not reaped, interrupted, replaced by another, short of processor time."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from harness import wait_until

from agents import Agent
from balance import KEEPALIVE, NOTICED, Calling, Serving
from conftest import Serve, Start, rust_server
from matrix import LATE, needs_pids, needs_strace, row
from tracing import Trace, settle

TRANSFERS = "readv,writev,recvfrom,sendto,recvmsg,sendmsg,sendmmsg,poll,ppoll,epoll_wait,epoll_pwait,epoll_pwait2,accept,accept4"
"""What waits, or moves bytes of a connection. `read` and `write` are those of event descriptors, which never wait and so
are never interrupted."""

WRITES = "writev,sendto,sendmsg"
"""How the Rust agent writes to a connection."""

OVERSUBSCRIBED = 4
"""Busy processes for each processor."""


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


@contextlib.contextmanager
def stopped(agent: Agent) -> Iterator[None]:
    agent.signal(signal.SIGSTOP)
    wait_until(lambda: state(agent.pid) == "T", what="it stands still")
    try:
        yield
    finally:
        agent.signal(signal.SIGCONT)


@row(
    "F02",
    fault="the other side is stopped while nothing happens, once shortly, once longer than keepalive allows",
    holds="shortly: nothing; longer: peer_unresponsive for every wait, in time, and the stopped one is told when it goes on",
)
def test_f02_stopped_while_idle(calling: Calling, start: Start, elsewhere: Path) -> None:
    server = start("rust")
    path = str(elsewhere / "s.sock")
    server.ask("listen", "server", address=path)
    agent = calling.agent
    with calling.survives():
        agent.ask("connect", address=path, keepalive_ms=KEEPALIVE)
        with stopped(server):
            settle(0.5 * KEEPALIVE / 1000)
        assert agent.ask("call", text="shortly")["text"] == "shortly"
        with stopped(server):
            agent.fails("peer_unresponsive", op="call", text="longer", within=NOTICED)
            agent.fails("peer_unresponsive", op="ping", within=0.2)
        server.fails("connection_lost", "peer_closed", "peer_unresponsive", op="ping", end="server", within=1.0)
        agent.ask("reset")
        server.ask("reset", "server")
        server.ask("listen", "server", address=path)
        agent.ask("connect", address=path)
        assert agent.ask("call", text="on")["text"] == "on"
        agent.ask("reset")


@row(
    "F02",
    fault="the other side is stopped while this one sends more than every buffer holds; later it goes on",
    holds=f"timeout not before the deadline and within {LATE} s of it; then the connection goes on, nothing lost or out of order, or it ends with an error",
)
def test_f02_stopped_while_it_is_sent_to(calling: Calling, start: Start, elsewhere: Path) -> None:
    server = start("rust")
    path = str(elsewhere / "s.sock")
    server.ask("listen", "server", address=path)
    agent = calling.agent
    with calling.survives():
        agent.ask("connect", address=path)
        assert agent.ask("call", text="warm")["text"] == "warm"
        with stopped(server):
            failed = agent.fails("timeout", op="send", count=4000, size=65536, timeout_ms=400, within=0.4 + LATE)
            assert failed.ms >= 395, failed
        assert agent.ask("call", text="and now")["text"] == "and now"
        assert server.ask("seen", "server")["ordered"]
        agent.ask("reset")


@needs_strace
@row(
    "F02",
    fault="a client is stopped in the middle of a message of 8 MiB; later it goes on",
    holds="others are served meanwhile; then the whole message arrives",
)
def test_f02_stopped_in_the_middle_of_a_message(serving: Serving, start: Start, place: Path, lang: str) -> None:
    client = start("rust")
    size = 8 << 20

    with serving.survives():
        client.ask("connect", address=serving.path)
        # No socket takes so much in two writes.
        third = f"inject={WRITES}:signal=STOP:when=3"
        trace = Trace(client.pid, place / "logs/stop", "-e", f"trace={WRITES}", "-e", third)
        try:
            client.post("call", text="", size=size)
            wait_until(lambda: "stopped by SIGSTOP" in trace.log.read_text(), what="it is stopped")
        finally:
            trace.end()
        with stopped(client):
            for _ in range(10):
                assert serving.probe() < 1.0
        assert client.take()[0]["len"] == size
        client.ask("reset")


@row(
    "F03",
    fault="the other side is dead, and its parent does not ask for its status",
    holds="whoever waits for it is told within 0.5 s; its address can be served again",
)
def test_f03_a_zombie_is_dead(calling: Calling, start: Start, elsewhere: Path) -> None:
    path = str(elsewhere / "s.sock")
    with calling.survives():
        server = rust_server(start, path)
        server.expected_to_die = True
        calling.agent.ask("connect", address=path)
        calling.agent.ask("start", id=1, text="watch")
        server.seen("server", requests=1)
        os.kill(server.pid, signal.SIGKILL)
        wait_until(lambda: state(server.pid) == "Z", what="a zombie")
        lost = calling.agent.fails("connection_lost", op="wait", id=1, within=0.5)
        assert lost.sent == "maybe"
        rust_server(start, path)
        calling.agent.ask("reset")
        calling.agent.ask("connect", address=path)
        assert calling.agent.ask("call", text="again")["text"] == "again"
        calling.agent.ask("reset")
        assert state(server.pid) == "Z"


@needs_pids
@row(
    "F04",
    fault="a server is dead, and another process has its number",
    holds="its clients are told, its address is served again, and nothing happens to the other process",
)
def test_f04_a_number_of_a_process_is_used_again(calling: Calling, start: Start, elsewhere: Path) -> None:
    path = str(elsewhere / "s.sock")
    with calling.survives():
        server = rust_server(start, path)
        calling.agent.ask("connect", address=path)
        calling.agent.ask("start", id=1, text="watch")
        server.seen("server", requests=1)
        server.kill()
        other = with_number(server.pid)
        try:
            calling.agent.fails("connection_lost", op="wait", id=1, within=0.5)
            rust_server(start, path)
            calling.agent.ask("reset")
            assert other.poll() is None
        finally:
            other.kill()
            other.wait()


def with_number(pid: int) -> subprocess.Popen[bytes]:
    """A process of this number; whoever else begins a process in the same moment may take it, so it is tried again."""
    for _ in range(200):
        Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 1))
        other = subprocess.Popen(["sleep", "60"])
        if other.pid == pid:
            return other
        other.kill()
        other.wait()
    raise AssertionError(f"{pid} could not be had")


@row(
    "F08",
    fault="a program that has a listener, a connection each way and a call under way could execute another one",
    holds="the kernel would close every descriptor but the standard ones: each is marked for it; none is executed here",
)
def test_f08_a_program_that_is_executed_inherits_nothing(serving: Serving, lang: str) -> None:
    agent = serving.agent
    with serving.survives():
        before = agent.ask("seen", "server")["requests"]
        agent.ask("connect", address=serving.path)
        agent.ask("start", id=1, text="watch")
        agent.seen("server", requests=before + 1)
        inherited = []
        for fd in os.listdir(f"/proc/{agent.pid}/fd"):
            # One that is closed meanwhile is inherited by nobody.
            with contextlib.suppress(FileNotFoundError):
                facts = Path(f"/proc/{agent.pid}/fdinfo/{fd}").read_text()
                flags = re.search(r"flags:\s+([0-7]+)", facts)
                assert flags is not None
                if int(fd) > 2 and not int(flags[1], 8) & os.O_CLOEXEC:
                    inherited.append((fd, os.readlink(f"/proc/{agent.pid}/fd/{fd}")))
        assert not inherited
        agent.ask("reset")


@row(
    "F09",
    fault="SIGINT while a program waits: for a client, in a call, for nothing",
    holds="it ends within 0.5 s as programs of its language do; the library has changed no signal's disposition",
)
def test_f09_interrupted(start: Start, place: Path, lang: str) -> None:
    server = start("rust")
    server.ask("listen", "server", address=str(place / "s.sock"))
    for stage in ("accepting", "calling", "connected"):
        agent = start(lang)
        before = dispositions(agent)
        if stage == "accepting":
            agent.ask("listen", "server", address=str(place / "own.sock"))
        else:
            agent.ask("connect", address=str(place / "s.sock"))
        if stage == "calling":
            agent.post("call", text="watch")
            wait_until(lambda: server.ask("seen", "server")["requests"] > 0, what="the call has arrived")
        assert dispositions(agent) == before, "the library installed or removed a signal handler"
        agent.expected_to_die = True
        agent.signal(signal.SIGINT)
        if lang == "python-aio":
            # Its loop ends at once, and asyncio then waits for the thread that reads the input.
            assert agent.popen.stdin is not None
            agent.popen.stdin.close()
        try:
            status = agent.popen.wait(0.5)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{lang} goes on while {stage}") from None
        assert status in (-signal.SIGINT, 130, 2 if lang == "go" else 130), f"{status} while {stage}: {agent.err}"


def dispositions(agent: Agent) -> dict[str, int]:
    """Which signals are ignored and caught, but for the two that the C library keeps for threads, 32 and 33."""
    lines = Path(f"/proc/{agent.pid}/status").read_text().splitlines()
    told = dict(line.split(":\t") for line in lines if line.startswith(("SigIgn", "SigCgt")))
    return {name: int(mask, 16) & ~(0b11 << 31) for name, mask in told.items()}


@needs_strace
@row(
    "F10",
    fault="every seventh transfer and wait of the process is interrupted (EINTR) while it serves",
    holds="no byte is lost or doubled; in C and C++ a wait is told `interrupted`, which tests/c has",
    langs=("rust", "python", "python-aio", "node", "go"),
)
def test_f10_interrupted_again_and_again(serve: Serve, start: Start, place: Path, lang: str) -> None:
    server, client = start(lang), start("rust")
    serving = serve(server)
    with serving.survives():
        trace = Trace(
            server.pid,
            place / "logs/eintr",
            "-e",
            f"trace={TRANSFERS}",
            "-e",
            f"inject={TRANSFERS}:error=EINTR:when=2+7",
        )
        try:
            client.ask("connect", address=serving.path)
            client.ask("call", text="large", size=3 << 20)
            assert client.ask("calls", count=100, text="many") == {"right": 100, "wrong": 0, "errors": {}}
            client.ask("send", count=300, size=5000)
            assert client.ask("stream", text="stream echo", count=50)["ordered"]
            assert client.ask("call", text="back x")["text"] == "x"
            client.ask("reset")
        finally:
            trace.end()
        assert trace.log.read_text().count("INJECTED") > 20
        server.seen("server", messages=300, ordered=True)


@row(
    "F12",
    fault=f"{OVERSUBSCRIBED} busy processes for each processor, and keepalive on both sides",
    holds="nobody is taken for dead, idle or busy, and calls are answered",
    full=("c", "python"),
)
def test_f12_short_of_processor_time(calling: Calling, start: Start, elsewhere: Path) -> None:
    server, client, path = start("rust"), calling.agent, str(elsewhere / "s.sock")
    server.ask("listen", "server", address=path, keepalive_ms=KEEPALIVE)
    count = OVERSUBSCRIBED * (os.cpu_count() or 1)
    with calling.survives():
        client.ask("connect", address=path, keepalive_ms=KEEPALIVE)
        busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
        try:
            ends = time.monotonic() + 2.0
            while time.monotonic() < ends:
                assert client.ask("calls", count=20, text="busy") == {"right": 20, "wrong": 0, "errors": {}}
                settle(2 * KEEPALIVE / 1000)
            assert client.ask("call", text="still")["text"] == "still"
        finally:
            for one in busy:
                one.kill()
                one.wait()
        client.ask("reset")
