"""Listeners: binding, accepting, ending."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import socket
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import hostlane
import pytest
from clock import lasts
from script import until

if TYPE_CHECKING:
    from typing import Any


def test_the_socket_is_private_and_goes_away(address: str) -> None:
    path = Path(address)
    with hostlane.listen(address):
        mode = path.lstat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600
    assert not path.exists()


def test_the_address_is_one_to_connect_to(
    listener: hostlane.Listener, pool: ThreadPoolExecutor
) -> None:
    accepting = pool.submit(listener.accept, 10)
    with hostlane.connect(listener.address), accepting.result():
        assert listener.stats().accepted == 1


def test_a_name(monkeypatch: pytest.MonkeyPatch, folder: Path, pool: ThreadPoolExecutor) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    folder.chmod(0o700)
    with hostlane.listen("greeter") as listener:
        accepting = pool.submit(listener.accept, 10)
        with hostlane.connect("greeter") as client, accepting.result() as server:
            client.send(b"by name")
            assert server.recv(timeout=5).data == b"by name"
        assert stat.S_IMODE((folder / "hostlane").stat().st_mode) == 0o700


def test_iteration_serves_until_closed(
    listener: hostlane.Listener, pool: ThreadPoolExecutor
) -> None:
    def serve() -> int:
        count = 0
        for peer in listener:
            peer.close()
            count += 1
        return count

    serving = pool.submit(serve)
    for _ in range(5):
        hostlane.connect(listener.address).close()
    until(lambda: listener.stats().accepted == 5 and listener.stats().ready == 0)
    listener.close()
    assert serving.result(5) == 5


@pytest.mark.parametrize("timeout", [0, 0.2])
def test_accept_times_out(listener: hostlane.Listener, timeout: float) -> None:
    with lasts(timeout, timeout + 2), pytest.raises(hostlane.TimeoutError):
        listener.accept(timeout=timeout)


def test_close_wakes_every_accept(listener: hostlane.Listener) -> None:
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(listener.accept) for _ in range(4)]
        listener.close()
        for one in waiting:
            with pytest.raises(hostlane.ClosedError):
                one.result(5)
    listener.close()
    with pytest.raises(hostlane.ClosedError):
        listener.accept(1)
    assert list(listener) == []
    assert "closed" in repr(listener)


def test_accepted_peers_outlive_the_listener(
    listener: hostlane.Listener, pool: ThreadPoolExecutor
) -> None:
    accepting = pool.submit(listener.accept, 10)
    with hostlane.connect(listener.address) as client, accepting.result() as server:
        listener.close()
        client.send(b"still here")
        assert server.recv(timeout=5).data == b"still here"


def test_a_live_server_is_not_displaced(listener: hostlane.Listener) -> None:
    with pytest.raises(hostlane.AddressInUseError) as caught:
        hostlane.listen(listener.address)
    assert isinstance(caught.value, OSError)
    assert Path(listener.address.removeprefix("unix:")).is_socket()


def test_a_stale_socket_is_replaced(address: str, pool: ThreadPoolExecutor) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(address)
    with pytest.raises(hostlane.ConnectionRefusedError):
        hostlane.connect(address)
    with hostlane.listen(address) as listener:
        accepting = pool.submit(listener.accept, 10)
        with hostlane.connect(address), accepting.result():
            pass


def test_another_kind_of_file_is_left_alone(address: str) -> None:
    path = Path(address)
    path.write_text("precious")
    with pytest.raises(hostlane.NotASocketError):
        hostlane.listen(address)
    assert path.read_text() == "precious"


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("", hostlane.InvalidAddressError),
        ("no such:form", hostlane.InvalidAddressError),
        ("/tmp/" + "x" * 100, hostlane.AddressTooLongError),
        ("/nowhere/at/all", hostlane.NotFoundError),
        ("tls:localhost:7000", hostlane.UnsupportedError),
        ("tcp:127.0.0.1:7000", hostlane.AuthenticationRequiredError),
        ("unix:@open", hostlane.AuthenticationRequiredError),
        ("nul\0byte", hostlane.InvalidAddressError),
    ],
)
def test_addresses_that_cannot_be_served(address: str, kind: type[hostlane.Error]) -> None:
    with pytest.raises(kind):
        hostlane.listen(address)


@pytest.mark.parametrize(
    "options",
    [
        {"channels": []},
        {"channels": [0]},
        {"channels": [5]},
        {"channels": [70_000]},
        {"auth_token": ""},
        {"allow_uids": [-1]},
        {"handshake_timeout": 0},
        {"handshake_timeout": -1},
        {"handshake_timeout": float("nan")},
        {"max_message": 0},
        {"max_message": -1},
        {"max_message": (16 << 20) + 1},
        {"max_message": 10**30},
        {"backlog": -1},
    ],
    ids=str,
)
def test_options_out_of_range(address: str, options: dict[str, Any]) -> None:
    with pytest.raises(hostlane.Error) as caught:
        hostlane.listen(address, **options)
    assert isinstance(caught.value, hostlane.InvalidArgumentError | hostlane.InvalidChannelError)
    assert not Path(address).exists()


def test_options_of_a_wrong_type(address: str) -> None:
    with pytest.raises(TypeError):
        hostlane.listen(address, channels=["one"])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        hostlane.listen(address, max_message=1.5)  # type: ignore[arg-type]


def test_a_shared_secret(address: str, pool: ThreadPoolExecutor) -> None:
    with hostlane.listen(address, auth_token="sesame") as listener:
        accepting = pool.submit(listener.accept, 10)
        for wrong in (None, "open"):
            with pytest.raises(hostlane.AuthenticationFailedError) as caught:
                hostlane.connect(address, auth_token=wrong)
            assert isinstance(caught.value, PermissionError)
        with hostlane.connect(address, auth_token="sesame"), accepting.result():
            pass
        refused = [refusal.kind for refusal in listener.refusals()]
        assert refused == ["authentication_failed"] * 2
        assert listener.refusals() == []
        assert listener.stats().refused == {"authentication_failed": 2}


def test_user_ids(address: str, pool: ThreadPoolExecutor) -> None:
    with hostlane.listen(address, allow_uids=[os.getuid() + 1]) as listener:
        accepting = pool.submit(listener.accept)
        with pytest.raises(hostlane.PermissionDeniedError):
            hostlane.connect(address)
        listener.close()
        with pytest.raises(hostlane.ClosedError):
            accepting.result(5)


def test_nobody_accepts(listener: hostlane.Listener) -> None:
    with lasts(0.2, 2), pytest.raises(hostlane.TimeoutError):
        hostlane.connect(listener.address, timeout=0.2)


def test_an_unclosed_listener_warns(address: str) -> None:
    with pytest.warns(ResourceWarning, match=r"unclosed <hostlane.Listener \S+ open>"):
        hostlane.listen(address)
        gc.collect()
    assert not Path(address).exists()


def test_a_listener_stays_in_its_process(listener: hostlane.Listener) -> None:
    for copying in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="address"):
            copying(listener)
