"""Links: exactly one of two serves, whoever survives goes on, nothing is executed twice."""

from __future__ import annotations

import pickle
import select
import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import hostlane
import pytest
from loops import LIMIT
from script import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future, ThreadPoolExecutor
    from pathlib import Path

    from script import Script

# A program that is one side of a link, and says who it is.
PARTNER = """
import os, sys, hostlane
def answer(message, link):
    if message.data == b"die":
        os.kill(os.getpid(), 9)
    return f"{os.getpid()}: {message.data.decode()}".encode()
with hostlane.Link.open(sys.argv[1]) as link:
    print(link.is_serving, flush=True)
    link.serve(answer)
"""


def up(link: hostlane.Link) -> bool:
    """Takes the event that the other side is there: whether this side serves."""
    event = link.next(timeout=LIMIT)
    assert isinstance(event, hostlane.LinkUp)
    assert link.is_serving is event.serving
    return event.serving


def echo(message: hostlane.Message, _: hostlane.Link) -> bytes:
    return message.data


@contextmanager
def serving(
    link: hostlane.Link,
    handler: Callable[[hostlane.Message, hostlane.Link], Any] = echo,
    threads: int = 1,
) -> Iterator[hostlane.Link]:
    """Threads that serve a link until the end of the block, which closes it."""
    started = [threading.Thread(target=link.serve, args=(handler,)) for _ in range(threads)]
    for thread in started:
        thread.start()
    try:
        yield link
    finally:
        link.close()
        for thread in started:
            thread.join(LIMIT)
            assert not thread.is_alive()


def test_calls_go_both_ways(address: str) -> None:
    def answer(message: hostlane.Message, link: hostlane.Link) -> bytes:
        if message.data == b"fail":
            raise hostlane.RemoteError(status=9, data=b"as asked")
        return f"{link.is_serving}: {message.data.decode()}".encode()

    a, b = hostlane.Link.open(address), hostlane.Link.open(address)
    assert a.is_serving is True
    with serving(a, answer, 2), serving(b, answer, 2):
        assert a.request(b"hello").data == b"False: hello"
        assert b.request(bytearray(b"hello")).data == b"True: hello"
        with pytest.raises(hostlane.RemoteError) as error:
            a.request(b"fail")
        assert (error.value.status, error.value.data) == (9, b"as asked")
        assert (a.info().level, a.info().carrier) == (1, "unix")
        assert a.stats().calls == 2
        callers = [
            threading.Thread(target=lambda: [b.request(b"x") for _ in range(50)]) for _ in range(4)
        ]
        for thread in callers:
            thread.start()
        for thread in callers:
            thread.join()
        assert b.stats().calls == 201


def test_handlers_call_back(address: str) -> None:
    def answer(message: hostlane.Message, link: hostlane.Link) -> bytes:
        depth = message.data[0]
        return link.request(bytes([depth - 1])).data if depth else b"ground"

    a, b = hostlane.Link.open(address), hostlane.Link.open(address)
    with serving(a, answer, 4), serving(b, answer, 4):
        assert a.request(b"\6").data == b"ground"


def test_no_answer_abandons_the_call(address: str, pool: ThreadPoolExecutor) -> None:
    a, b = hostlane.Link.open(address), hostlane.Link.open(address)
    with b, serving(a, lambda _message, _link: None), pytest.raises(hostlane.CallAbandonedError):
        b.request(b"forget it", timeout=5)
    a, b = hostlane.Link.open(address), hostlane.Link.open(address)
    with a, b:
        calling = pool.submit(b.request, b"nor does an iteration keep it", timeout=5)
        events = iter(a)
        while not isinstance(next(events), hostlane.Message):
            pass
        waiting = pool.submit(next, events, None)
        with pytest.raises(hostlane.CallAbandonedError):
            calling.result(LIMIT)
        a.close()
        assert waiting.result(LIMIT) is None


def test_handlers_in_an_executor(address: str, pool: ThreadPoolExecutor) -> None:
    a, b = hostlane.Link.open(address), hostlane.Link.open(address)
    thread = threading.Thread(target=a.serve, args=(echo,), kwargs={"executor": pool})
    thread.start()
    with b:
        calls = [pool.submit(b.request, bytes([n])) for n in range(8)]
        assert [call.result(LIMIT).data for call in calls] == [bytes([n]) for n in range(8)]
    a.close()
    thread.join(LIMIT)


