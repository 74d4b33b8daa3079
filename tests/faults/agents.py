"""The conformance agents: real programs in every language, one JSON object a line."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from harness import EXAMPLE_ECHO

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("HOSTLANE_TARGET", ROOT / "target")).resolve()
FOLDER = ROOT / "tests/conformance/agents"
EXAMPLES = ROOT / "examples"

PROGRAMS: dict[str, list[str]] = {
    "rust": [f"{TARGET}/debug/conformance-agent"],
    "c": [f"{TARGET}/cmake/c-conformance-agent"],
    "cpp": [f"{TARGET}/cmake/cpp-conformance-agent"],
    "python": [f"{TARGET}/venv/bin/python", f"{FOLDER}/python/agent.py"],
    "python-aio": [f"{TARGET}/venv/bin/python", f"{FOLDER}/python-aio/agent.py"],
    # Garbage is collected often, so that memory says what is kept and not how long ago the last collection was.
    "node": [
        "node",
        "--expose-gc",
        "--import",
        "data:text/javascript,setInterval(gc,500).unref()",
        f"{FOLDER}/node/agent.mjs",
    ],
    "go": [f"{TARGET}/go/debug/conformance-agent"],
}

ECHOES: dict[str, list[str]] = {
    "rust": [str(EXAMPLE_ECHO)],
    "c": [f"{TARGET}/cmake/c-echo"],
    "cpp": [f"{TARGET}/cmake/cpp-echo"],
    "python": [
        f"{TARGET}/venv/bin/python",
        "-c",
        "import sys, hostlane\nhostlane.listen(sys.argv[1]).serve(lambda m, _: m.view() if m.is_request else None)",
    ],
    "python-aio": [f"{TARGET}/venv/bin/python", f"{EXAMPLES}/python/aio_echo.py"],
    "node": ["node", f"{EXAMPLES}/node/echo.mjs"],
    "go": [f"{TARGET}/go/debug/echo"],
}
"""Examples, and in Python a line: each language's own loop serves all clients, where it has one."""

SILENCE = 25.0
"""Seconds an agent may take for an answer that names no limit; its own waits end before."""

CRASHES = ("panicked", "AddressSanitizer", "Segmentation", "fatal error:", "goroutine ", "Fatal Python", "FATAL ERROR", "terminate called")  # fmt: skip
"""What programs print when they break down."""


class Failed(Exception):
    """An operation ended with an error of the library."""

    def __init__(self, op: str, error: dict[str, Any], ms: float) -> None:
        super().__init__(f"{op}: {error}")
        self.name: str = error["name"]
        self.sent: str | None = error.get("sent")
        self.error, self.ms = error, ms


class Died(Exception):
    """The agent ended instead of answering."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"ended with status {status}: {text}")
        self.status = status


class Agent:
    """A running agent. `wrap` is a command that ends by executing the rest of its arguments."""

    running: ClassVar[list[Agent]] = []

    def __init__(
        self, lang: str, place: Path, *, wrap: Sequence[str] = (), env: dict[str, str] | None = None,
        umask: int = -1, keep: Sequence[int] = (),
    ) -> None:  # fmt: skip
        self.lang = lang
        logs = place / "logs"
        logs.mkdir(exist_ok=True)
        self.log = logs / f"{len(list(logs.iterdir()))}-{lang}.err"
        with self.log.open("wb") as log:
            self.popen = subprocess.Popen(
                [*wrap, *PROGRAMS[lang]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                umask=umask, pass_fds=keep, cwd=place, env={**os.environ, "PYTHONPATH": f"{FOLDER}/python", **(env or {})},
            )  # fmt: skip
        assert self.popen.stdin is not None and self.popen.stdout is not None
        self.stdin, self.stdout = self.popen.stdin.fileno(), self.popen.stdout.fileno()
        self.buffer = b""
        self.expected_to_die = False
        self.serial = 0
        Agent.running.append(self)
        try:
            self.ask("hello")
        except BaseException:
            self.kill()
            raise

    @property
    def pid(self) -> int:
        return self.popen.pid

    def post(self, op: str, end: str = "client", **arguments: Any) -> None:
        """Begins an operation; `take` has what comes of it."""
        self.op = op
        with contextlib.suppress(BrokenPipeError):  # `take` tells that it ended
            os.write(self.stdin, json.dumps({"op": op, "end": end, **arguments}).encode() + b"\n")

    def take(self, limit: float = SILENCE) -> tuple[dict[str, Any], float]:
        """What came of the operation, and the milliseconds it took."""
        deadline = time.monotonic() + limit
        while b"\n" not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.stdout], [], [], left)[0]:
                raise TimeoutError(f"no word from {self.lang} for {limit} s about {self.op}\n{self.err}")
            data = os.read(self.stdout, 1 << 16)
            if not data:
                raise Died(self.popen.wait(5.0), self.err)
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        told = json.loads(line)
        if "error" in told:
            raise Failed(self.op, told["error"], told["ms"])
        return told["ok"], told["ms"]

    def ask(self, op: str, end: str = "client", limit: float = SILENCE, **arguments: Any) -> Any:
        self.post(op, end, **arguments)
        return self.take(limit)[0]

    def fails(self, *names: str, op: str, end: str = "client", within: float | None = None, **arguments: Any) -> Failed:
        """The operation ends with an error of one of these names, in so many seconds at most."""
        try:
            value = self.ask(op, end, **arguments)
        except Failed as failed:
            assert failed.name in names, f"{self.lang}: {failed}, expected one of {names}"
            assert within is None or failed.ms <= within * 1000, f"{self.lang}: {failed} took {failed.ms} ms"
            return failed
        raise AssertionError(f"{self.lang}: {op} gave {value}, expected one of {names}")

    def seen(self, end: str, timeout: float = 5.0, **wanted: Any) -> None:
        """The service of `end` reports these sooner or later."""
        deadline = time.monotonic() + timeout
        while True:
            report = self.ask("seen", end)
            if wanted.items() <= report.items():
                return
            assert time.monotonic() < deadline, f"{report}, expected {wanted}"
            time.sleep(0.005)

    @property
    def err(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def alive(self) -> bool:
        return self.popen.poll() is None

    def signal(self, number: int) -> None:
        self.popen.send_signal(number)

    def limit(self, kind: int, value: int) -> None:
        """Changes a soft limit of the running process."""
        resource.prlimit(self.pid, kind, (value, resource.prlimit(self.pid, kind)[1]))

    def leave(self, within: float = 2.0) -> int:
        """Ends its input, which ends its main program, whatever is open; its own status."""
        assert self.popen.stdin is not None
        self.popen.stdin.close()
        began = time.monotonic()
        try:
            status = self.popen.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.lang} still runs {within} s after its input ended\n{self.err}") from None
        self.took = time.monotonic() - began
        return status

    def kill(self) -> None:
        self.expected_to_die = True
        if self.popen.poll() is None:
            self.signal(signal.SIGKILL)
        self.popen.wait()

    def close(self) -> None:
        """Ends it at once and lets go of its pipes."""
        self.kill()
        for pipe in (self.popen.stdin, self.popen.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()  # type: ignore[union-attr]

    def crashed(self) -> str:
        """What it printed that programs print only when they break down; empty if nothing."""
        return next((self.err for word in CRASHES if word in self.err), "")
