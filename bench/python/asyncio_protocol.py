"""asyncio with a Protocol: messages behind their length (4 bytes, little-endian)."""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial

from async_works import AsyncClient, run
from payload import Service
from works import program, ready

_HEADER = 4


class Framing(asyncio.Protocol):
    """Cuts messages, and knows when to stop writing."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._data = bytearray()
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def pause_writing(self) -> None:
        """Too much is on its way."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """There is room again."""
        self._writable.set()

    async def writable(self) -> None:
        """Waits for room."""
        await self._writable.wait()

    def write(self, message: bytes) -> None:
        """Writes one message."""
        self.transport.write(len(message).to_bytes(_HEADER, "little") + message)

    def data_received(self, data: bytes) -> None:
        """Hands out every message that is whole."""
        if self._data:
            self._data += data
            if len(self._data) < _HEADER + int.from_bytes(self._data[:_HEADER], "little"):
                return
            data = bytes(self._data)
        at, have = 0, len(data)
        while have - at >= _HEADER:
            end = at + _HEADER + int.from_bytes(data[at : at + _HEADER], "little")
            if end > have:
                break
            self.message(data[at + _HEADER : end])
            at = end
        self._data = bytearray(data[at:])

    def message(self, message: bytes) -> None:
        """One whole message."""
        raise NotImplementedError


class Lane(Framing, AsyncClient):
    """A client: replies come in the order of the requests."""

    def __init__(self) -> None:
        super().__init__()
        self._replies: deque[asyncio.Future[bytes]] = deque()

    async def call(self, request: bytes) -> bytes:
        """One call."""
        reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._replies.append(reply)
        self.write(request)
        return await reply

    async def send_all(self, messages: list[bytes]) -> None:
        """Writes one after the other."""
        for message in messages:
            self.write(message)
        await self.writable()

    def message(self, message: bytes) -> None:
        """The reply of the oldest request."""
        self._replies.popleft().set_result(message)

    def close(self) -> None:
        """Ends the connection."""
        self.transport.close()


class Answering(Framing):
    """A server's side."""

    def __init__(self) -> None:
        super().__init__()
        self._service = Service()

    def message(self, message: bytes) -> None:
        """Answers one message."""
        reply = self._service.handle(message)
        if reply is not None:
            self.write(reply)


async def connect(address: str) -> Lane:
    """A connected client."""
    _, lane = await asyncio.get_running_loop().create_unix_connection(Lane, address)
    return lane


async def serve(address: str) -> None:
    """Serves all clients."""
    server = await asyncio.get_running_loop().create_unix_server(Answering, address)
    ready(address)
    await server.serve_forever()


program(lambda address: asyncio.run(serve(address)), partial(run, connect))
