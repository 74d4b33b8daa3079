"""hostlane.aio, the same in asyncio, uvloop and trio."""

from __future__ import annotations

import asyncio
import copy
import gc
import logging
import os
import pickle
import random
import signal
import sys
import time
import weakref
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hostlane
import pytest
import wire
from forked import in_child
from hostlane import aio
from hostlane.aio import _driver
from loops import Asyncio, Loop, Uvloop, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from concurrent.futures import ThreadPoolExecutor


@pytest.fixture
def joined(loop: Loop, address: str) -> Callable[..., Any]:
    """Connects a pair for a block."""

    @asynccontextmanager
    async def joined(**options: Any) -> AsyncIterator[tuple[aio.Peer, aio.Peer]]:
        async with aio.listen(address) as listener, loop.group() as group:
            accepting = group.start(listener.accept, 10)
            client = await aio.connect(address, **options)
            async with client, await accepting.result() as server:
                yield client, server

    return joined


@pytest.fixture
def uncollected() -> Iterator[None]:
    """A collection would hide that something keeps a message in a cycle."""
    gc.disable()
    yield
    gc.enable()


async def echo(message: aio.Message, _: aio.Peer) -> bytes:
    return message.data


def test_messages_both_ways(loop: Loop, joined: Callable[..., Any]) -> None:
    async def body() -> None:
        async with joined() as (client, server):
            await client.send(b"there")
            message = await server.recv(timeout=5)
            assert (message.data, message.channel) == (b"there", hostlane.DATA)
            await message.reply(b"back")
            assert (await client.recv(timeout=5)).data == b"back"
            for number in range(100):
                await client.send(b"%d" % number, channel=number % 2 + 3)
            third = [int((await server.recv(3, timeout=5)).data) for _ in range(50)]
            assert third == list(range(0, 100, 2))
            rest = [int((await server.recv(timeout=5)).data) for _ in range(50)]
            assert rest == list(range(1, 100, 2))
            await client.send_batch([b"%d" % number for number in range(2000)])
            got: list[aio.Message] = []
            while len(got) < 2000:
                got += await server.recv_batch(100, timeout=5)
            assert [int(message.data) for message in got] == list(range(2000))
            large = bytes(range(256)) * (1 << 14)
            async with loop.group() as group:
                sending = group.start(client.send, large)
                assert (await server.recv(timeout=20)).data == large
                await sending.result()

    loop.run(body)


def test_a_thousand_calls_answered_in_random_order(loop: Loop, joined: Callable[..., Any]) -> None:
    async def body() -> None:
        async with joined() as (client, server):

            async def call(number: int) -> None:
                reply = await client.request(b"%d" % number, timeout=20)
                assert reply.data == b"re: %d" % number

            async with loop.group() as group:
                for number in range(1000):
                    group.start(call, number)
                messages: list[aio.Message] = []
                while len(messages) < 1000:
                    messages += await server.recv_batch(1000, timeout=10)
                assert server.stats().open_served == 1000
                random.Random(7).shuffle(messages)
                for message in messages:
                    await message.reply(b"re: " + message.data)
            assert client.stats().open_calls == 0

    loop.run(body)


def test_a_deadline_is_kept_and_the_next_call_gets_its_own_reply(
    loop: Loop, joined: Callable[..., Any]
) -> None:
    async def body() -> None:
        async with joined() as (client, server), loop.group() as group:
            calling = group.start(timed, client)
            slow = await server.recv(timeout=5)
            elapsed = await calling.result()
            assert 0.1 <= elapsed < 0.5
            calling = group.start(client.request, b"next")
            message = await server.recv(timeout=5)
            assert (slow.cancelled, message.cancelled) == (True, False)
            with pytest.raises(hostlane.CallEndedError):
                await slow.reply(b"late")
            await message.reply(b"its own")
            assert (await calling.result()).data == b"its own"

    async def timed(client: aio.Peer) -> float:
        start = time.monotonic()
        with pytest.raises(hostlane.TimeoutError) as caught:
            await client.request(b"slow", timeout=0.1)
        assert caught.value.sent == "maybe"
        return time.monotonic() - start

    loop.run(body)


