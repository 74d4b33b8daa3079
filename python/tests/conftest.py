"""Fixtures: an address of one's own, connected pairs, scripts in processes of their own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import hostlane
import pytest
from loops import KINDS, Loop
from script import Script


class Pair(NamedTuple):
    """The two ends of one connection."""

    client: hostlane.Peer
    server: hostlane.Peer


@pytest.fixture(params=KINDS, ids=["asyncio", "trio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> Loop:
    kind: Loop = request.param
    return kind


@pytest.fixture
def folder() -> Iterator[Path]:
    """A private folder whose path is short enough for a socket."""
    path = Path(tempfile.mkdtemp(prefix="hl-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def address(folder: Path) -> str:
    return f"{folder}/s"


@pytest.fixture
def listener(address: str) -> Iterator[hostlane.Listener]:
    with hostlane.listen(address) as listener:
        yield listener


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(32) as pool:
        yield pool


@pytest.fixture
def pair(listener: hostlane.Listener, pool: ThreadPoolExecutor) -> Iterator[Pair]:
    accepting = pool.submit(listener.accept, 10)
    with hostlane.connect(listener.address) as client, accepting.result() as server:
        yield Pair(client, server)


@pytest.fixture
def pair_on_level_0(listener: hostlane.Listener, pool: ThreadPoolExecutor) -> Iterator[Pair]:
    accepting = pool.submit(listener.accept, 10)
    with hostlane.connect(listener.address, level=0) as client, accepting.result() as server:
        yield Pair(client, server)


@pytest.fixture
def script(folder: Path) -> Iterator[type[Script]]:
    """Starts scripts; what still runs at the end is killed."""
    yield Script
    Script.end_all()
