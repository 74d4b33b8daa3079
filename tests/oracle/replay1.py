"""Plays the level-1 transcripts of `tests/vectors/level1/transcripts.json` with the oracle's own engine.

It is the reference for a comparer in another language: what every step means stands in
`tests/vectors/README.md`, and what this player ignores, every player ignores.
"""

from __future__ import annotations

import json
from typing import Any

import hello1
import level0
from engine1 import Engine
from engine1_state import Delivered, Done
from errors import NUMBERS
from gen_vectors import raw
from hello1 import Limits
from level1 import Assembler, Decoder, Frame, Message, Type, control, parse_control

CONTROL_FIELDS = ("token", "last", "code", "total")


class Mismatch(AssertionError):
    """The engine did something else than the transcript says."""


def same(got: Any, expected: Any, what: str) -> None:
    if got != expected:
        raise Mismatch(f"{what}: {got!r}, expected {expected!r}")


class Player:
    def __init__(self, case: dict[str, Any]) -> None:
        secret = case.get("secret")
        self.engine = Engine(
            case["role"] == "client", case["channels"], limits=Limits(**case.get("limits", {})),
            secret=None if secret is None else secret.encode(), demand=case.get("demand", False),
            features=case.get("features", ()),
        )  # fmt: skip
        self.secret = self.engine.secret
        self.hello = level0.Decoder(level0.MAX_HANDSHAKE)
        self.decoder, self.assembler = Decoder(ready=False), Assembler()
        self.out: list[tuple[Frame, Message | None]] = []
        self.request = self.response = b""
        self.calls: dict[str, int] = {}  # calls of the other side, by the name a step gave them
        self.credit: dict[tuple[int, int], int] = {}
        self.descriptors = 0  # that come with what arrives next
        self.over = self.hung_up = False
        self.engine.pump()

    # ---- what the engine sent and no step has named yet

    def collect(self) -> None:
        data = bytes(self.engine.out)
        self.engine.out.clear()
        if not self.response:
            self.hello.feed(data)
            return
        self.decoder.feed(data)
        while (frame := self.decoder.next()) is not None:
            if frame.carries_message():
                piece = self.assembler.accept(frame)
                if piece.last:
                    self.out.append((frame, piece.message))
            elif frame.type == Type.CREDIT:
                key = (frame.channel, frame.id)
                total = parse_control(frame.type, frame.payload)["total"]
                self.credit[key] = max(self.credit.get(key, 0), int(total))
            elif not self.ignores(frame):
                self.out.append((frame, None))

    def ignores(self, frame: Frame) -> bool:
        late = (frame.type == Type.CLOSE and self.over) or (frame.type == Type.CANCEL and self.hung_up)
        return late or frame.type == Type.NOP

    def handshake_frame(self) -> bytes:
        self.collect()
        frame = self.hello.next()
        if frame is None or frame.channel != level0.CONTROL:
            raise Mismatch(f"a handshake frame was expected, not {frame}")
        return frame.payload

    def next(self) -> tuple[Frame, Message | None]:
        self.collect()
        if not self.out:
            raise Mismatch(f"nothing goes out; finished: {list(self.engine.done)}, end: {self.engine.ended}")
        return self.out.pop(0)

    def finished(self, op: str | None, outcome: str | None = None) -> Done:
        for done in self.engine.done:
            if (op is None or done.op == op) and (outcome is None or done.outcome == outcome):
                self.engine.done.remove(done)
                return done
        raise Mismatch(f"{op}, {outcome} is not among {list(self.engine.done)}")

    # ---- the steps

    def play(self, steps: list[dict[str, Any]]) -> None:
        for index, step in enumerate(steps):
            ((name, value),) = step.items()
            try:
                getattr(self, f"step_{name}")(value)
            except Mismatch as problem:
                raise Mismatch(f"step {index}, {name}: {problem}") from None
        self.step_silent(True)

    def step_arrives(self, value: Any) -> None:
        data = raw(value)
        if self.engine.level is None:
            frame = level0.Decoder(level0.MAX_HANDSHAKE)
            frame.feed(data)
            payload = frame.next()
            assert payload is not None
            if self.engine.connector:
                self.response = payload.payload
            else:
                self.request = payload.payload
        self.engine.feed(data, self.descriptors)
        self.descriptors = 0

    def step_descriptors(self, count: int) -> None:
        self.descriptors = count

    def step_proof(self, value: str) -> None:
        assert self.secret is not None
        other = not self.engine.connector
        secret = self.secret + b"?" if value == "other-secret" else self.secret
        side = not other if value == "reflected" else other
        self.engine.feed(control(Type.AUTH, hello1.proof(secret, side, self.request, self.response)))

    def step_eof(self, _: bool) -> None:
        self.over = self.hung_up = True
        self.engine.eof()

    def step_clock(self, value: int) -> None:
        self.engine.clock(value)

    def step_silent(self, _: bool) -> None:
        self.collect()
        if self.out:
            raise Mismatch(f"went out: {self.out}")

    def step_asks(self, value: dict[str, Any]) -> None:
        self.request = self.handshake_frame()
        member = json.loads(self.request)["hostlane"]
        same(1 in member["versions"], True, "level 1 is offered")
        same("auth" in member, value["auth"], "auth is offered")

    def step_answers(self, value: dict[str, Any]) -> None:
        payload = self.handshake_frame()
        member = json.loads(payload).get("hostlane", {})
        same(member.get("version", 0), value["level"], "the level")
        same("auth" in member, value["auth"], "auth is answered")
        rest = bytes(self.hello.buffer)
        self.response = payload
        if value["level"] == 1:
            self.decoder.feed(rest)

    def step_refuses(self, names: list[str]) -> None:
        code, name, _ = level0.parse_refusal(self.handshake_frame())
        same(name in names and code == NUMBERS[name], True, f"refused with {name}")

    def step_sends(self, value: dict[str, Any]) -> None:
        frame, message = self.next()
        same(Type(frame.type).name, value["type"], "the type")
        for member in ("channel", "id"):
            if member in value:
                same(getattr(frame, member), value[member], member)
        if message is not None:
            same(bytes(message.payload), raw(value["payload"]), "the payload")
            same(message.fin, value.get("fin", False), "FIN")
            same(message.stream, value.get("stream", False), "STREAM")
            same(message.extensions.status, value.get("status"), "STATUS")
            if "deadline_us" in value:
                told = message.extensions.deadline_us
                same(told is not None and 0 < told <= value["deadline_us"], True, f"DEADLINE of {told}")
            return
        fields = parse_control(frame.type, frame.payload)
        for member in CONTROL_FIELDS:
            if member in value:
                expected = bytes.fromhex(value[member]) if member == "token" else value[member]
                same(fields[member], expected, member)
        if value.get("proof"):
            assert self.secret is not None
            right = hello1.proof(self.secret, self.engine.connector, self.request, self.response)
            same(fields["proof"], right, "the proof")

    def step_credits(self, value: dict[str, Any]) -> None:
        self.collect()
        told = self.credit.get((value.get("channel", 0), value.get("id", 0)), 0)
        same(told >= value["at_least"], True, f"credit of {told}")

    def step_does(self, value: dict[str, Any]) -> None:
        engine, what, op = self.engine, value["what"], value.get("op")
        payload = raw(value.get("payload", ""))
        if what == "send":
            engine.send(op, value["channel"], payload)
        elif what == "call":
            engine.call(
                op, payload, value.get("channel", 1), deadline_ms=value.get("deadline"),
                stream=value.get("stream", False), fin=value.get("fin", False),
            )  # fmt: skip
        elif what == "cancel":
            engine.cancel(value["call"])
        elif what == "reply":
            engine.reply(op, self.calls[value["call"]], payload, value.get("status"))
        elif what == "abandon":
            engine.abandon(op, self.calls[value["call"]])
        elif what == "item":
            engine.item(op, self.stream(value["call"]), payload, value.get("fin", False))
        else:
            {"ping": engine.ping, "drain": engine.drain}[what](what) if what != "close" else engine.close()

    def stream(self, name: str) -> Any:
        return self.engine.yours.get(self.calls[name]) if name in self.calls else self.engine.my_call(name)

    def step_delivers(self, value: dict[str, Any]) -> None:
        taken = self.engine.recv()
        if taken is None:
            raise Mismatch(f"nothing was received; end: {self.engine.ended}")
        expected = Delivered(value["channel"], raw(value["payload"]))
        same((taken.channel, taken.payload), (expected.channel, expected.payload), "the message")
        same(taken.call is not None, "call" in value, "it is a call")
        same(taken.stream, value.get("stream", False), "it is a stream")
        if taken.call is not None:
            self.calls[value["call"]] = taken.call

    def step_item(self, value: dict[str, Any]) -> None:
        same(self.engine.recv_item(self.stream(value["call"])), raw(value["payload"]), "the item")

    def step_finished(self, name: str) -> None:
        call = self.stream(name)
        same((call.fin_in, list(call.items)), (True, []), "no item follows")

    def step_replies(self, value: dict[str, Any]) -> None:
        same(self.finished(value["call"], "reply").payload, raw(value["payload"]), "the reply")

    def step_fails(self, value: dict[str, Any]) -> None:
        name = value.get("call", value.get("op"))
        done = next((d for d in self.engine.done if d.op == name and d.outcome not in ("sent", "reply")), None)
        if done is None:
            raise Mismatch(f"{name} has not failed: {list(self.engine.done)}")
        self.engine.done.remove(done)
        same(done.outcome in value["error"], True, f"it is {done.outcome}")
        for member in ("sent", "code"):
            if member in value:
                same(getattr(done, member), value[member], member)
        if "payload" in value:
            same(done.payload, raw(value["payload"]), "the data")

    def step_told(self, value: dict[str, Any]) -> None:
        pair = (self.calls[value["call"]], value["why"])
        if pair not in self.engine.told:
            raise Mismatch(f"the program was not told: {list(self.engine.told)}")
        self.engine.told.remove(pair)

    def step_ponged(self, _: bool) -> None:
        self.finished("ping", "pong")

    def step_drained(self, _: bool) -> None:
        self.finished("drain", "drained")

    def step_closes(self, names: list[str]) -> None:
        frame, _ = self.next()
        same(Type(frame.type).name, "CLOSE", "the last frame")
        code = parse_control(frame.type, frame.payload)["code"]
        same(code in [NUMBERS[name] for name in names], True, f"CLOSE with {code}")
        self.step_silent(True)
        self.over = True

    def step_ends(self, names: list[str]) -> None:
        self.over = True
        ended = self.engine.ended
        same(bool(ended) and bool(set(ended or ()) & set(names)), True, f"the end is {ended}")
        self.out = [entry for entry in self.out if entry[0].type != Type.CLOSE]
        self.collect()


def play(case: dict[str, Any]) -> None:
    Player(case).play(case["steps"])
