"""Many small messages at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import hostlane
import pytest

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from _typeshed import ReadableBuffer
    from conftest import Pair


@pytest.fixture(params=["pair", "pair_on_level_0"])
def either(request: pytest.FixtureRequest) -> Pair:
    pair: Pair = request.getfixturevalue(request.param)
    return pair


def test_a_batch_arrives_in_order(either: Pair, pool: ThreadPoolExecutor) -> None:
    payloads = [b"%d" % number for number in range(20_000)]
    sending = pool.submit(either.client.send_batch, iter(payloads), timeout=20)
    received: list[hostlane.Message] = []
    while len(received) < len(payloads):
        batch = either.server.recv_batch(100, timeout=5)
        assert 1 <= len(batch) <= 100
        received += batch
    sending.result(5)
    assert [message.data for message in received] == payloads
    assert {message.channel for message in received} == {hostlane.DATA}


def test_any_sizes_and_buffers(either: Pair, pool: ThreadPoolExecutor) -> None:
    payloads: list[ReadableBuffer] = [
        b"",
        bytearray(b"x"),
        memoryview(b"abc")[1:],
        bytes(1 << 20),
        b"end",
    ]
    sending = pool.submit(either.client.send_batch, payloads, channel=4, timeout=20)
    for payload in payloads:
        message = either.server.recv(timeout=5)
        assert (message.data, message.channel) == (bytes(payload), 4)
    sending.result(5)
    either.client.send_batch([])
    with pytest.raises(TypeError):
        either.client.send_batch([b"x", "text"])  # type: ignore[list-item]
    with pytest.raises(hostlane.InvalidChannelError):
        either.client.send_batch([b"x"], channel=9)


def test_requests_in_a_batch_are_whole(pair: Pair) -> None:
    calls = [pair.client.start(b"%d" % number, trace=b"t", timeout=10) for number in range(10)]
    messages: list[hostlane.Message] = []
    while len(messages) < 10:
        messages += pair.server.recv_batch(timeout=5)
    for message in messages:
        assert message.trace == b"t"
        assert message.remaining is not None
        message.reply(message.data)
    assert [int(call.result(5).data) for call in calls] == list(range(10))


def test_nothing_comes(either: Pair) -> None:
    with pytest.raises(hostlane.TimeoutError):
        either.server.recv_batch(timeout=0.02)
    for most in (-1, 10**30):
        with pytest.raises(hostlane.InvalidArgumentError):
            either.server.recv_batch(most, timeout=0)
    either.client.close()
    with pytest.raises(hostlane.PeerClosedError):
        either.server.recv_batch(timeout=5)


def test_a_cork_holds_small_messages_back(pair: Pair) -> None:
    with pair.client.cork(), pair.client.cork():
        pair.client.send(b"held")
        with pytest.raises(hostlane.TimeoutError):
            pair.server.recv(timeout=0.05)
    assert pair.server.recv(timeout=5).data == b"held"
    with pytest.raises(KeyError), pair.client.cork():
        pair.client.send(b"let go by the exception")
        raise KeyError
    assert pair.server.recv(timeout=5).data == b"let go by the exception"


def test_a_call_inside_a_cork_leaves(pair: Pair, pool: ThreadPoolExecutor) -> None:
    answering = pool.submit(lambda: pair.server.recv(timeout=5).reply(b"y"))
    with pair.client.cork():
        assert pair.client.request(b"x", timeout=5).data == b"y"
    answering.result(5)


def test_a_corked_peer_is_dropped_in_any_order(pair: Pair) -> None:
    cork = pair.client.cork()
    cork.__enter__()
    pair.client.send(b"left by closing the cork")
    cork.__exit__(None, None, None)
    assert pair.server.recv(timeout=5).data == b"left by closing the cork"
    pair.client._native.cork()
    pair.client.close()


@pytest.mark.parametrize("most", [0, -1])
def test_a_batch_of_none(pair: Pair, most: int) -> None:
    pair.client.send(b"x")
    with pytest.raises(hostlane.InvalidArgumentError):
        pair.server.recv_batch(most, timeout=5)
    assert pair.server.recv_batch(1, timeout=5)[0].data == b"x"


def test_a_batch_of_none_of_a_served_peer(
    listener: hostlane.Listener, pool: ThreadPoolExecutor
) -> None:
    def handler(_: hostlane.Message, peer: hostlane.Peer) -> bytes:
        with pytest.raises(hostlane.InvalidArgumentError):
            peer.recv_batch(0, timeout=0)
        return b"refused"

    serving = pool.submit(listener.serve, handler)
    with hostlane.connect(listener.address) as client:
        assert client.request(b"x").data == b"refused"
    listener.close()
    serving.result(10)