def test_events_and_messages_by_hand(address: str, pool: ThreadPoolExecutor) -> None:
    with hostlane.Link.open(address) as a, hostlane.Link.open(address) as b:
        first = pool.submit(up, a)
        assert up(b) is False
        assert first.result() is True
        b.send(b"one", trace=b"t")
        call = pool.submit(b.request, b"two", timeout=LIMIT)
        event = a.next(timeout=LIMIT)
        assert isinstance(event, hostlane.Message)
        assert (event.data, event.channel, event.trace) == (b"one", hostlane.DATA, b"t")
        event = a.next(timeout=LIMIT)
        assert isinstance(event, hostlane.Message)
        assert event.is_request
        assert 0 < (event.remaining or 0) <= LIMIT
        event.reply(b"answer")
        # Who answers does not wait; what it gave leaves with whoever drives the link.
        assert call.result(LIMIT).data == b"answer"
        with pytest.raises(hostlane.CallEndedError):
            event.reply(b"again")
        with pytest.raises(hostlane.TimeoutError):
            a.next(timeout=0)
        with pytest.raises(hostlane.UnsupportedError):
            event.wait_cancelled()
        b.close()
        down = a.next(timeout=LIMIT)
        assert isinstance(down, hostlane.LinkDown)
        assert isinstance(down.error, hostlane.PeerClosedError)
        with pytest.raises(hostlane.ConnectionLostError):
            a.send(b"nobody is there")
        with pytest.raises(hostlane.ConnectionLostError):
            a.info()


def test_of_two_processes_started_at_once_exactly_one_serves(
    address: str, script: type[Script]
) -> None:
    for round_ in range(4):
        place = f"{address}{round_}"
        pair = [script(PARTNER, place), script(PARTNER, place)]
        names = {f"{one.process.pid}: ?".encode() for one in pair}
        with hostlane.Link.open(place, retries=5, delay=0.005, max_delay=0.015) as third:
            # It waits until one of them makes room; or was among the first two, as good, and may
            # have to wait for the second.
            try:
                reply = third.request(b"?", timeout=0.3)
            except hostlane.TimeoutError:
                # The two may not have started yet.
                if third.is_serving is None:
                    pair.pop().process.kill()
                reply = third.request(b"?", timeout=LIMIT)
            assert reply.data in names
        for one in pair:
            one.process.kill()


def test_the_survivor_serves_within_moments_and_the_next_joins(
    address: str, script: type[Script]
) -> None:
    partner = script(PARTNER, address)
    assert partner.line() == "True"
    took = []
    with hostlane.Link.open(address) as link:
        for _ in range(5):
            assert up(link) is (link.is_serving is True)
            start = partner.signal(signal.SIGKILL)
            event = link.next(timeout=LIMIT)
            assert isinstance(event, hostlane.LinkDown)
            while link.is_serving is not True:
                with pytest.raises(hostlane.TimeoutError):
                    link.next(timeout=0.001)
            took.append(time.monotonic() - start)
            partner = script(PARTNER, address)
            assert link.request(b"in", timeout=LIMIT).data == f"{partner.process.pid}: in".encode()
    assert sorted(took)[2] < 0.5, took


def test_a_lost_call_fails_once_and_says_whether_it_may_have_been_executed(
    address: str, script: type[Script]
) -> None:
    partner = script(PARTNER, address)
    partner.line()
    with hostlane.Link.open(address) as link:
        with pytest.raises(hostlane.ConnectionLostError) as error:
            link.request(b"die", timeout=LIMIT)
        assert error.value.sent == "maybe"
        partner = script(PARTNER, address)
        assert link.request(b"on", timeout=LIMIT).data == f"{partner.process.pid}: on".encode()


def test_an_idempotent_call_is_made_again(address: str, pool: ThreadPoolExecutor) -> None:
    seen = []

    def serve(listener: hostlane.Listener) -> None:
        # Two connections die with their first call.
        for peer in listener:
            with peer:
                for message in peer:
                    seen.append((message.data, message.idempotency_key))
                    if len(seen) < 3:
                        break
                    message.reply(message.data)

    with hostlane.listen(address) as listener:
        served = pool.submit(serve, listener)
        with hostlane.Link.open(address, delay=0.005) as link:
            assert link.request(b"x", idempotency_key=b"k", timeout=LIMIT).data == b"x"
        assert seen == [(b"x", b"k")] * 3
        listener.close()
        served.result(LIMIT)


def test_without_reconnecting_one_error_is_the_end(address: str, pool: ThreadPoolExecutor) -> None:
    with hostlane.Link.open(address, reconnect=False) as a:
        b = hostlane.Link.open(address)
        first = pool.submit(up, a)
        assert up(b) is False
        first.result()
        b.close()
        assert isinstance(a.next(timeout=LIMIT), hostlane.LinkDown)
        for end in (lambda: a.next(timeout=LIMIT), lambda: a.request(b""), lambda: a.serve(echo)):
            with pytest.raises(hostlane.PeerClosedError):
                end()


