"""Calls of wire level 1: many in flight, deadlines, cancelling, failing."""

from __future__ import annotations

import gc
import random
import threading
import time
from typing import TYPE_CHECKING

import hostlane
import pytest
from clock import lasts
from hostlane import _serving
from script import until

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from conftest import Pair


def test_a_thousand_calls_answered_in_random_order(pair: Pair, pool: ThreadPoolExecutor) -> None:
    def answer() -> None:
        messages: list[hostlane.Message] = []
        while len(messages) < 1000:
            messages += pair.server.recv_batch(1000, timeout=10)
        random.Random(7).shuffle(messages)
        with pair.server.cork():
            for message in messages:
                message.reply(b"re: " + message.data)

    answering = pool.submit(answer)
    calls = [pair.client.start(str(number).encode(), timeout=20) for number in range(1000)]
    assert pair.client.stats().open_calls == 1000
    for number in random.Random(8).sample(range(1000), 1000):
        assert calls[number].result().data == f"re: {number}".encode()
    answering.result(5)
    assert pair.client.stats().open_calls == pair.server.stats().open_served == 0


def test_a_deadline_is_kept_and_the_next_call_gets_its_own_reply(
    pair: Pair, pool: ThreadPoolExecutor
) -> None:
    def answer() -> None:
        for message in pair.server:
            if message.data != b"slow":
                message.reply(message.data)
            else:
                slow.append(message)

    slow: list[hostlane.Message] = []
    answering = pool.submit(answer)
    for number in range(5):
        start = time.monotonic()
        with pytest.raises(hostlane.TimeoutError):
            pair.client.request(b"slow", timeout=0.1)
        assert 0.1 <= time.monotonic() - start < 0.12 or number < 4
        assert pair.client.request(b"%d" % number, timeout=5).data == b"%d" % number
    assert all(message.cancelled for message in slow)
    pair.client.close()
    answering.result(5)


def test_the_other_side_knows_the_deadline(pair: Pair) -> None:
    call = pair.client.start(b"", timeout=0.2)
    message = pair.server.recv(timeout=5)
    assert message.is_request
    assert message.remaining is not None
    assert 0.1 < message.remaining <= 0.2
    assert message.deadline == pytest.approx(time.monotonic() + message.remaining, abs=0.02)
    with lasts(0.05, 1):
        message.wait_cancelled(timeout=5)
    assert message.cancelled
    assert message.remaining == 0
    with pytest.raises(hostlane.CallEndedError):
        message.reply(b"late")
    with pytest.raises(hostlane.TimeoutError):
        call.result()
    unlimited = pair.client.start(b"", timeout=None)
    message = pair.server.recv(timeout=5)
    assert message.deadline is message.remaining is None
    message.reply(b"")
    unlimited.result(5)


def test_a_result_can_be_waited_for_again(pair: Pair) -> None:
    call = pair.client.start(b"x", timeout=10)
    message = pair.server.recv(timeout=5)
    with lasts(0.05, 1), pytest.raises(hostlane.TimeoutError):
        call.result(0.05)
    assert not call.done()
    assert not message.cancelled
    message.reply(b"y")
    until(call.done)
    first = call.result(0)
    assert call.result() is first
    assert first.data == b"y"


@pytest.mark.parametrize("wrong", [-1, -2, float("nan"), 10**400, -(10**400)])
def test_a_wrong_timeout_is_refused_while_another_waits(
    pair: Pair, pool: ThreadPoolExecutor, wrong: float
) -> None:
    call = pair.client.start(b"x", timeout=10)
    waiting = pool.submit(call.result)
    until(call._lock.locked)
    with pytest.raises(hostlane.InvalidArgumentError):
        call.result(wrong)
    with pytest.raises(hostlane.TimeoutError):
        call.result(0)
    endless = pool.submit(call.result, float("inf"))
    pair.server.recv(timeout=5).reply(b"y")
    assert waiting.result(5).data == b"y"
    assert endless.result(5).data == b"y"


def test_a_call_has_its_own_time(pair: Pair) -> None:
    call = pair.client.start(b"x", timeout=0.1)
    with lasts(0.05, 1), pytest.raises(hostlane.TimeoutError) as caught:
        call.result(5)
    assert caught.value.sent == "maybe"
    assert call.done()
    for _ in range(2):
        with pytest.raises(hostlane.TimeoutError):
            call.result()


def test_a_call_given_up_is_cancelled_on_the_other_side(pair: Pair) -> None:
    for give_up in ("cancel", "drop"):
        call: hostlane.Call | None = pair.client.start(b"x")
        message = pair.server.recv(timeout=5)
        assert not message.cancelled
        if give_up == "cancel":
            assert call is not None
            call.cancel()
            call.cancel()
            with pytest.raises(hostlane.CancelledError):
                call.result()
        call = None
        gc.collect()
        message.wait_cancelled(timeout=5)
        assert message.cancelled
        assert not message.answered
        with pytest.raises(hostlane.CallEndedError):
            message.reply(b"unwanted")
    assert pair.client.stats().calls_cancelled == 2


def test_two_threads_may_wait_for_one_call(pair: Pair, pool: ThreadPoolExecutor) -> None:
    call = pair.client.start(b"x")
    waiting = [pool.submit(call.result, 10) for _ in range(3)]
    with pytest.raises(hostlane.TimeoutError):
        call.result(0.02)
    pair.server.recv(timeout=5).reply(b"y")
    assert {one.result(5).data for one in waiting} == {b"y"}


