"""The vectors of whole conversations. What the steps mean stands in tests/vectors/README.md."""

from __future__ import annotations

import contextlib
import gc
import json
import queue
import socket
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import hostlane
import pytest
from hostlane import errors
from script import until

from vectors.handshakes import refuses
from vectors.reader import bytes_of
from vectors.subject import HOLD, Subject, options_of
from vectors.wire import (
    FIN,
    NUMBERS,
    PATIENCE,
    STREAM,
    Out,
    frame1,
    later,
    proof,
)


def unfit_transcript(case: dict[str, Any]) -> str:
    if {"window", "stream_window"} & set(case.get("limits", {})):
        return "a window of another size is no option"
    for step in case["steps"]:
        if "clock" in step:
            return "the clock of a process cannot be set"
        does = step.get("does", {})
        if does.get("fin") and does["payload"]:
            return "a program says the end of a stream apart from a payload"
    return ""


def play_transcript(case: dict[str, Any]) -> None:
    channels = case["channels"]
    chosen = {**options_of(case), **case.get("limits", {}), "channels": channels}
    chosen["policies"] = dict.fromkeys(channels, "block")
    with Subject(case["role"], **chosen) as subject:
        talk = Talk(subject, case)
        following = [*case["steps"][1:], {}]
        for index, (step, after) in enumerate(zip(case["steps"], following, strict=True)):
            ((name, value),) = step.items()
            # Behind the step before the end, one CLOSE is nobody's business.
            talk.over |= "ends" in after and name != "closes"
            try:
                getattr(talk, f"step_{name}")(value)
            except Exception as error:
                error.add_note(f"step {index}, {name}: {value}")
                raise
        talk.step_silent(True)


