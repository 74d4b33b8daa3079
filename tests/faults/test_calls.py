"""Calls: answers that come twice, late or for nobody, cancels that cross, servers that come and go, drains, nesting."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from errors import NUMBERS
from harness import wait_until
from level1 import Type, control, parse_control
from level1 import message as encode
from peer1 import Level1Client, Level1Server
from raw1 import RawLevel1, hello
from stock import Background

from agents import Agent, Failed
from balance import Calling, Serving
from conftest import Serve, Start, rust_server
from matrix import row

MESSAGES = 3000
"""One-way messages beside calls."""

CLIENTS = 200
"""Clients that a restarted server has to take back at once."""

CROSSING = 150
"""Calls that are given up about when they are answered."""

PLACES = 16
"""Calls that the server of those takes at a time."""

NESTED = 16
"""Calls within calls."""


@contextlib.contextmanager
def by_hand(agent: Agent, path: Path) -> Iterator[RawLevel1]:
    """The agent is connected to a server whose frames the test writes."""
    with Level1Server(str(path)) as server:
        accepting = Background(server.accept_raw)
        agent.ask("connect", address=str(path))
        with accepting.result() as raw:
            yield raw
            agent.ask("reset")


@row(
    "F60",
    fault="a server answers each call twice, and answers calls that have ended",
    holds="each call has its own first answer, the others are dropped, 50 times",
)
def test_f60_answers_that_come_twice(calling: Calling, elsewhere: Path) -> None:
    agent = calling.agent
    with calling.survives():
        with by_hand(agent, elsewhere / "s.sock") as raw:
            for number in range(50):
                agent.post("call", text=f"question {number}")
                request = raw.message()
                for text in (request.payload, b"wrong"):
                    raw.send(encode(Type.RESPONSE, 1, request.id, text))
                raw.send(encode(Type.RESPONSE, 1, 1, b"long ago") if number else b"")
                assert agent.take()[0]["text"] == f"question {number}"


@row(
    "F60",
    fault="a server answers a call that nobody made",
    holds="protocol_error, and whoever waits is told",
)
def test_f60_an_answer_to_no_call(calling: Calling, elsewhere: Path) -> None:
    agent = calling.agent
    with calling.survives():
        with by_hand(agent, elsewhere / "s.sock") as raw:
            agent.post("call", text="question")
            request = raw.message()
            raw.send(encode(Type.RESPONSE, 1, request.id + 100, b"wrong"))
            with pytest.raises(Failed) as failed:
                agent.take()
            assert failed.value.name in ("protocol_error", "connection_lost"), failed.value
            raw.closed("protocol_error")


@row(
    "F62",
    fault="an answer comes behind, at and before the deadline of its call, 60 times",
    holds="the call has its own answer or timeout, and the next one never has that of another",
)
def test_f62_late_answers(calling: Calling, elsewhere: Path) -> None:
    agent = calling.agent
    with calling.survives():
        with by_hand(agent, elsewhere / "s.sock") as raw:
            outcomes = set()
            for number in range(60):
                agent.post("call", text=f"question {number}", timeout_ms=15)
                request = raw.message()
                assert request.payload == f"question {number}".encode()
                time.sleep(number % 3 * 0.0125)
                raw.send(encode(Type.RESPONSE, 1, request.id, request.payload))
                try:
                    assert agent.take()[0]["text"] == f"question {number}"
                    outcomes.add("answered")
                except Failed as failed:
                    assert failed.name == "timeout", failed
                    outcomes.add("timeout")
                    cancel = raw.expect(Type.CANCEL)
                    assert cancel["id"] == request.id
            assert outcomes == {"answered", "timeout"}


@row(
    "F63",
    fault=f"{CROSSING} calls are given up about when they are answered, every third in the write of its request, the others behind a pause that is longer after each that came too early and shorter after each that came too late; a client leaves before {PLACES} answers",
    holds=f"each has one end, its answer or cancelled, both occur, and nothing is kept: of {PLACES} places each is free again",
)
def test_f63_cancels_that_cross_answers(start: Start, serve: Serve, lang: str) -> None:
    serving = serve(start(lang), max_calls=PLACES)
    with serving.survives():
        with RawLevel1.opened(serving.path) as raw:
            pause, ends = 0.0002, set()
            for number in range(CROSSING):
                call = 2 * number + 1
                request, cancel = encode(Type.REQUEST, 1, call, b"sleep 1"), control(Type.CANCEL, id=call)
                if number % 3 == 0:
                    raw.send(request + cancel)
                else:
                    raw.send(request)
                    time.sleep(pause)
                    raw.send(cancel)
                last = raw.frame()
                assert last is not None and last.id == call and last.type in (Type.RESPONSE, Type.ERROR), last
                if last.type == Type.ERROR:
                    assert parse_control(Type.ERROR, last.payload)["code"] == NUMBERS["cancelled"]
                else:
                    assert last.payload == b"sleep 1"
                if number % 3:
                    pause *= 1.3 if last.type == Type.ERROR else 1 / 1.3
                    ends.add(Type(last.type))
            assert ends == {Type.RESPONSE, Type.ERROR}, f"only {ends}, the last pause was {pause * 1000:.3f} ms"
            again = range(2 * CROSSING + 1, 2 * (CROSSING + PLACES) + 1, 2)
            raw.send(b"".join(encode(Type.REQUEST, 1, call, b"%d" % call) for call in again))
            answers = {answer.id: answer.payload for answer in (raw.message() for _ in again)}
            assert answers == {call: b"%d" % call for call in again}
        with RawLevel1.opened(serving.path) as raw:
            for number in range(PLACES):
                raw.send(encode(Type.REQUEST, 1, 2 * number + 1, b"sleep 20"))


@row(
    "F64",
    fault=f"a server with {CLIENTS} connections is killed and begins again; all of them come back at once",
    holds="each of them is served within 3 s, while all the others are there",
)
def test_f64_everybody_comes_back_at_once(start: Start, serve: Serve, place: Path, lang: str) -> None:
    path = str(place / "s.sock")
    first = start(lang)
    first.ask("listen", "server", address=path)
    crowd = [Level1Client(path) for _ in range(CLIENTS)]
    first.kill()
    for client in crowd:
        client.sock.close()
    serving = serve(start(lang))
    with serving.survives(), contextlib.ExitStack() as stack:
        began = time.monotonic()
        back = [stack.enter_context(RawLevel1.connect(path)) for _ in range(CLIENTS)]
        for one in back:
            one.send(hello())
        for one in back:
            assert one.plain() is not None, "it is refused"
            one.go_on()
            one.send(control(Type.READY) + encode(Type.REQUEST, 1, 1, b"here again"))
        for one in back:
            one.expect(Type.READY)
            assert one.message().payload == b"here again"
        took = time.monotonic() - began
        assert took < 3.0, f"the last of them was served after {took:.2f} s"


@row(
    "F65",
    fault="the server is killed between its work and its answer",
    holds="connection_lost within 0.5 s, said to have perhaps been executed, once; a call that is made afterwards provably was not",
)
def test_f65_an_answer_that_is_lost(calling: Calling, start: Start, elsewhere: Path) -> None:
    agent = calling.agent
    path = str(elsewhere / "s.sock")
    with calling.survives():
        for _ in range(3):
            server = rust_server(start, path)
            agent.ask("connect", address=path)
            agent.post("call", text="watch")
            server.seen("server", requests=1)
            server.kill()
            with pytest.raises(Failed) as failed:
                agent.take(0.5)
            assert (failed.value.name, failed.value.sent) == ("connection_lost", "maybe")
            again = agent.fails("connection_lost", "peer_closed", op="call", text="again", within=0.5)
            assert again.sent == "no"
            agent.ask("reset")


@row(
    "F66",
    fault="a client that makes calls all the time is drained by the server",
    holds="every call has its answer or was provably not executed; the drain ends within 2 s",
)
def test_f66_a_drain_under_load(calling: Calling, start: Start, elsewhere: Path) -> None:
    agent = calling.agent
    path = str(elsewhere / "s.sock")
    with calling.survives():
        for _ in range(3):
            server = rust_server(start, path)
            agent.ask("connect", address=path)
            agent.post("calls", count=1500, text="busy")
            wait_until(lambda server=server: server.ask("seen", "server")["requests"] > 10, what="calls are served")
            server.ask("drain", "server", timeout_ms=2000)
            try:
                told, _ = agent.take()
                assert told["wrong"] == 0 and set(told["errors"]) <= {
                    "draining",
                    "peer_closed",
                    "closed",
                    "connection_lost",
                }, told
                assert (
                    told["right"]
                    <= server.ask("seen", "server")["requests"]
                    <= told["right"] + told["errors"].get("connection_lost", 0)
                )
            except Failed as failed:  # the one that could not be begun any more
                assert failed.name in ("draining", "peer_closed", "closed") and failed.sent == "no", failed
            agent.ask("reset")
            server.kill()


@row(
    "F67",
    fault=f"calls within calls, {NESTED} deep, and handlers that block while others are called",
    holds="all are answered, also PINGs meanwhile",
)
def test_f67_nested_calls_and_handlers_that_block(serving: Serving, start: Start, lang: str) -> None:
    client = start("rust")
    with serving.survives():
        client.ask("connect", address=serving.path)
        for depth in range(1, NESTED + 1):
            assert client.ask("call", text="back " * depth + "end")["text"] == "end"
        for number in range(8):
            client.ask("start", id=number, text="sleep 300")
        began = time.monotonic()
        client.ask("ping", timeout_ms=1000)
        assert client.ask("call", text="meanwhile", timeout_ms=1000)["text"] == "meanwhile"
        assert time.monotonic() - began < 0.29
        for number in range(8):
            assert client.ask("wait", id=number)["text"] == "sleep 300"
        client.ask("reset")


@row(
    "F21",
    fault="300 answers of many sizes leave a connection from their handlers, and 3,000 messages beside them",
    holds="no frame is inside another: each answer is its own, whole, and the messages are in order",
)
def test_f21_many_senders_on_one_connection(serving: Serving, lang: str) -> None:
    keeper, chance = serving.keeper, random.Random(21)

    def everything() -> None:
        serving.agent.post("send", "server", count=MESSAGES, size=500)
        asked = {}
        for number in range(300):
            payload = b"answer %d " % number + chance.randbytes(chance.choice((0, 9, 1000, 70_000, 300_000)))
            asked[keeper.begin(payload)] = payload
        came = [keeper.recv().payload for _ in range(MESSAGES)]
        for op, payload in asked.items():
            assert keeper.wait(op) == payload
        assert [int(one.partition(b".")[0]) for one in came] == list(range(MESSAGES))
        assert all(len(one) == 500 for one in came)
        serving.agent.take()

    # Threads of a pool stay: all of them are made now.
    for op in [keeper.begin(b"sleep 50") for _ in range(100)]:
        keeper.wait(op)
    everything()
    with serving.survives():
        everything()
