"""The agent of hostlane.aio: one JSON object a line, operations in, outcomes out.

See docs/conformance.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import hostlane
from asked import WAIT, Asked, call_options, numbered, options, payload, wait
from extend import extend
from hostlane import aio
from service import Service

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

SHOWN = 256
"""A reply up to so many bytes is shown as text."""


def shown(reply: aio.Message) -> Asked:
    """A reply, for the runner to judge."""
    data = reply.data
    text = data.decode(errors="replace") if len(data) <= SHOWN else None
    return {"len": len(data), "sha256": hashlib.sha256(data).hexdigest(), "text": text}


class End:
    """One end of a connection: the listening one, or the connecting one."""

    def __init__(self) -> None:
        self.listener: aio.Listener | None = None
        self.accepted: asyncio.Task[aio.Peer] | None = None
        self.connected: aio.Peer | None = None
        self.started: dict[int, asyncio.Task[aio.Message]] = {}
        self.service = Service()
        self.serving: set[asyncio.Task[None]] = set()

    async def peer(self) -> aio.Peer:
        """The connection; of a listener the first that is accepted."""
        if self.connected is None and self.accepted is not None:
            self.connected = await asyncio.wait_for(asyncio.shield(self.accepted), WAIT / 1000)
        if self.connected is None:
            message = "nobody is connected"
            raise hostlane.NotFoundError(message)
        return self.connected

    async def hello(self, _: Asked) -> Asked:
        return {"lang": "python-aio", "features": ["inproc", "tcp", "unix"]}

    async def listen(self, asked: Asked) -> Asked:
        listener = self.listener = aio.listen(asked["address"], **options(asked))

        async def accept() -> aio.Peer:
            """The first is the one of the operations; all are served."""
            peer = await listener.accept()
            if asked.get("serve", 1):
                self._serve(peer)
                self._keep(accept_more())
            return peer

        async def accept_more() -> None:
            with contextlib.suppress(hostlane.Error):  # the listener was closed
                while True:
                    self._keep(self._serve_and_close(await listener.accept()))

        self.accepted = asyncio.create_task(accept())
        return {"address": listener.address}

    async def connect(self, asked: Asked) -> Asked:
        told = options(asked)
        self.connected = await aio.connect(asked["address"], timeout=wait(asked), **told)
        if asked.get("serve", 1):
            self._serve(self.connected)
        return {}

    def _serve(self, peer: aio.Peer) -> None:
        self._keep(self.service.serve(peer))

    async def _serve_and_close(self, peer: aio.Peer) -> None:
        await self.service.serve(peer)
        peer.close()

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self.serving.add(task)
        task.add_done_callback(self.serving.discard)

    async def serve(self, _: Asked) -> Asked:
        self._serve(await self.peer())
        return {}

    async def call(self, asked: Asked) -> Asked:
        peer = await self.peer()
        return shown(await peer.request(payload(asked), **call_options(asked)))

    async def calls(self, asked: Asked) -> Asked:
        """Many calls at once, each with a number of its own behind its text."""
        peer = await self.peer()
        texts = [f"{asked['text']} {number}".encode() for number in range(asked["count"])]
        started = [peer.request(text, **call_options(asked)) for text in texts]
        right, errors = 0, Counter[str]()
        replies = await asyncio.gather(*started, return_exceptions=True)
        for reply, text in zip(replies, texts, strict=True):
            if isinstance(reply, hostlane.Error):
                errors[reply.kind] += 1
            elif isinstance(reply, BaseException):
                raise reply
            else:
                right += reply.data == text
        return {"right": right, "wrong": len(texts) - right - errors.total(), "errors": errors}

    async def start(self, asked: Asked) -> Asked:
        peer = await self.peer()
        call = peer.request(payload(asked), **call_options(asked))
        self.started[asked["id"]] = asyncio.create_task(call)
        return {}

    async def wait(self, asked: Asked) -> Asked:
        return shown(await self.started.pop(asked["id"]))

    async def cancel(self, asked: Asked) -> Asked:
        self.started.pop(asked["id"]).cancel()
        return {}

    async def send(self, asked: Asked) -> Asked:
        """Numbered one-way messages."""
        peer, channel = await self.peer(), asked.get("channel", hostlane.DATA)
        for message in numbered(asked, "size"):
            await peer.send(message, channel=channel, timeout=wait(asked))
        return {}

    async def stream(self, asked: Asked) -> Asked:
        """A stream with items both ways; what comes back is numbered, too."""
        peer = await self.peer()
        async with peer.open_stream(payload(asked), **call_options(asked)) as stream:
            for item in numbered(asked, "item_size"):
                await stream.send(item, timeout=wait(asked))
            if asked.get("finish", 1):
                await stream.finish(timeout=wait(asked))
            numbers = [int(item.split(b".", 1)[0]) async for item in stream]
            reply = None if stream.reply is None else stream.reply.decode()
        ordered = numbers == list(range(len(numbers)))
        return {"items": len(numbers), "ordered": ordered, "reply": reply}

    async def chain(self, asked: Asked) -> Asked:
        return await extend(await self.peer(), asked)

    async def chained(self, asked: Asked) -> Asked:
        return self.service.chains.report(asked["chain"])

    async def forget(self, _: Asked) -> Asked:
        self.service.chains.forget()
        return {}

    async def seen(self, _: Asked) -> Asked:
        return self.service.report()

    async def info(self, _: Asked) -> Asked:
        info = (await self.peer()).info()
        return {
            "level": info.level,
            "max_message": info.max_message,
            "carrier": info.carrier,
            "channels": info.channels,
        }

    async def stats(self, asked: Asked) -> Asked:
        stats = (await self.peer()).stats()
        told = {
            name: getattr(stats, name)
            for name in ("open_calls", "calls_served", "open_served", "calls_cancelled")
        }
        for one in stats.channels:
            if one.channel == asked.get("channel", hostlane.DATA):
                told["sent"] = one.messages_sent
                told["dropped"] = one.dropped
                told["dropped_by_peer"] = one.dropped_by_peer
        return told

    async def refusals(self, _: Asked) -> Asked:
        refusals = [] if self.listener is None else self.listener.refusals()
        return {"refused": [refusal.kind for refusal in refusals]}

    async def ping(self, asked: Asked) -> Asked:
        await (await self.peer()).ping(timeout=wait(asked))
        return {}

    async def drain(self, asked: Asked) -> Asked:
        await (await self.peer()).drain(timeout=wait(asked))
        return {}

    async def close(self, _: Asked) -> Asked:
        (await self.peer()).close()
        return {}

    async def reset(self, _: Asked) -> Asked:
        if self.listener is not None:
            self.listener.close()
        if self.connected is not None:
            self.connected.close()
        accepted = self.accepted
        # It may have ended without a connection, when there was no listener any more.
        if accepted is not None and not accepted.cancel() and accepted.exception() is None:
            accepted.result().close()
        return {}


async def outcome(operation: Callable[[Asked], Awaitable[Asked]], asked: Asked) -> Asked:
    """What came of an operation."""
    try:
        return {"ok": await operation(asked)}
    except hostlane.Error as error:
        told: Asked = {"name": error.kind, "sent": error.sent}
        if isinstance(error, hostlane.RemoteError):
            told |= {"status": error.status, "data": error.data.decode()}
        return {"error": told}


async def main() -> None:
    """Runs operations until the input ends."""
    ends: dict[str, End] = {}
    loop = asyncio.get_running_loop()
    reader = ThreadPoolExecutor(1)
    while line := await loop.run_in_executor(reader, sys.stdin.readline):
        asked: Asked = json.loads(line)
        end = ends.setdefault(asked["end"], End())
        start = time.perf_counter()
        told = await outcome(getattr(end, asked["op"]), asked)
        told["ms"] = (time.perf_counter() - start) * 1000
        if asked["op"] == "reset":
            del ends[asked["end"]]
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
