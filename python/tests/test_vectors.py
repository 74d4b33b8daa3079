"""The shared vectors of tests/vectors, played against a real listener or a real connection.

The test is the other side, at a raw socket. What the steps mean stands in tests/vectors/README.md.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import hashlib
import hmac
import json
import queue
import shutil
import socket
import struct
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple, Self

import hostlane
import pytest
from hostlane import errors
from wire import REQUEST, Wire, frame

VECTORS = Path(__file__).parents[2] / "tests/vectors"

# Seconds that bound what must happen, and seconds nothing may come where nothing is to come.
PATIENCE = 20.0
HOLD = 0.015

KINDS = {
    0x03: "AUTH",
    0x04: "READY",
    0x05: "PING",
    0x06: "PONG",
    0x07: "GOAWAY",
    0x08: "DRAIN_ACK",
    0x09: "CLOSE",
    0x0A: "ERROR",
    0x0B: "CREDIT",
    0x0C: "CANCEL",
    0x0D: "REFUSE",
    0x10: "MESSAGE",
    0x11: "REQUEST",
    0x12: "RESPONSE",
    0x13: "STREAM",
}
NUMBERS = {name: number for number, name in KINDS.items()}
FIRST, LAST, EXT, FIN, STREAM = 0x01, 0x02, 0x04, 0x08, 0x10
HEADER1 = struct.Struct("<IBBHQ")


def cases(file: str, unfit: Callable[[dict[str, Any]], str] = lambda case: "") -> list[Any]:
    """The cases of a file; those that `unfit` has a reason against are skipped with it."""
    found = json.loads((VECTORS / file).read_text(encoding="utf-8"))["cases"]
    return [
        pytest.param(
            case,
            id=case["id"],
            marks=[pytest.mark.skip(reason=reason)] if (reason := unfit(case)) else [],
        )
        for case in found
    ]


def raw(value: Any) -> bytes:
    """A byte value of tests/vectors/README.md."""
    if isinstance(value, str):
        return bytes.fromhex(value)
    if isinstance(value, list):
        return b"".join(raw(part) for part in value)
    if "text" in value:
        return str(value["text"]).encode()
    return raw(value["hex"]) * int(value["times"])


def frame1(kind: int, flags: int, channel: int, call: int, payload: bytes) -> bytes:
    """A frame of level 1."""
    return HEADER1.pack(len(payload), kind, flags, channel, call) + payload


READY = frame1(0x04, 0, 0, 0, b"")


def proof(secret: bytes, connector: bool, request: bytes, response: bytes) -> bytes:
    """What a side proves a secret by."""
    text = b"hostlane auth 1" + (b"c" if connector else b"a")
    text += hashlib.sha256(request).digest() + hashlib.sha256(response).digest()
    return hmac.digest(secret, text, "sha256")


def later(run: Callable[[], Any]) -> Future[Any]:
    """Runs on a thread of its own what may wait."""
    future: Future[Any] = Future()

    def body() -> None:
        try:
            future.set_result(run())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=body, daemon=True).start()
    return future


def eventually(what: str, condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {PATIENCE} s"
        time.sleep(0.0005)


class Out(NamedTuple):
    """What the side under test sent: a frame, or a message put together from its frames."""

    kind: str
    flags: int
    channel: int
    id: int
    payload: bytes
    status: int | None = None
    deadline: int | None = None


class Raw(Wire):
    """The other side of whatever is tested."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(connection)
        self.socket.settimeout(PATIENCE)

    def put(self, data: bytes) -> None:
        """Writes, and waits until the bytes were taken, or nobody will take them."""
        with contextlib.suppress(OSError):  # whoever found a fault hangs up in the middle
            self.socket.sendall(data)
        eventually("the bytes are read", lambda: self.gone() or self.unread() == 0)

    def unread(self) -> int:
        # SIOCOUTQ: bytes the other side has not taken.
        count: int = struct.unpack("i", fcntl.ioctl(self.socket, termios.TIOCOUTQ, bytes(4)))[0]
        return count

    def gone(self) -> bool:
        try:
            self.socket.getpeername()
        except OSError:
            return True
        return False

    def frames(self, found: queue.Queue[Out | None]) -> None:
        """Reads level 1 until the stream ends."""
        started: dict[int, Out] = {}
        with contextlib.suppress(EOFError, OSError):
            while True:
                length, kind, flags, channel, id = HEADER1.unpack(self.exactly(HEADER1.size))
                payload = self.exactly(length)
                if kind not in KINDS:
                    continue  # NOP, GREASE and the like
                out = Out(KINDS[kind], flags, channel, id, payload)
                if kind < 0x10:
                    found.put(out)
                    continue
                out = whole(started.pop(channel, None), out)
                if out.flags & LAST:
                    found.put(out)
                else:
                    started[channel] = out
        found.put(None)


