"""The socket file: private from its first instant, recovered when stale, never taken from anybody."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from harness import BIN, Process, Server, assert_fails, connects, echo_server, missing, wait_until
from stock import StockClient, StockServer


def start(directory: Path, path: str, **options: object) -> Process:
    return Process(directory, [BIN, "echo", path], **options)  # type: ignore[arg-type]


# ---------------------------------------------------------------- modes


WATCHER = """
import os, stat, sys
seen, path = set(), sys.argv[1]
print("looking", flush=True)
while not os.path.exists(path + ".stop"):
    for _ in range(20_000):
        try:
            seen.add(stat.S_IMODE(os.lstat(path).st_mode))
        except FileNotFoundError:
            pass
print(*sorted(seen))
"""


def test_the_socket_is_private_at_every_look(tmp_path: Path) -> None:
    """Under umask 000, a process that looks as often as it can never sees another mode than 0600."""
    path = str(tmp_path / "s.sock")
    watcher = subprocess.Popen([sys.executable, "-c", WATCHER, path], stdout=subprocess.PIPE, text=True)
    try:
        assert watcher.stdout is not None and watcher.stdout.readline() == "looking\n"
        for _ in range(25):
            server = Server(tmp_path, [BIN, "echo", path], path, umask=0)
            server.signal(signal.SIGTERM)
            server.wait()
    finally:
        Path(path + ".stop").touch()
        seen = watcher.communicate(timeout=10)[0].split()
    assert seen == [str(0o600)]


@pytest.mark.skipif(missing("strace"), reason="without strace the watcher above has to do")
def test_the_order_of_system_calls(tmp_path: Path) -> None:
    """The mode is set before the socket listens and before it has its name; the umask is never touched."""
    place = tmp_path / "place"
    place.mkdir(mode=0o700)
    path, log = str(place / "s.sock"), tmp_path / "trace"
    calls = "umask,bind,listen,chmod,fchmod,fchmodat,link,linkat,rename,renameat,renameat2,mkdir,mkdirat"
    traced = Process(tmp_path, ["strace", "-f", "-o", str(log), "-e", f"trace={calls}", BIN, "echo", path], umask=0)
    wait_until(lambda: traced.alive() and connects(path), 10.0, "the server listening under strace")
    os.kill(int(log.read_text().split()[0]), signal.SIGTERM)
    traced.wait()
    lines = [line for line in log.read_text().splitlines() if not re.search(r"= -1 |\+\+\+|---", line)]
    text = "\n".join(lines)
    assert "umask(" not in text, text

    def first(pattern: str) -> int:
        return next((i for i, line in enumerate(lines) if re.search(pattern, line)), len(lines))

    bound, listening = first(r"bind\(.*AF_UNIX"), first(r"listen\(")
    private = first(r"f?chmod(at2?)?\(.*0600")
    named = first(r"(link|rename)[a-z0-9]*\(.*" + re.escape(os.path.basename(path)))
    assert bound < len(lines) and listening < len(lines), text
    assert private < listening, f"listens before it is private:\n{text}"
    assert private < bound or named < len(lines), f"bound under its final name before it is private:\n{text}"
    if named < len(lines):
        assert private < named, text


# ---------------------------------------------------------------- stale, live, foreign


def test_a_stale_socket_is_recovered(tmp_path: Path) -> None:
    for _ in range(3):
        server = echo_server(tmp_path)
        server.probe()
        server.kill()
        assert stat.S_ISSOCK(os.lstat(server.path).st_mode), "killed, so its socket stays behind"
    server = echo_server(tmp_path)
    server.probe()
    server.kill()


def test_a_stale_foreign_socket_is_recovered(tmp_path: Path) -> None:
    path = str(tmp_path / "s.sock")
    foreign = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    foreign.bind(path)
    foreign.listen()
    foreign.close()
    server = Server(tmp_path, [BIN, "echo", path], path)
    server.probe()
    server.kill()


def test_a_live_server_is_never_displaced(tmp_path: Path) -> None:
    server = echo_server(tmp_path)
    try:
        with server.client() as client:
            inode = os.lstat(server.path).st_ino
            for _ in range(5):
                assert_fails(start(tmp_path, server.path), "address_in_use", status=3)
            assert os.lstat(server.path).st_ino == inode
            assert client.request(b"mine") == b"mine"
        server.probe()
    finally:
        server.kill()


def test_a_live_foreign_server_is_never_displaced(tmp_path: Path) -> None:
    """A stock server holds no lock, and still nobody takes its place."""
    path = str(tmp_path / "stock.sock")
    with StockServer(path):
        inode = os.lstat(path).st_ino
        for _ in range(3):
            assert_fails(start(tmp_path, path), "address_in_use", status=3)
        assert os.lstat(path).st_ino == inode


def test_a_foreign_server_with_a_full_backlog_is_never_displaced(tmp_path: Path) -> None:
    path = str(tmp_path / "busy.sock")
    busy = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    busy.bind(path)
    busy.listen(0)
    waiting = []
    try:
        for _ in range(8):
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            waiting.append(sock)
            sock.setblocking(False)
            try:
                sock.connect(path)
            except BlockingIOError:
                break
        else:
            raise AssertionError("the backlog never filled up")
        inode = os.lstat(path).st_ino
        assert_fails(start(tmp_path, path), "address_in_use", status=3)
        assert os.lstat(path).st_ino == inode
    finally:
        for sock in [*waiting, busy]:
            sock.close()


def test_fifty_starters_make_one_server(tmp_path: Path) -> None:
    path = str(tmp_path / "s.sock")
    for round_number in range(3):
        started = [start(tmp_path, path) for _ in range(50)]
        try:
            wait_until(lambda: sum(p.alive() for p in started) <= 1, 20.0, "all but one having given up")
            alive = [p for p in started if p.alive()]
            assert len(alive) == 1, f"round {round_number}: {[p.err for p in started][:3]}"
            with StockClient(path) as client:
                assert client.request(b"one") == b"one"
            for process in started:
                if process is not alive[0]:
                    assert_fails(process, "address_in_use", status=3)
        finally:
            for process in started:
                process.kill()  # also leaves a stale socket for the next round


# ---------------------------------------------------------------- other files


@pytest.mark.parametrize(
    "kind", ["file", "empty file", "directory", "fifo", "link to a file", "dangling link", "link to a socket"]
)
def test_what_is_no_socket_stays_untouched(tmp_path: Path, kind: str) -> None:
    path, other = tmp_path / "thing", tmp_path / "other"
    foreign = None
    if kind == "file":
        path.write_bytes(b"precious")
    elif kind == "empty file":
        path.touch()
    elif kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "link to a file":
        other.write_bytes(b"precious")
        path.symlink_to(other)
    elif kind == "dangling link":
        path.symlink_to(other)
    else:
        foreign = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        foreign.bind(str(other))  # nobody listens: stale, and still not ours to remove through a link
        path.symlink_to(other)
    before = os.lstat(path)
    try:
        assert_fails(start(tmp_path, str(path)), "not_a_socket", "address_in_use")
    finally:
        if foreign:
            foreign.close()
    after = os.lstat(path)
    assert (before.st_ino, before.st_mode, before.st_size) == (after.st_ino, after.st_mode, after.st_size)
    if kind in ("file", "link to a file"):
        assert path.read_bytes() == b"precious"
    if kind == "dangling link":
        assert not other.exists(), "bound through the link"
    if kind == "link to a socket":
        assert stat.S_ISSOCK(os.lstat(other).st_mode)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_and_removes_its_socket(tmp_path: Path, number: int) -> None:
    server = echo_server(tmp_path)
    server.probe()
    server.signal(number)
    server.wait(2.0)
    assert not os.path.lexists(server.path)
    again = echo_server(tmp_path)
    again.probe()
    again.kill()


def test_only_the_own_socket_is_removed(tmp_path: Path) -> None:
    server = echo_server(tmp_path)
    os.unlink(server.path)
    with StockServer(server.path):
        inode = os.lstat(server.path).st_ino
        server.signal(signal.SIGTERM)
        server.wait(2.0)
        assert os.lstat(server.path).st_ino == inode


def test_a_file_put_in_place_of_the_socket_is_kept(tmp_path: Path) -> None:
    server = echo_server(tmp_path)
    os.unlink(server.path)
    Path(server.path).write_bytes(b"precious")
    server.signal(signal.SIGTERM)
    server.wait(2.0)
    assert Path(server.path).read_bytes() == b"precious"


def test_nothing_is_left_beside_the_socket(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    path = str(place / "s.sock")
    server = Server(tmp_path, [BIN, "echo", path], path)
    there = set(os.listdir(place))
    server.signal(signal.SIGTERM)
    server.wait(2.0)
    left = set(os.listdir(place))
    assert there - left == {"s.sock"}
    # The lock file stays for ever, by design: removing it would let two servers win.
    assert all(re.search("lock", name) for name in left), left
