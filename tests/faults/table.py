"""Writes docs/faults.md from the rows of the tests, which are read and not run.

python3 tests/faults/table.py [--check]
"""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PAGE = HERE.parents[1] / "docs/faults.md"

FILES = {
    "test_kill.py": "Killed at any point",
    "test_process.py": "Processes and time",
    "test_bytes.py": "Bytes",
    "test_resources.py": "Resources",
    "test_files.py": "Names and files",
    "test_identity.py": "Identity",
    "test_calls.py": "Calls",
    "test_language.py": "The language boundary",
}
"""Which group the rows of a file are, in the order of the page."""

HEAD = """\
# The fault matrix

What is done to programs that talk through hostlane, what then has to hold, and the test that does it. The tests are in
[`tests/faults`](../tests/faults) and drive the [agents](conformance.md#agents) of the languages, so that each row goes through
the API that programs use. This page is written from the tests by `python3 tests/faults/table.py`; a test of the suite fails when
it is not what they say, `cargo xtask check-hygiene` when it names a test that is gone.

```
cargo xtask test --only faults           every row, and of the long ones a part
cargo xtask test --only faults --full    all of it
python3 -m pytest tests/faults -k "f35 and node"
```

**After each fault** one function, `balanced` in [`balance.py`](../tests/faults/balance.py), looks at the process that had to survive it: an honest
peer, the independent [oracle](../tests/oracle/README.md), is served within a second, and descriptors, threads, memory maps, resident
memory and the files in the directory are back to what they were, within tolerances that are named there for each language. No
agent may have broken down, which is told by how it ended and what it printed. Rows with a * are of processes that end by what
is done to them, or of one moment, and have only the latter.

Faults of the system are made by `strace` (a system call fails, or kills its process), by limits of the running process, by a mount
and a group of memory of its own, and by `setpriv`. A row that needs what is not here is skipped and says what is missing.
Languages in parentheses are played with `--full` only.

"""


@dataclass
class Row:
    number: str
    fault: str
    holds: str
    langs: tuple[str, ...]
    full: tuple[str, ...]
    test: str
    balanced: bool
    """Whether the survivor is looked at afterwards."""


def rows(path: Path) -> list[Row]:
    """The tests of a file that are rows."""
    tree = ast.parse(path.read_text("utf-8"))
    matrix = ast.parse((HERE / "matrix.py").read_text("utf-8"))
    scope: dict[str, Any] = {"tuple": tuple}
    for node in [*matrix.body, *tree.body]:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                scope[node.targets[0].id] = _value(node.value, scope)
            except (NameError, ValueError):
                continue  # nothing that a row is made of
    found = []
    balancing = _balancing(tree)
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef):
            continue
        every = any(isinstance(one, ast.Attribute) and one.attr == "full" for one in node.decorator_list)
        for one in node.decorator_list:
            if isinstance(one, ast.Call) and isinstance(one.func, ast.Name) and one.func.id == "row":
                said = {keyword.arg: _value(keyword.value, scope) for keyword in one.keywords}
                langs = said.get("langs", scope["ALL"])
                full = langs if every else said.get("full", ())
                number = _value(one.args[0], scope)
                found.append(Row(number, said["fault"], said["holds"], langs, full, node.name, node.name in balancing))
    return found


def _balancing(tree: ast.Module) -> set[str]:
    """The functions that look at a survivor with `balanced`, by themselves or by others of their file."""
    called = {
        node.name: {
            getattr(one.func, "attr", getattr(one.func, "id", ""))
            for one in ast.walk(node)
            if isinstance(one, ast.Call)
        }
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
    }
    names = {"balanced", "survives"}
    while more := {name for name, calls in called.items() if calls & names} - names:
        names |= more
    return names


def _value(node: ast.expr, scope: dict[str, Any]) -> Any:
    """What a row says: texts, tuples, and what they are made of; nothing is called but `tuple`."""
    for part in ast.walk(node):
        if isinstance(part, ast.Call) and not (isinstance(part.func, ast.Name) and part.func.id == "tuple"):
            raise ValueError(ast.dump(part))
    return eval(compile(ast.Expression(node), "<row>", "eval"), {"__builtins__": {}}, scope)


def page() -> str:
    text = HEAD
    for name, title in FILES.items():
        text += f"## {title}\n\n| | what happens | what has to hold | test | languages |\n|---|---|---|---|---|\n"
        for row in sorted(rows(HERE / name), key=lambda row: row.number):
            langs = ", ".join(f"({lang})" if lang in row.full else lang for lang in row.langs)
            if row.langs == _all() and not row.full:
                langs = "all"
            number = row.number if row.balanced else row.number + "*"
            text += f"| {number} | {row.fault} | {row.holds} | `tests/faults/{name}::{row.test}` | {langs} |\n"
        text += "\n"
    return text.rstrip() + "\n"


def _all() -> tuple[str, ...]:
    matrix = ast.parse((HERE / "matrix.py").read_text("utf-8"))
    for node in matrix.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "ALL":
            langs: tuple[str, ...] = ast.literal_eval(node.value)
            return langs
    raise AssertionError("matrix.py has no ALL")


if __name__ == "__main__":
    if "--check" not in sys.argv:
        PAGE.write_text(page(), "utf-8")
    elif PAGE.read_text("utf-8") != page():
        sys.exit(f"{PAGE} is not what the tests say: python3 tests/faults/table.py")
