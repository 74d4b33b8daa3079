"""The examples and the agent do what they say."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from script import LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
ECHO = ROOT / "examples/python/echo.py"
REQUEST = ROOT / "examples/python/request.py"
AGENT = ROOT / "tests/agents/python/agent.py"


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts a server and waits until it is ready; ends it in good order."""
    servers = []

    def start(program: Path, *arguments: str) -> subprocess.Popen[bytes]:
        server = subprocess.Popen(
            [sys.executable, program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        servers.append(server)
        assert server.stdout is not None
        assert server.stdout.readline() == f"ready {arguments[-1]}\n".encode()
        return server

    yield start
    for server in servers:
        server.kill()
        server.communicate()


def run(program: Path, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, program, *arguments],
        input=stdin,
        capture_output=True,
        timeout=LIMIT,
        check=False,
    )


@pytest.mark.parametrize("echo", ["echo", "aio_echo"])
def test_the_examples(
    start: Callable[..., subprocess.Popen[bytes]], address: str, echo: str
) -> None:
    server = start(ECHO.with_stem(echo), address)
    answered = run(REQUEST, address, "grüße")
    assert (answered.returncode, answered.stdout, answered.stderr) == (0, "grüße\n".encode(), b"")
    answered = run(REQUEST.with_stem("aio_request"), address, "one", "two")
    assert (answered.returncode, answered.stdout, answered.stderr) == (0, b"one\ntwo\n", b"")
    server.send_signal(signal.SIGTERM)
    assert server.wait(LIMIT) == 0
    assert server.communicate() == (b"", b"")
    assert not Path(address).exists()
    failed = run(REQUEST, address, "nobody")
    assert (failed.returncode, failed.stdout) == (1, b"")
    assert failed.stderr.startswith(b"hostlane: not_found: ")


def test_a_stream(address: str) -> None:
    done = run(ECHO.with_stem("stream"), address)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"101 so far\n103 so far\n106 so far\nthe sum is 106\n"


def test_failures(address: str) -> None:
    done = run(ECHO.with_stem("fail"), address)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"43 come back\n42 tea\n", b"")


def test_what_is_known_and_what_happened(address: str) -> None:
    done = run(ECHO.with_stem("facts"), address)
    assert done.returncode == 0
    told = done.stdout.decode()
    head = f"on level 1, to user {os.getuid()}\n1 calls, 0 open\nchannel 1: 1 sent, 1 received\n"
    assert told.startswith(head)
    assert told.splitlines()[-1].startswith("there and back in ")
    happened = done.stderr.decode().splitlines()
    assert happened[0].startswith("INFO:hostlane:connected peer-1 ")
    assert any(line.startswith("INFO:hostlane:ended peer-1 ") for line in happened)


def test_two_links(address: str) -> None:
    program = ECHO.with_stem("link")
    pipe = subprocess.PIPE
    sides = [
        subprocess.Popen([sys.executable, program, address, name], stdin=pipe, stdout=pipe)
        for name in ("a", "b")
    ]
    try:
        told = []
        for side in sides:
            assert side.stdout is not None
            told.append([side.stdout.readline(), side.stdout.readline()])
        assert sorted(role for role, _ in told) == [b"connected\n", b"serving\n"]
        assert [text for _, text in told] == [b"b got: hello from a\n", b"a got: hello from b\n"]
        for side in sides:
            assert side.communicate(timeout=LIMIT)[0] == b""
            assert side.returncode == 0
    finally:
        for side in sides:
            side.kill()
            side.communicate()


def test_the_agent_sends_files(
    start: Callable[..., subprocess.Popen[bytes]], address: str, folder: Path
) -> None:
    start(ECHO, address)
    contents = [b"", bytes(range(256)), bytes(range(256)) * 4096]
    files = [folder / f"file {number}" for number in range(len(contents))]
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(content)
    names = "".join(f"{file}\n" for file in [*files, folder / "missing"])
    agent = run(AGENT, "files", address, stdin=names.encode())
    assert (agent.returncode, agent.stderr) == (0, b"")
    output = agent.stdout
    for content in contents:
        for kind in (b"data", b"call"):
            head, _, output = output.partition(b"\n")
            name, size, nanoseconds = head.split()
            assert (name, int(size)) == (kind, len(content))
            assert int(nanoseconds) > 0
            assert output[: len(content)] == content
            output = output[len(content) :]
    assert output.startswith(b"error io ")


@pytest.mark.parametrize("kind", ["", "raw-"])
def test_the_agent_measures(
    start: Callable[..., subprocess.Popen[bytes]], address: str, kind: str
) -> None:
    if kind:
        start(AGENT, "raw-echo", address)
    else:
        start(ECHO, address)
    start(AGENT, f"{kind}sink", address + "2")
    for size in ("64", "1000000"):
        times = json.loads(run(AGENT, f"{kind}bench", address, size, "0.2").stdout)
        assert 0 < times["median_ns"] <= times["p99_ns"]
        assert times["count"] > 0
        sums = json.loads(run(AGENT, f"{kind}stream", address + "2", size, "0.2").stdout)
        assert sums["bytes"] == sums["messages"] * int(size) > 0
        assert sums["seconds"] >= 0.2


def test_two_links_greet_each_other_and_the_survivor_a_third(address: str) -> None:
    def start(name: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, ECHO.with_stem("link"), address, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def lines(program: subprocess.Popen[str]) -> list[str]:
        assert program.stdout is not None
        return [program.stdout.readline().rstrip() for _ in range(2)]

    a, b = start("a"), start("b")
    try:
        greetings = [lines(a), lines(b)]
        assert {role for role, _ in greetings} == {"serving", "connected"}
        assert [text for _, text in greetings] == ["b got: hello from a", "a got: hello from b"]
        a.kill()
        c = start("c")
        try:
            assert lines(c) == ["connected", "b got: hello from c"]
        finally:
            c.communicate(timeout=LIMIT)
        assert c.returncode == 0
    finally:
        for one in (a, b):
            one.kill()
            one.communicate()
