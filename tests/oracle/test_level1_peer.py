"""The oracle's level-1 peers on real sockets, against each other: both roles, and the carefree one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hello1 import Limits
from level1 import Type
from peer1 import CallFailed, EchoServer, Ended, Level1Client, Level1Peer, Level1Server, echo
from raw1 import RawLevel1
from stock import Background, Disconnected, StockClient, StockServer

MIB = 1 << 20


@pytest.fixture
def pair(path: str) -> Iterator[tuple[Level1Peer, Level1Peer]]:
    with Level1Server(path) as server:
        accepting = Background(server.accept)
        with Level1Client(path) as client, accepting.result() as peer:
            yield client, peer


def pairing(path: str, client: dict[str, Any], server: dict[str, Any]) -> tuple[Any, Any]:
    """What either side made of a handshake: a peer, or the error."""
    with Level1Server(path, **server) as listening:
        accepting = Background(lambda: attempt(listening.accept))
        connecting = Background(lambda: attempt(lambda: Level1Client(path, **client)))
        return connecting.result(), accepting.result()


def attempt(work: Any) -> Any:
    try:
        return work()
    except Ended as end:
        return end


def test_messages_and_calls_both_ways(pair: tuple[Level1Peer, Level1Peer]) -> None:
    for one, other in (pair, pair[::-1]):
        one.send(2, b"hello")
        assert other.recv().payload == b"hello"
        op = one.begin(b"question")
        call = other.recv()
        assert (call.payload, call.channel) == (b"question", 1)
        other.reply(call, b"answer")
        assert one.wait(op) == b"answer"


def test_calls_out_of_order(pair: tuple[Level1Peer, Level1Peer]) -> None:
    client, server = pair
    ops = [client.begin(b"%d" % i) for i in range(50)]
    for call in reversed([server.recv() for _ in ops]):
        server.reply(call, b"re " + call.payload)
    assert [client.wait(op) for op in ops] == [b"re %d" % i for i in range(50)]


def test_a_failure_with_data(pair: tuple[Level1Peer, Level1Peer]) -> None:
    client, server = pair
    op = client.begin(b"x")
    server.reply(server.recv(), b"because", status=4711)
    with pytest.raises(CallFailed) as caught:
        client.wait(op)
    assert (caught.value.name, caught.value.done.code, caught.value.done.payload) == ("remote_error", 4711, b"because")


def test_a_deadline_cancels(pair: tuple[Level1Peer, Level1Peer]) -> None:
    client, server = pair
    op = client.begin(b"slow", deadline_ms=50)
    call = server.recv()
    with pytest.raises(CallFailed) as caught:
        client.wait(op)
    assert caught.value.name == "timeout"
    client.flush()
    server.until(lambda: server.engine.told)
    assert server.engine.told[0][0] == call.call


def test_streams(pair: tuple[Level1Peer, Level1Peer]) -> None:
    """More than the window of a stream, both ways at once."""
    client, server = pair
    op = client.begin(b"open", stream=True)
    mine = client.engine.mine[1]

    def serve() -> int:
        opened = server.recv()
        assert opened.call is not None and opened.stream
        call, count = server.engine.yours[opened.call], 0
        while (item := server.recv_item(call)) is not None:
            server.item(call, item)
            count += 1
        server.reply(opened, b"%d" % count)
        return count

    serving = Background(serve)
    sent = [b"%d" % i * 1000 for i in range(300)]
    got = []
    for item in sent:
        client.item(mine, item)
        got.append(client.recv_item(mine))
    client.item(mine, b"", fin=True)
    assert client.wait(op) == b"300"
    assert serving.result() == 300
    assert got == sent


@pytest.mark.parametrize("window", [1, 1000, 65_536])
def test_credit_carries_any_amount(path: str, window: int) -> None:
    count = 200 if window == 1 else 2000
    with Level1Server(path, limits=Limits(window=window)) as server:
        accepting = Background(server.accept)
        with Level1Client(path) as client, accepting.result() as peer:
            receiving = Background(lambda: [peer.recv().payload for _ in range(count)])
            for i in range(count):
                client.send(2, b"%d" % i)
            assert receiving.result() == [b"%d" % i for i in range(count)]


def test_a_channel_nobody_reads_stops_no_other(pair: tuple[Level1Peer, Level1Peer]) -> None:
    client, server = pair
    client.send(3, b"x" * 65_536)
    with pytest.raises(TimeoutError):
        client.send(3, b"too much", timeout=0.2)
    client.send(2, b"free")
    assert [server.recv().channel for _ in range(2)] == [3, 2]
    client.until(lambda: not client.engine.queues[3])


def test_large_messages_are_cut(pair: tuple[Level1Peer, Level1Peer]) -> None:
    client, server = pair
    payload = bytes(range(256)) * (3 * MIB // 256)
    sending = Background(lambda: client.send(2, payload))
    assert server.recv().payload == payload
    sending.result()


def test_drain(pair: tuple[Level1Peer, Level1Peer]) -> None:
    client, server = pair
    op = client.begin(b"last")
    call = server.recv()
    draining = Background(lambda: server.drain())
    client.until(lambda: client.engine.peer_draining)
    with pytest.raises(CallFailed) as caught:
        client.wait(client.begin(b"new"))
    assert caught.value.name == "draining" and caught.value.done.sent == "no"
    server.engine.reply("r", call.call, b"answered")
    assert client.wait(op) == b"answered"
    with pytest.raises(Ended) as ended:
        client.recv()
    assert ended.value.names == ("peer_closed",)
    draining.result()


def test_crossing_drains(pair: tuple[Level1Peer, Level1Peer]) -> None:
    client, server = pair
    other = Background(server.drain)
    client.drain()
    other.result()


def test_ping(pair: tuple[Level1Peer, Level1Peer]) -> None:
    client, server = pair
    answering = Background(lambda: attempt(server.recv))
    assert client.ping() < 1.0
    client.close()
    answering.result()


def test_keepalive(path: str) -> None:
    with Level1Server(path, limits=Limits(keepalive_ms=50)) as server:
        accepting = Background(server.accept)
        with RawLevel1.opened(path) as silent:
            peer = accepting.result()
            waiting = Background(lambda: attempt(lambda: peer.recv(5.0)))
            silent.expect(Type.PING)
            assert waiting.result().names == ("peer_unresponsive",)
            assert silent.closed("peer_unresponsive")
            peer.close()


PROOFS = [
    ({"secret": b"s"}, {"secret": b"s"}, None, None),
    ({"secret": b"s"}, {"secret": b"t"}, "authentication_failed", "authentication_failed"),
    ({}, {"secret": b"s"}, "authentication_failed", "authentication_failed"),
    ({"secret": b"s"}, {}, "authentication_failed", "authentication_failed"),
    ({"levels": []}, {"secret": b"s"}, "version_mismatch", "version_mismatch"),
    ({"demand": True}, {"levels": []}, "version_mismatch", None),
    ({"levels": [2]}, {"demand": True}, "version_mismatch", "version_mismatch"),
    ({}, {}, None, None),
]


@pytest.mark.parametrize(("client", "server", "here", "there"), PROOFS)
def test_handshakes(path: str, client: Any, server: Any, here: str | None, there: str | None) -> None:
    one, other = pairing(path, client, server)
    for result, name in ((one, here), (other, there)):
        if name is None:
            level = 0 if client.get("demand") else 1
            assert isinstance(result, Level1Peer) and result.engine.level == level, result
        else:
            assert isinstance(result, Ended) and name in result.names, result
    for result in (one, other):
        if isinstance(result, Level1Peer):
            result.close()


def test_level_0_with_stock_peers(tmp_path: Path) -> None:
    with Level1Server(str(tmp_path / "one.sock")) as server:
        accepting = Background(server.accept)
        with StockClient(server.path) as stock:
            stock.send(2, b"plain")
            with accepting.result() as peer:
                assert peer.engine.level == 0 and peer.recv().payload == b"plain"
    with StockServer(str(tmp_path / "two.sock")) as stock_server:
        accepting = Background(stock_server.accept)
        with Level1Client(stock_server.path) as client:
            assert client.engine.level == 0
            accepting.result().close()
        with Level1Server(str(tmp_path / "three.sock"), demand=True) as demanding:
            refusing = Background(lambda: attempt(demanding.accept))
            with pytest.raises((Disconnected, Exception), match="version_mismatch"):
                StockClient(demanding.path)
            assert refusing.result().names == ("version_mismatch",)


def test_many_clients(path: str) -> None:
    server = EchoServer(path)
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with Level1Client(path) as client:
                for turn in range(20):
                    payload = b"%d %d" % (number, turn)
                    assert client.request(payload) == payload
        except BaseException as problem:  # looked at below
            failures.append(problem)

    try:
        threads = [threading.Thread(target=work, args=[number]) for number in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert failures == []
    finally:
        server.close()


def test_the_echo_says_why_it_ended(path: str) -> None:
    with Level1Server(path) as server:
        other = Background(lambda: echo(server.accept()))
        with Level1Client(path) as client:
            client.drain()
        assert other.result() == ("peer_closed",)
