"""Who is there: other users, wrong secrets, names that lie, and where a secret must never be seen."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from peer1 import RawLevel1
from stock import Background
from wire import Wire

from agents import Agent
from balance import Serving
from conftest import Start
from matrix import needs_setpriv, row

NOBODY = 65534

CANARY = "canary-5f1c0e9b7a-never-to-be-seen"
"""A secret that nothing but memory may have."""

AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")


@pytest.fixture
def open_place(place: Path) -> Path:
    """Everybody may enter it: what is refused there is refused by the socket, or by who is behind it."""
    place.chmod(0o777)
    return place


def by_another_user(start: Start, lang: str) -> Agent:
    return start(lang, wrap=AS_NOBODY, env={"HOME": "/nonexistent"})


@needs_setpriv
@row(
    "F43",
    fault="a client of another user comes, to a socket with its own mode, and to one that was opened to all",
    holds="permission_denied by the mode; by name the other user is refused even where the mode lets it in",
)
def test_f43_a_client_of_another_user(start: Start, open_place: Path, lang: str) -> None:
    server = start(lang, env={"XDG_RUNTIME_DIR": str(open_place)})
    path = open_place / "s.sock"
    server.ask("listen", "server", address=str(path))
    client = by_another_user(start, "rust")
    client.fails("permission_denied", op="connect", address=str(path), within=1.0, timeout_ms=2000)
    server.ask("reset", "server")
    server.ask("listen", "server", address="by-name")
    socket_file = open_place / "hostlane/by-name.sock"
    socket_file.parent.chmod(0o755)
    socket_file.chmod(0o666)
    client.fails(
        "permission_denied",
        "authentication_failed",
        op="connect",
        address=str(socket_file),
        within=1.0,
        timeout_ms=2000,
    )
    assert server.ask("seen", "server")["requests"] == 0
    assert server.ask("refusals", "server")["refused"], "nobody was refused by the server"


@needs_setpriv
@row(
    "F43",
    fault="the server at a name belongs to another user",
    holds="the client refuses it before it says anything that matters: unsafe_directory or permission_denied",
)
def test_f43_a_server_of_another_user(start: Start, open_place: Path, lang: str) -> None:
    theirs = open_place / "theirs"
    theirs.mkdir()
    os.chown(theirs, NOBODY, NOBODY)
    (theirs / "hostlane").mkdir()
    (theirs / "hostlane").chmod(0o700)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(theirs / "hostlane/by-name.sock"))
        server.listen(4)
        os.chown(theirs / "hostlane", NOBODY, NOBODY)
        client = start(lang, env={"XDG_RUNTIME_DIR": str(theirs)})
        client.fails(
            "unsafe_directory", "permission_denied", op="connect", address="by-name", timeout_ms=1000, within=1.5
        )


@row(
    "F44",
    fault="a client is bound to a name that claims to be root, and its handshake has members that claim more",
    holds="nothing of it is believed: where users are checked, the kernel's word counts, and it is served like any other",
)
def test_f44_names_that_lie(serving: Serving, place: Path) -> None:
    with serving.survives():
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(place / "x;uid=0;gid=0;"))
        sock.settimeout(2.0)
        sock.connect(serving.path)
        (place / "x;uid=0;gid=0;").unlink()
        with RawLevel1(sock) as raw:
            member = raw.ask()
            assert member["version"] == 1


@row(
    "F45",
    fault="a client has a wrong secret, one too long by a byte, one too short, an empty one, or none; then the server has none",
    holds="authentication_failed, or authentication_required where one is missing, each in the same words; the right one is let in",
)
def test_f45_wrong_secrets(start: Start, place: Path, lang: str) -> None:
    server, client = start("rust"), start(lang)
    path = str(place / "s.sock")
    server.ask("listen", "server", address=path, secret=CANARY)
    names = ("authentication_failed", "authentication_required")
    for secret in ("wrong", CANARY + "x", CANARY[:-1], CANARY.swapcase()):
        client.fails("authentication_failed", op="connect", address=path, secret=secret, within=1.0)
    client.fails(*names, op="connect", address=path, within=1.0)
    client.ask("connect", address=path, secret=CANARY)
    assert client.ask("call", text="in")["text"] == "in"
    client.ask("reset")
    # And with the roles changed.
    own = str(place / "own.sock")
    client.ask("listen", "server", address=own, secret=CANARY)
    server.fails("authentication_failed", op="connect", address=own, secret="wrong", within=1.0)
    server.fails(*names, op="connect", address=own, within=1.0)
    bare = str(place / "bare.sock")
    server.ask("listen", "server2", address=bare)
    client.fails(*names, op="connect", address=bare, secret=CANARY, within=1.0)


@row(
    "F52",
    fault="programs have a secret, succeed, fail, and are looked at while they run",
    holds="it is in no message, log, argument, environment, name of a file, and on no wire",
)
def test_f52_a_secret_is_never_seen(start: Start, place: Path, lang: str) -> None:
    agent, other = start(lang), start("rust")
    path, own = str(place / "s.sock"), str(place / "own.sock")
    told = []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        os.chmod(path, 0o600)
        server.listen(4)
        server.settimeout(5.0)

        def swallow() -> bytes:
            sock, _ = server.accept()
            with Wire(sock) as wire:
                wire.sock.settimeout(0.4)
                data = b""
                try:
                    while more := wire.sock.recv(65536):
                        data += more
                except TimeoutError:
                    pass
                return data

        swallowing = Background(swallow)
        told.append(
            str(
                agent.fails(
                    "timeout",
                    "refused",
                    "connection_lost",
                    "peer_closed",
                    op="connect",
                    address=path,
                    secret=CANARY,
                    timeout_ms=300,
                ).error
            )
        )
        on_the_wire = swallowing.result()
    assert on_the_wire and CANARY.encode() not in on_the_wire
    agent.ask("listen", "server", address=own, secret=CANARY)
    told.append(str(other.fails("authentication_failed", op="connect", address=own, secret="wrong").error))
    told.append(str(agent.ask("refusals", "server")))
    other.ask("connect", address=own, secret=CANARY)
    told.append(str(other.ask("info")) + str(other.ask("stats")))
    for name in ("cmdline", "environ"):
        told.append(Path(f"/proc/{agent.pid}/{name}").read_bytes().decode("utf-8", "replace"))
    told += [agent.err, other.err, *(str(one) for one in place.rglob("*"))]
    assert not [one for one in told if CANARY in one]
