"""Connections: sending, receiving, calling, ending."""

from __future__ import annotations

import copy
import gc
import math
import os
import pickle
import threading
import time
from typing import TYPE_CHECKING

import hostlane
import pytest
from clock import lasts
from script import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import ThreadPoolExecutor

    from conftest import Pair


def answer(peer: hostlane.Peer, count: int) -> None:
    """Replies to so many messages with their own bytes."""
    for _ in range(count):
        message = peer.recv(timeout=10)
        message.reply(message.data)


def test_one_way_both_ways(pair: Pair) -> None:
    pair.client.send(b"there")
    assert pair.server.recv(timeout=5).data == b"there"
    pair.server.send(b"back")
    assert pair.client.recv(timeout=5).data == b"back"


def test_messages_of_all_channels_come_in_order(pair: Pair) -> None:
    for number in range(100):
        pair.client.send(str(number).encode(), channel=number % 4 + 1)
    received = [pair.server.recv(timeout=5) for _ in range(100)]
    assert [int(message.data) for message in received] == list(range(100))
    assert [message.channel for message in received] == [number % 4 + 1 for number in range(100)]


def test_one_channel_at_a_time(pair: Pair) -> None:
    for number in range(20):
        pair.client.send(str(number).encode(), channel=number % 2 + 2)
    third = [int(pair.server.recv(hostlane.TELEMETRY, timeout=5).data) for _ in range(10)]
    assert third == list(range(1, 20, 2))
    rest = [int(pair.server.recv(timeout=5).data) for _ in range(10)]
    assert rest == list(range(0, 20, 2))


def test_channels_of_the_program(address: str, pool: ThreadPoolExecutor) -> None:
    with hostlane.listen(address, channels=[2, 256, 65_535]) as listener:
        accepting = pool.submit(listener.accept, 10)
        client = hostlane.connect(address, channels=iter([65_535, 1, 2]))
        with client, accepting.result() as server:
            assert client.info().channels == server.info().channels == (65_535, 2)
            client.send(b"own", channel=65_535)
            assert server.recv(65_535, timeout=5).data == b"own"
            with pytest.raises(hostlane.InvalidChannelError):
                client.send(b"not agreed", channel=1)
            with pytest.raises(hostlane.InvalidChannelError):
                client.recv(256, timeout=0)


@pytest.mark.parametrize("channel", [0, 5, 255, 256, 65_536, -1, 10**30])
def test_channels_that_are_none(pair: Pair, channel: int) -> None:
    with pytest.raises(hostlane.InvalidChannelError) as caught:
        pair.client.send(b"", channel=channel)
    assert isinstance(caught.value, ValueError)
    with pytest.raises(hostlane.InvalidChannelError):
        pair.client.recv(channel, timeout=0)


def test_iteration_ends_when_the_other_side_closes(pair: Pair) -> None:
    for number in range(50):
        pair.client.send(str(number).encode())
    pair.client.close()
    assert [int(message.data) for message in pair.server] == list(range(50))
    with pytest.raises(hostlane.PeerClosedError):
        pair.server.recv(timeout=5)


def test_iteration_ends_when_this_side_closes(pair: Pair, pool: ThreadPoolExecutor) -> None:
    count = pool.submit(lambda: sum(1 for _ in pair.server))
    pair.client.send(b"one")
    until(lambda: pair.server.stats().channels[1].messages_received == 1)
    pair.server.close()
    assert count.result(5) <= 1


def test_calls(pair: Pair, pool: ThreadPoolExecutor) -> None:
    serving = pool.submit(answer, pair.server, 100)
    for number in range(100):
        reply = pair.client.request(str(number).encode(), timeout=10)
        assert (int(reply.data), reply.channel) == (number, hostlane.COMMAND)
    serving.result(5)
    assert pair.client.stats().calls == 100


def test_many_threads_share_a_peer(pair: Pair, pool: ThreadPoolExecutor) -> None:
    threads, calls = 8, 50
    serving = pool.submit(answer, pair.server, threads * calls)

    def call(thread: int) -> None:
        for number in range(calls):
            data = f"{thread}.{number}".encode()
            assert pair.client.request(data, timeout=20).data == data

    for calling in [pool.submit(call, thread) for thread in range(threads)]:
        calling.result(20)
    serving.result(5)


def test_many_threads_receive_each_message_once(pair: Pair, pool: ThreadPoolExecutor) -> None:
    receiving = [pool.submit(lambda: [int(m.data) for m in pair.server]) for _ in range(6)]

    def send(start: int) -> None:
        for number in range(start, start + 200):
            pair.client.send(str(number).encode())

    sending = [pool.submit(send, start) for start in range(0, 1000, 200)]
    for one in sending:
        one.result(10)
    pair.client.close()
    received = [number for one in receiving for number in one.result(10)]
    assert sorted(received) == list(range(1000))


