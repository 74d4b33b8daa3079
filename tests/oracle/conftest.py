"""Fixtures: a real server per test, checked for life and balance afterwards, and library-to-stock pairs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import BIN, EXAMPLE_ECHO, Process, Server, echo_server, wait_until
from lane import Lane, LaneListener
from peer1 import EchoServer, probe
from stock import Background, StockClient, StockPeer, StockServer


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    """Whatever a test started ends with it, also when the test failed half-way."""
    before = len(Process.started)
    yield
    for process in Process.started[before:]:
        process.kill()
    del Process.started[before:]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """`hostlane echo`. Whatever the test did to it, it still serves, leaks no descriptor, and says no panic."""
    process = echo_server(tmp_path)
    try:
        process.probe()
        baseline = process.descriptors()
        yield process
        assert process.alive(), f"the server died with {process.popen.returncode}: {process.err}"
        assert process.probe() < 1.0
        wait_until(lambda: process.descriptors() <= baseline, 8.0, "every descriptor of the test closed")
        assert "panicked" not in process.err
    finally:
        process.kill()


@pytest.fixture(params=["cli", "example"])
def any_echo(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """The echo servers that people run: the command line's and the example's."""
    path = str(tmp_path / "any.sock")
    program: list[str | Path] = [BIN, "echo", path] if request.param == "cli" else [EXAMPLE_ECHO, path]
    process = Server(tmp_path, program, path)
    try:
        yield process
        assert process.alive(), process.err
        assert process.probe() < 1.0
    finally:
        process.kill()


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "lane.sock")


@pytest.fixture
def to_stock(path: str) -> Iterator[tuple[Lane, StockPeer]]:
    """A hostlane client and the stock server's side of its connection."""
    with StockServer(path) as server:
        accepting = Background(server.accept)
        lane = Lane.connect(path)
        with accepting.result() as peer:
            yield lane, peer
        lane.close()


@pytest.fixture
def from_stock(path: str) -> Iterator[tuple[Lane, StockClient]]:
    """A hostlane server's peer and the stock client that connected to it."""
    with LaneListener(path) as listener:
        accepting = Background(listener.accept)
        with StockClient(path) as other:
            lane: Lane = accepting.result()
            yield lane, other
            lane.close()


@pytest.fixture(params=["oracle", "hostlane"])
def echo1(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EchoServer | Server]:
    """A server that echoes on level 1. Whatever the test did to it, it still serves and leaks no descriptor."""
    if request.param == "oracle":
        own = EchoServer(str(tmp_path / "own.sock"))
        try:
            yield own
            assert own.alive() and own.probe() < 1.0
        finally:
            own.close()
        return
    process = echo_server(tmp_path)
    try:
        probe(process.path)
        baseline = process.descriptors()
        yield process
        assert process.alive(), f"the server died with {process.popen.returncode}: {process.err}"
        assert probe(process.path) < 1.0
        wait_until(lambda: process.descriptors() <= baseline, 8.0, "every descriptor of the test closed")
        assert "panicked" not in process.err
    finally:
        process.kill()
