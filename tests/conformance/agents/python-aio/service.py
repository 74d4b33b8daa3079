"""What answers the other side: the first word of a request says how."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import hostlane
from chain import Chains
from extend import extend
from hostlane import aio

WAIT = 20.0
"""The longest wait of a handler, in seconds."""


class Service:
    """The service of one end, and what it has seen."""

    def __init__(self) -> None:
        self.chains = Chains()
        self._requests = 0
        self._cancelled = 0
        self._messages = 0
        self._disordered = 0
        self._last: dict[int, int] = {}
        self._error = ""
        self._held: list[aio.Message] = []

    async def serve(self, peer: aio.Peer) -> None:
        """Serves until the connection ends."""
        try:
            await peer.serve(self._handle)
        except hostlane.Error:
            # The calls of this side tell how the connection ended.
            return

    async def _handle(self, message: aio.Message, peer: aio.Peer) -> bytes | None:
        chained = self.chains.take(message.data)
        # A call of level 0 is a plain message.
        if not message.is_request and message.channel != hostlane.COMMAND:
            if not chained:
                self._count(message)
            return None
        self._requests += 1
        try:
            if message.data.startswith(b"hold "):
                await self._hold(message)
                return None
            return await self._answer(message, peer)
        except hostlane.Error as error:
            self._failed(error)
            return None

    def _failed(self, error: hostlane.Error) -> None:
        self._error = error.kind

    def _count(self, message: aio.Message) -> None:
        """One-way messages begin with a number that grows along their channel."""
        number = int(message.data.split(b".", 1)[0])
        self._messages += 1
        self._disordered += number <= self._last.get(message.channel, -1)
        self._last[message.channel] = number

    async def _hold(self, message: aio.Message) -> None:
        """`hold N SEED`: answers nobody before the Nth has come, then all in a random order."""
        wanted, random = (int(word) for word in message.data.split(b" ")[1:3])
        held = self._held
        held.append(message)
        if len(held) < wanted:
            return
        for last in range(len(held) - 1, 0, -1):
            random = (random * 1_664_525 + 1_013_904_223) & 0xFFFF_FFFF
            other = (random >> 8) % (last + 1)
            held[last], held[other] = held[other], held[last]
        for one in held:
            try:
                await one.reply(one.data, timeout=WAIT)
            except hostlane.Error as error:
                self._failed(error)
        held.clear()

    async def _answer(self, message: aio.Message, peer: aio.Peer) -> bytes | None:
        data = message.data
        verb, _, rest = data.partition(b" ")
        answer: bytes | None = data
        if verb == b"tell":
            answer = told(message)
        elif verb == b"sleep":
            await asyncio.sleep(int(rest) / 1000)
        elif verb == b"watch":
            try:
                await message.wait_cancelled(timeout=WAIT)
            finally:
                # By the cancellation of this task, where that is seen first.
                self._cancelled += 1
            answer = None
        elif verb == b"fail":
            code, _, error = rest.partition(b" ")
            try:
                await message.fail(int(code), error, timeout=WAIT)
                answer = None
            except hostlane.UnsupportedError:
                answer = b"unsupported"
        elif verb == b"abandon":
            answer = None
        elif verb == b"close":
            peer.close()
            answer = None
        elif verb == b"back":
            answer = (await peer.request(rest, timeout=WAIT)).data
        elif verb == b"stream":
            answer = await self._stream(message, rest)
        elif verb == b"extend":
            answer = json.dumps(await extend(peer, json.loads(rest))).encode()
        return answer

    async def _stream(self, message: aio.Message, how: bytes) -> bytes:
        """`stream echo`: every item goes back. `stream N`: N items once the caller has finished.

        The reply is the count.
        """
        items = message.stream()
        if items is None:
            return b"no stream"
        count = 0
        while (item := await items.recv(timeout=WAIT)) is not None:
            count += 1
            self.chains.take(item)
            if how == b"echo":
                await items.send(item, timeout=WAIT)
        for number in range(0 if how == b"echo" else int(how)):
            await items.send(str(number).encode(), timeout=WAIT)
        return str(count).encode()

    def report(self) -> dict[str, Any]:
        """What came from the other side so far."""
        return {
            "requests": self._requests,
            "cancelled": self._cancelled,
            "messages": self._messages,
            "ordered": self._disordered == 0,
            "error": self._error,
        }


def told(message: aio.Message) -> bytes:
    """`tell`: what came beside the payload."""
    deadline = b"-" if message.deadline is None else b"deadline"
    words = (message.idempotency_key or b"-", message.trace or b"-", deadline)
    return b" ".join([*words, str(message.channel).encode()])