def test_deadlines_come_within_twenty_milliseconds(loop: Loop, joined: Callable[..., Any]) -> None:
    async def body() -> None:
        async with joined() as (client, _):
            late = []
            for _ in range(5):
                start = time.monotonic()
                with pytest.raises(hostlane.TimeoutError):
                    await client.request(b"", timeout=0.05)
                late.append(time.monotonic() - start - 0.05)
            assert 0 <= min(late) < 0.02

    loop.run(body)


@pytest.mark.usefixtures("uncollected")
def test_a_handler_whose_own_call_failed_lets_go_of_its_call_at_once(
    loop: Loop, joined: Callable[..., Any]
) -> None:
    async def handler(message: aio.Message, peer: aio.Peer) -> None:
        with pytest.raises(hostlane.TimeoutError):
            await peer.request(b"nobody answers", timeout=0.05)

    async def body() -> None:
        async with joined() as (client, server), loop.group() as group:
            serving = group.start(server.serve, handler)
            with pytest.raises(hostlane.CallAbandonedError):
                await client.request(b"x", timeout=5)
            serving.cancel()

    loop.run(body)


@pytest.mark.usefixtures("uncollected")
def test_handlers_that_wait_for_a_cancelled_task_let_go_of_their_calls_at_once(
    loop: Loop, joined: Callable[..., Any]
) -> None:
    async def body() -> None:
        async with joined() as (client, server), loop.group() as group:
            shared = group.start(loop.sleep, 20)

            async def handler(message: aio.Message, _: aio.Peer) -> None:
                await shared.result()

            async def ask() -> None:
                with pytest.raises(hostlane.CallAbandonedError):
                    await client.request(b"x", timeout=None)

            serving = group.start(server.serve, handler)
            calls = [group.start(ask) for _ in range(10)]
            await until(loop, lambda: server.stats().open_served == 10)
            shared.cancel()
            for call in calls:
                await call.result()
            assert client.stats().open_calls == server.stats().open_served == 0
            serving.cancel()

    loop.run(body)


async def awaits_what_was_cancelled() -> None:
    task = asyncio.create_task(asyncio.sleep(20))
    task.cancel()
    await task


async def cancels_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(20)


async def keeps_its_error() -> None:
    try:
        await awaits_what_was_cancelled()
    except asyncio.CancelledError as error:
        kept = error
        raise kept from None


async def ends_with_a_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(20))
        await awaits_what_was_cancelled()


