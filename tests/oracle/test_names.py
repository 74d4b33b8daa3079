"""Socket paths and names: exact limits, the private per-user directory, and what spoils it."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import BIN, Process, Server, assert_fails, connects, mode, say, wait_until
from stock import StockClient


def start(directory: Path, path: str) -> Process:
    return Process(directory, [BIN, "echo", path])


def path_of(directory: Path, size: int) -> str:
    path = str(directory / "p")
    return path + "a" * (size - len(path))


@pytest.fixture
def shallow() -> Iterator[Path]:
    """A directory with a short name, so that path lengths can be chosen."""
    with tempfile.TemporaryDirectory(prefix="hl-") as name:
        yield Path(name)


@pytest.mark.parametrize("size", [99, 100])
def test_a_path_of_at_most_100_bytes(tmp_path: Path, shallow: Path, size: int) -> None:
    path = path_of(shallow, size)
    server = Server(tmp_path, [BIN, "echo", path], path)
    try:
        server.probe()
        assert len(os.fsencode(path)) == size and stat.S_ISSOCK(os.lstat(path).st_mode)
    finally:
        server.kill()


@pytest.mark.parametrize("size", [101, 107, 108, 200])
def test_a_longer_path_is_refused_by_both_sides(tmp_path: Path, shallow: Path, size: int) -> None:
    path = path_of(shallow, size)
    assert_fails(start(tmp_path, path), "address_too_long", status=64)
    assert_fails(Process(tmp_path, [BIN, "request", path, "--data", "x"]), "address_too_long", status=64)
    assert os.listdir(shallow) == [], "a truncated name was used"


@pytest.mark.parametrize("address", ["", "unix:", "with space ", "a/b", "ftp:x", "x\ty", "name/../../up", "n" * 101])
def test_a_malformed_address_is_refused(tmp_path: Path, address: str) -> None:
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    process = Process(tmp_path, [BIN, "echo", address], env={"XDG_RUNTIME_DIR": str(runtime)})
    assert_fails(process, "invalid_address", "address_too_long", status=64)
    assert os.listdir(runtime) == []


def named(directory: Path, runtime: Path | None, temporary: Path, **options: object) -> Process:
    """`hostlane echo lane` with the runtime directory of choice."""
    env = {"TMPDIR": str(temporary), "XDG_RUNTIME_DIR": str(runtime) if runtime else ""}
    return Process(directory, [BIN, "echo", "lane"], env=env, umask=0, **options)  # type: ignore[arg-type]


def test_a_name_lives_in_the_runtime_directory(tmp_path: Path) -> None:
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    process = named(tmp_path, runtime, tmp_path)
    try:
        path = runtime / "hostlane" / "lane.sock"
        wait_until(lambda: path.exists() and connects(str(path)), what="the named server")
        assert mode(runtime / "hostlane") == 0o700 and mode(path) == 0o600
        with StockClient(str(path)) as client:
            assert client.request(b"by name") == b"by name"
        call = Process(
            tmp_path, [BIN, "--format", "raw", "request", "lane", "--data", "hi"], env={"XDG_RUNTIME_DIR": str(runtime)}
        )
        assert call.wait() == 0 and call.out == b"hi", call.err
    finally:
        process.kill()


def test_a_name_without_a_runtime_directory_falls_back(tmp_path: Path) -> None:
    process = named(tmp_path, None, tmp_path)
    try:
        found = wait_until(lambda: list(tmp_path.glob(f"*{os.getuid()}*/**/lane.sock")), what="the fallback socket")
        socket_path = found[0]
        wait_until(lambda: connects(str(socket_path)), what="the fallback server")
        assert mode(socket_path) == 0o600 and mode(socket_path.parent) == 0o700
        say(f"fallback: {socket_path.relative_to(tmp_path)}")
    finally:
        process.kill()


@pytest.mark.parametrize("spoiled", ["open to others", "a link", "a file", "of somebody else"])
@pytest.mark.parametrize("fallback", [False, True], ids=["runtime", "fallback"])
def test_an_unsafe_directory_is_refused(tmp_path: Path, spoiled: str, fallback: bool) -> None:
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    first = named(tmp_path, None if fallback else runtime, tmp_path)
    glob = f"*{os.getuid()}*/**/lane.sock" if fallback else "run/hostlane/lane.sock"
    place = wait_until(lambda: list(tmp_path.glob(glob)), what="the socket")[0].parent
    first.signal(signal.SIGTERM)
    first.wait()
    if spoiled == "open to others":
        place.chmod(0o777)
    elif spoiled == "of somebody else":
        if os.getuid() != 0:
            pytest.skip("giving a directory away needs root")
        os.chown(place, 12345, 12345)
    else:
        shutil.rmtree(place)
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir(mode=0o700)
        place.symlink_to(elsewhere) if spoiled == "a link" else place.write_bytes(b"precious")
    again = named(tmp_path, None if fallback else runtime, tmp_path)
    assert_fails(again, "unsafe_directory", status=50)
    if spoiled == "a link":
        assert os.listdir(tmp_path / "elsewhere") == []
    if spoiled == "a file":
        assert place.read_bytes() == b"precious"
