"""What connecting and listening can be told about wire level 1."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import hostlane
import pytest
from clock import lasts
from conftest import Pair

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import ThreadPoolExecutor


@pytest.fixture
def join(address: str, pool: ThreadPoolExecutor) -> Callable[..., Pair]:
    """Connects a pair with options for each side."""

    def join(client: dict[str, Any] | None = None, server: dict[str, Any] | None = None) -> Pair:
        with hostlane.listen(address, **(server or {})) as listener:
            accepting = pool.submit(listener.accept, 10)
            connected = hostlane.connect(address, **(client or {}))
            return Pair(connected, accepting.result(5))

    return join


@pytest.mark.parametrize("side", [0, 1])
def test_levels(address: str, join: Callable[..., Pair], side: int) -> None:
    for level in (0, 1):
        told: list[dict[str, Any]] = [{}, {}]
        told[side] = {"level": level}
        pair = join(*told)
        with pair.client, pair.server:
            assert pair.client.info().level == pair.server.info().level == level


def test_levels_that_do_not_meet(address: str, pool: ThreadPoolExecutor) -> None:
    with hostlane.listen(address, level=1) as listener:
        pool.submit(listener.accept)
        with pytest.raises(hostlane.VersionMismatchError):
            hostlane.connect(address, level=0)


def test_a_proved_secret(address: str, pool: ThreadPoolExecutor) -> None:
    with hostlane.listen("tcp:127.0.0.1:0", secret="sesame") as listener:
        accepting = pool.submit(listener.accept, 10)
        for wrong in ("open", None):
            with pytest.raises(
                (hostlane.AuthenticationFailedError, hostlane.AuthenticationRequiredError)
            ):
                hostlane.connect(listener.address, secret=wrong)
        with (
            hostlane.connect(listener.address, secret="sesame") as client,
            accepting.result(5) as server,
        ):
            assert (client.info().carrier, client.info().credentials) == ("tcp", None)
            client.send(b"over TCP")
            assert server.recv(timeout=5).data == b"over TCP"


def fill(peer: hostlane.Peer, channel: int) -> tuple[int, hostlane.Error | None]:
    for count in range(5000):
        try:
            peer.send(bytes(8192), channel=channel, timeout=0.2)
        except hostlane.Error as error:
            return count, error
    return 5000, None


def test_policies(join: Callable[..., Pair], pool: ThreadPoolExecutor) -> None:
    policies = {1: "block", 2: "error", 3: "drop_oldest", 4: "latest"}
    channels = [*policies, 256]
    pair = join({"policies": policies, "channels": channels}, {"channels": channels})
    with pair.client as client, pair.server as server:
        # Somebody reads the connection, and nobody these channels.
        reading = pool.submit(server.recv, 256)
        stuck, error = fill(client, 1)
        assert stuck < 5000
        assert isinstance(error, hostlane.TimeoutError)
        stuck, error = fill(client, 2)
        assert stuck < 5000
        assert isinstance(error, hostlane.WouldBlockError)
        for channel in (3, 4):
            assert fill(client, channel) == (5000, None)
            stats = client.stats().channels[channel - 1]
            assert stats.dropped > 0
            assert stats.send_queued_bytes_peak <= 4 << 20
        assert client.stats().channels[3].send_queued == 1
        client.send(b"the newest", channel=4)
        # Bytes move while somebody is in a call.
        moving = pool.submit(client.recv, 256)
        while server.recv(4, timeout=5).data != b"the newest":
            pass
        assert server.stats().channels[3].dropped_by_peer > 0
        client.send(b"done", channel=256)
        reading.result(5)
        server.send(b"done", channel=256)
        moving.result(5)


def test_a_keepalive_finds_a_peer_that_is_stuck(
    address: str, script: Callable[..., Any], join: Callable[..., Pair]
) -> None:
    text = """
        import sys, hostlane
        listener = hostlane.listen(sys.argv[1])
        print("ready", flush=True)
        peer = listener.accept()
        peer.recv()
    """
    server = script(text, address)
    assert server.line() == "ready"
    with hostlane.connect(address, keepalive=0.1) as peer:
        with pytest.raises(hostlane.TimeoutError):
            peer.recv(timeout=0.5)
        server.stopped()
        with lasts(0.1, 3), pytest.raises(hostlane.PeerUnresponsiveError):
            peer.recv(timeout=5)


def test_descriptors_travel(join: Callable[..., Pair]) -> None:
    pair = join({"fds": True}, {"fds": True})
    with pair.client as client, pair.server as server:
        assert "fds" in client.info().features
        reading, writing = os.pipe()
        with open(writing, "wb", buffering=0) as pipe:
            client.send(b"take it", fds=[pipe])
            client.send(b"and this", fds=[reading])
        first = server.recv(timeout=5)
        (fd,) = first.take_fds()
        assert first.take_fds() == []
        os.write(fd, b"through the pipe")
        os.close(fd)
        os.close(reading)
        (fd,) = server.recv(timeout=5).take_fds()
        assert os.read(fd, 100) == b"through the pipe"
        os.close(fd)
        for bad in (-1, 10**6, 2**40, -(2**70)):
            with pytest.raises(hostlane.InvalidArgumentError):
                client.send(b"", fds=[bad])
        with pytest.raises(TypeError):
            client.send(b"", fds=["x"])  # type: ignore[list-item]
    pair = join()
    with pair.client as client, pair.server, pytest.raises(hostlane.UnsupportedError):
        client.send(b"", fds=[0])


def test_a_started_program() -> None:
    text = "import hostlane\nfor m in hostlane.listen('stdio:').accept(): m.reply(m.data[::-1])"
    with hostlane.connect("spawn:", command=[sys.executable, "-c", text]) as peer:
        assert peer.info().carrier == "spawn"
        assert peer.request(b"abc", timeout=20).data == b"cba"


@pytest.mark.parametrize(
    "options",
    [
        {"level": 2},
        {"level": -1},
        {"secret": ""},
        {"max_calls": 0},
        {"max_calls": 10**9},
        {"keepalive": 0},
        {"keepalive": 0.001},
        {"keepalive": float("nan")},
        {"keepalive": 10**400},
        {"policies": {2: "never"}},
        {"policies": {300: "block"}},
        {"policies": {0: "block"}},
    ],
    ids=str,
)
def test_options_out_of_range(address: str, options: dict[str, Any]) -> None:
    for function in (hostlane.listen, hostlane.connect):
        with pytest.raises((hostlane.InvalidArgumentError, hostlane.InvalidChannelError)):
            function(address, **options)


def test_an_option_that_is_none(address: str) -> None:
    with pytest.raises(TypeError, match="colour"):
        hostlane.listen(address, colour="red")  # type: ignore[call-arg]


def test_spinning(join: Callable[..., Pair]) -> None:
    for spin in (0, 50e-6, 0.01):
        pair = join({"spin": spin}, {"spin": spin})
        with pair.client, pair.server:
            pair.client.send(b"x")
            assert pair.server.recv(timeout=5).data == b"x"
    for spin in (0.02, -1, float("nan")):
        with pytest.raises(hostlane.InvalidArgumentError):
            join({"spin": spin})
    with pytest.raises(TypeError):
        join({"spin": "fast"})


def test_an_attached_peer_answers_while_its_program_does_something_else(pair: Pair) -> None:
    with pytest.raises(hostlane.TimeoutError):
        pair.client.ping(timeout=0.05)
    pair.server.attach()
    pair.server.attach()
    assert pair.client.ping(timeout=5) > 0
    pair.server.close()
    with pytest.raises(hostlane.ClosedError):
        pair.server.attach()
