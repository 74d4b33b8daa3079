"""Who is there: other users, wrong secrets, names that lie, and where a secret must never be seen."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path

import hello1
import level0
import pytest
from raw1 import INSTANCE, RawLevel1
from relay import Edit, connect, hello, listen, opening, relay
from stock import Background
from wire import Wire

from agents import Agent, Failed
from balance import Calling
from conftest import NOBODY, Serve, Start, by_another_user
from matrix import RUST, needs_root, needs_setpriv, row

CANARY = "canary-5f1c0e9b7a-never-to-be-seen"
"""A secret that nothing but memory may have."""


def listening_by_name(agent: Agent, runtime: Path) -> Path:
    """The agent listens at a name as `client`, and every user may come as far as its socket."""
    agent.ask("listen", "client", address="by-name")
    path = runtime / "hostlane/by-name.sock"
    path.parent.chmod(0o755)
    path.chmod(0o666)
    return path


@needs_setpriv
@row(
    "F43",
    fault="a client of another user comes, to a socket with its own mode, and to one that was opened to all",
    holds="permission_denied by the mode; by name the other user is refused even where the mode lets it in",
)
def test_f43_a_client_of_another_user(start: Start, serve: Serve, open_place: Path, lang: str) -> None:
    serving = serve(start(lang, env={"XDG_RUNTIME_DIR": str(open_place)}))
    by_name = listening_by_name(serving.agent, open_place)
    client = by_another_user(start, "rust")
    with serving.survives():
        for path in (serving.path, str(by_name)):
            client.fails("permission_denied", op="connect", address=path, within=1.0, timeout_ms=2000)
    assert serving.agent.ask("seen")["requests"] == 0
    assert serving.agent.ask("refusals")["refused"], "nobody was refused by the server"


@needs_setpriv
@row(
    "F43",
    fault="the server at a name belongs to another user",
    holds="the client refuses it before it says anything that matters: unsafe_directory or permission_denied",
)
def test_f43_a_server_of_another_user(start: Start, place: Path, open_place: Path, lang: str) -> None:
    theirs = open_place / "theirs"
    theirs.mkdir()
    os.chown(theirs, NOBODY, NOBODY)
    (theirs / "hostlane").mkdir()
    (theirs / "hostlane").chmod(0o700)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(theirs / "hostlane/by-name.sock"))
        server.listen(4)
        os.chown(theirs / "hostlane", NOBODY, NOBODY)
        with contextlib.closing(Calling(start(lang, env={"XDG_RUNTIME_DIR": str(theirs)}), place)) as calling:
            with calling.survives():
                calling.agent.fails(
                    "unsafe_directory",
                    "permission_denied",
                    op="connect",
                    address="by-name",
                    timeout_ms=1000,
                    within=1.5,
                )
        server.settimeout(0.0)
        with contextlib.suppress(BlockingIOError):
            came, _ = server.accept()
            with came:
                assert not came.recv(4096), "it said something"


LIES = {"uid": 0, "user": "root", "peer_id": "root", "credentials": {"uid": 0, "gid": 0, "pid": 1}, "trusted": True}
"""Members that no handshake has, and what they claim."""


def liar(path: str, name: Path) -> RawLevel1:
    """A connection that says of itself wherever it can that it is root's."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(2.0)
    sock.bind(str(name))
    name.unlink()
    sock.connect(path)
    raw = RawLevel1(sock)
    member = hello1.offer(INSTANCE, **LIES)
    request = level0.encode_request(level0.DEFAULT_CHANNELS, hostlane=member, **LIES)
    with contextlib.suppress(BrokenPipeError):  # it may be refused before it says a word
        raw.send(level0.Frame(level0.CONTROL, request).encode())
    return raw