def test_both_directions_at_once(pair: Pair, pool: ThreadPoolExecutor) -> None:
    def send(peer: hostlane.Peer) -> None:
        for _ in range(16):
            peer.send(bytes(1 << 20), timeout=20)

    def exchange(peer: hostlane.Peer) -> int:
        sending = pool.submit(send, peer)
        size = sum(len(peer.recv(timeout=20)) for _ in range(16))
        sending.result(20)
        return size

    ends = [pool.submit(exchange, peer) for peer in pair]
    assert [end.result(30) for end in ends] == [16 << 20, 16 << 20]


@pytest.mark.parametrize("timeout", [0, 0.0, 0.05, 0.3])
def test_a_receive_that_times_out_loses_nothing(pair: Pair, timeout: float) -> None:
    with lasts(timeout, timeout + 2), pytest.raises(hostlane.TimeoutError) as caught:
        pair.server.recv(timeout=timeout)
    assert isinstance(caught.value, TimeoutError)
    pair.client.send(b"late")
    assert pair.server.recv(timeout=5).data == b"late"


@pytest.mark.parametrize("timeout", [-1, -0.001, math.nan, -math.inf, 10**400])
def test_timeouts_that_are_none(pair: Pair, timeout: float) -> None:
    waits: list[Callable[[], object]] = [
        lambda: pair.client.send(b"", timeout=timeout),
        lambda: pair.client.recv(timeout=timeout),
        lambda: pair.client.request(b"", timeout=timeout),
        lambda: pair.client.ping(timeout=timeout),
        lambda: pair.client.drain(timeout=timeout),
        lambda: hostlane.connect("nowhere", timeout=timeout),
    ]
    for wait in waits:
        with pytest.raises(hostlane.InvalidArgumentError, match="timeout"):
            wait()


@pytest.mark.parametrize("timeout", [None, math.inf, 1e300, 1e10, 5])
def test_timeouts_without_a_practical_end(pair: Pair, timeout: float | None) -> None:
    pair.client.send(b"x", timeout=timeout)
    assert pair.server.recv(timeout=timeout).data == b"x"


def test_the_reply_to_a_call_that_timed_out_reaches_nobody(
    pair: Pair, pool: ThreadPoolExecutor
) -> None:
    with lasts(0.2, 2), pytest.raises(hostlane.TimeoutError) as caught:
        pair.client.request(b"never answered in time", timeout=0.2)
    assert caught.value.sent == "maybe"
    late = pair.server.recv(timeout=0)
    calling = pool.submit(pair.client.request, b"the next call", timeout=5)
    pair.server.recv(timeout=5).reply(b"its own reply")
    with pytest.raises(hostlane.CallEndedError):
        late.reply(b"too late")
    assert calling.result(5).data == b"its own reply"


def test_on_level_0_a_call_that_timed_out_ends_the_connection(pair_on_level_0: Pair) -> None:
    pair = pair_on_level_0
    with lasts(0.2, 2), pytest.raises(hostlane.TimeoutError) as caught:
        pair.client.request(b"never answered in time", timeout=0.2)
    assert caught.value.sent == "maybe"
    with pytest.raises(hostlane.Error) as after:
        pair.client.request(b"the next call", timeout=5)
    assert after.value.sent == "no"
    first = pair.server.recv(timeout=5)
    assert first.data == b"never answered in time"
    with pytest.raises(hostlane.Error):
        pair.server.recv(timeout=5)


def test_ping(pair: Pair, pool: ThreadPoolExecutor) -> None:
    waiting = pool.submit(pair.server.recv, timeout=10)
    assert 0 < pair.client.ping(timeout=5) < 5
    pair.client.send(b"done")
    waiting.result(5)


def test_drain_lets_calls_finish(pair: Pair, pool: ThreadPoolExecutor) -> None:
    calling = pool.submit(pair.client.request, b"slow", timeout=10)
    message = pair.server.recv(timeout=5)
    draining = pool.submit(pair.client.drain, timeout=10)
    message.reply(b"answered")
    assert calling.result(5).data == b"answered"
    with pytest.raises(hostlane.PeerClosedError):
        pair.server.recv(timeout=5)
    draining.result(5)
    with pytest.raises(hostlane.ClosedError):
        pair.client.send(b"")
    for peer in pair:
        peer.drain()


def test_a_cork_may_outlast_its_connection(pair: Pair) -> None:
    with pair.client.cork():
        pair.client.close()


def test_use_after_close(pair: Pair) -> None:
    pair.client.close()
    uses: list[Callable[[], object]] = [
        lambda: pair.client.send(b""),
        lambda: pair.client.recv(),
        lambda: pair.client.recv(2, timeout=1),
        lambda: pair.client.request(b""),
        lambda: pair.client.ping(),
        lambda: pair.client.drain(),
        lambda: pair.client.cork().__enter__(),
    ]
    for use in uses:
        with pytest.raises(hostlane.ClosedError) as caught:
            use()
        assert isinstance(caught.value, ConnectionError)
    assert list(pair.client) == []
    assert pair.client.info().peer_id == pair.server.info().peer_id
    pair.client.close()
    assert "closed" in repr(pair.client)


