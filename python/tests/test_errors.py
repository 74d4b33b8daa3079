"""The error classes, and what every error carries."""

from __future__ import annotations

import builtins
import copy
import pickle
import subprocess
import sys
import threading
import tomllib
from pathlib import Path
from typing import Any

import hostlane
import pytest
from hostlane import _core, errors

TABLE: list[dict[str, Any]] = tomllib.loads(
    (Path(__file__).parents[2] / "core/errors.toml").read_text(encoding="utf-8")
)["error"]
ROWS = [pytest.param(row, id=row["name"]) for row in TABLE]


@pytest.mark.parametrize("row", ROWS)
def test_every_row_has_its_class(row: dict[str, Any]) -> None:
    kind = errors.BY_CODE[row["number"]]
    assert (kind.code, kind.kind, kind.retryable) == (row["number"], row["name"], row["retryable"])
    assert kind.__doc__ == row["meaning"]
    assert issubclass(kind, hostlane.Error)
    assert issubclass(kind, getattr(builtins, row["python"] or "Exception"))
    assert getattr(hostlane, kind.__name__) is kind


def test_no_class_without_a_row() -> None:
    assert list(errors.BY_CODE) == [row["number"] for row in TABLE]


@pytest.mark.parametrize("row", ROWS)
def test_errors_survive_pickle_and_copy(row: dict[str, Any]) -> None:
    error = errors.BY_CODE[row["number"]]("went wrong", "maybe")
    error.add_note("a note")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(again) is type(error)
        assert (again.message, again.sent, str(again)) == ("went wrong", "maybe", "went wrong")
        assert again.args == ("went wrong",)
        assert again.__notes__ == ["a note"]


def test_a_raised_error_is_complete() -> None:
    with pytest.raises(hostlane.NotFoundError) as caught:
        hostlane.connect("/nowhere/at/all")
    error = caught.value
    assert (error.code, error.kind, error.retryable, error.sent) == (202, "not_found", True, "no")
    assert isinstance(error, FileNotFoundError)
    assert error.message == str(error) != ""
    assert pickle.loads(pickle.dumps(error)).message == error.message


def test_a_panic_is_an_internal_error() -> None:
    with pytest.raises(hostlane.InternalError) as caught:
        _core.panic()
    assert type(caught.value) is hostlane.PanicError
    assert "asked for by the caller" in caught.value.message


def test_a_program_that_set_up_no_log_sees_what_its_handlers_raise_and_nothing_else(
    address: str,
) -> None:
    program = """
import sys, threading, hostlane
def answer(message, _): return bytes([1 // len(message)])
with hostlane.listen(sys.argv[1]) as listener:
    threading.Thread(target=listener.serve, args=[answer]).start()
    with hostlane.connect(sys.argv[1]) as peer:
        try:
            peer.request(bytes(int(sys.argv[2])), timeout=10)
        except hostlane.RemoteError as error:
            print(error.data.decode())
"""

    def run(length: int) -> tuple[str, list[str]]:
        own = f"{address}-{threading.get_ident()}"
        command = [sys.executable, "-c", program, own, str(length)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        return done.stdout.strip(), done.stderr.splitlines()

    assert run(1) == ("", [])
    told, said = run(0)
    assert told.startswith("ZeroDivisionError: ")
    assert said[0].startswith("the handler failed on <")
    assert said[1:2] + said[-1:] == ["Traceback (most recent call last):", told]


@pytest.mark.parametrize("wrong", [(42, b"nope"), ("no", 42), ("no", b"data")])
def test_a_remote_error_made_wrongly_says_how_it_is_made(wrong: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError, match=r"write RemoteError\('text', status=42, data=b'...'\)"):
        hostlane.RemoteError(*wrong)