def whole(before: Out | None, out: Out) -> Out:
    """A message with what one more frame brings."""
    if before is not None:
        return before._replace(
            flags=before.flags | out.flags & LAST, payload=before.payload + out.payload
        )
    payload, told = out.payload, {}
    if out.flags & EXT:
        size = 2 + int.from_bytes(payload[:2], "little")
        extensions, payload = payload[2:size], payload[size:]
        while extensions:
            kind, length = struct.unpack_from("<HH", extensions)
            told[kind] = int.from_bytes(extensions[4 : 4 + length], "little")
            extensions = extensions[4 + length :]
    if not out.flags & LAST:
        payload = payload[4:]
    return out._replace(payload=payload, deadline=told.get(1), status=told.get(4))


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

        eventually("the handshake ends", decided)
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
            assert self.end() in ("peer_closed" if end == "clean" else end)
        return got


def refuses(payload: bytes, names: list[str]) -> None:
    error = json.loads(payload)["error"]
    assert error["name"] in names
    assert errors.BY_CODE[error["code"]].kind == error["name"]


# ---- one rule at a time -----------------------------------------------------------------------


def test_the_error_table() -> None:
    table = [case.values[0] for case in cases("errors.json")]
    assert list(errors.BY_CODE) == [row["number"] for row in table]
    for row in table:
        kind = errors.BY_CODE[row["number"]]
        told = (kind.code, kind.kind, kind.__doc__, kind.retryable)
        assert told == (row["number"], row["name"], row["doc"], row["retryable"])


def reserved(case: dict[str, Any]) -> str:
    if any(4 < channel < 256 for channel in case["server"]["channels"]):
        return "a program cannot ask for a reserved channel to be served"
    return ""


@pytest.mark.parametrize("case", cases("framing/requests.json", reserved))
def test_requests(case: dict[str, Any]) -> None:
    server, expect = case["server"], case["expect"]
    token = {} if server["auth_token"] is None else {"auth_token": server["auth_token"]}
    with Subject("server", channels=server["channels"], **token) as subject:
        subject.raw.put(frame(0, raw(case["payload"])))
        answer = subject.handshake()
        if "refused" in expect:
            refuses(answer, expect["refused"])
            assert subject.end() in expect["refused"]
        else:
            assert json.loads(answer)["channels"] == expect["channels"]
            assert list(subject.peer().info().channels) == expect["channels"]


@pytest.mark.parametrize("case", cases("framing/responses.json"))
def test_responses(case: dict[str, Any]) -> None:
    expect = case["expect"]
    with Subject("client", channels=case["asked"]) as subject:
        assert json.loads(subject.handshake())["channels"] == case["asked"]
        subject.raw.put(frame(0, raw(case["payload"])))
        if "error" in expect:
            assert subject.outcome() in expect["error"]
        else:
            info = subject.peer().info()
            assert (list(info.channels), info.peer_id) == (expect["channels"], expect["peer_id"])


def unusual(case: dict[str, Any]) -> str:
    if any(f["channel"] == 0 or 4 < f["channel"] < 256 for f in case["expect"]["frames"]):
        return "a frame on a channel that is no program's"
    return ""


@pytest.mark.parametrize("case", cases("framing/frames.json", unusual))
def test_frames(case: dict[str, Any]) -> None:
    messages = [(f["channel"], raw(f["payload"])) for f in case["expect"]["frames"]]
    channels = list(dict.fromkeys([1, 2, 3, 4, *(channel for channel, _ in messages)]))
    with Subject("server", channels=channels, max_message=case["limit"]) as subject:
        subject.raw.put(frame(0, json.dumps({**REQUEST, "channels": channels}).encode()))
        subject.handshake()
        subject.peer()
        subject.feed(map(raw, case["chunks"]), case["eof"], messages, case["expect"]["end"])


@pytest.mark.parametrize("case", cases("framing/control.json"))
def test_control(case: dict[str, Any]) -> None:
    expect = case["expect"]
    kind = expect.get("type")
    with Subject("server") as subject:
        subject.raw.put(frame(0, json.dumps(REQUEST).encode()))
        subject.handshake()
        subject.peer()
        subject.raw.put(frame(0, raw(case["payload"])))
        if "error" in expect or kind == "shutdown_force":
            assert subject.end() in expect.get("error", "peer_closed")
            return
        answers = {"ping": "pong", "shutdown_request": "shutdown_ack"}
        if kind not in answers:
            # What comes next is the answer to the ping behind it.
            subject.raw.put(frame(0, b'{"type":"ping"}'))
        assert json.loads(subject.handshake()) == {"type": answers.get(kind, "pong")}


