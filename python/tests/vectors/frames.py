"""The vectors of frames: of level 0, of level 1, and what control frames and extensions say."""

from __future__ import annotations

import json
from typing import Any

import hostlane
from hostlane import errors
from wire import REQUEST, frame

from vectors.reader import bytes_of
from vectors.subject import Subject
from vectors.wire import EXT, FIRST, LAST, NUMBERS, PATIENCE, READY, frame1


def unfit_frames(case: dict[str, Any]) -> str:
    if any(f["channel"] == 0 or 4 < f["channel"] < 256 for f in case["expect"]["frames"]):
        return "a frame on a channel that is no program's"
    return ""


def play_frames(case: dict[str, Any]) -> None:
    messages = [(f["channel"], bytes_of(f["payload"])) for f in case["expect"]["frames"]]
    channels = list(dict.fromkeys([1, 2, 3, 4, *(channel for channel, _ in messages)]))
    with Subject("server", channels=channels, max_message=case["limit"]) as subject:
        subject.raw.put(frame(0, json.dumps({**REQUEST, "channels": channels}).encode()))
        subject.handshake()
        subject.peer()
        subject.feed(map(bytes_of, case["chunks"]), case["eof"], messages, case["expect"]["end"])


def play_control(case: dict[str, Any]) -> None:
    expect = case["expect"]
    kind = expect.get("type")
    with Subject("server") as subject:
        subject.raw.put(frame(0, json.dumps(REQUEST).encode()))
        subject.handshake()
        subject.peer()
        subject.raw.put(frame(0, bytes_of(case["payload"])))
        if "error" in expect or kind == "shutdown_force":
            assert subject.end() in expect.get("error", ["peer_closed"])
            return
        answers = {"ping": "pong", "shutdown_request": "shutdown_ack"}
        if kind not in answers:
            # What comes next is the answer to the ping behind it.
            subject.raw.put(frame(0, b'{"type":"ping"}'))
        assert json.loads(subject.handshake()) == {"type": answers.get(kind, "pong")}


def unfit_frames1(case: dict[str, Any]) -> str:
    shown = {"MESSAGE", "PING", "READY", "CREDIT"}
    if {item["type"] for item in case["expect"]["items"]} - shown:
        return "a frame that takes a call, a secret or another ending to be right"
    return ""


def play_frames1(case: dict[str, Any]) -> None:
    items = [item for item in case["expect"]["items"] if item["type"] == "MESSAGE"]
    messages = [(item["channel"], bytes_of(item["payload"])) for item in items]
    with Subject("server", max_message=case["max_message"]) as subject:
        subject.level1()
        if case["ready"]:
            subject.raw.put(READY)
            subject.peer()
        subject.feed(map(bytes_of, case["chunks"]), case["eof"], messages, case["expect"]["end"])


def unfit_extensions(case: dict[str, Any]) -> str:
    if case["expect"].get("extensions", {}).get("deadline_us", 10**9) < 10**6:
        return "a deadline that may pass before a program takes the call"
    return ""


def play_extensions(case: dict[str, Any]) -> None:
    payload, expect = bytes_of(case["payload"]), case["expect"]
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
        (message,) = subject.feed([chunk], False, [(1, bytes_of(expect["rest"]))], end)
        told = expect["extensions"]
        assert (message.idempotency_key or b"").hex() == told.get("idempotency", "")
        assert (message.trace or b"").hex() == told.get("trace", "")
        assert (message.deadline is not None) == ("deadline_us" in told)


def unfit_control1(case: dict[str, Any]) -> str:
    if "error" in case["expect"] or case["type"] in ("PING", "PONG", "CLOSE"):
        return ""
    return "a frame that takes a call or a handshake to be right"


def play_control1(case: dict[str, Any]) -> None:
    expect, kind = case["expect"], case["type"]
    end: Any = expect.get("error", "more")
    if kind == "CLOSE" and end == "more":
        known = errors.BY_CODE.get(expect["fields"]["code"], hostlane.ConnectionLostError)
        end = ["peer_closed" if known is hostlane.ClosedError else known.kind]
    with Subject("server") as subject:
        subject.level1()
        subject.raw.put(READY)
        subject.peer()
        subject.feed([frame1(NUMBERS[kind], 0, 0, 0, bytes_of(case["payload"]))], False, [], end)
        if kind == "PING" and end == "more":
            found = subject.raw.frames1()
            while (out := found.get(timeout=PATIENCE)) is not None and out.kind != "PONG":
                pass
            assert out is not None, "PING has no answer"
            assert out.payload.hex() == expect["fields"]["token"]
