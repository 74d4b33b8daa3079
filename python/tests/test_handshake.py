"""Bad handshakes, from both sides: a typed error here, a typed reason there, nobody else harmed."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import TYPE_CHECKING, Any

import hostlane
import pytest
import wire
from clock import lasts
from script import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future, ThreadPoolExecutor


def hello(**changes: object) -> bytes:
    """A request that differs from a good one."""
    return wire.control({**wire.REQUEST, **changes})


def without(member: str) -> bytes:
    return wire.control({k: v for k, v in wire.REQUEST.items() if k != member})


BAD_REQUESTS = {
    "no-json": (wire.frame(0, b"hello"), "bad_handshake"),
    "no-utf8": (wire.frame(0, b'{"protocol":"\xff"}'), "bad_handshake"),
    "empty": (wire.frame(0, b""), "bad_handshake"),
    "no-object": (wire.control([1, 2]), "bad_handshake"),
    "trailing": (wire.frame(0, json.dumps(wire.REQUEST).encode() + b"x"), "bad_handshake"),
    "without-protocol": (without("protocol"), "bad_handshake"),
    "without-version": (without("version"), "bad_handshake"),
    "without-channels": (without("channels"), "bad_handshake"),
    "other-protocol": (hello(protocol="http"), "protocol_mismatch"),
    "long-protocol": (hello(protocol="p" * 33), "bad_handshake"),
    "version-2": (hello(version="2.0"), "version_mismatch"),
    "version-0": (hello(version="0.9"), "version_mismatch"),
    "version-text": (hello(version="one"), "bad_handshake"),
    "version-sign": (hello(version="+1.0"), "bad_handshake"),
    "version-huge": (hello(version="1.65536"), "bad_handshake"),
    "no-channel": (hello(channels=[]), "no_common_channel"),
    "other-channel": (hello(channels=[9, 300]), "no_common_channel"),
    "control-channel": (hello(channels=[1, 0]), "bad_handshake"),
    "channel-number": (hello(channels=[1, 65_536]), "bad_handshake"),
    "many-channels": (hello(channels=[1] * 257), "bad_handshake"),
    "empty-token": (hello(auth_token=""), "bad_handshake"),
    "long-token": (hello(auth_token="t" * 4097), "bad_handshake"),
}


@pytest.fixture
def accepting(listener: hostlane.Listener, pool: ThreadPoolExecutor) -> Iterator[Future[Any]]:
    """A thread that waits for a good client, and gets one in the end."""
    future = pool.submit(listener.accept)
    yield future
    with hostlane.connect(listener.address, timeout=10) as client, future.result(10) as server:
        client.send(b"still served")
        assert server.recv(timeout=5).data == b"still served"


@pytest.mark.parametrize(("request_bytes", "kind"), BAD_REQUESTS.values(), ids=BAD_REQUESTS)
@pytest.mark.usefixtures("accepting")
def test_a_bad_request(listener: hostlane.Listener, request_bytes: bytes, kind: str) -> None:
    with wire.dial(listener.address) as client:
        client.send(request_bytes)
        refusal = client.recv_control()
        assert refusal["error"]["name"] == kind
        assert hostlane.errors.BY_CODE[refusal["error"]["code"]].kind == kind
        assert not refusal.keys() & {"channels", "peer_id"}
        assert client.ended()
    until(lambda: listener.stats().refused == {kind: 1})
    (refused,) = listener.refusals()
    assert refused.kind == kind
    assert refused.message != ""


NO_REQUESTS = {
    "bad-magic": (b"GET / HTTP/1.1\r\n\r\n", "bad_magic"),
    "too-large": (wire.HEADER.pack(b"IP", 16_385, 0), "frame_too_large"),
    "other-channel": (wire.frame(2, b"{}"), "bad_handshake"),
}


@pytest.mark.parametrize(("data", "kind"), NO_REQUESTS.values(), ids=NO_REQUESTS)
@pytest.mark.usefixtures("accepting")
def test_no_request_at_all(listener: hostlane.Listener, data: bytes, kind: str) -> None:
    with wire.dial(listener.address) as client:
        client.send(data)
        until(lambda: listener.stats().refused == {kind: 1})
    assert [refusal.kind for refusal in listener.refusals()] == [kind]


@pytest.mark.parametrize("cut", [0, 1, 7, 8, 30])
@pytest.mark.usefixtures("accepting")
def test_a_request_cut_short(listener: hostlane.Listener, cut: int) -> None:
    with wire.dial(listener.address) as client:
        client.send(hello()[:cut])
    until(lambda: sum(listener.stats().refused.values()) == 1)
    until(lambda: listener.stats().half_open == 0)


def test_a_request_byte_by_byte(listener: hostlane.Listener, pool: ThreadPoolExecutor) -> None:
    accepting = pool.submit(listener.accept, 10)
    with wire.dial(listener.address) as client:
        for byte in hello(unknown=[{"deep": None}]):
            client.send(bytes([byte]))
        assert client.recv_control()["peer_id"].startswith("peer-")
        accepting.result(5).close()


def test_frames_right_behind_the_request(
    listener: hostlane.Listener, pool: ThreadPoolExecutor
) -> None:
    accepting = pool.submit(listener.accept, 10)
    with wire.dial(listener.address) as client:
        client.send(hello() + wire.frame(2, b"one") + wire.frame(2, b"two"))
        with accepting.result(5) as server:
            assert [server.recv(timeout=5).data for _ in range(2)] == [b"one", b"two"]


def test_a_silent_client_meets_its_deadline(address: str, pool: ThreadPoolExecutor) -> None:
    with hostlane.listen(address, handshake_timeout=0.3) as listener:
        accepting = pool.submit(listener.accept)
        with wire.dial(address) as silent, wire.dial(address) as slow, lasts(0.2, 5):
            slow.send(hello()[:20])
            for client in (silent, slow):
                with contextlib.suppress(EOFError):
                    assert client.recv_control()["error"]["name"] == "timeout"
                assert client.ended()
        assert listener.stats().refused == {"timeout": 2}
        listener.close()
        with pytest.raises(hostlane.ClosedError):
            accepting.result(5)


def test_silent_and_dripping_clients_delay_nobody(
    listener: hostlane.Listener, pool: ThreadPoolExecutor
) -> None:
    accepting = pool.submit(listener.accept, 10)
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(wire.dial(listener.address)) for _ in range(50)]
        until(lambda: listener.stats().half_open == 50)
        for byte in hello()[:5]:
            for client in silent[:10]:
                client.send(bytes([byte]))
        with lasts(0, 1):
            good = stack.enter_context(hostlane.connect(listener.address))
            server = stack.enter_context(accepting.result())
            good.send(b"served")
            assert server.recv(timeout=5).data == b"served"
        assert listener.stats().half_open == 50
        assert listener.stats().refused == {}


BAD_ANSWERS = {
    "no-json": (wire.frame(0, b"hello"), hostlane.BadHandshakeError),
    "other-protocol": ({"protocol": "http"}, hostlane.ProtocolMismatchError),
    "other-version": ({"version": "2.0"}, hostlane.VersionMismatchError),
    "no-channel": ({"channels": []}, hostlane.NoCommonChannelError),
    "not-asked": ({"channels": [1, 300]}, hostlane.BadHandshakeError),
    "no-id": ({"peer_id": ""}, hostlane.BadHandshakeError),
    "long-id": ({"peer_id": "p" * 129}, hostlane.BadHandshakeError),
    "bad-magic": (b"HTTP/1.1 400 Bad Request\r\n", hostlane.BadMagicError),
    "too-large": (wire.HEADER.pack(b"IP", 16_385, 0), hostlane.FrameTooLargeError),
    "other-channel": (wire.frame(1, b"{}"), hostlane.BadHandshakeError),
    "just-closes": (None, hostlane.RefusedError),
    "half-a-frame": (wire.frame(0, b"{}")[:9], hostlane.TruncatedError),
    "refuses": (
        wire.control({"protocol": "ipcprims", "version": "1.0", "error": {"code": 309}}),
        hostlane.VersionMismatchError,
    ),
    "refuses-oddly": (
        wire.control({"protocol": "ipcprims", "version": "1.0", "error": {"code": 77}}),
        hostlane.RefusedError,
    ),
}


@pytest.mark.parametrize(("data", "kind"), BAD_ANSWERS.values(), ids=BAD_ANSWERS)
def test_a_bad_answer(
    address: str,
    pool: ThreadPoolExecutor,
    data: bytes | dict[str, object] | None,
    kind: type[hostlane.Error],
) -> None:
    if isinstance(data, dict):
        data = wire.control({**wire.RESPONSE, **data})
    with wire.serve(address) as server:
        answering = pool.submit(wire.answer, server, data)
        with pytest.raises(hostlane.Error) as caught:
            hostlane.connect(address, timeout=5)
        assert type(caught.value) is kind, caught.value
        request = answering.result(5)
    assert request["protocol"] == "ipcprims"
    assert request["version"] == "1.0"
    assert request["channels"] == [1, 2, 3, 4]
    assert "auth_token" not in request


def test_a_server_that_says_nothing(address: str) -> None:
    with wire.serve(address), lasts(0.2, 2), pytest.raises(hostlane.TimeoutError):
        hostlane.connect(address, timeout=0.2)


def test_a_stock_server(address: str, pool: ThreadPoolExecutor) -> None:
    def stock(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            peer = wire.Wire(connection)
            peer.recv_control()
            peer.send(wire.control(wire.RESPONSE))
            channel, payload = peer.recv()
            peer.send(wire.frame(channel, payload.upper()))

    with wire.serve(address) as server:
        serving = pool.submit(stock, server)
        with hostlane.connect(address) as client:
            assert client.info().peer_id == "peer-1"
            assert client.info().peer_instance is None
            assert client.request(b"shout", timeout=5).data == b"SHOUT"
        serving.result(5)
