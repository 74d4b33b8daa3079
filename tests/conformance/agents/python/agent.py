"""The Python agent: one JSON object a line, operations in, outcomes out.

See docs/conformance.md.
"""

from __future__ import annotations

import hashlib
import json
import queue
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import hostlane
from asked import WAIT, Asked, call_options, numbered, options, payload, wait
from extend import extend
from service import Service

if TYPE_CHECKING:
    from collections.abc import Callable

SHOWN = 256
"""A reply up to so many bytes is shown as text."""


def shown(reply: hostlane.Message) -> Asked:
    """A reply, for the runner to judge."""
    data = reply.data
    text = data.decode(errors="replace") if len(data) <= SHOWN else None
    return {"len": len(data), "sha256": hashlib.sha256(data).hexdigest(), "text": text}


class End:
    """One end of a connection: the listening one, or the connecting one."""

    def __init__(self) -> None:
        self.listener: hostlane.Listener | None = None
        self.accepted: queue.Queue[hostlane.Peer] = queue.Queue()
        self.connected: hostlane.Peer | None = None
        self.started: dict[int, hostlane.Call] = {}
        self.service = Service()

    def peer(self) -> hostlane.Peer:
        """The connection; of a listener the first that is accepted."""
        if self.connected is None:
            self.connected = self.accepted.get(timeout=WAIT / 1000)
        return self.connected

    def hello(self, _: Asked) -> Asked:
        return {"lang": "python", "features": ["inproc", "tcp", "unix"]}

    def listen(self, asked: Asked) -> Asked:
        listener = self.listener = hostlane.listen(asked["address"], **options(asked))

        def accept() -> None:
            """The first is the one of the operations; all are served."""
            for number, peer in enumerate(listener):
                if number == 0:
                    self.accepted.put(peer)
                if asked.get("serve", 1):
                    self._serve(peer, keep=number == 0)

        threading.Thread(target=accept, daemon=True).start()
        return {"address": listener.address}

    def connect(self, asked: Asked) -> Asked:
        self.connected = hostlane.connect(asked["address"], timeout=wait(asked), **options(asked))
        if asked.get("serve", 1):
            self._serve(self.connected)
        return {}

    def _serve(self, peer: hostlane.Peer, *, keep: bool = True) -> None:
        def serve() -> None:
            self.service.serve(peer)
            if not keep:
                peer.close()

        threading.Thread(target=serve, daemon=True).start()

    def serve(self, _: Asked) -> Asked:
        self._serve(self.peer())
        return {}

    def call(self, asked: Asked) -> Asked:
        return shown(self.peer().request(payload(asked), **call_options(asked)))

    def calls(self, asked: Asked) -> Asked:
        """Many calls at once, each with a number of its own behind its text."""
        peer = self.peer()
        texts = [f"{asked['text']} {number}".encode() for number in range(asked["count"])]
        started = [(peer.start(text, **call_options(asked)), text) for text in texts]
        right, errors = 0, Counter[str]()
        for call, text in started:
            try:
                right += call.result(wait(asked)).data == text
            except hostlane.Error as error:
                errors[error.kind] += 1
        return {"right": right, "wrong": len(texts) - right - errors.total(), "errors": errors}

    def start(self, asked: Asked) -> Asked:
        self.started[asked["id"]] = self.peer().start(payload(asked), **call_options(asked))
        return {}

    def wait(self, asked: Asked) -> Asked:
        return shown(self.started.pop(asked["id"]).result(wait(asked)))

    def cancel(self, asked: Asked) -> Asked:
        self.started.pop(asked["id"]).cancel()
        return {}

    def send(self, asked: Asked) -> Asked:
        """Numbered one-way messages."""
        channel = asked.get("channel", hostlane.DATA)
        for message in numbered(asked, "size"):
            self.peer().send(message, channel=channel, timeout=wait(asked))
        return {}

    def stream(self, asked: Asked) -> Asked:
        """A stream with items both ways; what comes back is numbered, too."""
        with self.peer().open_stream(payload(asked), **call_options(asked)) as stream:
            for item in numbered(asked, "item_size"):
                stream.send(item, timeout=wait(asked))
            if asked.get("finish", 1):
                stream.finish(timeout=wait(asked))
            numbers = [int(item.split(b".", 1)[0]) for item in stream]
            reply = None if stream.reply is None else stream.reply.decode()
        ordered = numbers == list(range(len(numbers)))
        return {"items": len(numbers), "ordered": ordered, "reply": reply}

    def chain(self, asked: Asked) -> Asked:
        return extend(self.peer(), asked)

    def chained(self, asked: Asked) -> Asked:
        return self.service.chains.report(asked["chain"])

    def forget(self, _: Asked) -> Asked:
        self.service.chains.forget()
        return {}

    def seen(self, _: Asked) -> Asked:
        return self.service.report()

    def info(self, _: Asked) -> Asked:
        info = self.peer().info()
        return {
            "level": info.level,
            "max_message": info.max_message,
            "carrier": info.carrier,
            "channels": info.channels,
        }

    def stats(self, asked: Asked) -> Asked:
        stats = self.peer().stats()
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

    def refusals(self, _: Asked) -> Asked:
        refusals = [] if self.listener is None else self.listener.refusals()
        return {"refused": [refusal.kind for refusal in refusals]}

    def ping(self, asked: Asked) -> Asked:
        self.peer().ping(timeout=wait(asked))
        return {}

    def drain(self, asked: Asked) -> Asked:
        self.peer().drain(timeout=wait(asked))
        return {}

    def close(self, _: Asked) -> Asked:
        self.peer().close()
        return {}

    def reset(self, _: Asked) -> Asked:
        if self.listener is not None:
            self.listener.close()
        if self.connected is not None:
            self.connected.close()
        while not self.accepted.empty():
            self.accepted.get().close()
        return {}


def outcome(operation: Callable[[Asked], Asked], asked: Asked) -> Asked:
    """What came of an operation."""
    try:
        return {"ok": operation(asked)}
    except hostlane.Error as error:
        told: Asked = {"name": error.kind, "sent": error.sent}
        if isinstance(error, hostlane.RemoteError):
            told |= {"status": error.status, "data": error.data.decode()}
        return {"error": told}


def main() -> None:
    """Runs operations until the input ends."""
    ends: dict[str, End] = {}
    for line in sys.stdin:
        asked: Asked = json.loads(line)
        end = ends.setdefault(asked["end"], End())
        start = time.perf_counter()
        told = outcome(getattr(end, asked["op"]), asked)
        told["ms"] = (time.perf_counter() - start) * 1000
        if asked["op"] == "reset":
            del ends[asked["end"]]
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
