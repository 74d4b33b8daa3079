"""Killed at the system calls of a whole conversation, at one after the other."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from peer1 import probe as oracle

from agents import Agent, Died, Failed
from balance import Calling, balanced
from conftest import Start
from matrix import ALL, needs_strace, row
from tracing import Trace

LOST = {"refused", "connection_lost", "peer_closed", "truncated", "not_found", "connection_refused", "closed"}
"""How operations end whose other side was killed, or was so before they began; `refused` is the end of a handshake
without a word."""

LARGE = 300_000
"""Bytes of a payload in more than one frame."""

MET = 0.75
"""The part of the system calls of one run that have to be met when the run is made again for each of them: how often a
program waits and wakes depends on the machine."""

SOCKETS = {"socket", "bind", "listen", "linkat", "connect", "accept4", "sendto", "sendmsg", "recvfrom", "shutdown", "close", "unlinkat"}  # fmt: skip
"""What every run calls at least once if one does."""

TOLD = 1.0
"""Seconds in which a survivor has to be told of a death, on a machine that runs strace."""

STEPS: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ("client", "call", {"text": "one"}, {"text": "one"}),
    ("client", "call", {"text": "back two"}, {"text": "two"}),
    ("server", "call", {"text": "three"}, {"text": "three"}),
    ("client", "send", {"count": 3}, {}),
    ("server", "send", {"count": 3}, {}),
    ("client", "stream", {"text": "stream echo", "count": 3}, {"items": 3, "ordered": True, "reply": "3"}),
    ("client", "call", {"text": "four", "size": LARGE}, {"len": LARGE}),
    ("client", "start", {"id": 1, "text": "sleep 2"}, {}),
    ("client", "wait", {"id": 1}, {"text": "sleep 2"}),
    ("server", "ping", {}, {}),
    ("client", "drain", {"timeout_ms": 2000}, {}),
]
"""Who does what, and what has to come of it: calls both ways, nested ones, messages, a stream, pieces, a drain."""


class Conversation:
    """One agent may be killed at any point; whatever the other one is told is true, and it is told in time."""

    def __init__(self, server: Agent, client: Agent, victim: Agent) -> None:
        self.ends = {"server": server, "client": client}
        self.victim = victim
        self.dead = self.connected = False

    def step(self, end: str, op: str, arguments: dict[str, Any], wanted: dict[str, Any]) -> None:
        agent = self.ends[end]
        if agent is self.victim:
            if self.dead:
                return
            try:
                agent.post(op, end, **arguments)
                got, _ = agent.take()
            except Died as died:
                self.dead = True
                assert died.status == -signal.SIGKILL, died
                return
        else:
            agent.post(op, end, **arguments)
            try:
                got, _ = agent.take()
            except Failed as failed:
                assert failed.name in LOST, f"{agent.lang} ended a call with {failed}"
                assert failed.ms < TOLD * 1000, f"{agent.lang} was told after {failed.ms} ms: {failed}"
                self._died()
                return
        assert wanted.items() <= got.items(), f"{agent.lang}: {op} gave {got}, expected {wanted}"

    def _died(self) -> None:
        """The survivor says so; it must not be wrong."""
        if not self.dead:
            status = self.victim.popen.wait(5.0)
            assert status == -signal.SIGKILL, f"ended with {status}: {self.victim.err}"
            self.dead = True

    def run(self, address: str, **options: Any) -> None:
        self.step("server", "listen", {"address": address, **options}, {})
        if not (self.dead and self.victim is self.ends["server"]):
            self.step("client", "connect", {"address": address, "timeout_ms": 5000, **options}, {})
            self.connected = not self.dead
        for end, op, arguments, wanted in STEPS:
            if end == "client" and not self.connected:
                continue
            if self.dead and op in ("wait", "start", "stream"):
                continue
            if self.dead and end == "server" and self.victim is self.ends["client"]:
                continue  # it may have accepted nobody yet, and would wait for one
            self.step(end, op, arguments, wanted)
        for end in ("client", "server"):
            if self.ends[end] is not self.victim:
                # What arrived is whole and in order.
                assert self.ends[end].ask("seen", end)["ordered"]
            self.step(end, "reset", {}, {})


def sweep(start: Start, place: Path, victim_lang: str, role: str, survivor_lang: str) -> None:
    """Kills a `victim_lang` agent at each system call that it makes in a conversation."""
    address = str(place / "s.sock")
    survivor = start(survivor_lang)
    calling = Calling(survivor, place)

    def roles(victim: Agent) -> Conversation:
        server, client = (victim, survivor) if role == "server" else (survivor, victim)
        return Conversation(server, client, victim)

    def probe() -> float:
        """The survivor has a whole conversation with a fresh agent, at the address of all those that were killed; then
        an honest peer is served, or serves it, in so many seconds."""
        fresh = start(victim_lang)
        conversation = roles(fresh)
        conversation.run(address)
        assert not conversation.dead
        fresh.close()
        if role == "server":
            return calling.probe()
        survivor.ask("listen", "server", address=address)
        took = oracle(address)
        survivor.ask("reset", "server")
        return took

    def killed(name: str, at: int) -> bool:
        """Whether the conversation came so far."""
        victim = start(victim_lang)
        inject = Trace(
            victim.pid, place / "logs/kill", "-e", f"trace={name}", "-e", f"inject={name}:signal=KILL:when={at}"
        )
        victim.expected_to_die = True
        conversation = roles(victim)
        try:
            conversation.run(address)
        except AssertionError as error:
            raise AssertionError(f"killed at {name} number {at}: {error}") from error
        finally:
            victim.close()
            inject.end()
            Agent.running.remove(victim)
        return conversation.dead

    try:
        first = start(victim_lang)
        trace = Trace(first.pid, place / "logs/calls")
        conversation = roles(first)
        conversation.run(address)
        trace.end()
        assert not conversation.dead, "nobody was killed yet"
        first.close()
        points = [(name, at) for name, count in trace.calls().items() for at in range(1, count + 1)]
        with balanced(survivor, place, probe):
            met = [point for point in points if killed(*point) or killed(*point)]
    finally:
        calling.close()
    print(f"{victim_lang} as {role}: {len(met)} of {len(points)} points")
    assert len(points) > 20 and len(met) >= len(points) * MET, f"of {len(points)} only {met}"
    never = SOCKETS & {name for name, _ in points} - {name for name, _ in met}
    assert not never, f"nobody was killed at {never}"


@needs_strace
@pytest.mark.parametrize("role", ["server", "client"])
@row(
    "F01",
    fault=f"kill -9 at the system calls that a run of a conversation makes, with calls both ways, a nested one, messages, a stream, pieces, a drain: at the first, the second and so on of each name, each in a run of its own, which not always comes so far; {MET:.0%} are met at least, and each name that has to do with sockets",
    holds="the survivor, in Rust, is told within 1 s, by an error that is true; what it got is whole; the next process serves the same address",
    full=tuple(lang for lang in ALL if lang not in ("rust", "c")),
)
def test_f01_killed_at_system_calls(start: Start, place: Path, lang: str, role: str) -> None:
    sweep(start, place, lang, role, "rust")


@needs_strace
@pytest.mark.full
@pytest.mark.parametrize("role", ["server", "client"])
@row(
    "F01",
    fault="kill -9 at the system calls of a Rust peer, in the same way",
    holds="the survivor in each language is told within 1 s, by an error that is true, and keeps nothing",
    langs=ALL[1:],
    full=ALL[1:],
)
def test_f01_the_survivor_of_every_kill(start: Start, place: Path, lang: str, role: str) -> None:
    sweep(start, place, "rust", role, lang)


@row(
    "F01",
    fault="a peer that takes no message is killed while this one waits for credit to send more",
    holds="the send ends with connection_lost within 1 s, whatever its own deadline is",
)
def test_f01_killed_while_credit_is_waited_for(calling: Calling, start: Start, elsewhere: Path) -> None:
    agent, path = calling.agent, str(elsewhere / "s.sock")

    def killed() -> None:
        victim = start("rust")
        victim.ask("listen", "server", address=path, serve=0)
        agent.ask("connect", address=path)
        # While it waits in a call it reads all that comes: nothing unread is left in the socket.
        victim.post("call", "server", text="watch", timeout_ms=20_000)
        agent.post("send", count=1000, size=65_536, timeout_ms=20_000)
        with pytest.raises(TimeoutError):
            agent.take(1.0)
        victim.kill()
        with pytest.raises(Failed) as failed:
            agent.take(TOLD)
        assert failed.value.name == "connection_lost"
        agent.ask("reset")

    killed()  # what the allocator keeps of it is not given back
    with calling.survives():
        killed()
