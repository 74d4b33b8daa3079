"""Streams: items in both directions, bounded memory, their ends."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import hostlane
import pytest
from clock import lasts

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from conftest import Pair

WINDOW = 256 * 1024


def accept(pair: Pair) -> tuple[hostlane.Message, hostlane.Stream]:
    """The other side's end of the next stream."""
    message = pair.server.recv(timeout=5)
    assert message.is_stream
    stream = message.stream()
    assert stream is not None
    assert stream.call_id == message.call_id
    return message, stream


def test_items_both_ways_and_a_reply(pair: Pair, pool: ThreadPoolExecutor) -> None:
    def serve() -> int:
        message, stream = accept(pair)
        count = 0
        for item in stream:
            stream.send(item[::-1])
            count += 1
        message.reply(b"%d items" % count)
        return count

    serving = pool.submit(serve)
    with pair.client.open_stream(b"please", timeout=20) as stream:
        for number in range(100):
            stream.send(b"item %d" % number)
        assert stream.reply is None
        stream.finish()
        items = list(stream)
        assert items == [(b"item %d" % number)[::-1] for number in range(100)]
        assert stream.reply == b"100 items"
        with pytest.raises(hostlane.CallEndedError):
            stream.send(b"too late")
    assert serving.result(5) == 100


def test_large_and_empty_items(pair: Pair, pool: ThreadPoolExecutor) -> None:
    items = [b"", b"x", bytes(1 << 20), b"", bytes(3 << 20)]

    def send() -> None:
        for item in items:
            stream.send(item, timeout=20)
        stream.finish()

    stream = pair.client.open_stream()
    sending = pool.submit(send)
    message, other = accept(pair)
    assert list(other) == items
    message.reply(b"")
    assert stream.recv(timeout=5) is None
    sending.result(5)


def test_a_stream_nobody_reads_takes_bounded_memory_and_stops_nobody(pair: Pair) -> None:
    stream = pair.client.open_stream()
    message, other = accept(pair)
    sent = 0
    with pytest.raises(hostlane.TimeoutError) as caught:
        while True:
            stream.send(bytes(10_000), timeout=0.2)
            sent += 1
    assert caught.value.sent == "no"
    assert WINDOW // 10_000 <= sent + 1 <= WINDOW // 10_000 + 3
    pair.client.send(b"not stopped")
    assert pair.server.recv(hostlane.DATA, timeout=5).data == b"not stopped"
    for _ in range(sent):
        item = other.recv(timeout=5)
        assert item is not None
    stream.send(b"goes on", timeout=5)
    assert other.recv(timeout=5) == b"goes on"
    message.reply(b"")


def test_a_receive_that_times_out_loses_nothing(pair: Pair) -> None:
    stream = pair.client.open_stream()
    message, other = accept(pair)
    for timeout in (0, 0.05):
        with lasts(timeout, timeout + 1), pytest.raises(hostlane.TimeoutError):
            stream.recv(timeout=timeout)
    other.send(b"late")
    assert stream.recv(timeout=5) == b"late"
    message.reply(b"end")
    assert stream.recv(timeout=5) is None
    assert stream.reply == b"end"


def test_a_failed_stream_delivers_its_items_first(pair: Pair) -> None:
    stream = pair.client.open_stream()
    message, other = accept(pair)
    other.send(b"one")
    message.fail(9, b"why")
    assert stream.recv(timeout=5) == b"one"
    with pytest.raises(hostlane.RemoteError) as caught:
        stream.recv(timeout=5)
    assert (caught.value.status, caught.value.data) == (9, b"why")


@pytest.mark.parametrize("end", ["close", "drop", "with"])
def test_its_caller_gives_it_up(pair: Pair, end: str) -> None:
    stream: hostlane.Stream | None = pair.client.open_stream()
    assert stream is not None
    message, other = accept(pair)
    if end == "close":
        stream.close()
        stream.close()
    elif end == "with":
        with stream:
            pass
    stream = None
    gc.collect()
    message.wait_cancelled(timeout=5)
    with pytest.raises(hostlane.CallEndedError):
        other.send(b"unwanted")
    with pytest.raises(hostlane.CallEndedError):
        other.recv(timeout=5)


def test_close_wakes_who_receives(pair: Pair, pool: ThreadPoolExecutor) -> None:
    stream = pair.client.open_stream()
    served = accept(pair)
    waiting = pool.submit(stream.recv)
    with pytest.raises(hostlane.TimeoutError):
        stream.recv(timeout=0.02)
    stream.close()
    with pytest.raises((hostlane.CancelledError, hostlane.CallEndedError)):
        waiting.result(5)
    served[0].wait_cancelled(timeout=5)


def test_a_plain_call_is_no_stream(pair: Pair) -> None:
    call = pair.client.start(b"x")
    message = pair.server.recv(timeout=5)
    assert not message.is_stream
    assert message.stream() is None
    message.reply(b"")
    call.result(5)
