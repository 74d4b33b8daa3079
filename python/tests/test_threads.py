"""What several threads do at once, each with objects of its own and all with the same ones.

They run like every other test, and with `pytest --parallel-threads` each of them in several threads
at a time.
"""

from __future__ import annotations

import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import hostlane
import pytest
from script import until

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT = 20.0


@contextmanager
def opened() -> Iterator[tuple[hostlane.Peer, hostlane.Peer]]:
    """Both ends of a connection that no other thread has."""
    with (
        tempfile.TemporaryDirectory(prefix="hl-") as folder,
        hostlane.listen(f"{folder}/s") as listener,
        ThreadPoolExecutor(1) as pool,
    ):
        accepting = pool.submit(listener.accept, LIMIT)
        with (
            hostlane.connect(listener.address, timeout=LIMIT) as client,
            accepting.result() as server,
        ):
            yield client, server


def answer(peer: hostlane.Peer) -> None:
    """Answers whatever is asked until the other side ends."""
    for message in peer:
        message.reply(message.data)


@pytest.fixture(scope="module")
def shared() -> Iterator[hostlane.Peer]:
    """A connection that all threads call on; several threads answer."""
    with ThreadPoolExecutor(3) as pool, opened() as (client, server):
        answering = [pool.submit(answer, server) for _ in range(3)]
        yield client
        client.close()
        for one in answering:
            one.result(LIMIT)


def test_calls_on_one_connection_get_their_own_replies(shared: hostlane.Peer) -> None:
    own = f"{threading.get_ident()}:".encode()
    calls = [shared.start(own + b"%d" % number, timeout=LIMIT) for number in range(100)]
    assert [call.result().data for call in calls] == [own + b"%d" % n for n in range(100)]
    assert shared.request(own, timeout=LIMIT).data == own


def test_what_is_read_of_one_connection_is_whole(shared: hostlane.Peer) -> None:
    for _ in range(100):
        info, stats = shared.info(), shared.stats()
        assert info.level == 1
        assert len(info.instance) == len(info.peer_instance or "") == 32
        assert stats.calls_cancelled == stats.late == 0


def test_connections_come_and_go() -> None:
    for number in range(10):
        with opened() as (client, server):
            client.send(b"%d" % number, timeout=LIMIT)
            assert server.recv(timeout=LIMIT).data == b"%d" % number


def test_a_connection_is_closed_under_those_who_wait() -> None:
    with ThreadPoolExecutor(4) as pool, opened() as (client, server):
        waiting = [pool.submit(client.recv, timeout=LIMIT) for _ in range(4)]
        until(lambda: client.stats().pending_operations == 4)
        client.close()
        for one in waiting:
            assert isinstance(one.exception(LIMIT), hostlane.ClosedError)
        with pytest.raises(hostlane.PeerClosedError):
            server.recv(timeout=LIMIT)


def test_streams_both_ways() -> None:
    with ThreadPoolExecutor(1) as pool, opened() as (client, server):

        def serve() -> None:
            message = server.recv(timeout=LIMIT)
            stream = message.stream()
            assert stream is not None
            for item in stream:
                stream.send(item[::-1])
            message.reply(b"done")

        serving = pool.submit(serve)
        with client.open_stream(b"reverse") as stream:
            for number in range(50):
                stream.send(b"item %03d" % number)
                assert stream.recv(timeout=LIMIT) == (b"item %03d" % number)[::-1]
            stream.finish()
            assert stream.recv(timeout=LIMIT) is None
        serving.result(LIMIT)


def shout(message: hostlane.Message, _: hostlane.Link) -> bytes:
    return message.data + b"!"


def test_links_find_each_other() -> None:
    # What serves ends before its pool is waited for.
    with (
        tempfile.TemporaryDirectory(prefix="hl-") as folder,
        ThreadPoolExecutor(1) as pool,
        hostlane.Link.open(f"{folder}/l") as one,
    ):
        serving = pool.submit(one.serve, shout)
        with hostlane.Link.open(f"{folder}/l") as other:
            assert other.request(b"hello", timeout=LIMIT).data == b"hello!"
        one.close()
        serving.result(LIMIT)


def test_errors_belong_to_who_asked() -> None:
    for number in range(50):
        name = f"/nowhere/{threading.get_ident()}/{number}"
        with pytest.raises(hostlane.NotFoundError) as caught:
            hostlane.connect(name, timeout=LIMIT)
        assert name in str(caught.value)