@needs_root
@row(
    "F44",
    fault="a client is bound to a name that claims to be root, and its handshake has members that claim it too",
    holds="nothing of it is believed: it is served like any other, and where users are checked, another user is refused by the kernel's word",
)
def test_f44_names_that_lie(start: Start, serve: Serve, open_place: Path, lang: str) -> None:
    serving = serve(start(lang, env={"XDG_RUNTIME_DIR": str(open_place)}))
    by_name = listening_by_name(serving.agent, open_place)
    name = open_place / "x;uid=0;gid=0;"
    with serving.survives():
        with liar(serving.path, name) as raw:
            answer = raw.plain()
            assert answer is not None
            granted = json.loads(answer.payload)
            assert granted["hostlane"]["version"] == 1
            assert granted["peer_id"] != "root" and not LIES.keys() & granted["hostlane"].keys()
        os.seteuid(NOBODY)
        try:
            theirs = liar(str(by_name), name)
        finally:
            os.seteuid(0)
        with theirs as raw:
            refused = raw.plain()
            assert refused is not None and raw.plain(1.0) is None
            assert level0.parse_refusal(refused.payload)[1] == "permission_denied"
    assert serving.agent.ask("refusals")["refused"], "nobody was refused by the server"


@row(
    "F45",
    fault="a client has a wrong secret, one too long by a byte, one too short, in other letters, or none; then the server has none",
    holds="authentication_failed, or authentication_required where one is missing; the right one is let in",
)
def test_f45_wrong_secrets(calling: Calling, start: Start, elsewhere: Path, lang: str) -> None:
    server, client = start("rust"), calling.agent
    path, own, bare = (str(elsewhere / name) for name in ("s.sock", "own.sock", "bare.sock"))
    server.ask("listen", "server", address=path, secret=CANARY)
    server.ask("listen", "client", address=bare)
    names = ("authentication_failed", "authentication_required")
    with calling.survives():
        for secret in ("wrong", CANARY + "x", CANARY[:-1], CANARY.swapcase()):
            client.fails("authentication_failed", op="connect", address=path, secret=secret, within=1.0)
        client.fails(*names, op="connect", address=path, within=1.0)
        client.fails(*names, op="connect", address=bare, secret=CANARY, within=1.0)
        client.ask("connect", address=path, secret=CANARY)
        assert client.ask("call", text="in")["text"] == "in"
        client.ask("reset")
        # And with the roles changed.
        server.ask("reset")
        client.ask("listen", "server", address=own, secret=CANARY)
        server.fails("authentication_failed", op="connect", address=own, secret="wrong", within=1.0)
        server.fails(*names, op="connect", address=own, within=1.0)
        client.ask("reset", "server")


@row(
    "F53",
    fault="a server is gone, and at its address another one serves that has another secret, then one that has none",
    holds="authentication_failed, and not a call reaches it; the right one, come back, is called as ever",
)
def test_f53_another_server_at_the_address(calling: Calling, start: Start, elsewhere: Path, lang: str) -> None:
    client, path = calling.agent, str(elsewhere / "s.sock")
    with calling.survives():
        for other in ({"secret": "another"}, {}):
            server = start("rust")
            server.ask("listen", "server", address=path, secret=CANARY)
            client.ask("connect", address=path, secret=CANARY)
            assert client.ask("call", text="the right one")["text"] == "the right one"
            server.kill()
            server = start("rust")
            server.ask("listen", "server", address=path, **other)
            client.fails("connection_lost", op="call", text="to whom?", within=1.0)
            client.ask("reset")
            client.fails("authentication_failed", op="connect", address=path, secret=CANARY, within=1.0)
            assert server.ask("seen", "server")["requests"] == 0
            server.kill()


Change = tuple[int, Edit]
"""Which message of the handshake, the client's (0) or the server's (1), and what becomes of it."""

DOWNGRADES: list[Change] = [
    (side, hello(change))
    for side, change in (
        (0, lambda m: m.pop("hostlane")),
        (0, lambda m: m["hostlane"].pop("auth")),
        (0, lambda m: m["hostlane"]["auth"].update(methods=[])),
        (0, lambda m: m["hostlane"]["auth"].update(methods=["plain"])),
        (0, lambda m: m["hostlane"].update(versions=[0])),
        (0, lambda m: m["hostlane"].update(features=[])),
        (0, lambda m: m["hostlane"].update(limits={})),
        (0, lambda m: m.update(channels=[1])),
        (1, lambda m: m.pop("hostlane")),
        (1, lambda m: m["hostlane"].pop("auth")),
        (1, lambda m: m["hostlane"].update(version=0)),
        (1, lambda m: m["hostlane"]["features"].append("fds")),
        (1, lambda m: m["hostlane"].update(limits={})),
        (1, lambda m: m.update(channels=[1])),
    )
]


