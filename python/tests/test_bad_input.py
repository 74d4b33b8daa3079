"""What a broken or hostile program sends after the handshake, and how it dies."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, NamedTuple

import hostlane
import pytest
import wire
from clock import lasts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import ThreadPoolExecutor

    from script import Script


class Hostile(NamedTuple):
    """A raw client, and the peer that serves it."""

    client: wire.Wire
    server: hostlane.Peer


@pytest.fixture
def hostile(listener: hostlane.Listener, pool: ThreadPoolExecutor) -> Iterator[Hostile]:
    accepting = pool.submit(listener.accept, 10)
    with wire.dial_and_greet(listener.address) as client, accepting.result() as server:
        yield Hostile(client, server)


ENDS = {
    "bad-magic": (b"PI\x00\x00\x00\x00\x02\x00", hostlane.BadMagicError),
    "one-bad-byte": (b"x", hostlane.BadMagicError),
    "too-large": (wire.HEADER.pack(b"IP", (16 << 20) + 1, 2), hostlane.FrameTooLargeError),
    "largest": (wire.HEADER.pack(b"IP", 2**32 - 1, 2), hostlane.FrameTooLargeError),
    "unknown-channel": (wire.frame(5, b""), hostlane.UnknownChannelError),
    "not-agreed": (wire.frame(300, b"x"), hostlane.UnknownChannelError),
    "unknown-control": (wire.control({"type": "dance"}), hostlane.UnknownControlError),
    "control-no-json": (wire.frame(0, b"\xff"), hostlane.BadControlError),
    "control-no-type": (wire.control({"kind": "ping"}), hostlane.BadControlError),
    "control-empty": (wire.frame(0, b""), hostlane.BadControlError),
    "flood": (wire.control({"type": "ping"}) * 1500, hostlane.ControlFloodError),
}


@pytest.mark.parametrize(("data", "kind"), ENDS.values(), ids=ENDS)
def test_a_broken_rule_ends_the_connection(
    hostile: Hostile, data: bytes, kind: type[hostlane.Error]
) -> None:
    hostile.client.send(wire.frame(2, b"before") + data)
    assert hostile.server.recv(timeout=5).data == b"before"
    for _ in range(2):
        with pytest.raises(kind):
            hostile.server.recv(timeout=5)
    with pytest.raises(hostlane.Error) as caught:
        hostile.server.send(b"too late")
    assert caught.value.sent == "no"


@pytest.mark.parametrize("cut", range(14))
def test_a_frame_cut_at_every_byte(hostile: Hostile, cut: int) -> None:
    frame = wire.frame(2, b"hello")
    assert len(frame) == 13
    hostile.client.send(frame + frame[: cut % 13])
    hostile.client.socket.close()
    assert hostile.server.recv(timeout=5).data == b"hello"
    kind = hostlane.TruncatedError if cut % 13 else hostlane.PeerClosedError
    with pytest.raises(hostlane.Error) as caught:
        hostile.server.recv(timeout=5)
    assert type(caught.value) is kind


def test_one_byte_at_a_time(hostile: Hostile) -> None:
    for byte in wire.frame(2, b"in small bites"):
        hostile.client.send(bytes([byte]))
    assert hostile.server.recv(timeout=5).data == b"in small bites"


def test_a_thousand_frames_in_one_write(hostile: Hostile) -> None:
    hostile.client.send(b"".join(wire.frame(2, str(number).encode()) for number in range(1000)))
    assert [int(hostile.server.recv(timeout=5).data) for _ in range(1000)] == list(range(1000))


def test_empty_frames_count(hostile: Hostile) -> None:
    hostile.client.send(wire.frame(1, b"") * 3)
    assert [hostile.server.recv(timeout=5).data for _ in range(3)] == [b""] * 3


def test_pings_are_answered_while_receiving(hostile: Hostile, pool: ThreadPoolExecutor) -> None:
    receiving = pool.submit(hostile.server.recv, timeout=10)
    hostile.client.send(wire.control({"type": "ping", "payload": {"any": 1}, "timestamp": "now"}))
    assert hostile.client.recv_control()["type"] == "pong"
    hostile.client.send(wire.frame(2, b"x"))
    receiving.result(5)


def test_a_large_frame_is_judged_by_its_header(hostile: Hostile) -> None:
    hostile.client.send(wire.HEADER.pack(b"IP", 2**32 - 1, 2))
    with lasts(0, 2), pytest.raises(hostlane.FrameTooLargeError):
        hostile.server.recv(timeout=5)


def test_a_promised_payload_takes_no_memory(hostile: Hostile) -> None:
    before = resident()
    hostile.client.send(wire.HEADER.pack(b"IP", 16 << 20, 2))
    with pytest.raises(hostlane.TimeoutError):
        hostile.server.recv(timeout=0.2)
    assert resident() - before < 4 << 20


def resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_one_bad_client_harms_no_other(
    listener: hostlane.Listener, hostile: Hostile, pool: ThreadPoolExecutor
) -> None:
    accepting = pool.submit(listener.accept, 10)
    with hostlane.connect(listener.address) as client, accepting.result() as server:
        hostile.client.send(b"garbage")
        with pytest.raises(hostlane.BadMagicError):
            hostile.server.recv(timeout=5)
        client.send(b"unaffected")
        assert server.recv(timeout=5).data == b"unaffected"


SERVER = """
    import sys, hostlane
    listener = hostlane.listen(sys.argv[1])
    print("ready", flush=True)
    peer = listener.accept()
    kept = []
    for message in peer:
        if message.data == b"keep":
            kept.append(message)
        else:
            message.reply(message.data)
