"""The side under test of the vectors."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import tempfile
from collections.abc import Iterable
from typing import Any, Self

import hostlane
import pytest
from hostlane import errors
from script import until
from wire import REQUEST, frame

from vectors.wire import PATIENCE, Raw, later

# Seconds nothing may come where nothing is to come.
HOLD = 0.015


class Subject:
    """A listener with its one client, or a connection, while the test is its other side."""

    def __init__(self, role: str, **options: Any) -> None:
        self.folder = tempfile.mkdtemp(prefix="hl-")
        self.listener: hostlane.Listener | None = None
        address = f"{self.folder}/s"
        self.raw: Raw
        if role == "server":
            self.listener = hostlane.listen(address, **options)
            accept = self.listener.accept
            self.made = later(lambda: self.attached(accept(PATIENCE)))
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(address)
        else:
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(address)
                server.listen()
                server.settimeout(PATIENCE)
                self.made = later(lambda: self.attached(hostlane.connect(address, **options)))
                connection, _ = server.accept()
        self.raw = Raw(connection)

    @staticmethod
    def attached(peer: hostlane.Peer) -> hostlane.Peer:
        """So that bytes are moved while nobody waits."""
        with contextlib.suppress(hostlane.Error):  # over already
            peer.attach()
        return peer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.listener is not None:
            self.listener.close()
        if self.made.done() and self.made.exception() is None:
            self.made.result().close()
        with contextlib.suppress(OSError):  # wakes whoever reads
            self.raw.socket.shutdown(socket.SHUT_RDWR)
        self.raw.socket.close()
        shutil.rmtree(self.folder)

    def outcome(self) -> hostlane.Peer | str:
        """The connection, or why there is none."""
        refusals: list[Any] = []

        def decided() -> bool:
            refusals.extend(self.listener.refusals() if self.listener is not None else [])
            return self.made.done() or bool(refusals)

        until(decided, PATIENCE, "the handshake ends")
        if refusals:
            return str(errors.BY_CODE[refusals[0].code].kind)
        failed = self.made.exception()
        if isinstance(failed, hostlane.Error):
            return failed.kind
        peer: hostlane.Peer = self.made.result()
        return peer

    def peer(self) -> hostlane.Peer:
        peer = self.outcome()
        assert isinstance(peer, hostlane.Peer), peer
        return peer

    def end(self) -> str:
        """Why the connection is over."""
        peer = self.outcome()
        if isinstance(peer, str):
            return peer
        while True:
            try:
                peer.recv(timeout=PATIENCE)
            except hostlane.Error as error:
                return error.kind

    def handshake(self) -> bytes:
        channel, payload = self.raw.recv()
        assert channel == 0
        return payload

    def level1(self) -> None:
        """Offers level 1, up to the READY of this side."""
        offer = {**REQUEST, "hostlane": {"versions": [1], "instance": "0" * 32}}
        self.raw.put(frame(0, json.dumps(offer).encode()))
        self.handshake()

    def feed(
        self, chunks: Iterable[bytes], eof: bool, messages: list[tuple[int, bytes]], end: Any
    ) -> list[hostlane.Message]:
        """Writes chunks; what comes of them has to be these messages and this end."""

        def write() -> None:
            with contextlib.suppress(OSError):  # whoever found a fault hangs up in the middle
                for chunk in chunks:
                    self.raw.socket.sendall(chunk)
                if eof:
                    self.raw.socket.shutdown(socket.SHUT_WR)

        writing, got = later(write), []
        for channel, payload in messages:
            message = self.peer().recv(timeout=PATIENCE)
            assert (message.channel, message.data == payload) == (channel, True)
            got.append(message)
        writing.result(PATIENCE)
        if end == "more":
            with pytest.raises(hostlane.TimeoutError):
                self.peer().recv(timeout=HOLD)
        else:
            assert self.end() in (["peer_closed"] if end == "clean" else end)
        return got


def options_of(side: dict[str, Any]) -> dict[str, Any]:
    """The options of a side of offers.json, grants.json or transcripts.json."""
    found: dict[str, Any] = {"fds": True} if side.get("features") else {}
    if side.get("secret") is not None:
        found["secret"] = side["secret"]
    if side.get("demand"):
        found["level"] = 1
    return found