def test_retries_that_run_out(folder: Path) -> None:
    missing = f"{folder}/missing/s"
    with hostlane.Link.open(missing, retries=2, delay=0.02, max_delay=0.03) as link:
        start = time.monotonic()
        for _ in range(2):
            with pytest.raises(hostlane.NotFoundError):
                link.next(timeout=LIMIT)
        assert 0.025 <= time.monotonic() - start < LIMIT / 2
        with pytest.raises(hostlane.NotFoundError):
            link.request(b"")
        link.close()


def test_closing_wakes_who_waits(address: str, pool: ThreadPoolExecutor) -> None:
    link = hostlane.Link.open(address)
    waits: list[Future[object]] = [
        pool.submit(link.next),
        pool.submit(link.next),
        pool.submit(link.request, b"", timeout=None),
    ]
    iterating = pool.submit(list, link)
    serving_ = pool.submit(link.serve, echo)
    link.close()
    link.close()
    for wait in waits:
        with pytest.raises(hostlane.ClosedError):
            wait.result(LIMIT)
    assert iterating.result(LIMIT) == []
    serving_.result(LIMIT)
    assert "closed" in repr(link)
    # The address is free.
    with hostlane.Link.open(address) as other:
        assert other.is_serving


def test_an_event_loop_of_ones_own(address: str) -> None:
    with hostlane.Link.open(address) as a, hostlane.Link.open(address) as b:
        events: list[hostlane.LinkEvent] = []
        poll = select.poll()
        links = {link.fileno(): link for link in (a, b)}
        for fd in links:
            poll.register(fd, select.POLLIN)
        sent = False
        end = time.monotonic() + LIMIT
        while not any(isinstance(event, hostlane.Message) for event in events):
            assert time.monotonic() < end
            for fd, _ in poll.poll(1000):
                events += links[fd].process()
            if len(events) == 2 and not sent:
                b.send(b"x")
                sent = True
        a.close()
        with pytest.raises(hostlane.ClosedError):
            a.process()


def test_the_interpreter_is_free_while_a_link_waits(address: str) -> None:
    with hostlane.Link.open(address) as link:
        thread = threading.Thread(target=lambda: list(link))
        thread.start()
        # This very loop proves it, in a process with one interpreter.
        until(lambda: sum(range(1000)) > 0)
        link.close()
        thread.join(LIMIT)
        assert not thread.is_alive()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"delay": 0.0}, hostlane.InvalidArgumentError),
        ({"delay": -1.0}, hostlane.InvalidArgumentError),
        ({"delay": 2.0, "max_delay": 1.0}, hostlane.InvalidArgumentError),
        ({"retries": -1}, hostlane.InvalidArgumentError),
        ({"level": 0}, hostlane.InvalidArgumentError),
        ({"spin": 1.0}, hostlane.InvalidArgumentError),
        ({"retries": "many"}, TypeError),
        ({"reconnect": 1}, TypeError),
        ({"backlog": 5}, TypeError),
        ({"command": ["true"]}, TypeError),
        ({"nonsense": 1}, TypeError),
    ],
)
def test_bad_options(address: str, options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        hostlane.Link.open(address, **options)


def test_misuse(address: str, folder: Path) -> None:
    for fixed in ("fd:3", "stdio:", "spawn:true", "systemd:"):
        with pytest.raises(hostlane.UnsupportedError):
            hostlane.Link.open(fixed)
    (folder / "file").write_text("a file")
    with pytest.raises(hostlane.NotASocketError):
        hostlane.Link.open(f"{folder}/file")
    with pytest.raises(hostlane.InvalidAddressError):
        hostlane.Link.open("")
    with pytest.raises(TypeError):
        hostlane.connect(address, reconnect=True)  # type: ignore[call-arg]
    link = hostlane.Link.open(address)
    with pytest.raises(TypeError):
        link.request("text")  # type: ignore[arg-type]
    with pytest.raises(hostlane.InvalidChannelError):
        link.request(b"", channel=0)
    with pytest.raises(hostlane.InvalidArgumentError):
        link.request(b"", timeout=-1)
    with pytest.raises(hostlane.TimeoutError):
        link.request(b"", timeout=0.01)
    with pytest.raises(TypeError, match="belongs to its process"):
        pickle.dumps(link)
    link.close()
    for use in (link.next, lambda: link.request(b""), lambda: link.process()):
        with pytest.raises(hostlane.ClosedError):
            use()


def test_an_open_link_that_is_lost_warns_and_is_closed(address: str) -> None:
    link = hostlane.Link.open(address)
    with pytest.warns(ResourceWarning, match="unclosed <hostlane.Link"):
        del link
    with hostlane.Link.open(address) as other:
        assert other.is_serving
