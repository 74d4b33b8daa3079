"""`hostlane check` has to be able to fail: peers with planted faults, and one without."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import BIN, EXAMPLE_REQUEST, Server, echo_server
from relay import FAULTS

RELAY = Path(__file__).with_name("relay.py")
FAILURES = ("FAIL", "TIMEOUT", "UNCLEAN")

# fault: a case that has to find it, and the verdicts of behaviour and closing that are right; None for any of closing
SERVER = {
    "wrong-close-code": ("frames/type-1", "PASS", "FAIL"),
    "no-close": ("frames/type-1", "PASS", "UNCLEAN"),
    "close-twice": ("frames/type-1", "FAIL", "FAIL"),
    "wrong-token": ("signals/ping", "FAIL", None),
    "pong-twice": ("signals/many-pings", "FAIL", None),
    "wrong-channel": ("calls/nominal", "FAIL", None),
    "reply-twice": ("calls/many-at-once", "FAIL", None),
    "wrong-id": ("calls/nominal", "FAIL", None),
    "no-credit": ("credit/comes-back", "TIMEOUT", None),
    "no-ack": ("drain/goaway", "TIMEOUT", None),
    "loses": ("framing/many-in-one-write", "FAIL", None),
    "swaps": ("messages/in-order", "FAIL", None),
    "spoils": ("framing/sizes", "FAIL", None),
    "no-pong": ("control/ping", "TIMEOUT", None),
    "wrong-refusal": ("handshake/no-protocol", "PASS", "FAIL"),
    "bare-refusal": ("handshake/no-protocol", "FAIL", None),
    "reserved-granted": ("handshake/reserved-channels", "FAIL", None),
    "no-peer-id": ("handshake/nominal", "FAIL", None),
    "feature-out-of-nothing": ("agreeing/nominal", "FAIL", None),
    "ignores-the-window": ("credit/kept-to", "FAIL", None),
    "any-version": ("handshake/higher-major", "FAIL", None),
    "any-protocol": ("handshake/other-protocol", "FAIL", None),
    "lenient-control": ("control/unknown-type", "TIMEOUT", "TIMEOUT"),
    "forgives-critical": ("frames/unknown-critical", "TIMEOUT", "TIMEOUT"),
    "forgives-ids": ("calls/id-again", "TIMEOUT", "TIMEOUT"),
    "never-ends": ("calls/nominal", "TIMEOUT", "TIMEOUT"),
    "slow": ("handshake/nominal", "FAIL", None),
    "one-client": ("handshake/nominal", "FAIL", None),
}
CLIENT = {
    "wrong-close-code": ("replies/nominal", "PASS", "FAIL"),
    "no-close": ("frames/type-1", "PASS", "UNCLEAN"),
    "wrong-token": ("signals/ping", "FAIL", None),
    "even-call": ("replies/nominal", "FAIL", None),
    "no-pong": ("control/ping-before-the-reply", "TIMEOUT", None),
    "forgives-critical": ("frames/unknown-critical", "TIMEOUT", "TIMEOUT"),
}
# What a program can do wrong although its protocol is right.
PROGRAMS = {
    "says-nothing": ("replies/nominal", '"$0" "$@" > /dev/null'),
    "says-another": ("replies/nominal", '"$0" "$@" | tr a-z A-Z'),
    "always-succeeds": ("replies/refused", '"$0" "$@"; true'),
    "always-fails": ("replies/nominal", '"$0" "$@"; exit 1'),
    "crashes": ("replies/refused", '"$0" "$@"; kill -SEGV $$'),
    "stays": ("replies/nominal", '"$0" "$@"; exec sleep 30'),
    "never-comes": ("replies/nominal", "exit 1"),
}


def check(*arguments: str) -> tuple[int, dict[str, tuple[str, str, str]]]:
    done = subprocess.run(
        [BIN, "check", "--format", "json", *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert rows, done.stderr
    return done.returncode, {row["case"]: (row["behaviour"], row["closing"], row.get("detail", "")) for row in rows}


@pytest.fixture
def echo(tmp_path: Path) -> Server:
    return echo_server(tmp_path)


@contextlib.contextmanager
def relayed(fault: str, path: str, to: str) -> Iterator[None]:
    command = [sys.executable, str(RELAY), fault, "server", path, to]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == f"ready {path}\n"
            yield
        finally:
            process.kill()


def judged(status: int, rows: dict[str, tuple[str, str, str]], case: str, behaviour: str, closing: str | None) -> None:
    found = rows[case]
    print(f"{case}: {found}")
    assert behaviour == found[0] and closing in (None, found[1]), found
    assert found[0] in FAILURES or found[1] in FAILURES, found
    assert status == 65


def failures(rows: dict[str, tuple[str, str, str]]) -> dict[str, tuple[str, str, str]]:
    return {name: row for name, row in rows.items() if row[0] in FAILURES or row[1] in FAILURES}


def test_every_fault_is_planted() -> None:
    assert set(SERVER) | set(CLIENT) | {"none"} == set(FAULTS)


@pytest.mark.parametrize("fault", SERVER)
def test_a_fault_of_a_server_is_found(echo: Server, tmp_path: Path, fault: str) -> None:
    path = str(tmp_path / "relay")
    case, behaviour, closing = SERVER[fault]
    with relayed(fault, path, echo.path):
        judged(*check("--case", case, "--slow", "0.5", path), case, behaviour, closing)


@pytest.mark.parametrize("fault", CLIENT)
def test_a_fault_of_a_client_is_found(tmp_path: Path, fault: str) -> None:
    case, behaviour, closing = CLIENT[fault]
    client = [sys.executable, str(RELAY), fault, "client", "{address}", str(EXAMPLE_REQUEST), "{relayed}", "{payload}"]
    judged(*check("--case", case, "--listen", str(tmp_path / "c"), "--", *client), case, behaviour, closing)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_fault_of_a_program_is_found(tmp_path: Path, program: str) -> None:
    case, script = PROGRAMS[program]
    client = ["sh", "-c", script, str(EXAMPLE_REQUEST), "{address}", "{payload}"]
    status, rows = check("--case", case, "--listen", str(tmp_path / "c"), "--", *client)
    assert status == 65 and rows[case][0] in FAILURES, rows


def test_a_server_without_a_fault_passes(echo: Server, tmp_path: Path) -> None:
    path = str(tmp_path / "relay")
    with relayed("none", path, echo.path):
        status, rows = check("--slow", "3", path)
    assert status == 0 and not failures(rows), failures(rows)
    assert len(rows) > 300


def test_a_client_without_a_fault_passes(tmp_path: Path) -> None:
    client = [sys.executable, str(RELAY), "none", "client", "{address}", str(EXAMPLE_REQUEST), "{relayed}", "{payload}"]
    status, rows = check(
        "--slow", "3", "--case", "calls", "--case", "replies", "--listen", str(tmp_path / "c"), "--", *client
    )
    assert status == 0 and not failures(rows), failures(rows)
