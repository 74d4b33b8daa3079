"""Sends chains: see docs/soak.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

import hostlane
from asked import Asked, call_options, wait
from chain import Chain

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hostlane import aio


async def extend(peer: aio.Peer, asked: Asked) -> Asked:
    """Sends a chain, and tells how far it came."""
    chain = Chain(asked)
    try:
        await send(peer, asked, chain)
    except hostlane.Error as error:
        return chain.report(error.kind, error.sent)
    return chain.report()


async def send(peer: aio.Peer, asked: Asked, chain: Chain) -> None:
    """Sends a chain in the way that is asked for."""
    limit = wait(asked)

    async def one_way(message: bytes) -> bytes:
        await peer.send(message, channel=asked["channel"], timeout=limit)
        return message

    async def call(message: bytes) -> bytes:
        return (await peer.request(message, **call_options(asked))).data

    if asked["how"] != "stream":
        await exchange(asked, chain, one_way if asked["how"] == "send" else call)
        return
    async with peer.open_stream(b"stream echo", **call_options(asked)) as stream:

        async def item(message: bytes) -> bytes | None:
            await stream.send(message, timeout=limit)
            return await stream.recv(timeout=limit)

        await exchange(asked, chain, item)
        await stream.finish(timeout=limit)
        chain.wrong += await stream.recv(timeout=limit) is not None


async def exchange(
    asked: Asked, chain: Chain, one: Callable[[bytes], Awaitable[bytes | None]]
) -> None:
    """Sends the messages one after the other; `one` gives what comes back."""
    for number in range(asked["count"]):
        message = chain.message(number)
        chain.wrong += await one(message) != message
        chain.next += 1
