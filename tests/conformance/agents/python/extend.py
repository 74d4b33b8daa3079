"""Sends chains: see docs/soak.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

import hostlane
from asked import Asked, call_options, wait
from chain import Chain

if TYPE_CHECKING:
    from collections.abc import Callable


def extend(peer: hostlane.Peer, asked: Asked) -> Asked:
    """Sends a chain, and tells how far it came."""
    chain = Chain(asked)
    try:
        send(peer, asked, chain)
    except hostlane.Error as error:
        return chain.report(error.kind, error.sent)
    return chain.report()


def send(peer: hostlane.Peer, asked: Asked, chain: Chain) -> None:
    """Sends a chain in the way that is asked for."""
    limit = wait(asked)

    def one_way(message: bytes) -> bytes:
        peer.send(message, channel=asked["channel"], timeout=limit)
        return message

    def call(message: bytes) -> bytes:
        return peer.request(message, **call_options(asked)).data

    if asked["how"] != "stream":
        exchange(asked, chain, one_way if asked["how"] == "send" else call)
        return
    with peer.open_stream(b"stream echo", **call_options(asked)) as stream:

        def item(message: bytes) -> bytes | None:
            stream.send(message, timeout=limit)
            return stream.recv(timeout=limit)

        exchange(asked, chain, item)
        stream.finish(timeout=limit)
        chain.wrong += stream.recv(timeout=limit) is not None


def exchange(asked: Asked, chain: Chain, one: Callable[[bytes], bytes | None]) -> None:
    """Sends the messages one after the other; `one` gives what comes back."""
    for number in range(asked["count"]):
        message = chain.message(number)
        chain.wrong += one(message) != message
        chain.next += 1
