"""Usage: aio_request.py ADDR TEXT... Makes a call for every text at once and prints the replies."""

# README-begin
import asyncio
import sys

from hostlane import aio


async def main(address: str, *texts: str) -> None:
    async with await aio.connect(address) as peer:
        replies = await asyncio.gather(*(peer.request(text.encode()) for text in texts))
        for reply in replies:
            print(reply.data.decode())


asyncio.run(main(*sys.argv[1:]))
# README-end
