"""What a process may run out of: descriptors, memory, room in a directory, places in a backlog, places for calls."""

from __future__ import annotations

import contextlib
import os
import resource
import time
from pathlib import Path

from harness import crowded, processor_time
from level0 import DATA
from level1 import Type
from level1 import message as encode
from raw1 import RawLevel1
from stock import Background, StockServer
from wire import Wire

from agents import Agent
from balance import MIB, Calling, Serving
from cgroup import limited
from conftest import Serve, Start
from matrix import LATE, needs_cgroup, needs_mounts, needs_strace, row
from tracing import Trace, settle

CROWD = 1000
ACCEPTS = "accept,accept4"


@row(
    "F25",
    fault=f"{CROWD} connections come at once, and say nothing, or leave at once",
    holds="a client that came before is served meanwhile, and all is as before when they are gone",
)
def test_f25_a_crowd_of_connections(serving: Serving, lang: str) -> None:
    with serving.survives():
        crowd: list[Wire] = []
        try:
            for number in range(CROWD):
                crowd.append(Wire.connect(serving.path))
                if number % 2:
                    crowd.pop().close()
            assert serving.keeper.request(b"in the crowd", 2.0) == b"in the crowd"
        finally:
            for one in crowd:
                one.close()


@row(
    "F26",
    fault="a server has no descriptor left, and 50 clients wait",
    holds="it goes on serving whom it has, uses less than a fifth of a processor, and serves the others when there are some again",
)
def test_f26_no_descriptor_to_accept_with(serving: Serving, lang: str) -> None:
    agent = serving.agent
    whole = resource.prlimit(agent.pid, resource.RLIMIT_NOFILE)[0]
    with serving.survives():
        agent.limit(resource.RLIMIT_NOFILE, _highest(agent) + 3)
        crowd = [Wire.connect(serving.path) for _ in range(50)]
        try:
            settle(0.2)
            before = processor_time(agent.pid)
            settle(1.0)
            used = processor_time(agent.pid) - before
            assert used < 0.2, f"{used:.2f} s of processor time in a second"
            assert serving.keeper.request(b"still here?") == b"still here?"
        finally:
            agent.limit(resource.RLIMIT_NOFILE, whole)
        waiting = Background(serving.probe)
        assert waiting.result(2.0) < 1.0
        for one in crowd:
            one.close()


def _highest(agent: Agent) -> int:
    return max(int(name) for name in os.listdir(f"/proc/{agent.pid}/fd"))