def options(side: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"fds": True} if side.get("features") else {}
    if side.get("secret") is not None:
        found["secret"] = side["secret"]
    if side.get("demand"):
        found["level"] = 1
    return found


def has(side: str) -> Callable[[dict[str, Any]], str]:
    def unfit(case: dict[str, Any]) -> str:
        if set(case[side]["features"]) - {"fds"}:
            return "a feature that this language does not have"
        return ""

    return unfit


def features(names: Iterable[str]) -> set[str]:
    return {name for name in names if not name.startswith("grease")}


@pytest.mark.parametrize("case", cases("level1/offers.json", has("server")))
def test_offers(case: dict[str, Any]) -> None:
    expect = case["expect"]
    with Subject("server", channels=[1, 2], **options(case["server"])) as subject:
        subject.raw.put(frame(0, raw(case["payload"])))
        answer = subject.handshake()
        if "refused" in expect:
            refuses(answer, expect["refused"])
            return
        member = json.loads(answer).get("hostlane")
        assert (member is not None) == (expect["level"] == 1)
        if member is None:
            assert subject.peer().info().level == 0
        else:
            assert features(member["features"]) == set(expect["features"])
            assert ("auth" in member) == expect["auth"]


@pytest.mark.parametrize("case", cases("level1/grants.json", has("client")))
def test_grants(case: dict[str, Any]) -> None:
    expect, response = case["expect"], raw(case["payload"])
    with Subject("client", channels=[1, 2], **options(case["client"])) as subject:
        request = subject.handshake()
        subject.raw.put(frame(0, response))
        if "error" in expect:
            assert subject.outcome() in expect["error"]
            return
        if expect["level"] == 1:
            if expect["auth"]:
                right = proof(case["client"]["secret"].encode(), False, request, response)
                subject.raw.put(frame1(0x03, 0, 0, 0, right))
            subject.raw.put(READY)
        info = subject.peer().info()
        assert info.level == expect["level"]
        assert features(info.features) == set(expect.get("features", []))


@pytest.mark.parametrize("case", cases("level1/proofs.json"))
def test_proofs_of_the_raw_side(case: dict[str, Any]) -> None:
    secret = raw(case["secret"])
    for connector, side in ((True, "connector"), (False, "acceptor")):
        right = proof(secret, connector, raw(case["request"]), raw(case["response"]))
        assert right.hex() == case["expect"][side]


def invisible(case: dict[str, Any]) -> str:
    shown = {"MESSAGE", "PING", "READY", "CREDIT"}
    if {item["type"] for item in case["expect"]["items"]} - shown:
        return "a frame that takes a call, a secret or another ending to be right"
    return ""


@pytest.mark.parametrize("case", cases("level1/frames.json", invisible))
def test_level1_frames(case: dict[str, Any]) -> None:
    items = [item for item in case["expect"]["items"] if item["type"] == "MESSAGE"]
    messages = [(item["channel"], raw(item["payload"])) for item in items]
    with Subject("server", max_message=case["max_message"]) as subject:
        subject.level1()
        if case["ready"]:
            subject.raw.put(READY)
            subject.peer()
        subject.feed(map(raw, case["chunks"]), case["eof"], messages, case["expect"]["end"])


def hasty(case: dict[str, Any]) -> str:
    if case["expect"].get("extensions", {}).get("deadline_us", 10**9) < 10**6:
        return "a deadline that may pass before a program takes the call"
    return ""


@pytest.mark.parametrize("case", cases("level1/extensions.json", hasty))
def test_extensions(case: dict[str, Any]) -> None:
    payload, expect = raw(case["payload"]), case["expect"]
    end = expect.get("error", "more")
    with Subject("server") as subject:
        subject.level1()
        if case["form"] == "ready":
            subject.feed([frame1(0x04, 0, 0, 0, payload)], False, [], end)
            return
        subject.raw.put(READY)
        chunk = frame1(0x11, FIRST | LAST | EXT, 1, 1, payload)
        if "error" in expect:
            subject.feed([chunk], False, [], end)
            return
        (message,) = subject.feed([chunk], False, [(1, raw(expect["rest"]))], end)
        told = expect["extensions"]
        assert (message.idempotency_key or b"").hex() == told.get("idempotency", "")
        assert (message.trace or b"").hex() == told.get("trace", "")
        assert (message.deadline is not None) == ("deadline_us" in told)


