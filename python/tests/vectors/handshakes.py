"""The vectors of handshakes: requests and responses, offers and grants, proofs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from hostlane import errors
from wire import frame

from vectors.reader import bytes_of
from vectors.subject import Subject, options_of
from vectors.wire import READY, frame1, proof


def refuses(payload: bytes, names: list[str]) -> None:
    error = json.loads(payload)["error"]
    assert error["name"] in names
    assert errors.BY_CODE[error["code"]].kind == error["name"]


def unfit_request(case: dict[str, Any]) -> str:
    if any(4 < channel < 256 for channel in case["server"]["channels"]):
        return "a program cannot ask for a reserved channel to be served"
    return ""


def play_request(case: dict[str, Any]) -> None:
    server, expect = case["server"], case["expect"]
    token = {} if server["auth_token"] is None else {"auth_token": server["auth_token"]}
    with Subject("server", channels=server["channels"], **token) as subject:
        subject.raw.put(frame(0, bytes_of(case["payload"])))
        answer = subject.handshake()
        if "refused" in expect:
            refuses(answer, expect["refused"])
            assert subject.end() in expect["refused"]
        else:
            assert json.loads(answer)["channels"] == expect["channels"]
            assert list(subject.peer().info().channels) == expect["channels"]


def play_response(case: dict[str, Any]) -> None:
    expect = case["expect"]
    with Subject("client", channels=case["asked"]) as subject:
        assert json.loads(subject.handshake())["channels"] == case["asked"]
        subject.raw.put(frame(0, bytes_of(case["payload"])))
        if "error" in expect:
            assert subject.outcome() in expect["error"]
        else:
            info = subject.peer().info()
            assert (list(info.channels), info.peer_id) == (expect["channels"], expect["peer_id"])


def unfit_features(side: dict[str, Any]) -> str:
    if set(side["features"]) - {"fds"}:
        return "a feature that this language does not have"
    return ""


def unfit_offer(case: dict[str, Any]) -> str:
    return unfit_features(case["server"])


def unfit_grant(case: dict[str, Any]) -> str:
    return unfit_features(case["client"])


def features(names: Iterable[str]) -> set[str]:
    return {name for name in names if not name.startswith("grease")}


def play_offer(case: dict[str, Any]) -> None:
    expect = case["expect"]
    with Subject("server", channels=[1, 2], **options_of(case["server"])) as subject:
        subject.raw.put(frame(0, bytes_of(case["payload"])))
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


def play_grant(case: dict[str, Any]) -> None:
    expect, response = case["expect"], bytes_of(case["payload"])
    with Subject("client", channels=[1, 2], **options_of(case["client"])) as subject:
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


def play_proof(case: dict[str, Any]) -> None:
    secret = bytes_of(case["secret"])
    for connector, side in ((True, "connector"), (False, "acceptor")):
        right = proof(secret, connector, bytes_of(case["request"]), bytes_of(case["response"]))
        assert right.hex() == case["expect"][side]
