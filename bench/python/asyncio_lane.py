"""hostlane on asyncio: every call is a task's own await."""

from __future__ import annotations

import asyncio
from functools import partial

from async_works import AsyncClient, run
from hostlane import aio
from payload import Service
from works import program, ready

_LIMIT = 30.0


class Lane(AsyncClient):
    """A client: replies come by their own ids."""

    def __init__(self, peer: aio.Peer) -> None:
        self._peer = peer

    async def call(self, request: bytes) -> bytes:
        """One call."""
        return (await self._peer.request(request, timeout=_LIMIT)).data

    def close(self) -> None:
        """Ends the connection."""
        self._peer.close()


async def connect(address: str) -> Lane:
    """A connected client."""
    return Lane(await aio.connect(address))


async def _answer(peer: aio.Peer) -> None:
    service = Service()

    async def handle(message: aio.Message, _: aio.Peer) -> None:
        reply = service.handle(message.data)
        if reply is not None:
            await message.reply(reply)

    await peer.serve(handle)


async def serve(address: str) -> None:
    """Serves all clients."""
    async with aio.listen(address) as listener, asyncio.TaskGroup() as group:
        ready(address)
        while True:
            group.create_task(_answer(await listener.accept()))


program(lambda address: asyncio.run(serve(address)), partial(run, connect))
