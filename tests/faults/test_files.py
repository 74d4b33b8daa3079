"""Names and files: sockets that were left, raced for, linked, foreign, deleted, and names that are no names."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from pathlib import Path

from harness import mode
from peer1 import probe

from agents import Agent, Failed
from balance import Calling, Serving
from conftest import Serve, Start
from matrix import needs_strace, row
from tracing import Trace

RACERS = 50
FEWER = 16
"""Racers of Python and Node, whose programs are large."""


@row(
    "F35",
    fault="a server is killed three times, and its socket stays; a socket of no hostlane server is stale, too",
    holds="the next server replaces it and serves",
)
def test_f35_a_stale_socket_is_replaced(serve: Serve, start: Start, place: Path, lang: str) -> None:
    path = place / "s.sock"
    for _ in range(3):
        server = start(lang)
        server.ask("listen", "server", address=str(path))
        assert probe(str(path)) < 1.0
        server.kill()
        assert stat.S_ISSOCK(path.lstat().st_mode), "killed, so its socket stays"
    path.unlink()
    with socket.socket(socket.AF_UNIX) as foreign:
        foreign.bind(str(path))
    serving = serve(start(lang))
    with serving.survives():
        pass


@row(
    "F36",
    fault=f"{RACERS} processes, {FEWER} of Python and Node, begin to listen at the same address at the same moment, over a stale socket",
    holds="exactly one serves, all others are told address_in_use; the same when it was killed",
    full=("python", "python-aio", "node", "go", "c", "cpp"),
)
def test_f36_one_of_many_racers_wins(start: Start, place: Path, lang: str) -> None:
    path = str(place / "s.sock")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(path)
    racers = [start(lang) for _ in range(RACERS if lang in ("rust", "c", "cpp", "go") else FEWER)]
    while len(racers) > 3:
        for racer in racers:
            racer.post("listen", "server", address=path)
        winners: list[Agent] = []
        for racer in racers:
            try:
                racer.take()
                winners.append(racer)
            except Failed as failed:
                assert failed.name == "address_in_use", failed
        assert len(winners) == 1, f"{len(winners)} servers"
        assert probe(path) < 1.0
        winners[0].kill()
        racers = [racer for racer in racers if racer is not winners[0]][: len(racers) // 2]


@row(
    "F37",
    fault="the path is a dangling link, a link to a file, a link to a socket that is served, or its lock file is a link",
    holds="no link is followed, replaced or removed, and what it points to stays as it was",
)
def test_f37_links_are_not_followed(serve: Serve, start: Start, place: Path, lang: str) -> None:
    serving = serve(start(lang))
    agent = start(lang)
    precious = place / "precious"
    precious.write_text("mine")
    targets = {"dangling": place / "nothing", "file": precious, "served": Path(serving.path)}
    links = {name: place / f"{name}.sock" for name in targets}
    for name, target in targets.items():
        links[name].symlink_to(target)
        (place / f"{name}.lock").touch()
    (place / "locked.lock").symlink_to(precious)
    with serving.survives():
        for link in links.values():
            agent.fails("not_a_socket", "address_in_use", op="listen", end="server", address=str(link))
        agent.fails(
            "io", "permission_denied", "not_a_socket", op="listen", end="server", address=str(place / "locked.sock")
        )
        for name, target in targets.items():
            assert os.readlink(links[name]) == str(target)
        assert precious.read_text() == "mine" and not (place / "nothing").exists()
        assert not (place / "locked.sock").exists()


@row(
    "F38",
    fault="at the path are a file, a directory, a pipe, a datagram socket, and a server of another make",
    holds="not_a_socket or address_in_use; what is there stays as it was",
)
def test_f38_foreign_files_stay(calling: Calling, place: Path) -> None:
    file, folder, pipe, datagram, foreign = (place / name for name in ("file", "folder", "pipe", "datagram", "foreign"))
    for one in (file, folder, pipe, datagram, foreign):
        (place / f"{one.name}.lock").touch()
    file.write_text("mine")
    folder.mkdir()
    os.mkfifo(pipe)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound, socket.socket(socket.AF_UNIX) as server:
        bound.bind(str(datagram))
        server.bind(str(foreign))
        server.listen(8)
        before = {one: (one.lstat().st_ino, one.lstat().st_mode) for one in (file, folder, pipe, datagram, foreign)}
        with calling.survives():
            for one in (file, folder, pipe):
                calling.agent.fails("not_a_socket", op="listen", end="server", address=str(one))
            for one in (datagram, foreign):
                calling.agent.fails("address_in_use", op="listen", end="server", address=str(one))
            for one in (file, folder, pipe, datagram):
                calling.agent.fails(
                    "not_a_socket", "connection_refused", "permission_denied", "io", "protocol_mismatch",
                    op="connect", address=str(one), timeout_ms=500, within=1.0,
                )  # fmt: skip
        assert {one: (one.lstat().st_ino, one.lstat().st_mode) for one in before} == before
        assert file.read_text() == "mine"


@row(
    "F39",
    fault="paths of 100, 101 and 200 bytes, with blanks, with non-ASCII letters, with a NUL, without a directory, names that are none",
    holds="100 bytes are served, letters of any kind too; everything else is an error by its name, and nothing is made",
)
def test_f39_path_lengths_and_letters(calling: Calling, place: Path) -> None:
    agent = calling.agent

    def of(length: int) -> str:
        return str(place / "p").ljust(length, "x")

    with calling.survives():
        for address in (of(100), str(place / "with blank"), str(place / "übung")):
            agent.ask("listen", "server", address=address)
            assert probe(address) < 1.0
            agent.ask("reset", "server")
            Path(address + ".lock").unlink()
        before = sorted(place.iterdir())
        for address, names in {
            of(101): ("address_too_long",),
            of(200): ("address_too_long",),
            f"{place}/a\0b": ("invalid_address",),
            str(place / "none/s.sock"): ("not_found",),
            "": ("invalid_address",),
            ".hidden": ("invalid_address",),
            "a/b": ("invalid_address",),
            "x" * 65: ("invalid_address", "address_too_long"),
            "gopher:x": ("invalid_address", "unsupported"),
        }.items():
            if calling.agent.lang == "c" and "\0" in address:
                continue  # its JSON reader knows no NUL, as its strings do not
            agent.fails(*names, op="listen", end="server", address=address)
            agent.fails(*names, op="connect", address=address, timeout_ms=500)
        assert sorted(place.iterdir()) == before


@row(
    "F40",
    fault="a live server's address is bound again, by another process and by itself",
    holds="address_in_use, and the server goes on",
)
def test_f40_a_live_address_is_bound_again(serving: Serving, start: Start, lang: str) -> None:
    other = start(lang)
    inode = os.lstat(serving.path).st_ino
    with serving.survives():
        for _ in range(5):
            other.fails("address_in_use", op="listen", end="server", address=serving.path)
            serving.agent.fails("address_in_use", op="listen", end="client", address=serving.path)
    assert os.lstat(serving.path).st_ino == inode


@row(
    "F40",
    fault="the socket file is deleted while it is served; then another socket lies at its place, and the server closes",
    holds="connections go on; a second server is still told address_in_use; only the own inode is removed",
)
def test_f40_the_path_is_deleted_while_it_is_served(
    serve: Serve, serving: Serving, start: Start, place: Path, lang: str
) -> None:
    path = Path(serving.path)
    other = start(lang)
    with serving.survives():
        path.unlink()
        assert serving.keeper.request(b"still here?") == b"still here?"
        other.fails("address_in_use", op="listen", end="server", address=serving.path)
        assert not path.exists()
        with socket.socket(socket.AF_UNIX) as foreign:
            foreign.bind(str(path))
            inode = path.lstat().st_ino
            serving.agent.ask("reset", "server")
            assert path.lstat().st_ino == inode, "another's socket was removed"
        path.unlink()
        serve(serving.agent)


@row(
    "F41",
    fault="the umask is 000, then 077; the directory of a name is open to others",
    holds="socket and lock have mode 0600 in both cases; unsafe_directory",
)
def test_f41_umask_and_open_directories(start: Start, place: Path, lang: str) -> None:
    path = place / "s.sock"
    for umask in (0o000, 0o077):
        agent = start(lang, umask=umask, env={"XDG_RUNTIME_DIR": str(place)})
        agent.ask("listen", "server", address=str(path))
        assert mode(path) == 0o600 and mode(place / "s.lock") == 0o600
        agent.ask("listen", "client", address="by-name")
        assert mode(place / "hostlane") == 0o700 and mode(place / "hostlane/by-name.sock") == 0o600
        assert agent.leave() == 0
        agent.expected_to_die = True
    (place / "hostlane").chmod(0o777)
    with contextlib.closing(Calling(start(lang, env={"XDG_RUNTIME_DIR": str(place)}), place)) as calling:
        with calling.survives():
            calling.agent.fails("unsafe_directory", op="listen", end="server", address="by-name")
            calling.agent.fails("unsafe_directory", op="connect", address="by-name", timeout_ms=500)


@needs_strace
@row(
    "F41",
    fault="umask 000, every system call traced",
    holds="the socket is private before it listens and before it has its name; the umask is never touched",
)
def test_f41_private_from_the_first_instant(start: Start, place: Path, lang: str) -> None:
    agent = start(lang, umask=0)
    trace = Trace(
        agent.pid,
        place / "logs/trace",
        "-e",
        "trace=umask,bind,listen,chmod,fchmod,fchmodat,link,linkat,rename,renameat,renameat2",
    )
    agent.ask("listen", "server", address=str(place / "s.sock"))
    trace.end()
    calls = [line.split(None, 1)[1] for line in trace.log.read_text().splitlines() if " = 0" in line]

    def first(*heads: str) -> int:
        return next(at for at, call in enumerate(calls) if call.startswith(heads))

    private, listens, named = first("chmod", "fchmod"), first("listen"), first("link", "rename")
    assert private < listens < named and "0600" in calls[private], calls
    assert not any(call.startswith("umask") for call in calls), calls


@row(
    "F42",
    fault="the service manager passes a listening socket; then a file, a connected socket, none, or two without names",
    holds="the good one is served; every other is an error by its name",
)
def test_f42_sockets_of_a_service_manager(serve: Serve, start: Start, place: Path, lang: str) -> None:
    def activated(*descriptors: int) -> Agent:
        """The agent gets these as 3, 4, … and is told so."""
        moves = " ".join(f"{3 + at}<&{fd}" for at, fd in enumerate(descriptors))
        script = f'exec {moves}; LISTEN_PID=$$ LISTEN_FDS={len(descriptors)} exec "$@"'
        return start(lang, wrap=["bash", "-c", script, "bash"], keep=descriptors)

    path = str(place / "s.sock")
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as second:
        listening.bind(path)
        listening.listen(16)
        os.chmod(path, 0o600)
        second.bind(str(place / "second.sock"))
        second.listen(16)
        serving = serve(activated(listening.fileno()), address="systemd:")
        with serving.survives():
            pass
        one, other = socket.socketpair()
        with one, other, (place / "file").open("w") as file:
            for bad in ([file.fileno()], [one.fileno()]):
                activated(*bad).fails("not_a_socket", "invalid_argument", op="listen", end="server", address="systemd:")
        both = activated(listening.fileno(), second.fileno())
        both.fails("invalid_argument", "not_found", op="listen", end="server", address="systemd:")
    start(lang).fails("not_found", "invalid_argument", op="listen", end="server", address="systemd:")