@needs_strace
@row(
    "F26",
    fault="accept fails, each time twice, with EMFILE, ENFILE, ENOBUFS, ENOMEM, ECONNABORTED, EPROTO, EINTR",
    holds="the next client is served all the same",
)
def test_f26_accept_fails(serving: Serving, place: Path, lang: str) -> None:
    with serving.survives():
        for errno in ("EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "ECONNABORTED", "EPROTO", "EINTR"):
            trace = Trace(
                serving.agent.pid,
                place / "logs/accept",
                "-e",
                f"trace={ACCEPTS}",
                "-e",
                f"inject={ACCEPTS}:error={errno}:when=1..2",
            )
            try:
                assert serving.probe() < 1.5, errno
            finally:
                trace.end()
            assert errno in trace.log.read_text(), f"{errno} was never met"


@row(
    "F27",
    fault="a client has no descriptor left and connects, 20 times; a server has none and listens",
    holds="too_many_files each time, nothing half-made is kept, and it works when there are some again",
)
def test_f27_no_descriptor_to_connect_with(calling: Calling, elsewhere: Path) -> None:
    agent = calling.agent
    whole = resource.prlimit(agent.pid, resource.RLIMIT_NOFILE)[0]
    path = str(elsewhere / "s.sock")
    with calling.survives():
        for spare in (0, 1, 2):
            calling.let_go()
            agent.limit(resource.RLIMIT_NOFILE, _lowest_free(agent) + spare)
            try:
                for _ in range(20):
                    failed = agent.fails("too_many_files", op="listen", end="server", address=path, within=1.0)
                    if spare == 0:
                        failed = agent.fails(
                            "too_many_files", op="connect", address=calling.path, within=1.0, timeout_ms=2000
                        )
                        assert failed.name == "too_many_files"
            finally:
                agent.limit(resource.RLIMIT_NOFILE, whole)


def _lowest_free(agent: Agent) -> int:
    """No descriptor below it is free: what is free there is not counted, so that the limit is met."""
    taken = {int(name) for name in os.listdir(f"/proc/{agent.pid}/fd")}
    return next(number for number in range(1 << 16) if number not in taken)


@needs_cgroup
@row(
    "F28",
    fault="12 clients ask for 3 MiB each and read no answer, in a group with 240 MiB of memory",
    holds="the server is not killed, a client that came before is served meanwhile, and a second flood takes no more",
    full=("c", "python-aio"),
)
def test_f28_a_flood_under_a_limit_of_memory(serving: Serving, lang: str) -> None:
    def flood() -> None:
        with contextlib.ExitStack() as stack:
            for _ in range(12):
                one = stack.enter_context(RawLevel1.opened(serving.path))
                with contextlib.suppress(TimeoutError, BrokenPipeError):
                    for call in range(1, 13, 2):  # each fits into the credit there is
                        one.send(encode(Type.REQUEST, 1, call, bytes(MIB // 2)), 0.2)
                        settle(0.01)
            assert serving.keeper.request(b"in the flood", 5.0) == b"in the flood"

    with limited(serving.agent.pid, 240 * MIB):
        for _ in range(3):  # what the allocator keeps of it is not given back
            flood()
        with serving.survives():
            flood()


@needs_mounts
@row(
    "F31",
    fault="the directory of the socket is on a file system without a free inode, or on one that is read-only",
    holds="io or permission_denied, nothing is left behind; the process serves elsewhere",
)
def test_f31_no_room_for_the_socket(serve: Serve, start: Start, place: Path, lang: str) -> None:
    full, fixed = place / "full", place / "fixed"
    full.mkdir()
    fixed.mkdir()
    script = 'mount -t tmpfs -o nr_inodes=2,mode=700 tmpfs "$1" && mount -t tmpfs -o ro,mode=700 tmpfs "$2" && shift 2 && exec "$@"'
    agent = start(
        lang, wrap=["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh", str(full), str(fixed)]
    )
    serving = serve(agent)
    inside = Path(f"/proc/{agent.pid}/root{full}")
    with serving.survives():
        for _ in range(3):
            # The lock file has the last inode; it stays for the next one.
            agent.fails("io", op="listen", end="client", address=str(full / "s.sock"))
            assert {one.name for one in inside.iterdir()} <= {"s.lock"}
            agent.fails("io", "permission_denied", op="listen", end="client", address=str(fixed / "s.sock"))


@needs_strace
@row(
    "F31",
    fault="bind, listen, linkat, fchmodat, flock and openat fail, one after the other, with ENOSPC, EROFS, EIO and EACCES, as the server begins",
    holds="an error by its name, no socket under any name is left, and the next attempt serves",
)
def test_f31_each_step_of_listening_fails(serve: Serve, start: Start, place: Path, lang: str) -> None:
    agent = start(lang)
    path = str(place / "s.sock")
    agent.ask("listen", "server", address=path)  # what is loaded at the first time is loaded
    agent.ask("reset", "server")
    met = 0
    for call in ("bind", "listen", "linkat", "fchmodat,chmod,fchmod", "flock", "openat"):
        # Programs open other files as well; this one is opened by its name in its directory.
        only = ("-P", "s.lock") if call == "openat" else ()
        for errno in ("ENOSPC", "EROFS", "EIO", "EACCES"):
            inject = ("-e", f"trace={call}", "-e", f"inject={call}:error={errno}")
            trace = Trace(agent.pid, place / "logs/step", *only, *inject)
            try:
                failed = agent.fails("io", "permission_denied", "unsupported", op="listen", end="server", address=path)
            finally:
                trace.end()
            met += "INJECTED" in trace.log.read_text()
            assert failed.name == ("permission_denied" if errno in ("EACCES",) else "io") or errno == "EROFS", failed
            assert {one.name for one in place.iterdir()} == {"logs", "s.lock"}, f"{call} {errno}"
    assert met == 24
    serving = serve(agent)
    with serving.survives():
        pass


@row(
    "F32",
    fault="the backlog of the server is full until the deadline of the client",
    holds="timeout at the deadline, without spinning, and nothing is kept",
)
def test_f32_a_full_backlog(calling: Calling, elsewhere: Path) -> None:
    agent = calling.agent
    with StockServer(str(elsewhere / "s.sock")) as server, crowded(server.sock), calling.survives():
        before = processor_time(agent.pid)
        for _ in range(3):
            failed = agent.fails("timeout", op="connect", address=server.path, timeout_ms=400, within=0.9)
            assert failed.ms >= 395, failed
        used = processor_time(agent.pid) - before
        assert used < 0.5, f"{used:.2f} s of processor time in 1.2 s"


@row(
    "F34",
    fault="a server never answers: 16 calls at a time are all it takes, 40 are made; then their deadline comes",
    holds="each ends once with timeout, all within 1 s of their deadline; the next server is called as ever",
)
def test_f34_calls_that_are_never_answered(calling: Calling, start: Start, elsewhere: Path) -> None:
    server = start("rust")
    path = str(elsewhere / "s.sock")
    server.ask("listen", "server", address=path, max_calls=16)
    with calling.survives():
        for _ in range(2):
            calling.agent.ask("connect", address=path)
            began = time.monotonic()
            told = calling.agent.ask("calls", count=40, text="watch", timeout_ms=500)
            took = time.monotonic() - began
            assert told["right"] == told["wrong"] == 0 and sum(told["errors"].values()) == 40, told
            assert set(told["errors"]) == {"timeout"}, told
            assert 0.49 <= took < 1.5, f"{took:.1f} s"
            calling.agent.ask("reset")


@row(
    "F29",
    fault="nobody takes the messages of a channel, with each policy",
    holds=f"block: timeout not before the deadline and within {LATE} s of it; error: would_block; drop_oldest and latest: no wait, and what was dropped is counted",
)
def test_f29_a_slow_consumer(calling: Calling, start: Start, elsewhere: Path) -> None:
    server = start("rust")
    path = str(elsewhere / "s.sock")

    def slow() -> None:
        for policy, error in {"block": "timeout", "error": "would_block", "drop_oldest": None, "latest": None}.items():
            server.ask("listen", "server", address=path, serve=0)
            calling.agent.ask("connect", address=path, policy=policy, policy_channel=DATA)
            arguments = {"count": 400, "size": 65536, "channel": DATA, "timeout_ms": 300}
            if error is not None:
                failed = calling.agent.fails(error, op="send", within=0.3 + LATE, **arguments)
                assert error != "timeout" or failed.ms >= 295, failed
            else:
                calling.agent.ask("send", **arguments)
                assert calling.agent.ask("stats", channel=DATA)["dropped"] > 0
            calling.agent.ask("reset")
            server.ask("reset", "server")

    slow()  # what the allocator keeps of it is not given back
    with calling.survives():
        slow()
