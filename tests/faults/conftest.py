"""Fixtures: a short private directory, agents that end with their test, and one that serves or calls."""

from __future__ import annotations

import contextlib
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agents import Agent
from balance import Calling, Serving

Start = Callable[..., Agent]
Serve = Callable[..., Serving]

NOBODY = 65534
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")


def rust_server(start: Start, path: str) -> Agent:
    """A Rust agent that listens."""
    server = start("rust")
    server.ask("listen", "server", address=path)
    return server


def by_another_user(start: Start, lang: str) -> Agent:
    return start(lang, wrap=AS_NOBODY, env={"HOME": "/nonexistent"})


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run the long forms too")


def pytest_configure() -> None:
    # A shell that runs this in the background has it ignored, and so would the agents.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--full"):
        return
    left_out = [item for item in items if item.get_closest_marker("full")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if not item.get_closest_marker("full")]


@pytest.fixture
def place() -> Iterator[Path]:
    """A private directory with a short name: a socket's path has 100 bytes."""
    path = Path(tempfile.mkdtemp(prefix="hl-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def open_place(place: Path) -> Path:
    """Everybody may enter it: what is refused there is refused by the socket, or by who is behind it."""
    place.chmod(0o777)
    return place


@pytest.fixture
def elsewhere(place: Path) -> Path:
    """A directory for sockets that are not those of the survivor."""
    path = place / "x"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def start(place: Path) -> Iterator[Start]:
    """Starts agents. Whichever of them broke down fails the test, and all of them end with it."""
    first = len(Agent.running)

    def start(lang: str, **options: object) -> Agent:
        return Agent(lang, place, **options)  # type: ignore[arg-type]

    yield start
    agents = Agent.running[first:]
    del Agent.running[first:]
    broken = [f"{one.lang} ended with {one.popen.returncode}\n{one.err}" for one in agents
              if one.crashed() or not (one.alive() or one.expected_to_die)]  # fmt: skip
    for one in agents:
        one.close()
    assert not broken, "\n".join(broken)


@pytest.fixture
def serve(place: Path) -> Iterator[Serve]:
    """Has an agent serve every client until the test ends."""
    with contextlib.ExitStack() as stack:

        def serve(agent: Agent, **options: object) -> Serving:
            serving = Serving(agent, place, **options)  # type: ignore[arg-type]
            stack.callback(serving.close)
            return serving

        yield serve


@pytest.fixture
def serving(start: Start, serve: Serve, lang: str) -> Serving:
    """An agent that serves every client."""
    return serve(start(lang))


@pytest.fixture
def calling(start: Start, place: Path, lang: str) -> Iterator[Calling]:
    """An agent that connects to servers."""
    calling = Calling(start(lang), place)
    yield calling
    calling.close()
