"""Handlers: on the calling thread, by an executor, their answers and failures."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import hostlane
import pytest
from script import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Pair


class MuteError(Exception):
    """One without a text."""

    def __str__(self) -> str:
        message = "no text"
        raise RuntimeError(message)


def odd_errors() -> dict[str, Exception]:
    """Exceptions of which nothing sensible can be told."""
    wrong: Any = "text"
    return {
        "mute": MuteError(),
        "negative": hostlane.RemoteError("x", status=-1),
        "large": hostlane.RemoteError("x", status=2**40),
        "no-bytes": hostlane.RemoteError("x", status=3, data=wrong),
        "no-number": hostlane.RemoteError("x", status=wrong),
        "too-much": hostlane.RemoteError("x", status=3, data=bytes(2**24 + 1)),
    }


class Service:
    """A handler that does what the message says."""

    def __init__(self) -> None:
        self.threads: set[int] = set()
        self.seen: list[bytes] = []
        self.entered = threading.Event()
        self.cancelled = threading.Event()
        self.other: hostlane.Peer | None = None

    def __call__(self, message: hostlane.Message, peer: hostlane.Peer) -> bytes | None:
        self.threads.add(threading.get_ident())
        word, _, rest = message.data.partition(b" ")
        return getattr(self, word.decode())(message, peer, rest)  # type: ignore[no-any-return]

    def echo(self, _: hostlane.Message, __: hostlane.Peer, rest: bytes) -> bytes:
        return rest

    def pad(self, _: hostlane.Message, __: hostlane.Peer, rest: bytes) -> bytes:
        return rest.ljust(65536)

    def note(self, _: hostlane.Message, __: hostlane.Peer, rest: bytes) -> None:
        self.seen.append(rest)

    def own(self, message: hostlane.Message, _: hostlane.Peer, rest: bytes) -> None:
        message.reply(rest)

    def forget(self, _: hostlane.Message, __: hostlane.Peer, ___: bytes) -> None:
        pass

    def error(self, _: hostlane.Message, __: hostlane.Peer, rest: bytes) -> None:
        raise ValueError(rest.decode())

    def refuse(self, _: hostlane.Message, __: hostlane.Peer, rest: bytes) -> None:
        raise hostlane.RemoteError("no", status=42, data=rest)

    def odd(self, _: hostlane.Message, __: hostlane.Peer, rest: bytes) -> None:
        raise odd_errors()[rest.decode()]

    def back(self, _: hostlane.Message, peer: hostlane.Peer, rest: bytes) -> bytes:
        """Calls the caller."""
        return b"<" + peer.request(rest, timeout=None).data + b">"

    def started(self, _: hostlane.Message, peer: hostlane.Peer, rest: bytes) -> bytes:
        calls = [peer.start(rest + b"%d" % number) for number in range(3)]
        return b"".join(call.result(5).data for call in calls)

    def wait(self, message: hostlane.Message, _: hostlane.Peer, __: bytes) -> None:
        self.entered.set()
        message.wait_cancelled(timeout=10)
        self.cancelled.set()

    def leave(self, _: hostlane.Message, peer: hostlane.Peer, __: bytes) -> bytes:
        peer.close()
        return b"too late"

    def items(self, message: hostlane.Message, _: hostlane.Peer, __: bytes) -> bytes:
        stream = message.stream()
        assert stream is not None
        for item in stream:
            stream.send(item.upper())
        return b"end"

    def close(self, _: hostlane.Message, __: hostlane.Peer, ___: bytes) -> bytes:
        self.listener.close()
        return b"closing"

    listener: hostlane.Listener


@contextmanager
def served(
    listener: hostlane.Listener, executor: ThreadPoolExecutor | None
) -> Iterator[tuple[Service, Future[None]]]:
    service = Service()
    service.listener = listener
    with ThreadPoolExecutor(1) as thread:
        serving = thread.submit(listener.serve, service, executor=executor)
        try:
            yield service, serving
        finally:
            listener.close()
        serving.result(10)


@pytest.fixture(params=["calling-thread", "executor"])
def service(
    request: pytest.FixtureRequest, listener: hostlane.Listener, pool: ThreadPoolExecutor
) -> Iterator[Service]:
    executor = pool if request.param == "executor" else None
    with served(listener, executor) as (service, _):
        yield service


@pytest.fixture
def client(service: Service, listener: hostlane.Listener) -> Iterator[hostlane.Peer]:
    with hostlane.connect(listener.address) as client:
        yield client


def test_what_it_returns_is_the_answer(service: Service, client: hostlane.Peer) -> None:
    assert client.request(b"echo hello").data == b"hello"
    assert client.request(b"own hello").data == b"hello"
    client.send(b"echo one-way", channel=4)
    answer = client.recv(timeout=5)
    assert (answer.data, answer.channel, answer.is_request) == (b"one-way", 4, False)
    client.send(b"note seen")
    until(lambda: service.seen == [b"seen"])


def test_many_clients_at_once(service: Service, listener: hostlane.Listener) -> None:
    clients = [hostlane.connect(listener.address) for _ in range(20)]
    calls = [
        (b"%d.%d" % (number, n), client.start(b"echo %d.%d" % (number, n)))
        for n in range(50)
        for number, client in enumerate(clients)
    ]
    for expected, call in calls:
        assert call.result(10).data == expected
    for client in clients:
        client.close()


def test_no_thread_is_the_librarys(service: Service, client: hostlane.Peer) -> None:
    before = threading.active_count()
    client.request(b"echo x")
    ours = {thread.ident for thread in threading.enumerate()}
    assert service.threads <= ours
    assert threading.active_count() <= before + 1


def test_a_handler_that_raises_fails_the_call(
    client: hostlane.Peer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "hostlane"):
        with pytest.raises(hostlane.RemoteError) as caught:
            client.request(b"error my fault")
        assert caught.value.status == hostlane.HANDLER_FAILED
        assert caught.value.data == b"ValueError: my fault"
        with pytest.raises(hostlane.RemoteError) as caught:
            client.request(b"refuse because")
        assert (caught.value.status, caught.value.data) == (42, b"because")
        client.send(b"error of a message")
        assert client.request(b"echo goes on").data == b"goes on"
        until(lambda: "of a message" in caplog.text)
    assert "my fault" in caplog.text
    assert "because" not in caplog.text


@pytest.mark.parametrize("name", odd_errors())
def test_whatever_a_handler_raises_its_caller_is_told(client: hostlane.Peer, name: str) -> None:
    with pytest.raises(hostlane.RemoteError) as caught:
        client.request(b"odd " + name.encode(), timeout=5)
    assert caught.value.status == hostlane.HANDLER_FAILED
    assert caught.value.data
    client.send(b"odd " + name.encode())
    assert client.request(b"echo goes on").data == b"goes on"


def test_no_answer_abandons_the_call(client: hostlane.Peer) -> None:
    with pytest.raises(hostlane.CallAbandonedError):
        client.request(b"forget it")


def test_a_handler_calls_its_caller(client: hostlane.Peer, pool: ThreadPoolExecutor) -> None:
    def answer(message: hostlane.Message, _: hostlane.Peer) -> bytes:
        assert message.remaining is not None
        return b"%s in %.0f" % (message.data, message.remaining)

    answering = pool.submit(client.serve, answer)
    assert client.request(b"back there", timeout=9.4).data == b"<there in 9>"
    assert client.request(b"started x", timeout=9.4).data == b"x0 in 5x1 in 5x2 in 5"
    client.close()
    answering.result(5)


def test_a_nested_call_has_the_time_of_the_one_it_is_for(
    client: hostlane.Peer, pool: ThreadPoolExecutor
) -> None:
    inner: list[float] = []
    released = threading.Event()

    def answer(message: hostlane.Message, _: hostlane.Peer) -> None:
        inner.append(message.remaining or 0)
        message.wait_cancelled(timeout=10)
        released.set()

    answering = pool.submit(client.serve, answer)
    start = time.monotonic()
    with pytest.raises(hostlane.TimeoutError):
        client.request(b"back x", timeout=0.3)
    assert released.wait(5)
    assert time.monotonic() - start < 2
    assert 0 < inner[0] <= 0.3
    client.close()
    answering.result(5)


def test_a_caller_that_leaves_is_seen(service: Service, client: hostlane.Peer) -> None:
    call = client.start(b"wait for it")
    assert service.entered.wait(5)
    call.cancel()
    assert service.cancelled.wait(5)


def test_an_answer_to_nobody_is_no_failure_of_the_handlers(
    client: hostlane.Peer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "hostlane"):
        with pytest.raises(ConnectionError):
            client.request(b"leave now")
        until(lambda: "no answer to" in caplog.text)
    assert not [one for one in caplog.records if one.levelno > logging.DEBUG]


def test_streams(client: hostlane.Peer) -> None:
    with client.open_stream(b"items ") as stream:
        for item in (b"a", b"b"):
            stream.send(item)
            assert stream.recv(timeout=5) == item.upper()
        stream.finish()
        assert list(stream) == []
        assert stream.reply == b"end"


def test_level_0(service: Service, listener: hostlane.Listener) -> None:
    with hostlane.connect(listener.address, level=0) as client:
        assert client.request(b"echo hello").data == b"hello"
        assert client.request(b"own hello").data == b"hello"
        client.send(b"note x")
        until(lambda: service.seen == [b"x"])


@pytest.mark.parametrize("with_executor", [False, True])
def test_close_drains(
    listener: hostlane.Listener, pool: ThreadPoolExecutor, *, with_executor: bool
) -> None:
    with served(listener, pool if with_executor else None) as (_, serving):
        client = hostlane.connect(listener.address)
        idle = hostlane.connect(listener.address)
        answering = pool.submit(list, idle)
        calls = [client.start(b"echo %d" % number, timeout=10) for number in range(50)]
        last = client.start(b"close ", timeout=10)
        assert [call.result().data for call in calls] == [b"%d" % number for number in range(50)]
        assert last.result().data == b"closing"
        with pytest.raises(hostlane.PeerClosedError):
            client.recv(timeout=10)
        assert answering.result(10) == []
        serving.result(10)
        client.close()
        idle.close()
        with pytest.raises(hostlane.ClosedError):
            listener.accept()


@pytest.mark.parametrize("call", [False, True], ids=["one-way", "calls"])
def test_who_takes_no_answers_holds_up_nobody(
    service: Service, listener: hostlane.Listener, *, call: bool
) -> None:
    with hostlane.connect(listener.address) as deaf, hostlane.connect(listener.address) as other:
        if call:
            calls = [deaf.start(b"pad %d" % number, timeout=60) for number in range(400)]
        else:
            for number in range(200):
                deaf.send(b"pad %d" % number)
        for _ in range(20):
            assert other.request(b"echo hello", timeout=3).data == b"hello"
        if call:
            # What was given up is told, what was held is answered now.
            ends = [call.result(30) for call in calls[:10]]
            assert [int(end.data) for end in ends] == list(range(10))
            return
        numbers = []
        while (number := int(deaf.recv(timeout=10).data)) < 199:
            numbers.append(number)
        assert len(set(numbers)) == len(numbers) > 50
        if len(service.threads) == 1:
            assert numbers == sorted(numbers)
        assert deaf.request(b"echo hello", timeout=10).data == b"hello"


def test_a_closed_listener_serves_nobody(listener: hostlane.Listener) -> None:
    listener.close()
    listener.serve(Service())


def test_what_is_no_exception_leaves_and_closes_all(listener: hostlane.Listener) -> None:
    def stop(*_: object) -> None:
        raise SystemExit(3)

    with ThreadPoolExecutor(1) as thread:
        serving = thread.submit(listener.serve, stop)
        with hostlane.connect(listener.address) as client:
            with pytest.raises(ConnectionError):
                client.request(b"", timeout=10)
            with pytest.raises(SystemExit):
                serving.result(5)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, asyncio.CancelledError])
def test_what_is_no_exception_on_an_executor_is_told_its_caller_alone(
    listener: hostlane.Listener,
    pool: ThreadPoolExecutor,
    kind: type[BaseException],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: seen.append(args.exc_type))

    def handler(message: hostlane.Message, _: hostlane.Peer) -> bytes:
        if message.data == b"stop":
            raise kind
        return message.data

    with ThreadPoolExecutor(1) as executor:
        serving = pool.submit(listener.serve, handler, executor=executor)
        with hostlane.connect(listener.address) as client:
            with pytest.raises(hostlane.RemoteError) as error:
                client.request(b"stop", timeout=10)
            assert error.value.status == hostlane.HANDLER_FAILED
            assert bytes(error.value.data).startswith(kind.__name__.encode())
            assert client.request(b"on", timeout=10).data == b"on"
        listener.close()
        serving.result(5)
    assert seen == [kind]


def test_timeouts_of_a_call_of_a_served_peer(
    listener: hostlane.Listener, pool: ThreadPoolExecutor
) -> None:
    def handler(message: hostlane.Message, peer: hostlane.Peer) -> bytes:
        call = peer.start(b"back", timeout=10)
        for wrong in (-1, float("nan")):
            with pytest.raises(hostlane.InvalidArgumentError):
                call.result(wrong)
        return call.result(float(message.data)).data

    serving = pool.submit(listener.serve, handler)
    with hostlane.connect(listener.address, timeout=5) as client:
        answering = pool.submit(client.serve, lambda message, _: message.data)
        for endless in (b"inf", b"1e10", b"3e6"):
            assert client.request(endless, timeout=10).data == b"back"
        client.close()
        answering.result(5)
    listener.close()
    serving.result(5)


def test_an_iteration_keeps_no_call(pair: Pair, pool: ThreadPoolExecutor) -> None:
    call = pair.client.start(b"x", timeout=10)
    messages = iter(pair.server)
    next(messages)
    waiting = pool.submit(next, messages, None)
    with pytest.raises(hostlane.CallAbandonedError):
        call.result(5)
    pair.server.close()
    assert waiting.result(5) is None


@pytest.mark.parametrize("with_executor", [False, True])
def test_a_peer_serves(pair: Pair, pool: ThreadPoolExecutor, *, with_executor: bool) -> None:
    service = Service()
    serving = pool.submit(pair.server.serve, service, executor=pool if with_executor else None)
    calls = [pair.client.start(b"echo %d" % number) for number in range(200)]
    assert [int(call.result(10).data) for call in calls] == list(range(200))
    with pytest.raises(hostlane.RemoteError):
        pair.client.request(b"error x")
    with pytest.raises(hostlane.CallAbandonedError):
        pair.client.request(b"forget it")
    pair.client.close()
    serving.result(5)


def test_an_executor_that_is_full_takes_no_more(
    listener: hostlane.Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hostlane._executing.MAX_RUNNING", 4)
    release = threading.Event()
    running = []

    def handler(message: hostlane.Message, _: hostlane.Peer) -> bytes:
        running.append(message)
        assert release.wait(10)
        return b"done"

    with ThreadPoolExecutor(32) as executor, ThreadPoolExecutor(1) as thread:
        serving = thread.submit(listener.serve, handler, executor=executor)
        with hostlane.connect(listener.address) as client:
            calls = [client.start(b"", timeout=20) for _ in range(20)]
            until(lambda: len(running) == 4)
            with pytest.raises(hostlane.TimeoutError):
                calls[0].result(0.1)
            assert len(running) == 4
            release.set()
            for call in calls:
                assert call.result(10).data == b"done"
        listener.close()
        serving.result(10)
