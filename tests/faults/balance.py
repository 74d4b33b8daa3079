"""After each fault: an honest peer is served within a second, and nothing is left of the fault."""

from __future__ import annotations

import os
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness import wait_until
from peer1 import EchoServer, Level1Client, probe

from agents import Agent, Died

SERVED = 1.0
"""Seconds in which an honest peer has to be served after a fault."""

SETTLES = 6.0
"""Seconds in which a survivor has to be back to its base line; the deadline of a handshake is 5 of them."""

KEEPALIVE = 200
"""Milliseconds of silence after which a side asks, in the rows that switch it on."""

NOTICED = 3.5 * KEEPALIVE / 1000 + 0.3
"""Seconds in which a side that is silent is given up: it is asked after one keepalive, and waited for two."""

MIB = 1 << 20


@dataclass(frozen=True)
class Tolerance:
    """How much more than before a survivor may have, because of what its runtime keeps, never because of the fault."""

    threads: int
    maps: int
    descriptors: int
    rss: int


MEMORY = {"rust": 12, "c": 12, "cpp": 12, "python": 24, "python-aio": 24, "node": 40, "go": 48}
"""MiB of resident memory; the heap of Go shrinks minutes later."""

TOLERANCE = {
    lang: Tolerance(**tolerance, rss=MEMORY[lang] * MIB)
    for lang, tolerance in tomllib.loads(Path(__file__).with_name("tolerance.toml").read_text("utf-8")).items()
}


@dataclass(frozen=True)
class Vitals:
    """What a process holds, and what is in the directory of its socket."""

    descriptors: tuple[str, ...]
    threads: int
    maps: int
    rss: int
    files: tuple[str, ...]

    @classmethod
    def of(cls, agent: Agent, place: Path) -> Vitals:
        proc = Path(f"/proc/{agent.pid}")
        status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
        return cls(
            tuple(sorted(_target(one) for one in (proc / "fd").iterdir())),
            int(status["Threads"]),
            len((proc / "maps").read_text().splitlines()),
            int(status["VmRSS"].split()[0]) * 1024,
            tuple(sorted(one.name for one in place.iterdir())),
        )

    def excess(self, before: Vitals, tolerance: Tolerance) -> list[str]:
        """What is more than it was, in words."""
        more = []
        if len(self.descriptors) > len(before.descriptors) + tolerance.descriptors:
            more.append(f"descriptors {before.descriptors} -> {self.descriptors}")
        for name in ("threads", "maps", "rss"):
            was, now = getattr(before, name), getattr(self, name)
            if now > was + getattr(tolerance, name):
                more.append(f"{name} {was} -> {now}")
        if self.files != before.files:
            more.append(f"files {before.files} -> {self.files}")
        return more


def _target(link: Path) -> str:
    try:
        return os.readlink(link).split("[")[0]
    except FileNotFoundError:  # closed just now
        return ""


@contextmanager
def balanced(agent: Agent, place: Path, honest: Callable[[], float]) -> Iterator[None]:
    """What is done inside is a fault that `agent` has to survive: `honest` is served within a second afterwards, and
    descriptors, threads, memory and files are what they were before."""
    for _ in range(3):  # whatever is made once is made now
        honest()
    before = Vitals.of(agent, place)
    yield
    if not agent.alive():
        raise Died(agent.popen.returncode, agent.err)
    took = honest()
    assert took < SERVED, f"{agent.lang} served an honest peer only after {took:.2f} s"
    tolerance = TOLERANCE[agent.lang]
    left: list[str] = []

    def settled() -> bool:
        left[:] = Vitals.of(agent, place).excess(before, tolerance)
        return not left

    try:
        wait_until(settled, SETTLES)
    except AssertionError:
        raise AssertionError(f"{agent.lang} keeps something of the fault: {'; '.join(left)}\n{agent.err}") from None
    assert not agent.crashed(), agent.err


class Serving:
    """An agent that listens. Its first connection, the one of its operations, is `keeper`."""

    def __init__(self, agent: Agent, place: Path, address: str | None = None, **options: object) -> None:
        self.agent, self.place = agent, place
        self.path = str(place / "s.sock")
        agent.ask("listen", "server", address=address or self.path, **options)
        self.keeper = Level1Client(self.path)

    def probe(self) -> float:
        return probe(self.path)

    def survives(self) -> balanced:  # type: ignore[valid-type]
        return balanced(self.agent, self.place, self.probe)

    def close(self) -> None:
        self.keeper.close()


class Calling:
    """An agent that connects, and an honest server that it can always reach."""

    def __init__(self, agent: Agent, place: Path) -> None:
        self.agent, self.place = agent, place
        self.path = str(place / "honest.sock")
        self.honest = EchoServer(self.path)
        self.sockets = self._sockets()

    def _sockets(self) -> int:
        return sum(_target(one).startswith("socket:") for one in Path(f"/proc/{self.agent.pid}/fd").iterdir())

    def let_go(self) -> None:
        """Waits until the agent has no connection left: one that was closed just now is let go by who polled it last."""
        wait_until(lambda: self._sockets() <= self.sockets, what="every connection is let go")

    def probe(self) -> float:
        began = time.monotonic()
        self.agent.ask("reset")
        self.agent.ask("connect", address=self.path)
        assert self.agent.ask("call", text="are you there?")["text"] == "are you there?"
        self.agent.ask("reset")
        return time.monotonic() - began

    def survives(self) -> balanced:  # type: ignore[valid-type]
        return balanced(self.agent, self.place, self.probe)

    def close(self) -> None:
        self.honest.close()
