"""asyncio with streams: messages behind their length (4 bytes, little-endian)."""

from __future__ import annotations

import asyncio
from asyncio import IncompleteReadError, StreamReader, StreamWriter
from collections import deque
from functools import partial

from async_works import AsyncClient, run
from payload import Service
from works import program, ready

_HEADER = 4
_LIMIT = 4 << 20  # what a reader buffers; the default is far below one large message


async def _read(reader: StreamReader) -> bytes:
    return await reader.readexactly(int.from_bytes(await reader.readexactly(_HEADER), "little"))


def _write(writer: StreamWriter, message: bytes) -> None:
    writer.write(len(message).to_bytes(_HEADER, "little") + message)


class Lane(AsyncClient):
    """A client: one task reads replies, in the order of the requests."""

    def __init__(self, reader: StreamReader, writer: StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._replies: deque[asyncio.Future[bytes]] = deque()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            while True:
                message = await _read(self._reader)
                self._replies.popleft().set_result(message)
        except IncompleteReadError as error:
            for reply in self._replies:
                reply.set_exception(error)

    async def call(self, request: bytes) -> bytes:
        """One call."""
        reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._replies.append(reply)
        _write(self._writer, request)
        await self._writer.drain()
        return await reply

    async def send_all(self, messages: list[bytes]) -> None:
        """Writes one after the other."""
        for message in messages:
            _write(self._writer, message)
        await self._writer.drain()

    def close(self) -> None:
        """Ends the connection."""
        self._reading.cancel()
        self._writer.close()


async def connect(address: str) -> Lane:
    """A connected client."""
    return Lane(*await asyncio.open_unix_connection(address, limit=_LIMIT))


async def _answer(reader: StreamReader, writer: StreamWriter) -> None:
    service = Service()
    try:
        while True:
            reply = service.handle(await _read(reader))
            if reply is not None:
                _write(writer, reply)
                await writer.drain()
    except (IncompleteReadError, ConnectionError):
        writer.close()


async def serve(address: str) -> None:
    """Serves all clients."""
    server = await asyncio.start_unix_server(_answer, address, limit=_LIMIT)
    ready(address)
    await server.serve_forever()


program(lambda address: asyncio.run(serve(address)), partial(run, connect))
