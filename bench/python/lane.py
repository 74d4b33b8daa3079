"""hostlane with blocking peers: what came together is answered together."""

from __future__ import annotations

from functools import partial

import hostlane
from lane_client import Lane
from payload import ONE_WAY, Service
from works import program, ready, run, serve_each

_BATCH = 64


def answer(peer: hostlane.Peer) -> None:
    """Serves one client."""
    service = Service()
    while True:
        try:
            batch = peer.recv_batch(_BATCH)
        except hostlane.PeerClosedError:
            return
        if len(batch) == 1:
            (message,) = batch
            reply = service.handle(message.data)
            if reply is not None:
                message.reply(reply)
            continue
        datas = [message.data for message in batch]
        if datas[0][7] == ONE_WAY and datas[-1][7] == ONE_WAY:
            service.handle_all(datas)
            continue
        with peer.cork():
            for message, data in zip(batch, datas, strict=True):
                reply = service.handle(data)
                if reply is not None:
                    message.reply(reply)


def serve(address: str) -> None:
    """Serves all clients."""

    def attend(peer: hostlane.Peer) -> None:
        with peer:
            answer(peer)

    with hostlane.listen(address) as listener:
        ready(address)
        serve_each(listener.accept, attend)


program(serve, partial(run, Lane))
