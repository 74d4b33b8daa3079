"""The rows of the fault matrix: what a test is, for the test run and for docs/faults.md."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

import cgroup

ALL = ("rust", "c", "cpp", "python", "python-aio", "node", "go")
RUST = ("rust",)

Test = TypeVar("Test", bound=Callable[..., Any])


def row(
    number: str, *, fault: str, holds: str, langs: tuple[str, ...] = ALL, full: tuple[str, ...] = ()
) -> Callable[[Test], Test]:
    """A test that is row `number`: `fault` happens, and `holds` has to hold, in each of `langs`. Those of `full` are
    run only with --full."""
    assert number.startswith("F") and fault and holds

    def mark(test: Test) -> Test:
        cases = [pytest.param(lang, marks=pytest.mark.full if lang in full else ()) for lang in langs]
        marked: Test = pytest.mark.parametrize("lang", cases)(test)
        return marked

    return mark


def fails(*command: str) -> bool:
    """Whether it cannot be run here."""
    try:
        return subprocess.run(command, capture_output=True).returncode != 0
    except FileNotFoundError:
        return True


def lacks(what: bool, reason: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(what, reason=reason)


needs_strace = lacks(shutil.which("strace") is None, "strace is missing")
needs_cc = lacks(shutil.which("cc") is None, "a C compiler is missing")
needs_root = lacks(os.geteuid() != 0, "needs root: another user, or a mount of its own")
needs_setpriv = lacks(os.geteuid() != 0 or shutil.which("setpriv") is None, "needs root and setpriv")
needs_pids = lacks(
    not os.access("/proc/sys/kernel/ns_last_pid", os.W_OK), "needs root and checkpoint/restore in the kernel"
)
needs_cgroup = lacks(not cgroup.AVAILABLE, "needs root and a group of memory that may be divided")
