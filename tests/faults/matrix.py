"""The rows of the fault matrix: what a test is, for the test run and for docs/faults.md."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from harness import missing

import cgroup

ALL = ("rust", "c", "cpp", "python", "python-aio", "node", "go")
RUST = ("rust",)

LATE = 2
"""Seconds behind its deadline in which a wait has to end, on a machine that does much else."""

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


def needs(*tools: str, permitted: bool = True, why: str = "") -> pytest.MarkDecorator:
    """A row that is skipped where a tool is missing (which fails where `CI` is set), or where something is not permitted
    by the kernel or to this user: `why` says what."""
    absent = [tool for tool in tools if missing(tool)]
    return pytest.mark.skipif(
        bool(absent) or not permitted, reason=f"{', '.join(absent)}: not installed" if absent else f"needs {why}"
    )


ROOT = os.geteuid() == 0

needs_strace = needs("strace")
needs_cc = needs("cc")
needs_root = needs(permitted=ROOT, why="root: another user")
needs_mounts = needs("unshare", "mount", permitted=ROOT, why="root: mounts of its own")
needs_setpriv = needs("setpriv", permitted=ROOT, why="root: another user")
needs_pids = needs(
    permitted=os.access("/proc/sys/kernel/ns_last_pid", os.W_OK), why="root and checkpoint/restore in the kernel"
)
needs_cgroup = needs(permitted=cgroup.AVAILABLE, why="root and a group of memory that may be divided")