Longest = list[int]
"""Bytes of the longest message of either side so far: numbers in it are not always of as many digits."""


def noted(longest: Longest, side: int, change: Callable[[bytearray], None] | None = None) -> Edit:
    """The message of one side, as it came or changed; how long it was is kept."""

    def note(payload: bytes) -> bytes:
        longest[side] = max(longest[side], len(payload))
        changed = bytearray(payload)
        if change is not None:
            change(changed)
        return bytes(changed)

    return opening(note)


def flipped(longest: Longest, side: int, bit: int) -> Edit:
    def flip(payload: bytearray) -> None:
        payload[bit // 8 % len(payload)] ^= 1 << bit % 8

    return noted(longest, side, flip)


def flips(longest: Longest, step: int) -> Iterator[Change]:
    """Of each message, to the end of the longest that came meanwhile."""
    for side in (0, 1):
        bit = 0
        while bit < 8 * longest[side]:
            yield side, flipped(longest, side, bit)
            bit += step


def between(door: socket.socket, there: str, edits: dict[int, Edit]) -> None:
    """Relays one connection, and edits messages of its handshake."""
    relay(door.accept()[0], connect(there), False, edits.get(0), edits.get(1))


def changed_handshakes(
    calling: Calling, other: Agent, elsewhere: Path, changes: Callable[[Longest], Iterable[Change]]
) -> None:
    agent = calling.agent
    with calling.survives():
        for number, (server, client) in enumerate(((other, agent), (agent, other))):
            there, here = str(elsewhere / f"{number}.sock"), str(elsewhere / f"{number}-edited.sock")
            server.ask("listen", "server", address=there, secret=CANARY)
            longest = [0, 0]
            with listen(here) as door:
                door.settimeout(5.0)

                def unchanged() -> None:
                    edits = {side: noted(longest, side) for side in (0, 1)}
                    relaying = Background(lambda: between(door, there, edits))
                    client.ask("connect", address=here, secret=CANARY)
                    assert client.ask("call", text="in")["text"] == "in"
                    client.ask("reset")
                    relaying.result()

                unchanged()
                assert min(longest) > 300, f"{longest} bytes are no handshake with proofs"
                for at, (side, edit) in enumerate(changes(longest)):
                    relaying = Background(lambda side=side, edit=edit: between(door, there, {side: edit}))
                    try:
                        client.ask("connect", address=here, secret=CANARY, timeout_ms=2000)
                    except Failed as failed:
                        assert failed.name != "timeout", f"change {at}: {failed}"
                    else:
                        raise AssertionError(f"change {at} of side {side} is taken")
                    client.ask("reset")
                    relaying.result()
                unchanged()
            assert server.ask("seen", "server")["requests"] == 2
            server.ask("reset", "server")


@row(
    "F49",
    fault="somebody between two sides that share a secret takes away a member, a method, a version or a limit of the handshake, or flips one bit of it, every 101st",
    holds="connecting fails at once, whatever was changed, and no call gets through; without a change it works",
)
def test_f49_a_handshake_that_was_changed(calling: Calling, start: Start, elsewhere: Path, lang: str) -> None:
    changed_handshakes(calling, start("rust"), elsewhere, lambda longest: chain(DOWNGRADES, flips(longest, 101)))


@pytest.mark.full
@row("F49", fault="every bit of the handshake is flipped, one at a time", holds="the same", langs=RUST)
def test_f49_every_bit_of_a_handshake(calling: Calling, start: Start, elsewhere: Path, lang: str) -> None:
    changed_handshakes(calling, start("rust"), elsewhere, lambda longest: flips(longest, 1))


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
