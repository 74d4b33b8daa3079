"""strace: which system calls a running process makes, and what is injected into them."""

from __future__ import annotations

import re
import subprocess
import time
from collections import Counter
from pathlib import Path

from harness import wait_until


class Trace:
    """strace on a running process and all its threads, from when this is made; it ends with the process."""

    def __init__(self, pid: int, log: Path, *options: str) -> None:
        self.log = log
        self.popen = subprocess.Popen(
            ["strace", "-f", "-qq", "-o", str(log), *options, "-p", str(pid)], stderr=subprocess.PIPE, text=True
        )
        try:
            wait_until(lambda: self._attached(pid), 10.0, f"strace {options} attached")
        except BaseException:
            self.end()
            raise

    def _attached(self, pid: int) -> bool:
        if self.popen.poll() is not None:
            # What is injected may end the process at once.
            assert _dead(pid), f"strace ended: {self.popen.stderr.read()}"  # type: ignore[union-attr]
            return True
        try:
            tasks = list(Path(f"/proc/{pid}/task").iterdir())
            return all("\nTracerPid:\t0\n" not in (task / "status").read_text() for task in tasks)
        except (FileNotFoundError, ProcessLookupError):  # a thread ended just now
            return False

    def end(self) -> None:
        """Lets go of the process, which goes on."""
        if self.popen.poll() is None:
            self.popen.terminate()
        self.popen.communicate(timeout=10.0)

    def calls(self) -> dict[str, int]:
        """How often each system call was made by the thread that made it most."""
        threads: dict[str, Counter[str]] = {}
        for line in self.log.read_text("utf-8", "replace").splitlines():
            # `<... read resumed>` is the end of one that was counted.
            if found := re.match(r"(\d+) +([a-z_0-9]+)\(", line):
                threads.setdefault(found[1], Counter())[found[2]] += 1
        most: Counter[str] = Counter()
        for counts in threads.values():
            most |= counts
        return dict(sorted(most.items()))


def _dead(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def settle(seconds: float) -> None:
    """Time in which nothing must happen, where no condition can be waited for."""
    time.sleep(seconds)
