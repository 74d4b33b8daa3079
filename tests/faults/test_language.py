"""The language boundary: objects that are closed, used by others, collected or alive when a process ends."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from level0 import DATA
from level1 import Type
from level1 import message as encode
from raw1 import RawLevel1
from wire import Wire

from agents import PROGRAMS, Agent, Failed
from balance import Calling, Serving
from conftest import Serve, Start, rust_server
from matrix import row

LEAVES = 2.0
"""Seconds in which a process with live objects has to end by itself."""

GONE = ("closed", "invalid_handle")
"""What is said of a closed object; in C and C++ its handle is gone."""

ROUNDS = 40


@row(
    "F85",
    fault="a connection is closed, then used for everything there is, and closed again",
    holds="closed, or invalid_handle where handles are numbers, each time within 0.2 s; closing again is no error",
)
def test_f85_a_connection_is_used_after_it_was_closed(calling: Calling, lang: str) -> None:
    agent = calling.agent
    with calling.survives():
        for _ in range(5):
            agent.ask("connect", address=calling.path)
            agent.ask("call", text="open")
            agent.ask("close")
            for op, arguments in {
                "call": {"text": "x"},
                "send": {"count": 1},
                "stream": {"text": "stream echo", "count": 1},
                "ping": {},
                "stats": {},
                "drain": {},
            }.items():
                try:
                    agent.ask(op, timeout_ms=1000, **arguments)
                    # What a connection was and counted may still be asked, and draining it is done.
                    assert op in ("stats", "drain"), f"{op} of a closed connection"
                except Failed as failed:
                    assert failed.name in GONE and failed.ms < 200, failed
            agent.ask("close")
            agent.ask("close")
            agent.ask("reset")


@row(
    "F85",
    fault="a listener is closed while clients are connected and one is in the handshake, then listens again",
    holds="accepted connections go on, the half-open one is ended, the address is free at once",
)
def test_f85_a_listener_is_closed_and_opened(serving: Serving, lang: str) -> None:
    agent = serving.agent
    with serving.survives():
        for _ in range(ROUNDS):
            own = f"{serving.path}2"
            agent.ask("listen", "client", address=own)
            with Wire.connect(own) as half_open, RawLevel1.opened(own) as raw:
                raw.call(_request(b"served"))
                agent.ask("reset", "client")
                half_open.rest(1.0)
            assert not Path(own).exists()
        Path(own + ".lock").unlink()


@row(
    "F85",
    fault="a call is waited for after it was cancelled, and waited for and cancelled after it was answered",
    holds="an error by its name or the same answer, and the connection goes on",
    langs=("c", "cpp", "node"),
)
def test_f85_a_call_is_used_after_its_end(calling: Calling, start: Start, elsewhere: Path, lang: str) -> None:
    agent, path = calling.agent, str(elsewhere / "s.sock")
    rust_server(start, path)
    with calling.survives():
        agent.ask("connect", address=path)
        for number in range(10):
            agent.ask("start", id=number, text="answered")
            assert agent.ask("wait", id=number)["text"] == "answered"
            again = tolerate(agent, "wait", id=number)
            assert again is None or again["text"] == "answered"
            tolerate(agent, "cancel", id=number)
            if lang == "cpp":
                continue  # a call is cancelled there by its destructor
            agent.ask("start", id=number, text="watch")
            agent.ask("cancel", id=number)
            assert tolerate(agent, "wait", id=number) is None
            tolerate(agent, "cancel", id=number)
        assert agent.ask("call", text="on")["text"] == "on"
        agent.ask("reset")


def tolerate(agent: Agent, op: str, **arguments: object) -> Any:
    """What came of it; an error by its name will do, and is None."""
    try:
        return agent.ask(op, **arguments)
    except Failed as failed:
        assert failed.name in ("cancelled", "call_ended", *GONE), failed
        return None


@row(
    "F88",
    fault="a connection is closed while a call waits in it and a thread, task or callback receives from it, 40 times",
    holds="the call ends with closed within 0.1 s, the receiver leaves, and nothing is kept",
)
def test_f88_closed_while_others_are_inside(calling: Calling, start: Start, elsewhere: Path, lang: str) -> None:
    agent, server = calling.agent, start("rust")
    path = str(elsewhere / "s.sock")
    server.ask("listen", "server", address=path)
    with calling.survives():
        for _ in range(ROUNDS):
            agent.ask("connect", address=path)
            agent.ask("start", id=1, text="watch")
            agent.ask("close")
            agent.fails("closed", op="wait", id=1, within=0.1)
            agent.ask("reset")


COLLECTED: dict[str, tuple[list[str], dict[str, str]]] = {
    "python": ([], {}),
    "python-aio": ([], {}),
    "node": (["--expose-gc", "--import", "data:text/javascript,setInterval(gc,1).unref()"], {}),
    "go": ([], {"GOGC": "1"}),
}
"""How garbage is collected all the time, in the languages that collect it."""

EAGER = "import gc, runpy, sys; gc.set_threshold(1); sys.argv.pop(0); sys.path.insert(0, sys.argv[0].rsplit('/', 1)[0]); runpy.run_path(sys.argv[0], run_name='__main__')"


@row(
    "F89",
    fault="garbage is collected all the time while calls, streams and handlers are under way",
    holds="nothing that is in use is collected: everything is answered",
    langs=("python", "python-aio", "node", "go"),
)
def test_f89_garbage_is_collected_all_the_time(
    start: Start, serve: Serve, lang: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, env = COLLECTED[lang]
    program = PROGRAMS[lang]
    eager = (
        [program[0], "-c", EAGER, *program[1:]] if lang.startswith("python") else [program[0], *options, *program[1:]]
    )
    monkeypatch.setitem(PROGRAMS, lang, eager)
    server, client = start(lang, env=env), start(lang, env=env)
    serving = serve(server)

    def everything(messages: int) -> None:
        client.ask("connect", address=serving.path)
        for _ in range(5):
            assert client.ask("calls", count=100, text="many")["right"] == 100
            assert client.ask("stream", text="stream echo", count=30)["items"] == 30
            assert client.ask("call", text="back back x")["text"] == "x"
            assert client.ask("call", text="large", size=1 << 20)["len"] == 1 << 20
            client.ask("start", id=1, text="sleep 50")
            assert client.ask("wait", id=1)["text"] == "sleep 50"
        client.ask("send", count=messages, size=3000)
        server.seen("server", messages=messages, ordered=True)
        client.ask("reset")

    everything(0)  # what the allocator keeps of it is not given back
    with serving.survives():
        everything(200)


@row(
    "F90",
    fault="handlers fail: with an error for the caller, without an answer, and by the error of a call of their own",
    holds="the caller is told each time, within 2 s; the connection and the process live on",
)
def test_f90_handlers_that_fail(serving: Serving, start: Start, lang: str) -> None:
    client = start("rust")
    with serving.survives():
        client.ask("connect", address=serving.path)
        for _ in range(10):
            remote = client.fails("remote_error", op="call", text="fail 77 because")
            assert (remote.error["status"], remote.error["data"]) == (77, "because")
            client.fails("call_abandoned", op="call", text="abandon", within=2.0)
            # Nobody is there to answer it, nor is there anybody behind.
            client.fails("remote_error", "call_abandoned", op="call", text="back abandon", within=2.0)
            assert client.ask("call", text="on")["text"] == "on"
        client.ask("reset")


def _long(agent: Agent) -> str:
    """A request whose handler does not end by itself; Python waits for the threads of its executors, whatever they do."""
    return "sleep 500" if agent.lang == "python" else "watch"


def _listening(agent: Agent, path: str) -> None:
    agent.ask("listen", "server", address=path)


def _half_open(agent: Agent, path: str) -> Wire:
    _listening(agent, path)
    wire = Wire.connect(path)
    wire.send(b"IP")
    return wire


def _serving(agent: Agent, path: str) -> RawLevel1:
    _listening(agent, path)
    raw = RawLevel1.opened(path)
    raw.send(_request(_long(agent).encode()))
    agent.seen("server", requests=1)
    return raw


def _request(payload: bytes) -> bytes:
    return encode(Type.REQUEST, 1, 1, payload)


def _unread(agent: Agent, path: str) -> RawLevel1:
    agent.ask("listen", "server", address=path, serve=0)
    raw = RawLevel1.opened(path)
    raw.send(_request(b"never taken"))
    return raw


def _calling(agent: Agent, path: str) -> object:
    opened = _listening(agent, path)
    agent.ask("connect", address=path)
    agent.ask("start", id=1, text=_long(agent))
    agent.seen("server", requests=1)
    return opened


def _flooded(agent: Agent, path: str) -> object:
    agent.ask("listen", "server", address=path)
    agent.ask("connect", address=path, policy="drop_oldest", policy_channel=DATA)
    agent.ask("send", count=300, size=20_000, channel=DATA)
    return None


def _closed(agent: Agent, path: str) -> object:
    _calling(agent, path)
    agent.ask("close")
    return None


STAGES: dict[str, Callable[[Agent, str], object]] = {
    "listening": _listening,
    "half-open": _half_open,
    "serving": _serving,
    "unread": _unread,
    "calling": _calling,
    "flooded": _flooded,
    "closed": _closed,
}


@row(
    "F91",
    fault="a handler closes the connection that its call came on, with another call and a message of that connection behind it, 20 times",
    holds="whoever called is told within 1 s; nothing waits for itself, nothing comes afterwards, and others are served",
)
def test_f91_closed_from_within_a_handler(serving: Serving, lang: str) -> None:
    before = serving.agent.ask("seen", "server")["messages"]
    with serving.survives():
        for _ in range(20):
            with RawLevel1.opened(serving.path) as raw:
                raw.send(encode(Type.REQUEST, 1, 1, b"watch") + encode(Type.REQUEST, 1, 3, b"close"))
                raw.closed("closed", timeout=1.0)
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    raw.send(encode(Type.MESSAGE, DATA, 0, b"1.too late"))
    assert serving.agent.ask("seen", "server")["messages"] == before


@pytest.mark.parametrize("stage", STAGES)
@row(
    "F92",
    fault="the main program ends: while it listens, with a handshake half done, in a handler, with messages nobody took, with a call under way, with messages on the way, closed",
    holds="the process ends by itself within 2 s with its own status",
)
def test_f92_the_process_ends_with_live_objects(start: Start, place: Path, lang: str, stage: str) -> None:
    agent = start(lang)
    kept = STAGES[stage](agent, str(place / "s.sock"))
    agent.expected_to_die = True
    status = agent.leave(LEAVES)
    assert status == 0, f"status {status} while {stage}: {agent.err}"
    close = getattr(kept, "close", None)
    if close is not None:
        close()
