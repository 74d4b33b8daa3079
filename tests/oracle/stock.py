"""`StockClient` and `StockServer`: as strict as a stock level-0 (ipcprims 0.2, synchronous) peer.

What stock means here: control messages are answered only inside a receiving call; an unknown control
type, an unsolicited shutdown_ack, a frame on a channel that was not agreed, or more than 256 control
frames in one receive end the connection; a handshake answer without `channels` or `peer_id` is a
failure; no member is ever sent that a stock peer does not send; a refusing server just closes.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from typing import Any, Self

from level0 import (
    COMMAND,
    CONTROL,
    DEFAULT_CHANNELS,
    MAX_CHANNELS,
    MAX_HANDSHAKE,
    MAX_PAYLOAD,
    Frame,
    Violation,
    agree,
    encode_control,
    encode_request,
    encode_response,
    parse_control,
    parse_request,
    parse_response,
)
from wire import Background, Wire

__all__ = ["Background", "Disconnected", "StockClient", "StockPeer", "StockServer", "Wire", "echo"]

STOCK_TIMEOUT = 5.0
CONTROL_PER_LOOP = 256


class Disconnected(Exception):
    """The stock peer gave the connection up, or the other side did."""


class StockPeer:
    """A connection after the handshake, one thread at a time, as the stock sync peer keeps it."""

    def __init__(self, wire: Wire, peer_id: str, channels: Sequence[int], token: str | None = None) -> None:
        self.wire = wire
        self.wire.decoder.limit = MAX_PAYLOAD
        self.peer_id = peer_id
        self.channels = list(channels)
        self.token = token
        self.aside: dict[int, list[bytes]] = {}
        self.shutdown_seen = False

    def send(self, channel: int, payload: bytes, timeout: float = STOCK_TIMEOUT) -> None:
        if channel not in self.channels:
            raise Disconnected(f"unsupported channel {channel}")
        self.wire.send_frame(channel, payload, timeout)

    def recv(self, timeout: float = STOCK_TIMEOUT) -> tuple[int, bytes]:
        """The next frame from the wire; frames set aside by `recv_on` are not looked at."""
        if self.shutdown_seen:
            raise Disconnected("the other side shut down")
        frame = self._data(timeout)
        return frame.channel, frame.payload

    def recv_on(self, channel: int, timeout: float = STOCK_TIMEOUT) -> bytes:
        if self.aside.get(channel):
            return self.aside[channel].pop(0)
        deadline = time.monotonic() + timeout
        while True:
            frame = self._data(deadline - time.monotonic())
            if frame.channel == channel:
                return frame.payload
            self.aside.setdefault(frame.channel, []).append(frame.payload)

    def request(self, payload: bytes, timeout: float = STOCK_TIMEOUT) -> bytes:
        self.send(COMMAND, payload, timeout)
        return self.recv_on(COMMAND, timeout)

    def ping(self, timeout: float = STOCK_TIMEOUT) -> float:
        began = time.monotonic()
        self.wire.send_frame(CONTROL, encode_control("ping"))
        self._await_control("pong", timeout)
        return time.monotonic() - began

    def shutdown(self, timeout: float = STOCK_TIMEOUT, reason: str | None = None) -> None:
        """Asks, waits for the ack and closes. A crossing request or a late pong is a failure."""
        members: dict[str, Any] = {} if reason is None else {"payload": {"reason": reason}}
        try:
            self.wire.send_frame(CONTROL, encode_control("shutdown_request", **members))
            self._await_control("shutdown_ack", timeout)
        finally:
            self.close()

    def close(self) -> None:
        self.wire.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _frame(self, timeout: float) -> Frame:
        try:
            frame = self.wire.frame(timeout)
        except Violation as problem:
            raise Disconnected(str(problem)) from problem
        if frame is None:
            raise Disconnected("connection closed")
        if frame.channel != CONTROL and frame.channel not in self.channels:
            raise Disconnected(f"received frame on unnegotiated channel {frame.channel}")
        return frame

    def _data(self, timeout: float) -> Frame:
        deadline = time.monotonic() + timeout
        for _ in range(CONTROL_PER_LOOP + 1):
            frame = self._frame(deadline - time.monotonic())
            if frame.channel != CONTROL:
                return frame
            self._control(frame)
        raise Disconnected("control frame flood detected")

    def _await_control(self, expected: str, timeout: float) -> None:
        """Waits for one control message; sets messages aside, answers pings, fails on all else."""
        deadline = time.monotonic() + timeout
        for _ in range(CONTROL_PER_LOOP + 1):
            frame = self._frame(deadline - time.monotonic())
            while frame.channel != CONTROL:
                self.aside.setdefault(frame.channel, []).append(frame.payload)
                frame = self._frame(deadline - time.monotonic())
            kind = self._kind(frame)
            if kind == expected:
                return
            if kind not in ("ping", "shutdown_request"):
                raise Disconnected(f"{kind} while waiting for {expected}")
            self._control(frame)
            if self.shutdown_seen:
                raise Disconnected("shutdown requested")
        raise Disconnected("control frame flood detected")

    @staticmethod
    def _kind(frame: Frame) -> str:
        try:
            return parse_control(frame.payload)
        except Violation as problem:
            raise Disconnected(str(problem)) from problem

    def _control(self, frame: Frame) -> None:
        kind = self._kind(frame)
        if kind == "ping":
            self.wire.send_frame(CONTROL, encode_control("pong"))
        elif kind == "shutdown_request":
            self.wire.send_frame(CONTROL, encode_control("shutdown_ack"))
            self.shutdown_seen = True
        elif kind != "pong":
            raise Disconnected(f"unexpected control message {kind}")


class StockClient(StockPeer):
    """Connects, sends the four stock members and takes only a complete stock answer."""

    def __init__(
        self,
        path: str,
        channels: Sequence[int] = DEFAULT_CHANNELS,
        auth_token: str | None = None,
        timeout: float = STOCK_TIMEOUT,
        pipelined: bytes = b"",
    ) -> None:
        channels = list(dict.fromkeys(channels))
        if len(channels) > MAX_CHANNELS or CONTROL in channels:
            raise ValueError("a stock client does not even ask")
        wire = Wire.connect(path, timeout)
        try:
            wire.decoder.limit = MAX_HANDSHAKE
            wire.send(Frame(CONTROL, encode_request(channels, auth_token)).encode() + pipelined)
            frame = wire.frame(timeout)
            if frame is None:
                raise Disconnected("connection closed during handshake")
            if frame.channel != CONTROL:
                raise Violation(f"answer on channel {frame.channel}", "bad_handshake")
            response = parse_response(frame.payload, channels)
        except BaseException:
            wire.close()
            raise
        super().__init__(wire, response.peer_id, response.channels)


class StockServer:
    """Accept and handshake are one blocking step; a refused client is closed without a word."""

    def __init__(self, path: str, channels: Sequence[int] = DEFAULT_CHANNELS) -> None:
        self.path = path
        self.channels = list(channels)
        self.accepted = 0
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.bind(path)
        os.chmod(path, 0o600)
        self.sock.listen(128)

    def accept(self, timeout: float = STOCK_TIMEOUT) -> StockPeer:
        self.accepted += 1
        self.sock.settimeout(timeout)
        sock, _ = self.sock.accept()
        wire = Wire(sock, MAX_HANDSHAKE)
        try:
            frame = wire.frame(STOCK_TIMEOUT)
            if frame is None:
                raise Disconnected("connection closed during handshake")
            if frame.channel != CONTROL:
                raise Violation(f"request on channel {frame.channel}", "bad_handshake")
            request = parse_request(frame.payload)
            response = agree(request, self.channels, f"peer-{self.accepted}")
            wire.send_frame(CONTROL, encode_response(response.channels, response.peer_id))
        except BaseException:
            wire.close()
            raise
        return StockPeer(wire, response.peer_id, response.channels, request.auth_token)

    def close(self) -> None:
        self.sock.close()
        os.unlink(self.path)

    def __enter__(self) -> StockServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def echo(peer: StockPeer, timeout: float = STOCK_TIMEOUT) -> str:
    """Answers every message on its own channel; returns why the stock peer stopped."""
    with peer:
        try:
            while True:
                channel, payload = peer.recv(timeout)
                peer.send(channel, payload)
        except (Disconnected, OSError) as problem:
            return str(problem)
