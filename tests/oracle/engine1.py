"""One side of a level-1 conversation without I/O: bytes and time in, bytes and finished operations out.

It plays by the rules of `docs/protocol.md` and judges the other side by them. Its first messages are those of
`handshake1.py`; what it keeps is in `engine1_state.py`. `peer1.py` gives it a socket, `replay1.py` the
transcripts. Every operation has a name of its caller's choice, under which `done` reports how it ended.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import hello1
import level0
from engine1_state import Call, Credit, Delivered, Done, Outgoing, Window
from errors import NUMBERS, end_of_call, end_of_connection
from handshake1 import Handshake
from hello1 import Limits
from level0 import CONTROL, MAX_HANDSHAKE, Violation
from level1 import (
    MAX_FDS,
    NO_LAST,
    Assembler,
    Decoder,
    Extensions,
    Flag,
    Frame,
    Message,
    Type,
    charge,
    control,
    message,
    parse_control,
    wrong,
)

MAX_UNREAD_PONGS = 1024  # and PINGs of one's own without an answer


class Engine:
    def __init__(
        self,
        connector: bool,
        channels: Sequence[int] = level0.DEFAULT_CHANNELS,
        *,
        limits: Limits | None = None,
        features: Sequence[str] = (),
        secret: bytes | None = None,
        token: str | None = None,
        demand: bool = False,
        levels: Sequence[int] = (hello1.LEVEL,),
        peer_id: str = "peer-1",
        grease: bool = True,
        cut: int = 262_144,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.connector = connector
        self.limits = limits or Limits()
        self.secret, self.grease, self.cut = secret, grease, cut
        self.handshake = Handshake(
            connector, channels, limits=self.limits, features=features, secret=secret, token=token, demand=demand,
            levels=levels, peer_id=peer_id, grease=grease, entropy=entropy,
        )  # fmt: skip
        self.theirs_limits = Limits()
        self.ready_in = self.ready_out = False
        self.ended: tuple[str, ...] | None = None
        self.close_text = ""

        self.now = self.last_arrival = 0.0
        self.pinged_idle = False
        self.hello = level0.Decoder(MAX_HANDSHAKE)
        self.decoder = Decoder(self.limits.max_message, ready=False)
        self.assembler = Assembler(self.limits.max_message)
        self.out = bytearray()
        self.unread_pongs: Callable[[], int] = lambda: 0
        self.descriptors = 0  # that came, and that no frame has announced yet

        self.inbox: deque[Delivered] = deque()
        self.done: deque[Done] = deque()
        self.told: deque[tuple[int, str]] = deque()
        self.late = 0

        self.queues: dict[int, deque[Outgoing]] = {}
        self.credit: dict[int, Credit] = {}
        self.windows: dict[int, Window] = {}
        self.mine: dict[int, Call] = {}
        self.yours: dict[int, Call] = {}
        # Calls nobody waits for any more keep their places: this side's until the other side ends them, the
        # other side's until the program here is done with them; with the reason it will be told.
        self.given_up: set[int] = set()
        self.gone: dict[int, str] = {}
        self.last_mine = -1 if connector else 0
        self.last_yours = 0
        self.last_by_channel: dict[int, int] = {}
        self.ids_taken: set[int] = set()
        self.pings: dict[bytes, Any] = {}
        self.pings_sent = 0
        self.drain_op: Any = None
        self.draining = self.drain_acked = False
        self.peer_draining = self.ack_due = False
        if connector:
            self.out += level0.Frame(CONTROL, self.handshake.ask()).encode()

    # ------------------------------------------------------------ the handshake

    @property
    def level(self) -> int | None:
        return self.handshake.level

    @property
    def channels(self) -> list[int]:
        return self.handshake.channels

    def _hello(self) -> None:
        frame = self.hello.next()
        if frame is None:
            return
        if frame.channel != CONTROL:
            raise Violation(f"handshake on channel {frame.channel}", "bad_handshake", "unknown_channel")
        if self.connector:
            self.handshake.answered(frame.payload)
        else:
            self.out += level0.Frame(CONTROL, self.handshake.asked(frame.payload)).encode()
        rest = bytes(self.hello.buffer)
        self.hello.buffer.clear()
        if self.level == 1:
            self.decoder.feed(rest)
            self._begin_level1()
        else:
            self.hello.limit = level0.MAX_PAYLOAD
            self.hello.feed(rest)

    def _begin_level1(self) -> None:
        self.theirs_limits = self.handshake.theirs_limits
        for channel in self.channels:
            self.credit[channel] = Credit(self.theirs_limits.window)
            self.windows[channel] = Window(self.limits.window)
            self.queues[channel] = deque()
        if not self.handshake.prove:
            self._send_ready()
        elif self.connector:
            self._send_proof()

    def _send_proof(self) -> None:
        self.out += control(Type.AUTH, self.handshake.proof())

    def _send_ready(self) -> None:
        self.out += control(Type.READY)
        self.ready_out = True
        if self.grease:
            self.out += Frame(0x75, 0x43, 999, 12345, b"grease").encode()

    def _auth(self, given: bytes) -> None:
        self.handshake.check(given)
        if not self.connector:
            self._send_proof()
        self._send_ready()

    def is_open(self) -> bool:
        return self.ended is None and (self.level == 0 or (self.ready_in and self.ready_out))

    # ------------------------------------------------------------ what comes in

    def feed(self, data: bytes, descriptors: int = 0) -> None:
        """These bytes arrived, so many descriptors with the first of them."""
        if self.ended:
            return
        if "fds" in self.handshake.agreed:
            self.descriptors += descriptors
        self.last_arrival, self.pinged_idle = self.now, False
        try:
            if self.level is None:
                self.hello.feed(data)
                self._hello()
            elif self.level == 1:
                self.decoder.feed(data)
            else:
                self.hello.feed(data)
            while self.level == 0 and (plain := self.hello.next()) is not None:
                self._plain(plain)
            while self.level == 1 and not self.ended and (frame := self.decoder.next()) is not None:
                self._frame(frame)
            if self.descriptors > (MAX_FDS if self.decoder.inside() else 0):
                raise wrong("descriptors without a frame that announces them")
        except Violation as problem:
            self._fault(problem)
        self.pump()

    def _plain(self, frame: level0.Frame) -> None:
        """On level 0 this engine has messages only; `stock.py` speaks all of it."""
        if frame.channel not in self.channels:
            raise Violation(f"channel {frame.channel}", "unknown_channel")
        self.inbox.append(Delivered(frame.channel, frame.payload))

    def eof(self) -> None:
        """The stream ended."""
        if self.ended:
            return
        if self.level is None:
            inside = bool(self.hello.buffer)
            self._fault(Violation("ended in the handshake", *(["truncated"] if inside else []), "refused"))
        elif self.decoder.inside() or self.assembler.open:
            self._fault(wrong("the stream ended inside a frame or a message", "truncated"))
        else:
            self._end("peer_closed")

    def _frame(self, frame: Frame) -> None:
        if frame.carries_message():
            piece = self.assembler.accept(frame)
            if piece.first:
                self._begins(piece.message)
            if piece.last:
                self._complete(piece.message)
            return
        fields = parse_control(frame.type, frame.payload)
        if self.ready_in and frame.type in (Type.AUTH, Type.READY):
            raise wrong(f"{Type(frame.type).name} after READY")
        handler = {
            Type.NOP: lambda: None,
            Type.AUTH: lambda: self._auth(fields["proof"]),
            Type.READY: self._ready,
            Type.PING: lambda: self._ping(fields["token"]),
            Type.PONG: lambda: self._pong(fields["token"]),
            Type.GOAWAY: lambda: self._goaway(fields["last"]),
            Type.DRAIN_ACK: self._drain_ack,
            Type.CLOSE: lambda: self._closed(fields["code"], fields["text"]),
            Type.CREDIT: lambda: self._credit(frame.channel, frame.id, fields["total"]),
            Type.CANCEL: lambda: self._cancel(frame.id),
            Type.ERROR: lambda: self._failed(frame.id, fields["code"], "maybe"),
            Type.REFUSE: lambda: self._failed(frame.id, fields["code"], "no"),
        }[Type(frame.type)]
        handler()

    def _ready(self) -> None:
        if self.handshake.unproved():
            raise wrong("READY before the proof")
        self.ready_in = True

    def _ping(self, token: bytes) -> None:
        if self.unread_pongs() >= MAX_UNREAD_PONGS:
            raise wrong("PONGs are not read", "control_flood")
        self.out += control(Type.PONG, token)

    def _pong(self, token: bytes) -> None:
        op = self.pings.pop(token, None)
        if op is not None:
            self.done.append(Done(op, "pong"))

    def _closed(self, code: int, text: str) -> None:
        self.close_text = text
        self._end(end_of_connection(code, ready=self.ready_in))

    # ---- ids

    def _is_mine(self, ident: int) -> bool:
        return ident % 2 == (1 if self.connector else 0)

    def _my_call(self, ident: int) -> Call | None:
        """The open call of this side, None for one that has ended."""
        if not self._is_mine(ident) or not 0 < ident <= self.last_mine:
            raise wrong(f"call {ident} was never opened by this side")
        if (call := self.mine.get(ident)) is None:
            self.late += 1
        return call

    def _your_call(self, ident: int) -> Call | None:
        if self._is_mine(ident) or not 0 < ident <= self.last_yours:
            raise wrong(f"call {ident} was never opened by the other side")
        if (call := self.yours.get(ident)) is None:
            self.late += 1
        return call

    def _any_call(self, ident: int) -> Call | None:
        return self._my_call(ident) if self._is_mine(ident) else self._your_call(ident)

    # ---- messages

    def _begins(self, m: Message) -> None:
        if m.channel not in self.channels:
            raise wrong(f"channel {m.channel}", "unknown_channel")
        begins = m.type in (Type.MESSAGE, Type.REQUEST)
        if m.flags & Flag.FDS and not (begins and "fds" in self.handshake.agreed):
            raise wrong("descriptors were not agreed, or come with an answer or item")
        if (m.extensions.fds or 0) > self.descriptors:
            raise wrong(f"{m.extensions.fds} descriptors are announced, {self.descriptors} came")
        self.descriptors -= m.extensions.fds or 0
        if begins and self.drain_acked:
            raise wrong("MESSAGE or REQUEST behind DRAIN_ACK")
        if m.type == Type.MESSAGE:
            if m.id:
                raise wrong("MESSAGE with an id")
            self.windows[m.channel].begin(m.charge)
        elif m.type == Type.REQUEST:
            self._opens(m)
        elif m.type == Type.RESPONSE:
            call = self._my_call(m.id)
            if call is not None and call.channel != m.channel:
                raise wrong("a reply on another channel than its call")
        else:
            call = self._any_call(m.id)
            if call is None:
                return
            if not call.stream or call.channel != m.channel:
                raise wrong("STREAM of a call that is none, or on another channel")
            if call.fin_in:
                raise wrong("a message after FIN")
            call.window.begin(m.charge)

    def _opens(self, m: Message) -> None:
        above = self.last_by_channel.get(m.channel, 0)
        if self._is_mine(m.id) or m.id <= above or m.id in self.ids_taken:
            raise wrong(f"id {m.id} cannot be opened")
        self.ids_taken.add(m.id)
        self.last_by_channel[m.channel] = m.id
        self.last_yours = max(self.last_yours, m.id)
        self.windows[m.channel].begin(m.charge)
        if len(self.yours) + len(self.gone) >= self.limits.max_calls:
            self.out += control(Type.REFUSE, NUMBERS["queue_full"], id=m.id, text="too many calls")
            return
        self.yours[m.id] = Call(
            None, m.channel, m.stream,
            Credit(self.theirs_limits.stream_window), Window(self.limits.stream_window), m.id,
            fin_in=m.stream and m.fin,
        )  # fmt: skip

    def _complete(self, m: Message) -> None:
        payload = bytes(m.payload)
        if m.type == Type.MESSAGE:
            self.inbox.append(Delivered(m.channel, payload, extensions=m.extensions))
        elif m.type == Type.REQUEST:
            if (call := self.yours.get(m.id)) is not None:
                if (deadline := m.extensions.deadline_us) is not None:
                    call.deadline = self.now + deadline / 1000
                self.inbox.append(Delivered(m.channel, payload, m.id, m.stream, m.fin, m.extensions))
            else:
                self._give_back(m.channel, 0, self.windows[m.channel], m.charge)
                self._release(m.id)
        elif m.type == Type.RESPONSE:
            self.given_up.discard(m.id)
            if (call := self.mine.pop(m.id, None)) is not None:
                status = m.extensions.status
                if status is None:
                    self.done.append(Done(call.op, "reply", payload))
                else:
                    self.done.append(Done(call.op, "remote_error", payload, "maybe", status))
        else:
            call = self.mine.get(m.id) or self.yours.get(m.id)
            if call is not None:
                if payload or not m.fin:
                    call.items.append(payload)
                call.fin_in = call.fin_in or m.fin

    def _failed(self, ident: int, code: int, sent: str) -> None:
        if ident in self.given_up:
            self.given_up.remove(ident)
        elif self._my_call(ident) is not None:
            self.done.append(Done(self.mine.pop(ident).op, end_of_call(code), sent=sent, code=code))

    def _cancel(self, ident: int) -> None:
        if ident not in self.gone and self._your_call(ident) is not None:
            self._let_go(ident, "cancelled", "cancelled")

    def _let_go(self, ident: int, why: str, error: str) -> None:
        """Nobody waits for the answer any more. The place is free when the program is done, at once if it never
        had the call."""
        del self.yours[ident]
        self.told.append((ident, why))
        self.gone[ident] = error
        if (waiting := next((d for d in self.inbox if d.call == ident), None)) is not None:
            self.inbox.remove(waiting)
            self._give_back(waiting.channel, 0, self.windows[waiting.channel], waiting.charge)
            self._release(ident)

    def _release(self, ident: int) -> None:
        """The program is done with a call of the other side's."""
        if (error := self.gone.pop(ident, None)) is not None and not self.ended:
            self.out += control(Type.ERROR, NUMBERS[error], id=ident)

    def _credit(self, channel: int, ident: int, total: int) -> None:
        if ident:
            call = self._any_call(ident)
            if call is not None:
                call.credit.total = max(call.credit.total, total)
        elif channel not in self.credit:
            raise wrong(f"CREDIT for channel {channel}", "unknown_channel")
        else:
            self.credit[channel].total = max(self.credit[channel].total, total)

    # ---- drain

    def _goaway(self, last: int) -> None:
        if not self.peer_draining:
            self.peer_draining = self.ack_due = True
        if last != NO_LAST:
            for ident in [i for i in self.mine if i > last]:
                self.done.append(Done(self.mine.pop(ident).op, "draining", sent="no"))
            self.given_up = {ident for ident in self.given_up if ident <= last}

    def _drain_ack(self) -> None:
        if not self.draining or self.drain_acked:
            raise wrong("DRAIN_ACK that nobody asked for")
        self.drain_acked = True
        self.out += control(Type.GOAWAY, self.last_yours, NUMBERS["closed"])

    # ------------------------------------------------------------ what the program does

    def _refusal(self, channel: int, payload: bytes) -> str | None:
        if self.ended:
            return "closed" if self.ended == ("closed",) else "connection_lost"
        if self.draining or self.peer_draining:
            return "draining"
        if channel not in self.channels:
            return "invalid_channel"
        return "payload_too_large" if len(payload) > self.theirs_limits.max_message else None

    def send(self, op: Any, channel: int, payload: bytes, **extensions: Any) -> None:
        if (name := self._refusal(channel, payload)) is not None:
            self.done.append(Done(op, name, sent="no"))
            return
        if self.level == 0:
            self.out += level0.Frame(channel, payload).encode()
            self.done.append(Done(op, "sent"))
            return
        self.queues[channel].append(Outgoing(op, Type.MESSAGE, payload, extensions=Extensions(**extensions)))
        self.pump()

    def call(
        self, op: Any, payload: bytes, channel: int = 1, *, deadline_ms: float | None = None, stream: bool = False,
        fin: bool = False, **extensions: Any,
    ) -> None:  # fmt: skip
        if (name := self._refusal(channel, payload)) is not None:
            self.done.append(Done(op, name, sent="no"))
            return
        ours = Credit(self.theirs_limits.stream_window)
        call = Call(op, channel, stream, ours, Window(self.limits.stream_window), fin_out=fin)
        if deadline_ms is not None:
            extensions["deadline_us"] = int(deadline_ms * 1000)
            call.deadline = self.now + deadline_ms
        flags = (Flag.STREAM if stream else 0) | (Flag.FIN if fin else 0)
        self.queues[channel].append(Outgoing(op, Type.REQUEST, payload, flags, Extensions(**extensions), call))
        self.pump()

    def my_call(self, op: Any) -> Call | None:
        queued = (entry.call for queue in self.queues.values() for entry in queue if entry.call)
        return next((call for call in [*self.mine.values(), *queued] if call.op == op), None)

    def _answer(self, op: Any, ident: int, *frames: Outgoing) -> None:
        call = self.yours.get(ident)
        if call is None or self.ended:
            self.done.append(Done(op, "call_ended"))
            self._release(ident)
            return
        call.queue.extend(frames)
        self.pump()

    def reply(self, op: Any, ident: int, payload: bytes, status: int | None = None) -> None:
        self._answer(op, ident, Outgoing(op, Type.RESPONSE, payload, 0, Extensions(status=status)))

    def abandon(self, op: Any, ident: int) -> None:
        self._answer(op, ident, Outgoing(op, Type.ERROR, b""))

    def refuse(self, op: Any, ident: int, name: str) -> None:
        self._answer(op, ident, Outgoing(op, Type.REFUSE, name.encode()))

    def item(self, op: Any, call: Call | None, payload: bytes, fin: bool = False) -> None:
        """One more message of a stream; with `fin` and no bytes only the end of its direction."""
        if call is None or self.ended:
            self.done.append(Done(op, "call_ended"))
            return
        call.fin_out = call.fin_out or fin
        call.queue.append(Outgoing(op, Type.STREAM, payload, Flag.FIN if fin else 0))
        self.pump()

    def cancel(self, op: Any) -> None:
        self._give_up(op, "cancelled")

    def _give_up(self, op: Any, why: str) -> None:
        for ident, call in list(self.mine.items()):
            if call.op == op:
                del self.mine[ident]
                self.given_up.add(ident)
                self.out += control(Type.CANCEL, id=ident)
                self.done.append(Done(op, why, sent="maybe"))
        for queue in self.queues.values():
            for entry in [e for e in queue if e.op == op]:
                queue.remove(entry)
                self.done.append(Done(op, why, sent="no"))
        self.pump()

    def ping(self, op: Any) -> None:
        if len(self.pings) >= MAX_UNREAD_PONGS:
            self.done.append(Done(op, "queue_full"))
            return
        self.pings_sent += 1
        token = self.pings_sent.to_bytes(8, "big")
        self.pings[token] = op
        self.out += control(Type.PING, token)

    def drain(self, op: Any) -> None:
        if self.ended:
            self.done.append(Done(op, self.ended[0]))
            return
        self.drain_op, self.draining = op, True
        self.out += control(Type.GOAWAY, NO_LAST, NUMBERS["closed"])
        self.pump()

    def close(self, name: str = "closed", text: str = "") -> None:
        if not self.ended:
            if self.level == 1:
                self.out += control(Type.CLOSE, NUMBERS[name], text=text)
            self._end("closed")

    def recv(self) -> Delivered | None:
        """The next message or call; taking it gives its credit back."""
        if not self.inbox:
            return None
        taken = self.inbox.popleft()
        if taken.channel in self.windows:
            self._give_back(taken.channel, 0, self.windows[taken.channel], taken.charge)
        return taken

    def recv_item(self, call: Call) -> bytes | None:
        if not call.items:
            return None
        item = call.items.popleft()
        if call.id in self.mine or call.id in self.yours:
            self._give_back(0, call.id, call.window, charge(len(item)))
        return item

    def _give_back(self, channel: int, ident: int, window: Window, charged: int) -> None:
        total = window.take(charged)
        if total is not None and not self.ended:
            self.out += control(Type.CREDIT, total, channel=channel, id=ident)

    # ------------------------------------------------------------ time

    def clock(self, milliseconds: float) -> None:
        """So much time passes."""
        self.now += milliseconds
        if self.ended:
            return
        for call in [c for c in self._waiting() if c.deadline is not None and c.deadline <= self.now]:
            self._give_up(call.op, "timeout")
        for ident, call in list(self.yours.items()):
            if call.deadline is not None and call.deadline <= self.now:
                self._let_go(ident, "deadline", "timeout")
        every = self.limits.keepalive_ms
        if every and self.is_open() and self.level == 1:
            idle = self.now - self.last_arrival
            if idle >= every and not self.pinged_idle:
                self.pinged_idle = True
                self.out += control(Type.PING, b"\xff" * 8)
            if idle >= 3 * every:
                self._fault(wrong("nothing arrived in time", "peer_unresponsive"))

    def _waiting(self) -> Iterable[Call]:
        return [*self.mine.values(), *(e.call for q in self.queues.values() for e in q if e.call)]

    # ------------------------------------------------------------ what goes out

    def pump(self) -> None:
        """Sends what credit and limits allow."""
        if self.ended or not self.ready_out:
            return
        for channel, queue in self.queues.items():
            while queue and self.credit[channel].may_begin():
                places = len(self.mine) + len(self.given_up)
                if queue[0].kind == Type.REQUEST and places >= self.theirs_limits.max_calls:
                    break
                self._emit(channel, queue.popleft(), self.credit[channel])
        for call in [*self.mine.values(), *self.yours.values()]:
            while call.queue and (call.queue[0].kind != Type.STREAM or call.credit.may_begin()):
                self._emit_in(call, call.queue.popleft())
        if self.ack_due and not any(self.queues.values()):
            self.ack_due = False
            self.out += control(Type.DRAIN_ACK)
        idle = not (self.mine or self.yours or any(self.queues.values()))
        if self.drain_acked and idle:
            self.out += control(Type.CLOSE, NUMBERS["closed"])
            self._end("closed")

    def _emit(self, channel: int, entry: Outgoing, credit: Credit) -> None:
        ident = 0
        if entry.call is not None:
            self.last_mine += 2
            ident = entry.call.id = self.last_mine
            self.mine[ident] = entry.call
        credit.charged += entry.charge
        self.out += message(
            entry.kind, channel, ident, entry.payload, entry.flags, extensions=entry.extensions, cut=self.cut
        )
        if entry.call is None:
            self.done.append(Done(entry.op, "sent"))

    def _emit_in(self, call: Call, entry: Outgoing) -> None:
        if entry.kind == Type.STREAM:
            call.credit.charged += entry.charge
        else:
            self.yours.pop(call.id)
            call.queue.clear()
        if entry.kind == Type.ERROR:
            self.out += control(Type.ERROR, NUMBERS["call_abandoned"], id=call.id)
        elif entry.kind == Type.REFUSE:
            self.out += control(Type.REFUSE, NUMBERS[entry.payload.decode()], id=call.id)
        else:
            self.out += message(
                entry.kind, call.channel, call.id, entry.payload, entry.flags, extensions=entry.extensions, cut=self.cut
            )
        self.done.append(Done(entry.op, "sent"))

    # ------------------------------------------------------------ the end

    def _fault(self, problem: Violation) -> None:
        if self.ended:
            return
        number = NUMBERS[problem.names[0]]
        if self.level == 1:
            self.out += control(Type.CLOSE, number, text=str(problem))
        elif self.level is None and not self.connector:
            refusal = level0.encode_refusal(number, problem.names[0], str(problem))
            self.out += level0.Frame(CONTROL, refusal).encode()
        self._end(*problem.names)

    def _end(self, *names: str) -> None:
        self.ended = names
        closed = names == ("closed",)
        if self.draining:
            orderly = closed or names == ("peer_closed",)
            self.done.append(Done(self.drain_op, "drained" if orderly else names[0]))
        lost = "closed" if closed else "connection_lost"
        for call in self.mine.values():
            self.done.append(Done(call.op, lost, sent="maybe"))
        for queue in self.queues.values():
            self.done.extend(Done(entry.op, lost, sent="no") for entry in queue)
            queue.clear()
        self.done.extend(Done(op, lost) for op in self.pings.values())
        self.mine.clear()
        self.yours.clear()
        self.given_up.clear()
        self.gone.clear()
        self.pings.clear()
