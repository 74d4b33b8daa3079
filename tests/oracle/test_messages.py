"""Messages, calls and pings between hostlane and strict stock peers, in both roles."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import BIN, EXAMPLE_REQUEST, Process, Server, assert_fails, hostlane
from level0 import COMMAND, CONTROL, DATA, ERROR, MAX_PAYLOAD, TELEMETRY, Frame, encode_control
from stock import Background, Disconnected, StockPeer, StockServer, echo

EVERY_BYTE = bytes(range(256))
SIZES = [0, 1, 7, 8, 9, 255, 256, 4095, 4096, 65535, 65536, 65537, 300_000]


# ---------------------------------------------------------------- stock client, hostlane server


@pytest.mark.parametrize("channel", [COMMAND, DATA, TELEMETRY, ERROR])
def test_echo_on_every_channel(any_echo: Server, channel: int) -> None:
    with any_echo.client() as client:
        for payload in (b"hello", b"", EVERY_BYTE):
            client.send(channel, payload)
            assert client.recv() == (channel, payload)


@pytest.mark.parametrize("size", SIZES)
def test_every_size_comes_back(server: Server, size: int) -> None:
    payload = (EVERY_BYTE * (size // 256 + 1))[:size]
    with server.client() as client:
        assert client.request(payload) == payload
        client.send(DATA, payload)
        assert client.recv_on(DATA) == payload


def test_the_largest_message(any_echo: Server) -> None:
    payload = EVERY_BYTE * (MAX_PAYLOAD // 256)
    with any_echo.client() as client:
        client.send(DATA, payload, 20.0)
        assert client.recv(20.0) == (DATA, payload)


def test_one_byte_at_a_time(server: Server) -> None:
    with server.client() as client:
        for byte in Frame(DATA, EVERY_BYTE).encode() + Frame(COMMAND, b"").encode():
            client.wire.send(bytes([byte]))
        assert client.recv() == (DATA, EVERY_BYTE)
        assert client.recv() == (COMMAND, b"")


def test_a_thousand_frames_in_one_write(any_echo: Server) -> None:
    sent = [(1 + i % 4, b"%d" % i) for i in range(1000)]
    with any_echo.client() as client:
        client.wire.send(b"".join(Frame(c, p).encode() for c, p in sent))
        got = [client.recv() for _ in sent]
    for channel in (1, 2, 3, 4):  # order is promised per channel
        assert [p for c, p in got if c == channel] == [p for c, p in sent if c == channel]


def test_a_stream_larger_than_every_queue(server: Server) -> None:
    """40 MiB through one connection while the client reads only after writing in the background."""
    count, payload = 640, EVERY_BYTE * 256
    with server.client() as client:

        def write() -> None:
            for _ in range(count):
                client.send(DATA, payload, 20.0)

        writing = Background(write)
        for _ in range(count):
            assert client.recv(20.0) == (DATA, payload)
        writing.result()


def test_many_clients_at_once(any_echo: Server) -> None:
    clients = [any_echo.client() for _ in range(50)]
    try:
        for i, client in enumerate(clients):
            client.send(DATA, b"%d" % i)
        for i, client in reversed(list(enumerate(clients))):
            assert client.recv() == (DATA, b"%d" % i)
    finally:
        for client in clients:
            client.close()


def test_ping(any_echo: Server) -> None:
    with any_echo.client() as client:
        assert client.ping() < 1.0
        client.wire.send_frame(CONTROL, encode_control("ping", payload={"n": 1}, timestamp="now"))
        frame = client.wire.frame()
        assert frame is not None and json.loads(frame.payload) == {"type": "pong"}


def test_unasked_pong_is_ignored(server: Server) -> None:
    with server.client() as client:
        client.wire.send_frame(CONTROL, encode_control("pong"))
        assert client.request(b"still here") == b"still here"


def test_shutdown_by_the_client(any_echo: Server) -> None:
    with any_echo.client() as client:
        client.shutdown(reason="done")
    with any_echo.client() as client:
        client.wire.send_frame(CONTROL, encode_control("shutdown_request"))
        assert client.wire.frame(1.0) == Frame(CONTROL, encode_control("shutdown_ack"))


@pytest.mark.parametrize("count", [1, 3, 50])
def test_a_half_closed_client_still_gets_its_answers(any_echo: Server, count: int) -> None:
    """A client that has nothing more to say may say so at once; what it said is still answered."""
    for _ in range(10):
        with any_echo.client() as client:
            client.wire.send(b"".join(Frame(DATA, b"%d" % i).encode() for i in range(count)))
            client.wire.sock.shutdown(1)
            assert [f.payload for f in client.wire.rest(2.0)] == [b"%d" % i for i in range(count)]


def test_listen_prints_what_a_stock_client_sends(tmp_path: Path) -> None:
    path = str(tmp_path / "l.sock")
    listening = Server(tmp_path, [BIN, "--format", "json", "listen", path, "--count", "3"], path)
    try:
        with listening.client() as client:
            client.send(DATA, b"one")
            client.send(TELEMETRY, b"two")
            client.send(COMMAND, b"three")
            assert listening.wait() == 0, listening.err
        lines = [json.loads(line) for line in listening.out.splitlines()]
        assert [(line["channel"], line["text"]) for line in lines] == [(2, "one"), (3, "two"), (1, "three")]
    finally:
        listening.kill()


# ---------------------------------------------------------------- hostlane client, stock server


@pytest.fixture
def stock(tmp_path: Path) -> Iterator[StockServer]:
    with StockServer(str(tmp_path / "stock.sock"), [1, 2, 3, 4, 300]) as listening:
        yield listening


def received(server: StockServer) -> list[tuple[int, bytes]]:
    """Everything one client sends until it leaves."""
    messages = []
    with server.accept() as peer:
        try:
            while True:
                messages.append(peer.recv())
        except Disconnected:
            return messages


@pytest.mark.parametrize("channel", [1, 2, 3, 4, 300])
def test_send(tmp_path: Path, stock: StockServer, channel: int) -> None:
    other = Background(lambda: received(stock))
    process = hostlane(tmp_path, "send", stock.path, "-c", str(channel), "--data", "hello")
    assert process.wait() == 0, process.err
    assert other.result() == [(channel, b"hello")]


@pytest.mark.parametrize("payload", [b"", EVERY_BYTE, b"x" * MAX_PAYLOAD], ids=["empty", "every-byte", "largest"])
def test_send_a_file(tmp_path: Path, stock: StockServer, payload: bytes) -> None:
    source = tmp_path / "payload"
    source.write_bytes(payload)
    other = Background(lambda: received(stock))
    process = hostlane(tmp_path, "send", stock.path, "-c", "2", "--file", str(source), timeout=20)
    assert process.wait() == 0, process.err
    assert other.result() == [(2, payload)]


def test_a_message_over_the_limit_is_never_sent(tmp_path: Path, stock: StockServer) -> None:
    source = tmp_path / "payload"
    source.write_bytes(b"x" * (MAX_PAYLOAD + 1))
    assert_fails(
        Process(tmp_path, [BIN, "send", stock.path, "-c", "2", "--file", source]), "payload_too_large", status=64
    )
    stock.sock.settimeout(0.2)
    with pytest.raises(TimeoutError):
        stock.sock.accept()


def test_a_channel_that_the_server_does_not_grant(tmp_path: Path, stock: StockServer) -> None:
    """ERROR is granted, 301 is not: nothing goes out on it."""
    other = Background(lambda: received(stock))
    process = hostlane(tmp_path, "send", stock.path, "-c", "301", "--data", "x")
    assert_fails(process, "invalid_channel", status=64)
    assert other.result() == []


def test_request(tmp_path: Path, stock: StockServer) -> None:
    other = Background(lambda: echo(stock.accept()))
    process = hostlane(tmp_path, "--format", "raw", "request", stock.path, "--data", "question")
    assert process.wait() == 0 and process.out == b"question", process.err
    other.result()


def test_the_example_calls_a_stock_server(tmp_path: Path, stock: StockServer) -> None:
    other = Background(lambda: echo(stock.accept()))
    process = Process(tmp_path, [EXAMPLE_REQUEST, stock.path, "question"])
    assert process.wait() == 0, process.err
    assert process.out.decode().strip() == "question"
    other.result()


def test_a_call_takes_only_a_command_frame_for_its_reply(tmp_path: Path, stock: StockServer) -> None:
    def serve() -> None:
        with stock.accept() as peer:
            assert peer.recv() == (COMMAND, b"question")
            peer.send(DATA, b"news")
            peer.wire.send_frame(CONTROL, encode_control("ping"))
            peer.send(TELEMETRY, b"more news")
            peer.send(COMMAND, b"answer")
            with pytest.raises(Disconnected):
                peer.recv()

    other = Background(serve)
    process = hostlane(tmp_path, "--format", "raw", "request", stock.path, "--data", "question")
    other.result()
    assert process.wait() == 0 and process.out == b"answer", process.err


def test_a_call_that_is_never_answered(tmp_path: Path, stock: StockServer) -> None:
    other = Background(lambda: received(stock))
    process = hostlane(tmp_path, "request", stock.path, "--data", "x", "--deadline", "300ms")
    assert_fails(process, "timeout", status=124)
    assert other.result() == [(COMMAND, b"x")], "a late reply finds no connection"


@pytest.mark.parametrize(
    "how", ["closes", "half a reply", "shuts down", "wrong channel", "unknown control", "bad magic"]
)
def test_the_server_ends_during_a_call(tmp_path: Path, stock: StockServer, how: str) -> None:
    endings = {
        "closes": ((), ("connection_lost", "peer_closed")),
        "half a reply": ((Frame(COMMAND, b"answer").encode()[:11],), ("truncated", "connection_lost")),
        "shuts down": (
            (Frame(CONTROL, encode_control("shutdown_request")).encode(),),
            ("connection_lost", "peer_closed"),
        ),
        "wrong channel": ((Frame(999, b"?").encode(),), ("unknown_channel",)),
        "unknown control": ((Frame(CONTROL, b'{"type":"hello"}').encode(),), ("unknown_control",)),
        "bad magic": ((b"NO" + bytes(6),), ("bad_magic",)),
    }
    writes, names = endings[how]

    def serve() -> None:
        peer: StockPeer
        with stock.accept() as peer:
            assert peer.recv() == (COMMAND, b"x")
            for data in writes:
                peer.wire.send(data)

    other = Background(serve)
    process = hostlane(tmp_path, "request", stock.path, "--data", "x", "--deadline", "3s")
    other.result()
    assert_fails(process, *names)


def test_info_pings_a_stock_server(tmp_path: Path, stock: StockServer) -> None:
    other = Background(lambda: echo(stock.accept()))
    process = hostlane(tmp_path, "--format", "json", "info", stock.path)
    other.result()
    shown = json.loads(process.out)
    ping = next((v for k, v in shown.items() if k.startswith("ping")), None)
    assert ping is not None and 0 < float(ping) < 5000, shown