def test_a_failed_call_carries_status_and_data(pair: Pair) -> None:
    for status, data in [(0, b""), (7, b"\x00\xff"), (2**32 - 1, b"x" * 10_000)]:
        call = pair.client.start(b"x")
        pair.server.recv(timeout=5).fail(status, data)
        with pytest.raises(hostlane.RemoteError) as caught:
            call.result(5)
        assert (caught.value.status, caught.value.data) == (status, data)
        assert (caught.value.code, caught.value.sent) == (501, "maybe")
    call = pair.client.start(b"x")
    message = pair.server.recv(timeout=5)
    for status in (-1, 2**32):
        with pytest.raises(hostlane.InvalidArgumentError):
            message.fail(status)
    message.fail(1)
    with pytest.raises(hostlane.RemoteError):
        call.result(5)


def test_a_message_let_go_abandons_its_call(pair: Pair) -> None:
    call = pair.client.start(b"x")
    message = pair.server.recv(timeout=5)
    assert call.done() is False
    del message
    with pytest.raises(hostlane.CallAbandonedError):
        call.result(5)


def test_what_goes_with_a_call(pair: Pair) -> None:
    call = pair.client.start(
        b"x", channel=hostlane.TELEMETRY, idempotency_key=b"key", trace=b"t" * 64
    )
    message = pair.server.recv(timeout=5)
    assert (message.idempotency_key, message.trace) == (b"key", b"t" * 64)
    assert (message.channel, message.is_request) == (hostlane.TELEMETRY, True)
    assert isinstance(message.call_id, int)
    message.reply(b"y")
    assert call.result(5).channel == hostlane.TELEMETRY
    pair.client.send(b"x", trace=b"followed")
    message = pair.server.recv(timeout=5)
    assert (message.trace, message.is_request, message.call_id) == (b"followed", False, None)
    for bad in (b"", b"x" * 65):
        with pytest.raises(hostlane.InvalidArgumentError):
            pair.client.request(b"", trace=bad)


def test_a_one_way_message_cannot_be_failed(pair: Pair) -> None:
    pair.client.send(b"x")
    message = pair.server.recv(timeout=5)
    with pytest.raises(hostlane.InvalidArgumentError):
        message.fail(1)
    assert not message.cancelled


def test_level_0_refuses_what_it_has_no_form_for(pair_on_level_0: Pair) -> None:
    client, server = pair_on_level_0
    with pytest.raises(hostlane.UnsupportedError):
        client.request(b"", idempotency_key=b"key")
    with pytest.raises(hostlane.UnsupportedError):
        client.request(b"", channel=hostlane.DATA)
    with pytest.raises(hostlane.UnsupportedError):
        client.open_stream()
    calls = [client.start(b"%d" % number) for number in range(3)]
    for number, call in enumerate(calls):
        message = server.recv(timeout=5)
        assert (message.is_request, message.data) == (False, b"%d" % number)
        with pytest.raises(hostlane.UnsupportedError):
            message.fail(1)
        message.reply(b"re")
        assert call.result(5).data == b"re"


def test_calls_in_both_directions_inside_each_other(pair: Pair, pool: ThreadPoolExecutor) -> None:
    def answer(peer: hostlane.Peer) -> None:
        for message in peer:
            depth = int(message.data)
            if depth == 0:
                message.reply(b".")
            else:
                pool.submit(nest, peer, message, depth)

    def nest(peer: hostlane.Peer, message: hostlane.Message, depth: int) -> None:
        message.reply(peer.request(b"%d" % (depth - 1), timeout=10).data + b"%d" % depth)

    answering = [pool.submit(answer, peer) for peer in pair]
    assert pair.client.request(b"5", timeout=10).data == b".12345"
    pair.client.close()
    for one in answering:
        one.result(5)


def test_calls_made_for_a_call_end_with_it(pair: Pair) -> None:
    token = _serving.deadline.set(time.monotonic() + 0.15)
    try:
        with lasts(0.1, 1), pytest.raises(hostlane.TimeoutError):
            pair.client.request(b"nested", timeout=None)
        start = time.monotonic()
        with pytest.raises(hostlane.TimeoutError) as caught:
            pair.client.request(b"too late", timeout=10)
        assert caught.value.sent == "no"
        assert time.monotonic() - start < 0.05
    finally:
        _serving.deadline.reset(token)
    message = pair.server.recv(timeout=5)
    assert message.data == b"nested"
    with pytest.raises(hostlane.TimeoutError):
        pair.server.recv(timeout=0)


def test_more_calls_than_are_served_wait_their_turn(address: str, pool: ThreadPoolExecutor) -> None:
    with hostlane.listen(address, max_calls=2) as listener:
        accepting = pool.submit(listener.accept, 10)
        with hostlane.connect(address) as client, accepting.result() as server:
            calls = [
                pool.submit(client.request, b"%d" % number, timeout=10) for number in range(10)
            ]
            served = 0
            while served < 10:
                batch = server.recv_batch(10, timeout=5)
                assert len(batch) <= 2
                for message in batch:
                    message.reply(message.data)
                    served += 1
            assert [int(call.result(5).data) for call in calls] == list(range(10))
            assert server.stats().calls_served == 10


def test_a_call_needs_no_slice_of_a_busy_neighbour(pair: Pair, pool: ThreadPoolExecutor) -> None:
    """What has arrived is taken without letting go of the interpreter."""
    stop = threading.Event()

    def compute() -> None:
        count = 0
        while not stop.is_set():
            count += 1

    for number in range(200):
        pair.client.send(b"%d" % number)
    pair.server.recv(timeout=5)
    busy = pool.submit(compute)
    try:
        # Each would take five milliseconds.
        with lasts(0, 0.5):
            for number in range(1, 200):
                assert pair.server.recv(timeout=5).data == b"%d" % number
    finally:
        stop.set()
        busy.result(5)
