"""Signals: Ctrl-C leaves every wait; other signals disturb none."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING

import hostlane
import pytest
import wire
from clock import lasts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Pair
    from script import Script

# What is set up, and what then waits; against a server that reads nothing and never answers, or
# does not even shake hands.
PEER = "peer = hostlane.connect(sys.argv[1])"
FOLLOWER = f"""{PEER}
def other():
    try: peer.recv(2)
    except hostlane.Error: pass
threading.Thread(target=other, daemon=True).start()
while peer.stats().pending_operations == 0: pass"""
LINK = "link = hostlane.Link.open(sys.argv[3])"
LINK_FOLLOWER = f"""{LINK}
other = threading.Thread(target=link.next, daemon=True)
other.start()
stat = f"/proc/self/task/{{other.native_id}}/stat"
while open(stat).read().rpartition(")")[2].split()[0] != "S": pass"""
WAITS = {
    "connect": ("", "hostlane.connect(sys.argv[2], timeout=None)"),
    "accept": ("listener = hostlane.listen(sys.argv[3])", "listener.accept()"),
    "recv": (PEER, "peer.recv()"),
    "recv-with-deadline": (PEER, "peer.recv(timeout=60)"),
    "recv-on": (PEER, "peer.recv(3)"),
    "recv-beside-another": (FOLLOWER, "peer.recv(3)"),
    "iterate": (PEER, "list(peer)"),
    "request": (PEER, "peer.request(b'', timeout=None)"),
    "request-beside-another": (FOLLOWER, "peer.request(b'', timeout=None)"),
    "ping": (PEER, "peer.ping(timeout=None)"),
    "drain": (PEER, "peer.drain(timeout=None)"),
    "send": (PEER, "while True: peer.send(bytes(1 << 20), timeout=None)"),
    "result": (f"{PEER}; call = peer.start(b'', timeout=None)", "call.result()"),
    "recv-batch": (PEER, "peer.recv_batch()"),
    "link-next": (LINK, "link.next()"),
    "link-request": (LINK, "link.request(b'', timeout=None)"),
    "link-serve": (LINK, "link.serve(lambda message, link: None)"),
    "link-request-beside-another": (LINK_FOLLOWER, "link.request(b'', timeout=None)"),
    "peer-serve": (PEER, "peer.serve(lambda message, peer: None)"),
    "listener-serve": (
        "listener = hostlane.listen(sys.argv[3])",
        "listener.serve(lambda message, peer: None)",
    ),
}

SCRIPT = """
import sys, threading, time, hostlane
{setup}
try:
    print("waiting", flush=True)
    {wait}
except BaseException as error:
    print(time.monotonic(), type(error).__name__, error, flush=True)
"""


@pytest.fixture
def mute(folder: object) -> Iterator[tuple[str, str]]:
    """Addresses of a server that only shakes hands, and of one that does not even do that."""

    def greet() -> None:
        connection, _ = server.accept()
        connections.append(connection)
        peer = wire.Wire(connection)
        with contextlib.suppress(EOFError):  # the one that is to end this
            peer.recv_control()
            peer.send(wire.control(wire.RESPONSE))

    connections: list[object] = []
    with wire.serve(f"{folder}/mute") as server, wire.serve(f"{folder}/dead"):
        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        yield f"{folder}/mute", f"{folder}/dead"
        # Nobody may have come, and a thread that still accepts would fail in another test.
        with wire.dial(f"{folder}/mute"):
            pass
        thread.join(wire.LIMIT)
        assert not thread.is_alive()
        for connection in connections:
            connection.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize(("setup", "wait"), WAITS.values(), ids=WAITS)
def test_ctrl_c_leaves_every_wait(
    mute: tuple[str, str], address: str, script: type[Script], setup: str, wait: str
) -> None:
    waiting = script(SCRIPT.format(setup=setup, wait=wait), *mute, address)
    assert waiting.line() == "waiting"
    waiting.asleep()
    before = waiting.signal(signal.SIGINT)
    at, kind, *_ = waiting.line().split()
    assert kind == "KeyboardInterrupt"
    assert float(at) - before < 0.2
    status, _, errors = waiting.end()
    assert (status, errors) == (0, "")


def test_a_signal_ends_the_wait_and_not_the_call(pair: Pair) -> None:
    class Own(Exception):
        pass

    def handler(*_: object) -> None:
        raise Own

    call = pair.client.start(b"x", timeout=10)
    message = pair.server.recv(timeout=5)
    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(Own):
            call.result()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert not message.cancelled
    message.reply(b"y")
    assert call.result().data == b"y"


def test_the_exception_of_a_handler_arrives_unchanged(pair: Pair) -> None:
    class Own(Exception):
        pass

    own = Own("mine")

    def handler(*_: object) -> None:
        raise own

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with lasts(0.1, 2), pytest.raises(Own) as caught:
            pair.client.recv()
        assert caught.value is own
    finally:
        signal.signal(signal.SIGALRM, before)
    pair.server.send(b"nothing lost")
    assert pair.client.recv(timeout=5).data == b"nothing lost"


def test_a_handler_that_returns_changes_nothing(pair: Pair) -> None:
    ticks: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _: ticks.append(number))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
        with lasts(0.5, 2), pytest.raises(hostlane.TimeoutError):
            pair.client.recv(timeout=0.5)
        assert len(ticks) >= 5
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
