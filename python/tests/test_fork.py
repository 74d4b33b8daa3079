"""Forks: a child never disturbs its parent's connections."""

from __future__ import annotations

import multiprocessing
import os
import sys
from typing import TYPE_CHECKING

import hostlane
import pytest
from forked import in_child

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import ThreadPoolExecutor

    from conftest import Pair
    from script import Script


def works(pair: Pair) -> None:
    """Both ends of the connection still do what they should."""
    pair.client.send(b"unaffected")
    assert pair.server.recv(timeout=5).data == b"unaffected"
    pair.server.send(b"both ways")
    assert pair.client.recv(timeout=5).data == b"both ways"


USES: dict[str, Callable[[hostlane.Peer], object]] = {
    "send": lambda peer: peer.send(b"from the child"),
    "recv": lambda peer: peer.recv(),
    "recv-now": lambda peer: peer.recv(timeout=0),
    "iterate": list,
    "request": lambda peer: peer.request(b"from the child"),
    "ping": lambda peer: peer.ping(),
    "drain": lambda peer: peer.drain(),
    "start": lambda peer: peer.start(b"from the child"),
    "open-stream": lambda peer: peer.open_stream(),
    "send-batch": lambda peer: peer.send_batch([b"from the child"]),
    "recv-batch": lambda peer: peer.recv_batch(timeout=0),
    "serve": lambda peer: peer.serve(lambda *_: None),
    "cork": lambda peer: peer.cork().__enter__(),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_child_cannot_use_a_peer(pair: Pair, use: Callable[[hostlane.Peer], object]) -> None:
    assert in_child(lambda: use(pair.client)) == "ForkedError"
    works(pair)


def test_a_child_cannot_ask_a_link(address: str) -> None:
    with hostlane.Link.open(address) as link:
        assert in_child(lambda: link.is_serving) == "ForkedError"


def test_a_child_cannot_reply(pair: Pair) -> None:
    pair.client.send(b"question")
    message = pair.server.recv(timeout=5)
    assert in_child(lambda: message.reply(b"from the child")) == "ForkedError"
    assert in_child(lambda: message.data) == repr(b"question")
    message.reply(b"from the parent")
    assert pair.client.recv(timeout=5).data == b"from the parent"


def test_a_child_cannot_answer_or_end_a_call(pair: Pair) -> None:
    call = pair.client.start(b"question")
    stream = pair.client.open_stream()
    message = pair.server.recv(timeout=5)
    opened = pair.server.recv(timeout=5)
    assert in_child(lambda: message.reply(b"from the child")) == "ForkedError"
    assert in_child(lambda: message.fail(1)) == "ForkedError"
    assert in_child(lambda: call.result(5)) == "ForkedError"
    assert in_child(lambda: stream.send(b"from the child")) == "ForkedError"
    assert in_child(call.cancel) == "None"
    assert in_child(stream.close) == "None"
    message.reply(b"from the parent")
    assert call.result(5).data == b"from the parent"
    opened.reply(b"from the parent")
    assert stream.recv(timeout=5) is None
    works(pair)


def test_a_child_cannot_accept(listener: hostlane.Listener, pool: ThreadPoolExecutor) -> None:
    assert in_child(listener.accept) == "ForkedError"
    accepting = pool.submit(listener.accept, 10)
    with hostlane.connect(listener.address), accepting.result():
        pass


def test_a_child_closes_nothing_of_its_parent(pair: Pair, listener: hostlane.Listener) -> None:
    def close_all() -> None:
        for one in (*pair, listener):
            one.close()

    assert in_child(close_all) in {"None", "ForkedError"}
    works(pair)
    assert os.path.exists(listener.address.removeprefix("unix:"))


def test_a_child_forked_during_a_wait(pair: Pair, pool: ThreadPoolExecutor) -> None:
    receiving = pool.submit(pair.client.recv)
    while pair.client.stats().pending_operations == 0:
        pass
    assert in_child(lambda: pair.client.send(b"x")) == "ForkedError"
    pair.server.send(b"for the parent")
    assert receiving.result(5).data == b"for the parent"
    works(pair)


def test_a_child_makes_its_own_connection(
    listener: hostlane.Listener, pool: ThreadPoolExecutor
) -> None:
    def serve() -> None:
        with listener.accept(10) as peer:
            for message in peer:
                message.reply(message.data)

    def call() -> bytes:
        with hostlane.connect(listener.address) as peer:
            return peer.request(b"from the child", timeout=5).data

    serving = pool.submit(serve)
    assert in_child(call) == repr(b"from the child")
    serving.result(5)


CHILD_EXITS = """
    import os, sys, threading, hostlane
    listener = hostlane.listen(sys.argv[1])
    accepted = []
    thread = threading.Thread(target=lambda: accepted.append(listener.accept()))
    thread.start()
    client = hostlane.connect(sys.argv[1])
    thread.join()
    server = accepted.pop()
    child = os.fork()
    if child == 0:
        del client
        sys.exit(0)
    status = os.waitpid(child, 0)[1]
    client.send(b"still")
    print(status, server.recv(timeout=5).data, os.path.exists(sys.argv[1]))
    for one in (client, server, listener):
        one.close()
"""


def test_a_child_may_end_like_any_process(address: str, script: type[Script]) -> None:
    parent = script(CHILD_EXITS, address, options=("-W", "always::ResourceWarning"))
    assert parent.end() == (0, "0 b'still' True\n", "")


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(address: str, script: type[Script], method: str) -> None:
    assert method in multiprocessing.get_all_start_methods()
    text = f"""
import multiprocessing, sys, hostlane
def serve(address, ready):
    with hostlane.listen(address) as listener:
        ready.set()
        with listener.accept(10) as peer:
            for message in peer:
                message.reply(message.data)
if __name__ == "__main__":
    context = multiprocessing.get_context({method!r})
    ready = context.Event()
    server = context.Process(target=serve, args=[sys.argv[1], ready])
    server.start()
    ready.wait(10)
    with hostlane.connect(sys.argv[1]) as peer:
        print(peer.request(b"between processes").data)
    server.join(10)
    print(server.exitcode)
"""
    file = address + ".py"
    with open(file, "w", encoding="utf-8") as out:
        out.write(text)
    runner = "import os, sys; os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    status, output, errors = script(runner, file, address).end()
    assert (status, output, errors) == (0, "b'between processes'\n0\n", "")
    assert sys.executable