"""


@pytest.fixture(params=[1, 0])
def remote(
    request: pytest.FixtureRequest, address: str, script: type[Script]
) -> Iterator[tuple[Script, hostlane.Peer]]:
    """An echo server in a process of its own, which keeps calls that say so; on each level."""
    server = script(SERVER, address)
    assert server.line() == "ready"
    with hostlane.connect(address, level=request.param) as peer:
        assert peer.request(b"up", timeout=5).data == b"up"
        yield server, peer


def test_a_killed_peer_while_receiving(
    remote: tuple[Script, hostlane.Peer], pool: ThreadPoolExecutor
) -> None:
    server, peer = remote
    receiving = pool.submit(peer.recv)
    server.signal(signal.SIGKILL)
    with pytest.raises(hostlane.PeerClosedError):
        receiving.result(5)


def test_a_killed_peer_while_calling(
    remote: tuple[Script, hostlane.Peer], pool: ThreadPoolExecutor
) -> None:
    server, peer = remote
    calling = pool.submit(peer.request, b"keep", timeout=None)
    server.asleep()
    server.signal(signal.SIGKILL)
    with pytest.raises(ConnectionError) as caught:
        calling.result(5)
    assert isinstance(caught.value, hostlane.Error)
    assert caught.value.sent == "maybe"


def test_a_killed_peer_leaves_no_trap_for_the_next_server(
    remote: tuple[Script, hostlane.Peer], address: str, pool: ThreadPoolExecutor
) -> None:
    server, _ = remote
    server.signal(signal.SIGKILL)
    server.process.wait()
    with pytest.raises(hostlane.ConnectionRefusedError):
        hostlane.connect(address)
    with hostlane.listen(address) as listener:
        accepting = pool.submit(listener.accept, 10)
        with hostlane.connect(address), accepting.result():
            pass


def test_a_call_to_a_stopped_peer_ends_on_time(remote: tuple[Script, hostlane.Peer]) -> None:
    server, peer = remote
    server.stopped()
    with lasts(0.3, 0.8), pytest.raises(hostlane.TimeoutError) as caught:
        peer.request(b"anyone?", timeout=0.3)
    assert caught.value.sent == "maybe"


def fill(peer: hostlane.Peer, size: int) -> tuple[int, hostlane.Error]:
    """Sends until no more goes out: how many messages did, and how that ended."""
    for count in range(1_000_000):
        start = time.monotonic()
        try:
            peer.send(bytes(size), timeout=0.3)
        except hostlane.TimeoutError as error:
            assert 0.3 <= time.monotonic() - start < 0.8
            return count, error
    pytest.fail("the other side reads on")


def test_sending_to_a_stopped_peer_ends_on_time(remote: tuple[Script, hostlane.Peer]) -> None:
    server, peer = remote
    server.stopped()
    sent, error = fill(peer, 100)
    # On level 1 the last one may be on its way, and goes on.
    assert error.sent == "no" or peer.info().level == 1
    assert fill(peer, 100)[0] == 0
    server.signal(signal.SIGCONT)
    for _ in range(sent):
        assert len(peer.recv(hostlane.DATA, timeout=5)) == 100
    assert peer.request(b"the connection goes on", timeout=5).data == b"the connection goes on"


def test_a_message_cut_by_its_deadline_ends_a_connection_on_level_0(
    remote: tuple[Script, hostlane.Peer],
) -> None:
    server, peer = remote
    server.stopped()
    fill(peer, 4 << 20)
    if peer.info().level == 0:
        with lasts(0, 0.2), pytest.raises(hostlane.ConnectionLostError):
            peer.send(b"behind half a message", timeout=0.3)
        return
    server.signal(signal.SIGCONT)
    assert peer.request(b"the connection goes on", timeout=10).data == b"the connection goes on"


def test_a_ping_to_a_stopped_peer_ends_on_time(remote: tuple[Script, hostlane.Peer]) -> None:
    server, peer = remote
    server.stopped()
    with lasts(0.3, 0.8), pytest.raises(hostlane.TimeoutError):
        peer.ping(timeout=0.3)
    server.signal(signal.SIGCONT)
    assert peer.request(b"the connection goes on", timeout=5).data == b"the connection goes on"


FEW_FILES = """
    import os, resource, sys, threading, hostlane
    listener = hostlane.listen(sys.argv[1])
    opened = len(os.listdir("/proc/self/fd")) - 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 4, opened + 4))
    print("ready", flush=True)
    def serve(peer):
        with peer:
            for message in peer:
                message.reply(message.data)
    for peer in listener:
        threading.Thread(target=serve, args=[peer], daemon=True).start()
"""


def test_a_server_out_of_files_recovers(address: str, script: type[Script]) -> None:
    server = script(FEW_FILES, address)
    assert server.line() == "ready"
    held = [wire.dial(address) for _ in range(12)]
    for one in held:
        one.__enter__()
    with pytest.raises(hostlane.TimeoutError):
        hostlane.connect(address, timeout=0.5)
    for one in held:
        one.__exit__(None, None, None)
    with hostlane.connect(address, timeout=10) as peer:
        assert peer.request(b"again", timeout=5).data == b"again"
