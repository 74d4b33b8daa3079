"""A limit on the memory of one process and all it makes the kernel keep, in a group below our own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")


def _own() -> tuple[Path, str] | None:
    """The group of memory that this process is in, and the file that has a group's limit."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, name = line.split(":", 2)
        if "memory" in controllers.split(","):
            return MOUNT / "memory" / name.lstrip("/"), "memory.limit_in_bytes"
        own = MOUNT / name.lstrip("/")
        if not controllers and "memory" in _read(own / "cgroup.subtree_control").split():
            return own, "memory.max"
    return None


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


OWN = _own()
AVAILABLE = OWN is not None and os.access(OWN[0], os.W_OK)


@contextmanager
def limited(pid: int, most: int) -> Iterator[None]:
    """The process has at most so many bytes from now on, or it is killed; afterwards it is where it was."""
    assert OWN is not None
    own, limit = OWN
    group = own / f"hostlane-{pid}"
    group.mkdir()
    try:
        (group / limit).write_text(str(most))
        (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        if Path(f"/proc/{pid}").exists():
            (own / "cgroup.procs").write_text(str(pid))
        group.rmdir()