class Talk:
    """A conversation under way."""

    def __init__(self, subject: Subject, case: dict[str, Any]) -> None:
        self.subject, self.raw = subject, subject.raw
        self.client, self.secret = case["role"] == "client", (case.get("secret") or "").encode()
        self.request = self.response = b""
        self.found: queue.Queue[Out | None] | None = None
        self.next: Out | None = None
        self.credit: dict[tuple[int, int], int] = {}
        self.ops: dict[str, Future[Any]] = {}
        self.calls: dict[str, hostlane.Call] = {}
        self.taken: dict[str, hostlane.Message] = {}
        self.streams: dict[str, hostlane.Stream] = {}
        self.over = self.hung_up = False

    # -- what goes out

    def begin(self) -> None:
        """Reads level 1 from now on."""
        self.found = self.raw.frames1()

    def look(self, limit: float) -> None:
        """Waits for what goes out, and keeps it for `take`."""
        while self.next is None and self.found is not None:
            try:
                out = self.found.get(timeout=limit)
            except queue.Empty:
                return
            if out is None:
                self.found.put(None)
                return
            if out.kind == "CREDIT":
                key, total = (out.channel, out.id), int.from_bytes(out.payload[:8], "little")
                self.credit[key] = max(self.credit.get(key, 0), total)
            elif not (
                (out.kind == "CLOSE" and self.over) or (out.kind == "CANCEL" and self.hung_up)
            ):
                self.next = out

    def take(self) -> Out:
        self.look(PATIENCE)
        out, self.next = self.next, None
        assert out is not None, "nothing goes out"
        return out

    def step_silent(self, _: bool) -> None:
        if self.found is not None:
            self.look(HOLD)
            assert self.next is None
            return
        self.raw.socket.settimeout(HOLD)
        with contextlib.suppress(TimeoutError, EOFError, ConnectionError):
            raise AssertionError(self.raw.recv())
        self.raw.socket.settimeout(PATIENCE)

    def step_sends(self, value: dict[str, Any]) -> None:
        if "type" not in value:
            channel, payload = self.raw.recv()
            assert channel == value["channel"]
            if "json" in value:
                got = json.loads(payload)
                if self.client:
                    got.pop("hostlane", None)
                assert got == value["json"]
            else:
                assert payload == bytes_of(value["payload"])
            return
        out = self.take()
        assert out.kind == value["type"], out
        assert out.channel == value.get("channel", out.channel), out
        assert out.id == value.get("id", out.id), out
        if NUMBERS[out.kind] >= 0x10:
            assert out.payload == bytes_of(value["payload"])
            ends = (bool(out.flags & FIN), bool(out.flags & STREAM), out.status)
            assert ends == (
                value.get("fin", False),
                value.get("stream", False),
                value.get("status"),
            )
            if "deadline_us" in value:
                assert out.deadline is not None
                assert 0 < out.deadline <= value["deadline_us"]
            return
        for member, size in (("last", 8), ("total", 8), ("code", 4)):
            if member in value and (out.kind, member) != ("GOAWAY", "code"):
                assert int.from_bytes(out.payload[:size], "little") == value[member], out
        assert out.payload.hex() == value.get("token", out.payload.hex())
        if value.get("proof"):
            assert out.payload == proof(self.secret, self.client, self.request, self.response)

    def step_closes(self, names: list[str]) -> None:
        out = self.take()
        assert out.kind == "CLOSE", out
        assert errors.BY_CODE[int.from_bytes(out.payload[:4], "little")].kind in names
        self.step_silent(True)
        self.over = True

    def step_credits(self, value: dict[str, Any]) -> None:
        key = (value.get("channel", 0), value.get("id", 0))

        def told() -> bool:
            self.look(HOLD)
            return self.credit.get(key, 0) >= int(value["at_least"])

        until(told, PATIENCE, "the credit")

    def step_asks(self, value: dict[str, Any]) -> None:
        self.request = self.subject.handshake()
        member = json.loads(self.request)["hostlane"]
        assert (1 in member["versions"], "auth" in member) == (True, value["auth"])

    def step_answers(self, value: dict[str, Any]) -> None:
        self.response = self.subject.handshake()
        member = json.loads(self.response).get("hostlane", {})
        assert (member.get("version", 0), "auth" in member) == (value["level"], value["auth"])
        if value["level"] == 1:
            self.begin()

    def step_refuses(self, names: list[str]) -> None:
        refuses(self.subject.handshake(), names)

    # -- what comes in

    def step_arrives(self, value: Any) -> None:
        data = bytes_of(value)
        if not self.client and not self.request:
            self.request = data[8:]
        if self.client and self.request and not self.response:
            self.response = data[8 : 8 + int.from_bytes(data[2:6], "little")]
            if "hostlane" in json.loads(self.response):
                self.begin()
        self.raw.put(data)

    def step_proof(self, which: str) -> None:
        secret = self.secret + (b"?" if which == "other-secret" else b"")
        connector = self.client if which == "reflected" else not self.client
        right = proof(secret, connector, self.request, self.response)
        self.raw.put(frame1(0x03, 0, 0, 0, right))

    def step_eof(self, _: bool) -> None:
        self.over = self.hung_up = True
        self.raw.socket.shutdown(socket.SHUT_WR)

    # -- what the program does

    def begun(self, name: str | None, run: Callable[[], Any]) -> None:
        """Runs an operation until it has ended or waits, so that the next comes behind it."""
        peer = self.subject.peer()
        before = peer.stats().pending_operations
        op = later(run)
        until(lambda: op.done() or peer.stats().pending_operations > before, PATIENCE, "it begins")
        if name is not None:
            self.ops[name] = op

    def step_does(self, value: dict[str, Any]) -> None:
        getattr(self, f"do_{value['what']}")(value, bytes_of(value.get("payload", "")))

    def do_send(self, value: dict[str, Any], data: bytes) -> None:
        peer, channel = self.subject.peer(), value["channel"]
        self.begun(value.get("op"), lambda: peer.send(data, channel=channel, timeout=PATIENCE))

    def do_request(self, _: dict[str, Any], data: bytes) -> None:
        self.calls["request"] = self.subject.peer().start(data, timeout=PATIENCE)

    def do_call(self, value: dict[str, Any], data: bytes) -> None:
        peer, channel = self.subject.peer(), value.get("channel", 1)
        if value.get("stream"):
            self.streams[value["op"]] = peer.open_stream(data, channel=channel)
            return
        try:
            self.calls[value["op"]] = peer.start(data, channel=channel, timeout=None)
        except hostlane.Error as error:
            self.ops[value["op"]] = Future()
            self.ops[value["op"]].set_exception(error)

    def do_cancel(self, value: dict[str, Any], _: bytes) -> None:
        if (stream := self.streams.get(value["call"])) is None:
            self.calls[value["call"]].cancel()
            return
        # Whoever waits for an item is told.
        self.begun(value["call"], lambda: stream.recv(timeout=PATIENCE))
        stream.close()

    def do_reply(self, value: dict[str, Any], data: bytes) -> None:
        message = self.taken[value["call"]]
        if "status" in value:
            self.begun(value.get("op"), lambda: message.fail(value["status"], data))
        else:
            self.begun(value.get("op"), lambda: message.reply(data))

    def do_abandon(self, value: dict[str, Any], _: bytes) -> None:
        if stream := self.streams.pop(value["call"], None):
            stream.close()
        del self.taken[value["call"]]
        # An error keeps the frames that it went through, and they keep the call.
        self.ops = {name: op for name, op in self.ops.items() if not op.done()}
        gc.collect()

    def do_item(self, value: dict[str, Any], data: bytes) -> None:
        stream = self.stream(value["call"])
        if value.get("fin"):
            self.begun(value.get("op"), lambda: stream.finish(timeout=PATIENCE))
        else:
            self.begun(value.get("op"), lambda: stream.send(data, timeout=PATIENCE))

    def do_ping(self, _: dict[str, Any], __: bytes) -> None:
        peer = self.subject.peer()
        self.begun("ping", lambda: peer.ping(timeout=PATIENCE))

    def do_drain(self, _: dict[str, Any], __: bytes) -> None:
        peer = self.subject.peer()
        self.begun("drain", lambda: peer.drain(timeout=PATIENCE))

    def do_close(self, _: dict[str, Any], __: bytes) -> None:
        self.subject.peer().close()

    def stream(self, call: str) -> hostlane.Stream:
        """That of a call of either side."""
        if call not in self.streams:
            opened = self.taken[call].stream()
            assert opened is not None
            self.streams[call] = opened
        return self.streams[call]

    # -- what the program is told

    def ended(self, name: str) -> bytes | None:
        """What an operation or a call ended with; raises what it failed with."""
        if name in self.ops:
            self.ops[name].result(PATIENCE)
            return None
        if name in self.calls:
            return self.calls[name].result(PATIENCE).data
        stream = self.streams[name]
        while stream.recv(timeout=PATIENCE) is not None:
            pass
        return stream.reply

    def step_delivers(self, value: dict[str, Any]) -> None:
        message = self.subject.peer().recv(timeout=PATIENCE)
        assert (message.channel, message.data) == (value["channel"], bytes_of(value["payload"]))
        kind = (message.is_request, message.is_stream)
        assert kind == ("call" in value, value.get("stream", False))
        if "call" in value:
            self.taken[value["call"]] = message

    def step_item(self, value: dict[str, Any]) -> None:
        assert self.stream(value["call"]).recv(timeout=PATIENCE) == bytes_of(value["payload"])

    def step_finished(self, call: str) -> None:
        assert self.stream(call).recv(timeout=PATIENCE) is None

    def step_replies(self, value: Any) -> None:
        if isinstance(value, str):
            value = {"call": "request", "payload": value}
        assert self.ended(value["call"]) == bytes_of(value["payload"])

    def step_fails(self, value: dict[str, Any]) -> None:
        with pytest.raises(hostlane.Error) as failed:
            self.ended(value["call"] if "call" in value else value["op"])
        error = failed.value
        assert error.kind in value["error"]
        assert error.sent == value.get("sent", error.sent)
        if "code" in value:
            assert isinstance(error, hostlane.RemoteError)
            assert (error.status, error.data) == (value["code"], bytes_of(value.get("payload", "")))

    def step_told(self, value: dict[str, Any]) -> None:
        self.taken[value["call"]].wait_cancelled(timeout=PATIENCE)

    def step_ponged(self, _: bool) -> None:
        self.ended("ping")

    def step_drained(self, _: bool) -> None:
        self.ended("drain")

    def step_ends(self, names: list[str]) -> None:
        self.over = True
        assert self.subject.end() in names
