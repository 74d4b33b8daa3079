"""What answers the other side: the first word of a request says how."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import hostlane
from chain import Chains
from extend import extend

WAIT = 20.0
"""The longest wait of a handler, in seconds."""

HANDLERS = 32
"""Handlers that run at a time."""


class Service:
    """The service of one end, and what it has seen."""

    def __init__(self) -> None:
        self.chains = Chains()
        self._lock = threading.Lock()
        self._requests = 0
        self._cancelled = 0
        self._messages = 0
        self._disordered = 0
        self._last: dict[int, int] = {}
        self._error = ""
        self._held: list[hostlane.Message] = []

    def serve(self, peer: hostlane.Peer) -> None:
        """Serves until the connection ends; every request but those that are held in a thread."""
        with ThreadPoolExecutor(HANDLERS) as executor:
            while True:
                try:
                    message = peer.recv()
                except hostlane.Error:
                    # The calls of this side tell how the connection ended.
                    return
                chained = self.chains.take(message.data)
                # A call of level 0 is a plain message.
                if not message.is_request and message.channel != hostlane.COMMAND:
                    if not chained:
                        self._count(message)
                    continue
                with self._lock:
                    self._requests += 1
                if message.data.startswith(b"hold "):
                    self._hold(message)
                else:
                    executor.submit(self._guarded, message, peer)
                # A request is abandoned when nobody has it any more.
                del message

    def _guarded(self, message: hostlane.Message, peer: hostlane.Peer) -> None:
        try:
            self._answer(message, peer)
        except hostlane.Error as error:
            self._failed(error)

    def _failed(self, error: hostlane.Error) -> None:
        with self._lock:
            self._error = error.kind

    def _count(self, message: hostlane.Message) -> None:
        """One-way messages begin with a number that grows along their channel."""
        number = int(message.data.split(b".", 1)[0])
        with self._lock:
            self._messages += 1
            self._disordered += number <= self._last.get(message.channel, -1)
            self._last[message.channel] = number

    def _hold(self, message: hostlane.Message) -> None:
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
                one.reply(one.data, timeout=WAIT)
            except hostlane.Error as error:
                self._failed(error)
        held.clear()

    def _answer(self, message: hostlane.Message, peer: hostlane.Peer) -> None:
        data = message.data
        verb, _, rest = data.partition(b" ")
        if verb == b"tell":
            message.reply(told(message), timeout=WAIT)
        elif verb == b"sleep":
            time.sleep(int(rest) / 1000)
            message.reply(data, timeout=WAIT)
        elif verb == b"watch":
            message.wait_cancelled(timeout=WAIT)
            with self._lock:
                self._cancelled += 1
        elif verb == b"fail":
            code, _, error = rest.partition(b" ")
            try:
                message.fail(int(code), error, timeout=WAIT)
            except hostlane.UnsupportedError:
                message.reply(b"unsupported", timeout=WAIT)
        elif verb == b"abandon":
            return
        elif verb == b"close":
            peer.close()
        elif verb == b"back":
            reply = peer.request(rest, timeout=message.remaining)
            message.reply(reply.data, timeout=WAIT)
        elif verb == b"stream":
            self._stream(message, rest)
        elif verb == b"extend":
            message.reply(json.dumps(extend(peer, json.loads(rest))).encode(), timeout=WAIT)
        else:
            message.reply(data, timeout=WAIT)

    def _stream(self, message: hostlane.Message, how: bytes) -> None:
        """`stream echo`: every item goes back. `stream N`: N items once the caller has finished.

        The reply is the count.
        """
        items = message.stream()
        if items is None:
            message.reply(b"no stream", timeout=WAIT)
            return
        count = 0
        while (item := items.recv(timeout=WAIT)) is not None:
            count += 1
            self.chains.take(item)
            if how == b"echo":
                items.send(item, timeout=WAIT)
        for number in range(0 if how == b"echo" else int(how)):
            items.send(str(number).encode(), timeout=WAIT)
        message.reply(str(count).encode(), timeout=WAIT)

    def report(self) -> dict[str, Any]:
        """What came from the other side so far."""
        with self._lock:
            return {
                "requests": self._requests,
                "cancelled": self._cancelled,
                "messages": self._messages,
                "ordered": self._disordered == 0,
                "error": self._error,
            }


def told(message: hostlane.Message) -> bytes:
    """`tell`: what came beside the payload."""
    deadline = b"-" if message.deadline is None else b"deadline"
    words = (message.idempotency_key or b"-", message.trace or b"-", deadline)
    return b" ".join([*words, str(message.channel).encode()])