async def raises_no_exception() -> None:
    raise BaseException


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("loop", [Asyncio(), Uvloop()], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize(
    "ends",
    [
        awaits_what_was_cancelled,
        cancels_itself,
        keeps_its_error,
        ends_with_a_group,
        raises_no_exception,
    ],
)
def test_a_handler_lets_go_of_its_call_however_it_ends(
    loop: Loop,
    joined: Callable[..., Any],
    ends: Callable[[], Awaitable[None]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def body() -> None:
        seen: list[weakref.ref[aio.Message]] = []

        async def handler(message: aio.Message, _: aio.Peer) -> None:
            seen.append(weakref.ref(message))
            await ends()

        async with joined() as (client, server), loop.group() as group:
            serving = group.start(server.serve, handler)
            for _ in range(3):
                with pytest.raises(hostlane.CallAbandonedError):
                    await client.request(b"x", timeout=5)
            assert [one() for one in seen] == [None] * 3
            assert client.stats().open_calls == server.stats().open_served == 0
            serving.cancel()

    # What asyncio logs of a task has its exception in it, and is kept by pytest.
    with caplog.at_level(logging.CRITICAL, "asyncio"):
        loop.run(body)


def test_whole_messages_before_a_broken_end_are_handled(loop: Loop, address: str) -> None:
    handled: list[bytes] = []

    async def handler(message: aio.Message, peer: aio.Peer) -> None:
        handled.append(message.data)

    async def body() -> None:
        async with aio.listen(address, level=0) as listener:
            with wire.dial(address) as client:
                client.send(wire.control(wire.REQUEST))
                server = await listener.accept(5)
                client.recv_control()
                client.send(wire.frame(2, b"whole") + wire.frame(2, b"cut")[:9])
            async with server:
                with pytest.raises(hostlane.TruncatedError):
                    await server.serve(handler)

    loop.run(body)
    assert handled == [b"whole"]


@pytest.mark.usefixtures("uncollected")
def test_a_cancelled_handler_lets_go_of_its_call_at_once(
    loop: Loop, joined: Callable[..., Any]
) -> None:
    async def handler(message: aio.Message, peer: aio.Peer) -> None:
        await message.wait_cancelled(timeout=20)

    async def body() -> None:
        async with joined() as (client, server), loop.group() as group:
            serving = group.start(server.serve, handler)
            with pytest.raises(hostlane.TimeoutError):
                await client.request(b"x", timeout=0.05)
            ends = time.monotonic() + 5
            while client.stats().open_calls:
                assert time.monotonic() < ends, "its place was never free again"
                await loop.sleep(0.01)
            serving.cancel()

    loop.run(body)


def test_cancelling_a_task_gives_its_call_up(loop: Loop, joined: Callable[..., Any]) -> None:
    async def body() -> None:
        async with joined() as (client, server):
            async with loop.group() as group:
                calling = group.start(
                    client.request,
                    b"x",
                )
                message = await server.recv(timeout=5)
                calling.cancel()
                await message.wait_cancelled(timeout=5)
                assert message.cancelled
                assert not message.answered
            # It has its place until its handler is done with it.
            assert (client.stats().calls_cancelled, client.stats().open_calls) == (1, 1)
            with pytest.raises(hostlane.CallEndedError):
                await message.reply(b"")
            await client.ping(timeout=5)
            assert client.stats().open_calls == server.stats().open_served == 0

    loop.run(body)


def test_cancelling_loses_no_message(loop: Loop, joined: Callable[..., Any]) -> None:
    async def body() -> None:
        async with joined() as (client, server):
            got: list[int] = []

            async def receive(channel: int | None) -> None:
                got.append(int((await server.recv(channel)).data))

            for number in range(60):
                async with loop.group() as group:
                    receiving = group.start(receive, 2 if number % 2 else None)
                    await loop.sleep(0)
                    await client.send(b"%d" % number)
                    if number % 3:
                        await loop.sleep(0.0005 * (number % 5))
                    receiving.cancel()
            while len(got) < 60:
                await receive(None)
            assert sorted(got) == list(range(60))

    loop.run(body)


def test_a_handler_is_cancelled_with_its_call(loop: Loop, joined: Callable[..., Any]) -> None:
    async def body() -> None:
        seen: list[str] = []

        async def handler(message: aio.Message, _: aio.Peer) -> bytes:
            seen.append("entered")
            try:
                await loop.sleep(20)
            except loop.Cancelled:
                seen.append("cancelled")
                raise
            return b""

        async with joined() as (client, server), loop.group() as group:
            serving = group.start(server.serve, handler)
            calling = group.start(client.request, b"x")
            await until(loop, lambda: seen == ["entered"])
            calling.cancel()
            await until(loop, lambda: seen == ["entered", "cancelled"])
            with pytest.raises(hostlane.TimeoutError):
                await client.request(b"x", timeout=0.05)
            await until(loop, lambda: seen == ["entered", "cancelled"] * 2)
            client.close()
            await serving.result()

    loop.run(body)


def test_a_handler_that_has_answered_goes_on(loop: Loop, joined: Callable[..., Any]) -> None:
    async def body() -> None:
        seen: list[str] = []

        async def handler(message: aio.Message, _: aio.Peer) -> None:
            await loop.sleep(0.01)
            await message.reply(b"done")
            await loop.sleep(0.05)
            seen.append("after")

        async with joined() as (client, server), loop.group() as group:
            group.start(server.serve, handler)
            assert (await client.request(b"x")).data == b"done"
            await until(loop, lambda: seen == ["after"])
            client.close()

    loop.run(body)


def test_a_batch_of_none(loop: Loop, joined: Callable[..., Any]) -> None:
    async def body() -> None:
        async with joined() as (client, _):
            with pytest.raises(hostlane.InvalidArgumentError):
                await client.recv_batch(0, timeout=5)

    loop.run(body)


def test_handlers_answer_and_fail(
    loop: Loop, joined: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(message: aio.Message, peer: aio.Peer) -> bytes | None:
        word, _, rest = message.data.partition(b" ")
        match word:
            case b"error":
                raise ValueError(rest.decode())
            case b"refuse":
                raise hostlane.RemoteError("no", status=42, data=rest)
            case b"negative":
                raise hostlane.RemoteError("no", status=-1)
            case b"too-much":
                raise hostlane.RemoteError("no", status=42, data=bytes(2**24 + 1))
            case b"forget":
                return None
            case b"forget-later":
                await loop.sleep(0.02)
                return None
            case b"own":
                await message.fail(7, rest)
                return None
            case b"back":
                return b"<" + (await peer.request(rest, timeout=None)).data + b">"
        return rest

    async def answer(message: aio.Message, _: aio.Peer) -> bytes:
        assert message.remaining is not None
        return b"%s in %.0f" % (message.data, message.remaining)

    async def body() -> None:
        async with joined() as (client, server), loop.group() as group:
            group.start(server.serve, handler)
            group.start(client.serve, answer)
            assert (await client.request(b"echo x")).data == b"x"
            failures = [
                (b"error mine", hostlane.HANDLER_FAILED, b"ValueError: mine"),
                (b"refuse so", 42, b"so"),
                (b"own fault", 7, b"fault"),
            ]
            for request, status, data in failures:
                with pytest.raises(hostlane.RemoteError) as caught:
                    await client.request(request)
                assert (caught.value.status, caught.value.data) == (status, data)
            for request in (b"negative", b"too-much"):
                with pytest.raises(hostlane.RemoteError) as caught:
                    await client.request(request)
                assert caught.value.status == hostlane.HANDLER_FAILED
            for request in (b"forget", b"forget-later"):
                with pytest.raises(hostlane.CallAbandonedError):
                    await client.request(request)
            assert (await client.request(b"back there", timeout=9.4)).data == b"<there in 9>"
            client.close()

    with caplog.at_level(logging.ERROR, "hostlane"):
        loop.run(body)
    assert "mine" in caplog.text


def test_an_answer_to_nobody_is_no_failure_of_the_handlers(
    loop: Loop, joined: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(_: aio.Message, peer: aio.Peer) -> bytes:
        peer.close()
        return b"too late"

    async def body() -> None:
        async with joined() as (client, server), loop.group() as group:
            group.start(server.serve, handler)
            with pytest.raises(ConnectionError):
                await client.request(b"x", timeout=5)

    with caplog.at_level(logging.DEBUG, "hostlane"):
        loop.run(body)
    assert "no answer to" in caplog.text
    assert not [one for one in caplog.records if one.levelno > logging.DEBUG]


def test_a_listener_serves_many_clients_and_drains(loop: Loop, address: str) -> None:
    async def body() -> None:
        async with aio.listen(address) as listener, loop.group() as group:
            serving = group.start(listener.serve, echo)

            async def client(number: int) -> None:
                async with await aio.connect(address) as peer:
                    for n in range(20):
                        data = b"%d.%d" % (number, n)
                        assert (await peer.request(data, timeout=20)).data == data

            async with loop.group() as clients:
                for number in range(20):
                    clients.start(client, number)
            async with await aio.connect(address) as peer:
                assert (await peer.request(b"last")).data == b"last"
                listener.close()
                with pytest.raises(hostlane.PeerClosedError):
                    await peer.recv(timeout=10)
                await serving.result()

    loop.run(body)


def test_serve_is_cancelled_with_all_it_does(loop: Loop, address: str) -> None:
    async def body() -> None:
        seen: list[str] = []

        async def handler(_: aio.Message, __: aio.Peer) -> None:
            seen.append("entered")
            try:
                await loop.sleep(20)
            finally:
                seen.append("left")

        async with aio.listen(address) as listener:
            async with loop.group() as group:
                serving = group.start(listener.serve, handler)
                async with await aio.connect(address) as peer:
                    calling = group.start(fails, peer)
                    await until(loop, lambda: seen == ["entered"])
                    serving.cancel()
                    await calling.result()
            assert seen == ["entered", "left"]

    async def fails(peer: aio.Peer) -> None:
        with pytest.raises((ConnectionError, hostlane.CallAbandonedError)):
            await peer.request(b"x")

    loop.run(body)


def test_iterating(loop: Loop, address: str) -> None:
    async def body() -> None:
        async with aio.listen(address) as listener, loop.group() as group:
            got: list[bytes] = []

            async def serve() -> None:
                async for peer in listener:
                    async with peer:
                        async for message in peer:
                            got.append(message.data)
                    listener.close()

            serving = group.start(serve)
            async with await aio.connect(address) as client:
                for number in range(100):
                    await client.send(b"%d" % number)
            await serving.result()
            assert got == [b"%d" % number for number in range(100)]

    loop.run(body)


def test_an_iteration_keeps_no_call(loop: Loop, joined: Callable[..., Any]) -> None:
    async def body() -> None:
        async with joined() as (client, server), loop.group() as group:

            async def rest() -> bool:
                return await anext(messages, None) is None

            async def ask() -> bool:
                with pytest.raises(hostlane.CallAbandonedError):
                    await client.request(b"x")
                return True

            call = group.start(ask)
            messages = aiter(server)
            await anext(messages)
            waiting = group.start(rest)
            assert await call.result()
            server.close()
            assert await waiting.result()

    loop.run(body)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks are never eager there")
def test_tasks_that_run_at_once(address: str) -> None:
    async def body() -> None:
        asyncio.get_running_loop().set_task_factory(vars(asyncio)["eager_task_factory"])
        served = 0
        last = asyncio.Event()

        async def handler(message: aio.Message, _: aio.Peer) -> None:
            nonlocal served
            served += 1
            if message.data == b"last":
                last.set()

        async with aio.listen(address) as listener, asyncio.timeout(30):
            accepting = asyncio.create_task(listener.accept())
            async with await aio.connect(address) as client, await accepting as server:
                serving = asyncio.create_task(server.serve(handler))
                # More than run at a time.
                await client.send_batch([b"x"] * 3000)
                await client.send(b"last")
                await last.wait()
                assert served == 3001
                client.close()
                await serving

    asyncio.run(body())


def test_streams(loop: Loop, joined: Callable[..., Any]) -> None:
    async def upper(message: aio.Message, _: aio.Peer) -> bytes:
        stream = message.stream()
        assert stream is not None
        count = 0
        async for item in stream:
            await stream.send(item.upper())
            count += 1
        return b"%d" % count

    async def body() -> None:
        async with joined() as (client, server), loop.group() as group:
            group.start(server.serve, upper)
            async with client.open_stream(b"please") as stream:
                for number in range(50):
                    await stream.send(b"item %d" % number)
                await stream.finish()
                items = [item async for item in stream]
                assert items == [b"ITEM %d" % number for number in range(50)]
                assert stream.reply == b"50"
            client.close()

    loop.run(body)


def test_a_stream_nobody_reads_takes_bounded_memory(loop: Loop, joined: Callable[..., Any]) -> None:
    async def body() -> None:
        async with joined() as (client, server):
            stream = client.open_stream()
            message = await server.recv(timeout=5)
            sent = 0
            with pytest.raises(hostlane.TimeoutError) as caught:
                while True:
                    await stream.send(bytes(10_000), timeout=0.2)
                    sent += 1
            assert caught.value.sent == "no"
            assert 26 <= sent + 1 <= 29
            await client.send(b"not stopped")
            assert (await server.recv(hostlane.DATA, timeout=5)).data == b"not stopped"
            stream.close()
            await message.wait_cancelled(timeout=5)

    loop.run(body)


def test_waits_end_when_the_connection_does(loop: Loop, joined: Callable[..., Any]) -> None:
    async def body() -> None:
        async with joined() as (client, server), loop.group() as group:

            async def ends(kind: Any, wait: Callable[[], Awaitable[object]]) -> None:
                with pytest.raises(kind):
                    await wait()

            here = [client.recv, lambda: client.recv(3), lambda: client.request(b"")]
            waiting = [group.start(ends, hostlane.ClosedError, wait) for wait in here]
            request = await server.recv(timeout=5)
            there = [server.recv, lambda: server.recv(3)]
            waiting += [group.start(ends, hostlane.PeerClosedError, wait) for wait in there]
            await until(loop, lambda: client.stats().pending_operations == len(here))
            await until(loop, lambda: server.stats().pending_operations == len(there))
            client.close()
            for one in waiting:
                await one.result()
            await request.wait_cancelled(timeout=5)
            for use in (client.recv, client.ping, client.drain, lambda: client.send(b"")):
                with pytest.raises(hostlane.ClosedError):
                    await use()
            assert [message async for message in client] == []
            with pytest.raises(hostlane.ClosedError), client.cork():
                pass

    loop.run(body)


def test_timeouts(loop: Loop, address: str, joined: Callable[..., Any]) -> None:
    async def body() -> None:
        async with aio.listen(address) as listener:
            with pytest.raises(hostlane.TimeoutError):
                await listener.accept(0.02)
        async with joined() as (client, _):
            for channel in (None, 3):
                for timeout in (0, 0.02):
                    with pytest.raises(hostlane.TimeoutError):
                        await client.recv(channel, timeout=timeout)
            for timeout in (-1, float("nan")):
                with pytest.raises(hostlane.InvalidArgumentError):
                    await client.request(b"", timeout=timeout)
                with pytest.raises(hostlane.InvalidArgumentError):
                    await client.recv(timeout=timeout)
            assert 0 < await client.ping(timeout=5) < 5
        with pytest.raises(hostlane.NotFoundError):
            await aio.connect("/nowhere/at/all")

    loop.run(body)


def test_drain_lets_calls_finish(loop: Loop, joined: Callable[..., Any]) -> None:
    async def body() -> None:
        async with joined() as (client, server), loop.group() as group:
            calling = group.start(client.request, b"slow")
            message = await server.recv(timeout=5)
            draining = group.start(client.drain)
            await message.reply(b"answered")
            assert (await calling.result()).data == b"answered"
            with pytest.raises(hostlane.PeerClosedError):
                await server.recv(timeout=5)
            await draining.result()
            with pytest.raises(hostlane.ClosedError):
                await client.send(b"")

    loop.run(body)


def test_level_0(loop: Loop, joined: Callable[..., Any]) -> None:
    async def body() -> None:
        async with joined(level=0) as (client, server), loop.group() as group:
            serving = group.start(server.serve, echo)
            for number in range(10):
                data = b"%d" % number
                assert (await client.request(data, timeout=5)).data == data
            with pytest.raises(hostlane.UnsupportedError):
                client.open_stream()
            client.close()
            await serving.result()

    loop.run(body)


def test_the_last_words_of_a_block_arrive(loop: Loop, address: str) -> None:
    async def body() -> None:
        async with aio.listen(address) as listener, loop.group() as group:
            accepting = group.start(listener.accept)
            async with await aio.connect(address) as client:
                server = await accepting.result()
                # Calls in flight have the writes of a turn gathered.
                calls = [group.start(fails, client) for _ in range(3)]
                await loop.sleep(0.01)
                calls.append(group.start(fails, client))
                for number in range(10):
                    await client.send(b"%d" % number)
            got = [message.data async for message in server if not message.is_request]
            assert got == [b"%d" % number for number in range(10)]
            server.close()
            for call in calls:
                await call.result()

    async def fails(peer: aio.Peer) -> None:
        with pytest.raises((ConnectionError, hostlane.CallAbandonedError)):
            await peer.request(b"never answered", timeout=20)

    loop.run(body)


def test_a_sync_program_at_the_other_end(
    loop: Loop, listener: hostlane.Listener, pool: ThreadPoolExecutor
) -> None:
    serving = pool.submit(listener.serve, lambda message, _: message.data[::-1])

    async def body() -> None:
        async with await aio.connect(listener.address) as client:
            assert (await client.request(b"abc")).data == b"cba"

    loop.run(body)
    listener.close()
    serving.result(5)


def watched() -> int:
    """How many descriptors the loops of the process watch, without those behind another one."""
    targets = {}
    for fd in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{fd}") != "anon_inode:[eventpoll]":
                continue
            lines = Path(f"/proc/self/fdinfo/{fd}").read_text("utf-8").splitlines()
        except FileNotFoundError:  # the one that lists them
            continue
        targets[int(fd)] = [int(line.split()[1]) for line in lines if line.startswith("tfd:")]
    inner = {target for each in targets.values() for target in each}
    return sum(len(each) for fd, each in targets.items() if fd not in inner)


def test_no_thread_and_one_descriptor(loop: Loop, joined: Callable[..., Any]) -> None:
    async def body() -> None:
        gc.collect()  # nothing of earlier loops is left
        await loop.sleep(0)  # the loop watches what is its own
        before, threads = watched(), len(os.listdir("/proc/self/task"))
        async with joined() as (client, server), loop.group() as group:
            tasks = [group.start(client.request, b"x") for _ in range(20)]
            messages: list[aio.Message] = []
            while len(messages) < 20:
                messages += await server.recv_batch(timeout=5)
            assert watched() == before + 1, "of a listener and two connections"
            assert len(os.listdir("/proc/self/task")) <= threads
            for message in messages:
                await message.reply(b"y")
            for task in tasks:
                await task.result()

    loop.run(body)


def test_an_idle_loop_takes_no_processor_time(loop: Loop, joined: Callable[..., Any]) -> None:
    async def body() -> None:
        async with joined() as (_, server), loop.group() as group:
            receiving = group.start(server.recv)
            await loop.sleep(0.05)
            before = time.process_time()
            await loop.sleep(0.5)
            assert time.process_time() - before < 0.02
            receiving.cancel()

    loop.run(body)


def test_one_loop_after_the_other(loop: Loop, address: str) -> None:
    async def body() -> None:
        async with aio.listen(address) as listener, loop.group() as group:
            accepting = group.start(listener.accept)
            async with await aio.connect(address), await accepting.result():
                pass

    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        loop.run(body)
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before + 1


def test_a_loop_that_ends_with_open_peers(loop: Loop, address: str) -> None:
    async def body() -> None:
        listener = aio.listen(address)
        async with loop.group() as group:
            accepting = group.start(listener.accept)
            client = await aio.connect(address)
            kept.extend([listener, client, await accepting.result()])

    kept: list[Any] = []
    loop.run(body)
    for one in kept:
        one.close()


def test_what_is_not_closed_warns(loop: Loop, address: str) -> None:
    async def body() -> None:
        async with aio.listen(address) as listener, loop.group() as group:
            accepting = group.start(listener.accept)
            client = await aio.connect(address)
            async with await accepting.result() as server:
                assert "open" in repr(client)
                with pytest.warns(ResourceWarning, match=r"unclosed <hostlane\.aio\.Peer"):
                    del client
                    gc.collect()
                with pytest.raises(hostlane.PeerClosedError):
                    await server.recv(timeout=5)
                for copying in (pickle.dumps, copy.copy):
                    with pytest.raises(TypeError, match="connect there"):
                        copying(server)

    loop.run(body)


def test_a_forked_child_cannot_use_it(loop: Loop, joined: Callable[..., Any]) -> None:
    async def body() -> None:
        async with joined() as (client, server):
            results = [
                in_child(lambda: drive(client.send(b"from the child"))),
                in_child(lambda: drive(client.request(b"from the child"))),
                in_child(lambda: drive(client.recv())),
                in_child(client.open_stream),
                in_child(client.close),
            ]
            assert results == ["ForkedError"] * 4 + ["None"]
            await client.send(b"unaffected")
            assert (await server.recv(timeout=5)).data == b"unaffected"

    def drive(coroutine: Any) -> None:
        coroutine.send(None)

    loop.run(body)


def test_a_forked_child_looks_no_more(loop: Loop) -> None:
    async def body() -> None:
        driver: Any = _driver.current()
        turn = driver._readable if hasattr(driver, "_readable") else driver._process
        assert in_child(turn) in {"None", "False"}

    loop.run(body)


def test_no_loop_runs() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        aio.listen("nowhere")


def test_ctrl_c(loop: Loop, address: str, script: Callable[..., Any]) -> None:
    kind = type(loop).__name__.lower()
    run = "trio.run(main)" if kind == "trio" else f"{kind}.run(main())"
    text = f"""
        import sys, time, {kind}
        from hostlane import aio
        async def main():
            async with aio.listen(sys.argv[1]) as listener:
                print("waiting", flush=True)
                await listener.accept()
        try:
            {run}
        except KeyboardInterrupt:
            print(time.monotonic(), flush=True)
    """
    waiting = script(text, address)
    assert waiting.line() == "waiting"
    waiting.asleep()
    before = waiting.signal(signal.SIGINT)
    assert float(waiting.line()) - before < 0.5
    assert waiting.end() == (0, "", "")
