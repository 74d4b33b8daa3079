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
    "test_protocol.py": "Everything a header can say",
    "test_resources.py": "Resources",
    "test_machine.py": "The machine",
    "test_files.py": "Names and files",
    "test_identity.py": "Identity",
    "test_calls.py": "Calls",
    "test_language.py": "The language boundary",
}
"""Which group the rows of a file are, in the order of the page."""

ELSEWHERE = [
    (
        "F07",
        "a program forks, with connections, a link, calls and threads inside of them; the child uses and closes all of it, and makes its own",
        "in the child each is `forked`, nothing is written to and nothing closed that is the parent's; the parent goes on; its own works",
        [
            "tests/c/test_fork.c::a_child_cannot_use_or_hurt_a_peer_of_its_parent",
            "tests/c/test_fork.c::a_child_cannot_use_a_context_of_its_parent",
            "tests/c/test_fork.c::a_child_does_not_wait_for_what_other_threads_did_at_the_fork",
            "python/tests/test_fork.py::test_a_child_closes_nothing_of_its_parent",
            "python/tests/test_fork.py::test_a_child_forked_during_a_wait",
            "python/tests/test_fork.py::test_multiprocessing",
        ],
    ),
    (
        "F86",
        "handles that are of another kind, stale, invented or null, and options and arguments that are wrong",
        "an error by its name, without anything that was to be written; nothing else is disturbed",
        [
            "tests/c/test_peer.c::a_handle_never_comes_back",
            "python/tests/test_misuse.py::test_connecting",
            "node/test/misuse.test.mjs::nothing is made by new that comes from elsewhere",
            "node/test/misuse.test.mjs::whatever was closed says so",
            "go/misuse_test.go::TestWrongOptionsAndUseAfterClose",
        ],
    ),
    (
        "F93",
        "threads that nobody announced share everything; interpreters and workers come and go with the library loaded",
        "each has its own answers and its own errors; whoever ends leaves nothing behind",
        [
            "python/tests/test_threads.py::test_what_is_read_of_one_connection_is_whole",
            "python/tests/test_threads.py::test_errors_belong_to_who_asked",
            "node/test/process.test.mjs::worker threads load, use and unload it 20 times",
            "go/lane_test.go::TestManyGoroutinesShareOnePeer",
        ],
    ),
]
"""Rows that no agent can play, because they are about what a language's own program does to it, and their tests."""

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

Faults of the system are made by `strace` (a system call fails, or kills its process), by limits of the running process, by a
mount, a network and a group of memory of its own, by `setpriv`, and by libraries before the C library
([`shims`](../tests/faults/shims)). A row that needs what the kernel or the user does not permit is
skipped and says what that is; so is one whose tool is not installed, but where `CI` is set that is a failure.
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
    text += (
        "## In the tests of the languages\n\nWhat only a program itself can do. The calls of C are made at random, too"
    )
    text += " ([`fuzz`](../fuzz/README.md), `calls_of_c`).\n\n"
    text += "| | what happens | what has to hold | tests |\n|---|---|---|---|\n"
    for number, fault, holds, tests in ELSEWHERE:
        text += f"| {number} | {fault} | {holds} | {', '.join(f'`{test}`' for test in tests)} |\n"
    return text


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
