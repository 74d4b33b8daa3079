"""Real hostlane processes under test: start, watch, measure, stop. Only processes started here are ended."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, ClassVar

from errors import NUMBERS
from level0 import COMMAND, CONTROL, Violation, parse_refusal
from stock import Disconnected, StockClient, Wire

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("HOSTLANE_BIN", ROOT / "target/debug/hostlane")).resolve()
EXAMPLE_ECHO = Path(os.environ.get("HOSTLANE_EXAMPLE_ECHO", BIN.parent / "echo")).resolve()
EXAMPLE_REQUEST = Path(os.environ.get("HOSTLANE_EXAMPLE_REQUEST", BIN.parent / "request")).resolve()


def wait_until(condition: Callable[[], Any], timeout: float = 5.0, what: str = "the condition") -> Any:
    """Polls until the condition holds and returns its value; fails at the deadline."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not hold within {timeout} s"
        time.sleep(0.002)
    return value


PACKAGES = {
    "cc": "gcc", "mount": "mount", "nsenter": "util-linux", "setpriv": "util-linux", "strace": "strace",
    "unshare": "util-linux",
}  # fmt: skip
"""The programs that some tests run, and what they come with."""


def missing(tool: str) -> bool:
    """Whether a program is not installed: an error where `CI` is set, and nobody would miss the tests that need it."""
    if shutil.which(tool):
        return False
    if os.environ.get("CI", "false") not in ("", "false"):
        raise RuntimeError(f"{tool} is missing: apt-get install {PACKAGES[tool]}")
    return True


def processor_time(pid: int) -> float:
    """Seconds of it that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def crowded(server: socket.socket) -> Iterator[list[socket.socket]]:
    """The backlog of a listening socket is made as short as can be; the clients that fill it."""
    server.listen(0)
    with ExitStack() as stack:
        waiting: list[socket.socket] = []
        while True:
            sock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            sock.setblocking(False)
            try:
                sock.connect(server.getsockname())
            except BlockingIOError:
                break
            waiting.append(sock)
        yield waiting


class Process:
    """A child process with its output in files, so that a full pipe never stops it."""

    started: ClassVar[list[Process]] = []

    def __init__(
        self,
        directory: Path,
        arguments: Sequence[str | Path],
        *,
        env: dict[str, str] | None = None,
        open_files: int | None = None,
        umask: int = -1,
        stdin: bytes = b"",
    ) -> None:
        program = Path(arguments[0])
        assert program.exists() or not program.is_absolute(), f"{program} is not built"
        serial = sum(1 for _ in directory.glob("process-*.out"))
        self.out_path, self.err_path = directory / f"process-{serial}.out", directory / f"process-{serial}.err"
        input_path = directory / f"process-{serial}.in"
        input_path.write_bytes(stdin)

        def limit() -> None:
            if open_files is not None:
                resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, open_files))

        self.began = time.monotonic()
        with self.out_path.open("wb") as out, self.err_path.open("wb") as err, input_path.open("rb") as source:
            self.popen = subprocess.Popen(
                [str(a) for a in arguments], stdin=source, stdout=out, stderr=err, umask=umask, cwd=directory,
                env={**os.environ, **(env or {})}, preexec_fn=limit if open_files is not None else None,
            )  # fmt: skip
        self.pid = self.popen.pid
        Process.started.append(self)

    @property
    def out(self) -> bytes:
        return self.out_path.read_bytes()

    @property
    def err(self) -> str:
        return self.err_path.read_text("utf-8", "replace")

    def alive(self) -> bool:
        return self.popen.poll() is None

    def wait(self, timeout: float = 10.0) -> int:
        """The exit status; a process that does not end in time is killed and the test fails."""
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"still running after {timeout} s: {self.popen.args!r}\n{self.err}") from None

    def signal(self, number: int) -> None:
        self.popen.send_signal(number)

    def kill(self) -> None:
        if self.alive():
            self.signal(signal.SIGKILL)
        self.popen.wait()

    def rss(self) -> int:
        """Resident bytes."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS")

    def cpu(self) -> float:
        """Seconds of processor time used so far."""
        return processor_time(self.pid)

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))


class Server(Process):
    """A hostlane server on a Unix socket; construction returns once it listens."""

    def __init__(self, directory: Path, arguments: Sequence[str | Path], path: str, **options: Any) -> None:
        super().__init__(directory, arguments, **options)
        self.path = path
        try:
            wait_until(self._listens, what=f"{arguments} listening")
        except BaseException:
            self.kill()
            raise

    def _listens(self) -> bool:
        assert self.alive(), f"the server ended with {self.popen.returncode}: {self.err}"
        try:
            if stat.S_ISSOCK(os.lstat(self.path).st_mode):
                Wire.connect(self.path).close()
                return True
        except (FileNotFoundError, ConnectionRefusedError):
            pass
        return False

    def client(self, *arguments: Any, **options: Any) -> StockClient:
        return StockClient(self.path, *arguments, **options)

    def probe(self) -> float:
        """An honest client connects, calls and leaves; returns the seconds it took."""
        began = time.monotonic()
        with self.client(timeout=2.0) as client:
            assert client.request(b"are you there?", 2.0) == b"are you there?"
        return time.monotonic() - began


def echo_server(directory: Path, **options: Any) -> Server:
    path = str(directory / "echo.sock")
    return Server(directory, [BIN, "echo", path], path, **options)


def hostlane(directory: Path, *arguments: str, timeout: float = 10.0, **options: Any) -> Process:
    """Runs the command line to its end."""
    process = Process(directory, [BIN, *arguments], **options)
    process.wait(timeout)
    return process


def assert_fails(process: Process, *names: str, status: int | None = None) -> None:
    """The process ended with an error of one of these names, said so on stderr, and did not crash."""
    code = process.wait()
    assert code > 0, f"exit status {code}, expected an error of {names}\n{process.err}"
    assert any(name in process.err for name in names), f"none of {names} in: {process.err}"
    assert "panicked" not in process.err
    if status is not None:
        assert code == status, process.err


def refusal(wire: Wire, *names: str, timeout: float = 1.0) -> str:
    """The server refuses: one CONTROL frame with a typed reason, then the end. Returns the text."""
    frames = wire.rest(timeout)
    assert len(frames) == 1 and frames[0].channel == CONTROL, frames
    code, name, message = parse_refusal(frames[0].payload)
    assert name in names, f"{name}, expected one of {names}: {message}"
    assert code == NUMBERS[name]
    return message


def assert_closed(wire: Wire, timeout: float = 1.0) -> None:
    """The server ends an open connection without another byte."""
    assert wire.rest(timeout) == []


def mode(path: str | Path) -> int:
    """The permission bits of the file itself."""
    return stat.S_IMODE(os.lstat(path).st_mode)


def connects(path: str | Path) -> bool:
    try:
        Wire.connect(str(path)).close()
    except OSError:
        return False
    return True


def say(text: str) -> None:
    """A measured number, shown by `pytest -rA` and on failure."""
    print(text, file=sys.stdout)


__all__ = [
    "BIN", "COMMAND", "EXAMPLE_ECHO", "ROOT", "Disconnected", "Process", "Server", "Violation",
    "assert_closed", "assert_fails", "connects", "crowded", "echo_server", "hostlane", "missing", "mode",
    "processor_time", "refusal", "say", "wait_until",
]  # fmt: skip