def unanswered(case: dict[str, Any]) -> str:
    if "error" in case["expect"] or case["type"] in ("PING", "PONG", "CLOSE"):
        return ""
    return "a frame that takes a call or a handshake to be right"


@pytest.mark.parametrize("case", cases("level1/control.json", unanswered))
def test_level1_control(case: dict[str, Any]) -> None:
    expect, kind = case["expect"], case["type"]
    end: Any = expect.get("error", "more")
    if kind == "CLOSE" and end == "more":
        known = errors.BY_CODE.get(expect["fields"]["code"], hostlane.RemoteError)
        end = ["peer_closed" if known is hostlane.ClosedError else known.kind]
    with Subject("server") as subject:
        subject.level1()
        subject.raw.put(READY)
        subject.peer()
        subject.feed([frame1(NUMBERS[kind], 0, 0, 0, raw(case["payload"]))], False, [], end)
        if kind == "PING" and end == "more":
            talk = Talk(subject, {"role": "server"})
            talk.begin()
            while (out := talk.take()).kind != "PONG":
                pass
            assert out.payload.hex() == expect["fields"]["token"]


# ---- whole conversations ----------------------------------------------------------------------


def unplayable(case: dict[str, Any]) -> str:
    if {"window", "stream_window"} & set(case.get("limits", {})):
        return "a window of another size is no option"
    for step in case["steps"]:
        if "clock" in step:
            return "the clock of a process cannot be set"
        does = step.get("does", {})
        if does.get("fin") and does["payload"]:
            return "a program says the end of a stream apart from a payload"
    return ""


@pytest.mark.parametrize("case", cases("framing/transcripts.json", unplayable))
def test_transcripts(case: dict[str, Any]) -> None:
    play(case)


@pytest.mark.parametrize("case", cases("level1/transcripts.json", unplayable))
def test_level1_transcripts(case: dict[str, Any]) -> None:
    play(case)


def play(case: dict[str, Any]) -> None:
    channels = case["channels"]
    chosen = {**options(case), **case.get("limits", {}), "channels": channels}
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
        found: queue.Queue[Out | None] = queue.Queue()
        self.found = found
        later(lambda: self.raw.frames(found))

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
                assert payload == raw(value["payload"])
            return
        out = self.take()
        assert out.kind == value["type"], out
        assert out.channel == value.get("channel", out.channel), out
        assert out.id == value.get("id", out.id), out
        if NUMBERS[out.kind] >= 0x10:
            assert out.payload == raw(value["payload"])
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

        eventually("the credit", told)

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
        data = raw(value)
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
        eventually("it begins", lambda: op.done() or peer.stats().pending_operations > before)
        if name is not None:
            self.ops[name] = op

    def step_does(self, value: dict[str, Any]) -> None:
        getattr(self, f"do_{value['what']}")(value, raw(value.get("payload", "")))

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
        assert (message.channel, message.data) == (value["channel"], raw(value["payload"]))
        kind = (message.is_request, message.is_stream)
        assert kind == ("call" in value, value.get("stream", False))
        if "call" in value:
            self.taken[value["call"]] = message

    def step_item(self, value: dict[str, Any]) -> None:
        assert self.stream(value["call"]).recv(timeout=PATIENCE) == raw(value["payload"])

    def step_finished(self, call: str) -> None:
        assert self.stream(call).recv(timeout=PATIENCE) is None

    def step_replies(self, value: Any) -> None:
        if isinstance(value, str):
            value = {"call": "request", "payload": value}
        assert self.ended(value["call"]) == raw(value["payload"])

    def step_fails(self, value: dict[str, Any]) -> None:
        with pytest.raises(hostlane.Error) as failed:
            self.ended(value["call"] if "call" in value else value["op"])
        error = failed.value
        assert error.kind in value["error"]
        assert error.sent == value.get("sent", error.sent)
        if "code" in value:
            assert isinstance(error, hostlane.RemoteError)
            assert (error.status, error.data) == (value["code"], raw(value.get("payload", "")))

    def step_told(self, value: dict[str, Any]) -> None:
        self.taken[value["call"]].wait_cancelled(timeout=PATIENCE)

    def step_ponged(self, _: bool) -> None:
        self.ended("ping")

    def step_drained(self, _: bool) -> None:
        self.ended("drain")

    def step_ends(self, names: list[str]) -> None:
        self.over = True
        assert self.subject.end() in names