@pytest.mark.parametrize(
    "wait",
    [
        lambda peer: peer.recv(),
        lambda peer: peer.recv(3),
        lambda peer: peer.request(b"", timeout=None),
        lambda peer: peer.ping(timeout=None),
    ],
    ids=["recv", "recv-on", "request", "ping"],
)
def test_close_wakes_every_waiter(
    pair: Pair, pool: ThreadPoolExecutor, wait: Callable[[hostlane.Peer], object]
) -> None:
    waiting = [pool.submit(wait, pair.client) for _ in range(4)]
    until(lambda: pair.client.stats().pending_operations >= 4)
    pair.client.close()
    for one in waiting:
        with pytest.raises(hostlane.ClosedError):
            one.result(5)


def test_close_wakes_a_sender(pair: Pair, pool: ThreadPoolExecutor) -> None:
    def fill() -> None:
        while True:
            pair.client.send(bytes(1 << 20), timeout=None)

    sending = pool.submit(fill)

    def full() -> bool:
        before = pair.client.stats()
        time.sleep(0.05)
        return before.channels[1].bytes_sent > 0 and pair.client.stats() == before

    until(full)
    pair.client.close()
    with pytest.raises(hostlane.ClosedError):
        sending.result(5)


def test_a_waiting_receive_lets_other_threads_run(pair: Pair, pool: ThreadPoolExecutor) -> None:
    waiting = pool.submit(pair.server.recv)
    until(lambda: pair.server.stats().pending_operations == 1)
    assert sum(range(1000)) == 499_500
    pair.client.send(b"enough")
    assert waiting.result(5).data == b"enough"


@pytest.mark.parametrize(("kind", "level"), [("pair", 1), ("pair_on_level_0", 0)])
def test_info(request: pytest.FixtureRequest, address: str, kind: str, level: int) -> None:
    pair: Pair = request.getfixturevalue(kind)
    client, server = pair.client.info(), pair.server.info()
    assert client.peer_id == server.peer_id != ""
    assert client.channels == server.channels == (1, 2, 3, 4)
    assert (client.level, client.carrier, client.max_message) == (level, "unix", 16 << 20)
    assert client.address == server.address
    assert address in client.address
    assert server.peer_instance == client.instance
    assert len(client.instance) == 32
    for one in (client, server):
        ids = one.credentials
        assert ids is not None
        assert (ids.pid, ids.uid, ids.gid) == (os.getpid(), os.getuid(), os.getgid())
    assert client == pair.client.info()


def test_stats(pair: Pair) -> None:
    pair.client.send(b"12345")
    pair.client.send(b"")
    until(lambda: pair.client.stats().channels[1].messages_sent == 2)
    sent = pair.client.stats().channels[1]
    assert (sent.channel, sent.messages_sent, sent.bytes_sent) == (2, 2, 5)
    pair.server.recv(timeout=5)
    pair.server.recv(timeout=5)
    got = pair.server.stats().channels[1]
    assert (got.messages_received, got.bytes_received, got.queued) == (2, 5, 0)


def test_a_smaller_limit_is_agreed(address: str, pool: ThreadPoolExecutor) -> None:
    with hostlane.listen(address, max_message=100) as listener:
        accepting = pool.submit(listener.accept, 10)
        with hostlane.connect(address) as client, accepting.result() as server:
            assert client.info().max_message == server.info().max_message == 100
            for end in (client, server):
                with pytest.raises(hostlane.PayloadTooLargeError):
                    end.send(bytes(101))
            client.send(bytes(100))
            assert len(server.recv(timeout=5)) == 100


def test_a_smaller_limit_of_ones_own(address: str, pool: ThreadPoolExecutor) -> None:
    with hostlane.listen(address, max_message=100) as listener:
        accepting = pool.submit(listener.accept, 10)
        with hostlane.connect(address, level=0) as client, accepting.result() as server:
            assert server.info().max_message == 100
            with pytest.raises(hostlane.PayloadTooLargeError):
                server.send(bytes(101))
            client.send(bytes(100))
            client.send(bytes(101))
            assert len(server.recv(timeout=5)) == 100
            with pytest.raises(hostlane.FrameTooLargeError):
                server.recv(timeout=5)


def test_the_context_closes(pair: Pair) -> None:
    with pytest.raises(KeyError), pair.client as peer:
        assert peer is pair.client
        raise KeyError
    with pytest.raises(hostlane.ClosedError):
        pair.client.send(b"")


def test_an_unclosed_peer_warns(listener: hostlane.Listener, pool: ThreadPoolExecutor) -> None:
    accepting = pool.submit(listener.accept, 10)
    client = hostlane.connect(listener.address)
    with accepting.result() as server:
        del accepting
        with pytest.warns(ResourceWarning, match=r"unclosed <hostlane.Peer \S+ open>"):
            del client
            gc.collect()
        with pytest.raises(hostlane.PeerClosedError):
            server.recv(timeout=5)


def test_a_peer_stays_in_its_process(pair: Pair) -> None:
    for copying in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match=r"hostlane\.connect"):
            copying(pair.client)


def test_a_thread_that_ends_leaves_nothing_behind(pair: Pair) -> None:
    threads = threading.active_count()
    for _ in range(20):
        with pytest.raises(hostlane.TimeoutError):
            pair.client.recv(timeout=0.001)
    assert threading.active_count() == threads
