"""Usage: aio_echo.py ADDR. The same as echo.py in an event loop."""

import signal


def stop(*_: object) -> None:
    """Leaves the `async with` below, which removes the socket."""
    raise SystemExit


signal.signal(signal.SIGTERM, stop)

# README-begin
import asyncio
import sys

from hostlane import aio


async def answer(message: aio.Message, _: aio.Peer) -> bytes:
    return message.data


async def main(address: str) -> None:
    async with aio.listen(address) as listener:
        print(f"ready {address}", flush=True)
        await listener.serve(answer)


asyncio.run(main(sys.argv[1]))
# README-end
