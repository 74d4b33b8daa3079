"""Libraries that stand between an agent and the C library, and spoil what it is given."""

from __future__ import annotations

import mmap
import struct
import subprocess
from pathlib import Path

SOURCES = Path(__file__).with_name("shims")


class Shim:
    """`shims/NAME.c`, with a number that it reads, and an agent's environment that loads it."""

    def __init__(self, name: str, place: Path) -> None:
        library, number = place / f"logs/{name}.so", place / f"logs/{name}.number"
        library.parent.mkdir(exist_ok=True)
        subprocess.run(
            ["cc", "-O1", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-shared", "-fPIC", "-fno-builtin",
             "-o", library, SOURCES / f"{name}.c"],
            check=True,
        )  # fmt: skip
        number.write_bytes(bytes(8))
        with number.open("r+b") as file:
            self.shared = mmap.mmap(file.fileno(), 8)
        self.env = {"LD_PRELOAD": str(library), f"SHIM_{name.upper()}": str(number)}

    @property
    def number(self) -> int:
        return int(struct.unpack("<q", self.shared[:])[0])

    @number.setter
    def number(self, value: int) -> None:
        self.shared[:] = struct.pack("<q", value)
