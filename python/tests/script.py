"""Python scripts in processes of their own, for what would end or disturb the test process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

LIMIT = 20.0

# A program started in the background may inherit SIGINT as ignored, and Python then leaves it so.
PREPARE = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"


def until(
    condition: Callable[[], bool], limit: float = LIMIT, what: str = "the condition holds"
) -> None:
    """Waits for a condition; fails when it does not come true."""
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {limit} s"
        time.sleep(0.001)


class Script:
    """A running script. It speaks in lines on standard output."""

    running: ClassVar[list[Script]] = []

    def __init__(self, text: str, *arguments: str, options: tuple[str, ...] = ()) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *options, "-c", PREPARE + textwrap.dedent(text), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.running.append(self)

    def line(self) -> str:
        """The next line of its output."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            _, errors = self.process.communicate(timeout=LIMIT)
            raise AssertionError(f"the script ended early: {errors}")
        return line.rstrip("\n")

    def asleep(self) -> None:
        """Waits until its main thread sleeps in the kernel."""
        stat = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/stat")
        until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "S")

    def signal(self, number: signal.Signals) -> float:
        """Sends a signal; the time just before."""
        before = time.monotonic()
        os.kill(self.process.pid, number)
        return before

    def stopped(self) -> None:
        """Stops it, and waits until it is."""
        self.signal(signal.SIGSTOP)
        stat = Path(f"/proc/{self.process.pid}/stat")
        until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T")

    def end(self) -> tuple[int, str, str]:
        """Waits for its end: exit status, rest of the output, standard error."""
        output, errors = self.process.communicate(timeout=LIMIT)
        return self.process.returncode, output, errors

    @classmethod
    def end_all(cls) -> None:
        for one in cls.running:
            if one.process.poll() is None:
                one.process.kill()
            one.process.communicate()
        cls.running.clear()
