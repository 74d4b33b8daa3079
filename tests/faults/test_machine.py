"""What a machine does to a program: a network that falls silent, a clock that is set, no memory, no thread."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agents import Agent, Died, Failed
from balance import KEEPALIVE, NOTICED, Calling
from conftest import AS_NOBODY, Start, by_another_user, rust_server
from matrix import ALL, fails, needs, needs_cc, needs_setpriv, row
from shim import Shim
from tracing import settle

SECRET = "of both sides of a network"

LOOPBACK = """
import fcntl, socket, struct, sys
with socket.socket() as any:
    fcntl.ioctl(any, 0x8914, struct.pack("16sh14x", b"lo", int(sys.argv[1])))  # SIOCSIFFLAGS
"""
"""Switches the loopback interface on or off, by its argument."""

OWN_NETWORK = ("unshare", "--net", "--")

needs_network = needs(
    "unshare",
    "nsenter",
    permitted=not fails(*OWN_NETWORK, sys.executable, "-c", LOOPBACK, "1"),
    why="root and namespaces: a network of its own",
)


def inside(pid: int) -> tuple[str, ...]:
    """Runs what follows in the network of a process."""
    return ("nsenter", f"--net=/proc/{pid}/ns/net", "--")


def network(pid: int, up: bool) -> None:
    """What is sent in the network of a process arrives, or is lost without a word to anybody."""
    subprocess.run([*inside(pid), sys.executable, "-c", LOOPBACK, "1" if up else "0"], check=True)


@needs_network
@row(
    "F05",
    fault="nothing that is sent over TCP arrives any more, in either direction, and nobody is told: a network is gone",
    holds="keepalive ends the connection on both sides in time, in either role, with a call under way; afterwards it works again",
)
def test_f05_the_network_is_gone(start: Start, place: Path, lang: str) -> None:
    other = start("rust", wrap=OWN_NETWORK)
    network(other.pid, True)
    agent = start(lang, wrap=inside(other.pid))
    options = {"secret": SECRET, "keepalive_ms": KEEPALIVE}
    with contextlib.closing(Calling(agent, place)) as calling, calling.survives():
        for server, client in ((other, agent), (agent, other)):
            address = server.ask("listen", "server", address="tcp:127.0.0.1:0", **options)["address"]
            client.ask("connect", address=address, **options)
            client.ask("start", id=1, text="watch")
            server.seen("server", requests=1)
            network(other.pid, False)
            client.fails("peer_unresponsive", op="wait", id=1, within=NOTICED)
            server.fails("peer_unresponsive", op="ping", end="server", within=NOTICED)
            network(other.pid, True)
            client.ask("reset")
            client.ask("connect", address=address, **options)
            assert client.ask("call", text="on")["text"] == "on"
            client.ask("reset")
            server.ask("reset", "server")


YEAR = 366 * 24 * 3600


@needs_cc
@row(
    "F06",
    fault="the wall clock of the process is set a year ahead, and two years back, while it waits, calls and is called, with keepalive",
    holds="no wait ends before its deadline or later than 0.3 s after it, no call is lost, and nobody is taken for dead",
)
def test_f06_the_clock_is_set(start: Start, place: Path, elsewhere: Path, lang: str) -> None:
    clock = Shim("clock", place)
    clock.number = YEAR
    there = int(
        subprocess.run(["date", "+%s"], env={**os.environ, **clock.env}, check=True, capture_output=True).stdout
    )
    here = int(subprocess.run(["date", "+%s"], check=True, capture_output=True).stdout)
    assert abs(there - here - YEAR) < 60, "the clock of a process cannot be set"
    clock.number = 0
    path, own = str(elsewhere / "s.sock"), str(elsewhere / "own.sock")
    server = rust_server(start, path)
    with contextlib.closing(Calling(start(lang, env=clock.env), place)) as calling, calling.survives():
        agent = calling.agent
        agent.ask("listen", "server", address=own, keepalive_ms=KEEPALIVE)
        server.ask("connect", address=own)
        agent.ask("connect", address=path, keepalive_ms=KEEPALIVE)
        for moved in (YEAR, -YEAR, 0):
            agent.post("call", text="watch", timeout_ms=500)
            settle(0.1)
            clock.number = moved
            with pytest.raises(Failed) as late:
                agent.take()
            assert late.value.name == "timeout" and 499 <= late.value.ms <= 800, f"{lang}: {late.value.ms} ms"
            agent.post("call", text="sleep 300", timeout_ms=5000)
            settle(0.1)
            clock.number = -moved
            assert agent.take()[0]["text"] == "sleep 300"
            settle(3 * KEEPALIVE / 1000)
            assert agent.ask("call", text="alive")["text"] == "alive"
            assert server.ask("call", text="alive")["text"] == "alive"
        server.ask("reset")
        agent.ask("reset")
        agent.ask("reset", "server")


ABORTED = ("memory allocation of ", "agent: Cannot allocate memory")
"""What is said before a process aborts for want of memory: by the library, and by the agent in C for itself."""


def conversation(agent: Agent, address: str) -> None:
    agent.ask("connect", address=address, serve=0)  # which takes the agent no thread
    assert agent.ask("call", text="small")["text"] == "small"
    assert agent.ask("call", text="large", size=1 << 20)["len"] == 1 << 20
    assert agent.ask("stream", text="stream echo", count=5)["ordered"]
    agent.ask("send", count=5)
    agent.ask("drain")
    agent.ask("reset")


def missing_allocations(start: Start, place: Path, lang: str, step: int) -> None:
    """A conversation for each allocation that it makes, or every so many, which is not to be had."""
    memory, path = Shim("memory", place), str(place / "s.sock")
    rust_server(start, path)
    aborted, at = 0, 1
    while True:
        agent = start(lang, env=memory.env)
        agent.expected_to_die = True
        memory.number = at
        try:
            conversation(agent, path)
        except Died as died:
            said = any(words in agent.err for words in ABORTED)
            assert died.status == -signal.SIGABRT and said, f"allocation {at}: {died}"
            aborted += 1
        left, memory.number = memory.number, 0
        agent.close()
        if left > 0:
            break  # there were not as many
        at += step
    assert aborted > 10, f"only {aborted} of {at} allocations were missed"
    conversation(start(lang), path)


NATIVE = ("rust", "c", "cpp")
"""Whose allocations are those of the C library."""


@needs_cc
@row(
    "F11",
    fault="one allocation fails, the first, the 16th, the 31st … of a conversation",
    holds="the process says how much it asked for and aborts, as the manual says, or goes on; never anything else; the other side serves on",
    langs=NATIVE,
)
def test_f11_an_allocation_fails(start: Start, place: Path, lang: str) -> None:
    missing_allocations(start, place, lang, 15)


@pytest.mark.full
@needs_cc
@row("F11", fault="each allocation of a conversation fails, one at a time", holds="the same", langs=NATIVE)
def test_f11_every_allocation_fails(start: Start, place: Path, lang: str) -> None:
    missing_allocations(start, place, lang, 1)


def allowed_threads(agent: Agent, most: str) -> None:
    """Changes the limit of the agent's user, which only that user may."""
    subprocess.run([*AS_NOBODY, "prlimit", f"--pid={agent.pid}", f"--nproc={most}:"], check=True)


@needs_setpriv
@row(
    "F33",
    fault="the user may have no more threads: connecting, calls, streams, messages, draining, ten times",
    holds="each works without one; nothing is half started, and it goes on when there may be some again; Go's own runtime aborts",
    langs=tuple(lang for lang in ALL if lang != "go"),
)
def test_f33_no_more_threads(start: Start, open_place: Path, lang: str) -> None:
    path = str(open_place / "s.sock")
    server = rust_server(start, path)
    os.chmod(path, 0o666)
    agent = by_another_user(start, lang)
    conversation(agent, path)
    before = Path(f"/proc/{agent.pid}/limits").read_text().split("Max processes")[1].split()[0]
    allowed_threads(agent, "0")
    for _ in range(10):
        conversation(agent, path)
    allowed_threads(agent, before)
    conversation(agent, path)
    assert server.alive()
