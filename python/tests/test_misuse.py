"""What a program gets wrong is said by its name, and nothing of it is taken for something else."""

from __future__ import annotations

import asyncio
import pickle
from typing import TYPE_CHECKING, Any

import hostlane
import pytest
from hostlane import aio

if TYPE_CHECKING:
    from collections.abc import Callable

WRONG: dict[str, list[Any]] = {
    "channels": [5, "12", ["x"], [1.5]],
    "auth_token": [5, b"x"],
    "secret": [5, b"x"],
    "allow_uids": [0, ["root"]],
    "handshake_timeout": ["5", [5]],
    "max_message": ["5", 1.5],
    "level": ["1"],
    "max_calls": [1.5, "x"],
    "keepalive": ["x"],
    "policies": [["latest"], {"2": "latest"}, {2: 5}],
    "fds": ["yes", 1],
    "spin": ["x"],
}
CONNECTING = WRONG | {"command": ["/bin/cat", b"x", [5], 5]}
LISTENING = WRONG | {"backlog": ["x", 1.5]}
LINKING = {
    **{name: wrong for name, wrong in WRONG.items() if name not in ("auth_token", "fds", "spin")},
    "reconnect": [1],
    "retries": ["x"],
    "delay": ["x"],
    "max_delay": ["x"],
}


def every(wrong: dict[str, list[Any]]) -> list[Any]:
    return [pytest.param(name, one, id=f"{name}={one!r}") for name in wrong for one in wrong[name]]


def connect(address: str, **options: Any) -> None:
    hostlane.connect(address, **options)


def aio_connect(address: str, **options: Any) -> None:
    async def main() -> None:
        await aio.connect(address, **options)

    asyncio.run(main())


def link(address: str, **options: Any) -> None:
    hostlane.Link.open(address, **options)


def aio_link(address: str, **options: Any) -> None:
    async def main() -> None:
        aio.Link.open(address, **options)

    asyncio.run(main())


def listen(address: str, **options: Any) -> None:
    hostlane.listen(address, **options)


def aio_listen(address: str, **options: Any) -> None:
    async def main() -> None:
        aio.listen(address, **options)

    asyncio.run(main())


@pytest.mark.parametrize("call", [connect, aio_connect])
@pytest.mark.parametrize(("name", "wrong"), every(CONNECTING))
def test_connecting(call: Callable[..., None], address: str, name: str, wrong: object) -> None:
    with pytest.raises(TypeError, match=name):
        call(address, **{name: wrong})


@pytest.mark.parametrize(("name", "wrong"), every(LISTENING))
def test_listening(address: str, name: str, wrong: object) -> None:
    with pytest.raises(TypeError, match=name):
        listen(address, **{name: wrong})


@pytest.mark.parametrize(("name", "wrong"), every(LINKING))
def test_linking(address: str, name: str, wrong: object) -> None:
    with pytest.raises(TypeError, match=name):
        link(address, **{name: wrong})


@pytest.mark.parametrize("call", [connect, aio_connect, listen, link])
def test_options_that_do_not_exist(call: Callable[..., None], address: str) -> None:
    with pytest.raises(TypeError, match=r"'tiemout' is no option; there are .*channels"):
        call(address, tiemout=5)


def test_a_secret_is_not_in_the_text() -> None:
    with pytest.raises(TypeError) as caught:
        connect("x", secret=b"hunter2")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"auth_token": "\ud800"},
        {"secret": "\ud800"},
        {"policies": {2: "\ud800"}},
        {"command": ["cat", "\ud800"]},
    ],
    ids=list,
)
@pytest.mark.parametrize("call", [connect, aio_connect])
def test_texts_that_are_no_utf_8(
    call: Callable[..., None], address: str, options: dict[str, Any]
) -> None:
    with pytest.raises(hostlane.InvalidUtf8Error, match="surrogate") as caught:
        call(address, **options)
    assert caught.value.__cause__ is caught.value.__context__ is None


@pytest.mark.parametrize("call", [connect, aio_connect, listen, aio_listen, link, aio_link])
def test_an_address_that_is_no_utf_8(call: Callable[..., None]) -> None:
    with pytest.raises(hostlane.InvalidUtf8Error, match="address"):
        call("\ud800")


def test_the_options_of_a_message(pair: Any) -> None:
    client = pair.client
    for name, wrong in {"trace": "x", "idempotency_key": 5, "fds": 5}.items():
        with pytest.raises(TypeError, match=name):
            client.request(b"x", **{name: wrong})
    with pytest.raises(TypeError, match=r"fds\[0\]"):
        client.send(b"x", fds=["x"])
    with pytest.raises(TypeError, match="'tiemout' is no option"):
        client.request(b"x", tiemout=5)
    with pytest.raises(TypeError, match="handler"):
        client.serve(5)


def test_an_answer_that_is_none_fails_the_call(listener: hostlane.Listener, pool: Any) -> None:
    answers: dict[bytes, Any] = {b"number": 42, b"text": "text"}
    serving = pool.submit(listener.serve, lambda message, _: answers[message.data])
    with hostlane.connect(listener.address) as client:
        for asked in answers:
            with pytest.raises(hostlane.RemoteError) as caught:
                client.request(asked)
            assert caught.value.status == hostlane.HANDLER_FAILED
            assert caught.value.data.startswith(b"TypeError: ")
    listener.close()
    serving.result(10)


def test_status_and_data_are_keywords() -> None:
    wrong: Any = 42
    with pytest.raises(TypeError, match="message is a str, not int"):
        hostlane.RemoteError(wrong)
    with pytest.raises(TypeError, match="message is a str, not int"):
        hostlane.RemoteError(wrong, b"data")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="sent is"):
        hostlane.RemoteError("no", 42)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="positional"):
        hostlane.RemoteError("no", "maybe", 42, b"data")  # type: ignore[call-arg]
    error = hostlane.RemoteError("no", status=42, data=b"data")
    for one in (error, pickle.loads(pickle.dumps(error))):
        assert (one.message, one.sent, one.status, one.data) == ("no", "maybe", 42, b"data")
