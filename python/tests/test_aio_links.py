"""hostlane.aio.Link, the same in asyncio, uvloop and trio."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any

import hostlane
import pytest
from hostlane import aio
from loops import LIMIT, Loop, until
from test_links import PARTNER

if TYPE_CHECKING:
    from pathlib import Path

    from script import Script


async def up(link: aio.Link) -> bool:
    """Takes the event that the other side is there: whether this side serves."""
    event = await link.next(timeout=LIMIT)
    assert isinstance(event, hostlane.LinkUp)
    assert link.is_serving is event.serving
    return event.serving


async def echo(message: aio.Message, _: aio.Link) -> bytes:
    return message.data


async def message(link: aio.Link) -> aio.Message:
    event = await link.next(timeout=LIMIT)
    assert isinstance(event, aio.Message)
    return event


def test_calls_go_both_ways(loop: Loop, address: str) -> None:
    async def answer(message: aio.Message, link: aio.Link) -> bytes:
        if message.data == b"fail":
            raise hostlane.RemoteError(status=9, data=b"as asked")
        if message.data == b"back":
            return (await link.request(b"there")).data
        return f"{link.is_serving}: {message.data.decode()}".encode()

    async def main() -> None:
        async with aio.Link.open(address) as a, aio.Link.open(address) as b, loop.group() as group:
            serving = [group.start(link.serve, answer) for link in (a, b)]
            assert (await a.request(b"hello")).data == b"False: hello"
            assert (await b.request(b"back")).data == b"False: there"
            with pytest.raises(hostlane.RemoteError) as error:
                await a.request(b"fail")
            assert (error.value.status, error.value.data) == (9, b"as asked")
            calls = [group.start(b.request, b"%d" % n) for n in range(100)]
            for n, call in enumerate(calls):
                assert (await call.result()).data == b"True: %d" % n
            assert a.info().level == 1
            assert b.stats().calls == 101
            a.close()
            b.close()
            for one in serving:
                await one.result()

    loop.run(main)


def test_an_iteration_keeps_no_call(loop: Loop, address: str) -> None:
    async def main() -> None:
        async with aio.Link.open(address) as a, aio.Link.open(address) as b, loop.group() as group:

            async def rest() -> bool:
                return await anext(events, None) is None

            async def ask() -> bool:
                with pytest.raises(hostlane.CallAbandonedError):
                    await b.request(b"x")
                return True

            call = group.start(ask)
            events = aiter(a)
            while not isinstance(await anext(events), aio.Message):
                pass
            waiting = group.start(rest)
            assert await call.result()
            a.close()
            assert await waiting.result()

    loop.run(main)


def test_events_by_hand(loop: Loop, address: str) -> None:
    async def main() -> None:
        async with aio.Link.open(address) as a, loop.group() as group:
            b = aio.Link.open(address)
            assert await up(a) is True
            assert await up(b) is False
            await b.send(b"one", trace=b"t")
            one = await message(a)
            assert (one.data, one.trace) == (b"one", b"t")
            call = group.start(b.request, b"two")
            two = await message(a)
            await two.reply(b"answer")
            assert (await call.result()).data == b"answer"
            with pytest.raises(hostlane.CallEndedError):
                await two.fail(3)
            with pytest.raises(hostlane.UnsupportedError):
                await two.wait_cancelled()
            with pytest.raises(hostlane.TimeoutError):
                await a.next(timeout=0.01)
            b.close()
            event = await a.next(timeout=LIMIT)
            assert isinstance(event, hostlane.LinkDown)
            assert isinstance(event.error, hostlane.PeerClosedError)
            with pytest.raises(hostlane.ConnectionLostError):
                await a.send(b"")

    loop.run(main)


def test_a_cancelled_task_gives_its_call_up(loop: Loop, address: str) -> None:
    async def main() -> None:
        async with aio.Link.open(address) as a, aio.Link.open(address) as b, loop.group() as group:
            await up(a)
            await up(b)
            call = group.start(b.request, b"")
            asked = await message(a)
            call.cancel()
            await until(loop, lambda: asked.cancelled)
            with pytest.raises(hostlane.CallEndedError):
                await asked.reply(b"")
            await until(loop, lambda: b.stats().open_calls == 0)
            # An event goes to who is still there.
            waiting = []

            async def wait() -> Any:
                waiting.append(True)
                return await a.next()

            given_up = group.start(wait)
            going_on = group.start(wait)
            await until(loop, lambda: len(waiting) == 2)
            given_up.cancel()
            await b.send(b"kept")
            assert (await going_on.result()).data == b"kept"

    loop.run(main)


def test_a_handler_is_cancelled_with_its_call(loop: Loop, address: str) -> None:
    seen = []

    async def answer(message: aio.Message, _: aio.Link) -> bytes:
        seen.append("began")
        try:
            await loop.sleep(LIMIT)
        except loop.Cancelled:
            seen.append("cancelled")
            raise
        return message.data

    async def main() -> None:
        async with aio.Link.open(address) as a, aio.Link.open(address) as b, loop.group() as group:
            serving = group.start(a.serve, answer)
            with pytest.raises(hostlane.TimeoutError):
                await b.request(b"", timeout=0.05)
            await until(loop, lambda: seen == ["began", "cancelled"])
            a.close()
            await serving.result()

    loop.run(main)


def test_a_handler_that_waits_for_a_cancelled_task_lets_go_of_its_call(
    loop: Loop, address: str
) -> None:
    async def main() -> None:
        async with aio.Link.open(address) as a, aio.Link.open(address) as b, loop.group() as group:
            shared = group.start(loop.sleep, LIMIT)
            asked = []

            async def answer(message: aio.Message, _: aio.Link) -> None:
                asked.append(message.data)
                await shared.result()

            async def ask() -> None:
                with pytest.raises(hostlane.CallAbandonedError):
                    await b.request(b"x")

            serving = group.start(a.serve, answer)
            call = group.start(ask)
            await until(loop, lambda: asked == [b"x"])
            shared.cancel()
            await call.result()
            a.close()
            await serving.result()

    loop.run(main)


def test_the_survivor_serves_and_the_next_joins(
    loop: Loop, address: str, script: type[Script]
) -> None:
    async def main() -> None:
        partner = script(PARTNER, address)
        assert partner.line() == "True"
        async with aio.Link.open(address) as link:
            assert await up(link) is False
            with pytest.raises(hostlane.ConnectionLostError) as error:
                await link.request(b"die", timeout=LIMIT)
            assert error.value.sent == "maybe"
            assert isinstance(await link.next(timeout=LIMIT), hostlane.LinkDown)
            start = time.monotonic()
            await until(loop, lambda: link.is_serving is True)
            assert time.monotonic() - start < 0.5
            partner = script(PARTNER, address)
            reply = await link.request(b"in", timeout=LIMIT)
            assert reply.data == f"{partner.process.pid}: in".encode()
            assert await up(link) is True
            partner.signal(signal.SIGKILL)
            assert isinstance(await link.next(timeout=LIMIT), hostlane.LinkDown)

    loop.run(main)


def test_the_end_comes_once_and_for_all(loop: Loop, address: str, folder: Path) -> None:
    async def main() -> None:
        async with aio.Link.open(f"{folder}/missing/s", retries=1) as link:
            for _ in range(2):
                with pytest.raises(hostlane.NotFoundError):
                    await link.next(timeout=LIMIT)
            with pytest.raises(hostlane.NotFoundError):
                await link.request(b"")
        async with aio.Link.open(address, reconnect=False) as a:
            async with aio.Link.open(address) as b:
                await up(b)
                assert await up(a) is True
            assert isinstance(await a.next(timeout=LIMIT), hostlane.LinkDown)
            with pytest.raises(hostlane.PeerClosedError):
                await a.serve(echo)

    loop.run(main)


def test_closing_wakes_who_waits(loop: Loop, address: str) -> None:
    begun = 0

    async def ends(function: Any, *arguments: Any) -> type[BaseException] | None:
        nonlocal begun
        begun += 1  # it runs until it waits
        try:
            await function(*arguments)
        except hostlane.Error as error:
            return type(error)
        return None

    async def main() -> None:
        link = aio.Link.open(address)
        async with loop.group() as group:
            waits = [group.start(ends, link.next), group.start(ends, link.request, b"")]
            serving = group.start(ends, link.serve, echo)
            await until(loop, lambda: begun == 3)
            link.close()
            link.close()
            for wait in waits:
                assert await wait.result() is hostlane.ClosedError
            assert await serving.result() is None
        assert [event async for event in link] == []
        async with aio.Link.open(address) as other:
            assert other.is_serving

    loop.run(main)


def test_messages_nobody_takes_hold_the_other_side_back(loop: Loop, address: str) -> None:
    async def main() -> None:
        async with aio.Link.open(address) as a, aio.Link.open(address) as b:
            await up(b)
            sent = 0
            with pytest.raises(hostlane.WouldBlockError):
                while sent < 1000:
                    await b.send(bytes([sent % 256]) * 100_000)
                    await loop.sleep(0)
                    sent += 1
            assert await up(a) is True
            for n in range(sent):
                assert (await message(a)).data[0] == n % 256

    loop.run(main)


def test_misuse(loop: Loop, address: str) -> None:
    async def main() -> None:
        with pytest.raises(TypeError):
            aio.Link.open(address, backlog=5)  # type: ignore[call-arg]
        async with aio.Link.open(address) as link:
            with pytest.raises(TypeError):
                await link.request("text")  # type: ignore[arg-type]
            with pytest.raises(hostlane.TimeoutError):
                await link.request(b"", timeout=0.01)
            for wrong in (-1, float("nan")):
                with pytest.raises(hostlane.InvalidArgumentError):
                    await link.next(timeout=wrong)
        with pytest.raises(hostlane.ClosedError):
            await link.request(b"")
        lost = aio.Link.open(address)
        with pytest.warns(ResourceWarning, match="unclosed <hostlane.aio.Link"):
            del lost
        async with aio.Link.open(address) as other:
            assert other.is_serving

    loop.run(main)
