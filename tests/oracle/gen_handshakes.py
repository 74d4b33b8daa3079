"""The handshake cases of the vectors; `gen_vectors.py` writes them down."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from gen_vectors import Bytes, hexed, raw, text, times
from level0 import (
    MAX_HANDSHAKE,
    Violation,
    agree,
    encode_request,
    encode_response,
    parse_request,
    parse_response,
)

SERVED = [1, 2, 3, 4]


# ---------------------------------------------------------------- requests


def request_case(
    name: str, doc: str, payload: Bytes, served: Sequence[int] = SERVED, token: str | None = None
) -> dict[str, Any]:
    try:
        data = raw(payload)
        if len(data) > MAX_HANDSHAKE:
            raise Violation("over the handshake limit", "frame_too_large")
        response = agree(parse_request(data), served, "peer-1", token)
        expect: dict[str, Any] = {"channels": response.channels}
    except Violation as problem:
        expect = {"refused": list(problem.names)}
    return {
        "id": name,
        "doc": doc,
        "server": {"channels": list(served), "auth_token": token},
        "payload": payload,
        "expect": expect,
    }


def stock(channels: Sequence[int] = (1, 2, 3, 4), token: str | None = None, **members: Any) -> Bytes:
    return text(encode_request(channels, token, **members).decode("utf-8"))


def asking(channels_json: str) -> Bytes:
    return text(f'{{"protocol":"ipcprims","version":"1.0","channels":{channels_json}}}')


def padded(size: int) -> Bytes:
    """A request of exactly `size` bytes, filled up by an unknown member."""
    head = b'{"protocol":"ipcprims","version":"1.0","channels":[1],"filler":"'
    return [text(head.decode()), times(b"a", size - len(head) - 2), text('"}')]


def requests() -> list[dict[str, Any]]:
    many = list(range(256, 512))
    cases = [
        request_case("nominal", "what a stock client sends", stock()),
        request_case("one-channel", "a subset", stock([2])),
        request_case("client-order", "the client's order is kept", stock([4, 2, 1])),
        request_case("duplicates", "duplicates are dropped, the first place counts", stock([2, 1, 2, 1, 1])),
        request_case("intersection", "what the server does not serve is left out", stock([1, 300, 2, 400])),
        request_case("user-channels", "256 and up are free", stock([256, 65535, 1]), [1, 256, 65535]),
        request_case("reserved", "5 to 255 are never granted, even when served", stock([5, 1, 255]), [1, 5, 255]),
        request_case("only-reserved", "nothing is left", stock([5, 100, 255]), [1, 5, 100, 255]),
        request_case("no-overlap", "nothing in common", stock([300])),
        request_case("no-channel-asked", "an empty list has nothing in common", stock([])),
        request_case("channel-zero", "CONTROL must not be listed", stock([0, 1])),
        request_case("256-entries", "the most entries", stock(many), [300]),
        request_case("257-entries", "one more", stock([*many, 512]), [300]),
        request_case("256-duplicates", "entries are counted before duplicates are dropped", stock([1] * 256)),
        request_case("257-duplicates", "entries are counted before duplicates are dropped", stock([1] * 257)),
        request_case("channel-65536", "beyond u16", asking("[1,65536]")),
        request_case("channel-negative", "no unsigned number", asking("[1,-1]")),
        request_case("channel-fraction", "no integer", asking("[1,1.5]")),
        request_case("channel-text", "no number", asking('[1,"2"]')),
        request_case("channel-null", "no number", asking("[1,null]")),
        request_case("channels-number", "no list", asking("1")),
        request_case("channels-null", "no list", asking("null")),
        request_case("channels-object", "no list", asking("{}")),
        request_case("no-channels", "required", text('{"protocol":"ipcprims","version":"1.0"}')),
        request_case("no-protocol", "required", stock(protocol=...)),
        request_case("no-version", "required", stock(version=...)),
        request_case("protocol-other", "another protocol", stock(protocol="hostlane")),
        request_case("protocol-case", "names are compared exactly", stock(protocol="IPCPRIMS")),
        request_case("protocol-empty", "1 to 32 bytes", stock(protocol="")),
        request_case("protocol-33-bytes", "1 to 32 bytes", stock(protocol="i" * 33)),
        request_case("protocol-number", "no string", stock(protocol=1)),
        request_case("version-newer-minor", "the client may be newer in the minor", stock(version="1.1")),
        request_case("version-minor-65535", "the client may be newer in the minor", stock(version="1.65535")),
        request_case("version-other-major", "majors have to be equal", stock(version="2.0")),
        request_case("version-zero", "majors have to be equal", stock(version="0.9")),
    ]
    garbage = {
        "empty": "",
        "one-part": "1",
        "letter": "1.x",
        "three-parts": "1.0.0",
        "negative": "-1.0",
        "space": " 1.0",
        "beyond-u16": "1.65536",
        "17-bytes": "1.000000000000000",
        "no-minor": "1.",
        "no-major": ".0",
    }
    cases += [request_case(f"version-{k}", "not <u16>.<u16>", stock(version=v)) for k, v in garbage.items()]
    cases += [
        request_case("version-number", "no string", stock(version=1.0)),
        request_case("unknown-members", "ignored", stock(flavour="x", extra={"a": [1, {"b": None}]})),
        request_case("hostlane-member", "a member that a level-0 server ignores", stock(hostlane={"versions": []})),
        request_case(
            "order-and-space",
            "member order and white space are free",
            text('\n{ "channels" : [ 2 ] ,\t"version":"1.0", "protocol":"ipcprims" } \r\n'),
        ),
        request_case("token-null", "null is as if absent", stock(auth_token=None)),
        request_case("token-unasked", "a token that nobody asked for is ignored", stock(token="letmein")),
        request_case("token-right", "accepted", stock(token="s3cret"), token="s3cret"),
        request_case("token-wrong", "refused", stock(token="S3cret"), token="s3cret"),
        request_case("token-prefix", "refused", stock(token="s3cre"), token="s3cret"),
        request_case("token-missing", "refused as a wrong one", stock(), token="s3cret"),
        request_case("token-null-needed", "refused as a wrong one", stock(auth_token=None), token="s3cret"),
        request_case("token-4096", "the longest", stock(token="t" * 4096), token="t" * 4096),
        request_case("token-4097", "one more byte", stock(token="t" * 4097)),
        request_case("token-empty", "1 to 4096 bytes", stock(token="")),
        request_case("token-number", "no string", stock(auth_token=7)),
        request_case("token-unicode", "compared as UTF-8", stock(token="schlüssel-\u2713"), token="schlüssel-\u2713"),
        request_case("16384-bytes", "the limit is inclusive", padded(MAX_HANDSHAKE)),
        request_case("16385-bytes", "one over", padded(MAX_HANDSHAKE + 1)),
        request_case("form-before-protocol", "the form is judged first", stock(protocol="other", version=...)),
        request_case("form-before-version", "the form is judged first", stock([0], version="2.0")),
        request_case(
            "protocol-before-version",
            "the protocol is judged before its version",
            stock(protocol="other", version="2.0"),
        ),
        request_case(
            "version-before-token", "the version is judged before the token", stock(version="2.0"), token="s3cret"
        ),
        request_case(
            "token-before-channels", "who may not enter learns nothing about channels", stock([300]), token="s3cret"
        ),
        request_case("empty", "no JSON", ""),
        request_case("not-json", "no JSON", text("hello")),
        request_case("array", "no object", text("[]")),
        request_case("array-of-members", "no object", text('["ipcprims","1.0",[1]]')),
        request_case("null", "no object", text("null")),
        request_case("number", "no object", text("1")),
        request_case("empty-object", "everything is missing", text("{}")),
        request_case("cut", "unfinished", text('{"protocol":"ipcprims","version":"1.0","channels":[1]')),
        request_case("trailing-garbage", "one value, nothing behind it", [stock([1]), text("x")]),
        request_case("trailing-zero", "one value, nothing behind it", [stock([1]), "00"]),
        request_case("two-values", "one value, nothing behind it", [stock([1]), stock([1])]),
        request_case("byte-order-mark", "no JSON", ["efbbbf", stock([1])]),
        request_case(
            "invalid-utf8",
            "no UTF-8",
            [text('{"protocol":"ipcprims","version":"1.0","channels":[1],"x":"'), "ff", text('"}')],
        ),
        request_case("utf-16", "no UTF-8", hexed(encode_request([1]).decode().encode("utf-16-le"))),
        request_case(
            "duplicate-member",
            "a member that appears twice",
            text('{"protocol":"ipcprims","version":"1.0","channels":[1],"channels":[2]}'),
        ),
        request_case("brackets", "nesting is bounded", times(b"[", MAX_HANDSHAKE)),
    ]
    return cases


# ---------------------------------------------------------------- responses


def response_case(name: str, doc: str, payload: Bytes, asked: Sequence[int] = SERVED) -> dict[str, Any]:
    try:
        data = raw(payload)
        if len(data) > MAX_HANDSHAKE:
            raise Violation("over the handshake limit", "frame_too_large")
        response = parse_response(data, asked)
        expect: dict[str, Any] = {"channels": response.channels, "peer_id": response.peer_id}
    except Violation as problem:
        expect = {"error": list(problem.names)}
    return {"id": name, "doc": doc, "asked": list(asked), "payload": payload, "expect": expect}


def granting(channels: Sequence[int] = (1, 2, 3, 4), peer_id: Any = "peer-1", **members: Any) -> Bytes:
    return text(encode_response(channels, peer_id, **members).decode("utf-8"))


def refusing(code: int, name: str, message: str) -> Bytes:
    error = {"code": code, "name": name, "message": message}
    return text(json.dumps({"protocol": "ipcprims", "version": "1.0", "error": error}, separators=(",", ":")))


def responses() -> list[dict[str, Any]]:
    filler = '{"protocol":"ipcprims","version":"1.0","channels":[1],"peer_id":"p","filler":"'
    return [
        response_case("nominal", "what a stock server answers", granting()),
        response_case("subset", "fewer channels than asked for", granting([2])),
        response_case("unasked-channel", "never asked for", granting([1, 7])),
        response_case("unasked-user-channel", "never asked for", granting([1, 300])),
        response_case("no-channel", "an empty set", granting([])),
        response_case("channel-zero", "CONTROL is never negotiated", granting([0, 1])),
        response_case(
            "channels-missing", "required", text('{"protocol":"ipcprims","version":"1.0","peer_id":"peer-1"}')
        ),
        response_case(
            "channels-text",
            "no list",
            text('{"protocol":"ipcprims","version":"1.0","channels":"1","peer_id":"peer-1"}'),
        ),
        response_case("peer-id-missing", "required", granting(peer_id=...)),
        response_case("peer-id-empty", "1 to 128 bytes", granting(peer_id="")),
        response_case("peer-id-128", "1 to 128 bytes", granting(peer_id="p" * 128)),
        response_case("peer-id-129", "1 to 128 bytes", granting(peer_id="p" * 129)),
        response_case("peer-id-number", "no string", granting(peer_id=1)),
        response_case("peer-id-control-character", "it is shown to people", granting(peer_id="peer\u0007")),
        response_case("protocol-other", "another protocol", granting(protocol="hostlane")),
        response_case("protocol-missing", "required", granting(protocol=...)),
        response_case("version-newer-minor", "the client has to be at least as new", granting(version="1.1")),
        response_case("version-other-major", "majors have to be equal", granting(version="2.0")),
        response_case("version-garbage", "not <u16>.<u16>", granting(version="one")),
        response_case("version-missing", "required", granting(version=...)),
        response_case("unknown-members", "ignored", granting(motd="hi", extra=[1])),
        response_case("trailing-garbage", "one value, nothing behind it", [granting(), text("}")]),
        response_case(
            "invalid-utf8",
            "no UTF-8",
            [text('{"protocol":"ipcprims","version":"1.0","channels":[1],"peer_id":"'), "fe", text('"}')],
        ),
        response_case("not-json", "no JSON", text("ok")),
        response_case("empty", "no JSON", ""),
        response_case("array", "no object", text("[]")),
        response_case(
            "16384-bytes",
            "the limit is inclusive",
            [text(filler), times(b"a", MAX_HANDSHAKE - len(filler) - 2), text('"}')],
        ),
        response_case(
            "16385-bytes", "one over", [text(filler), times(b"a", MAX_HANDSHAKE - len(filler) - 1), text('"}')]
        ),
        response_case("form-before-version", "the form is judged first", granting(version="2.0", peer_id=...)),
        response_case("refusal-unknown", "a reason of a later version", refusing(399, "too_blue", "not today")),
        response_case("refusal-flood", "a reason", refusing(314, "too_many_handshakes", "try again")),
        response_case("refusal-version", "a typed reason", refusing(309, "version_mismatch", "served: 1.0")),
        response_case("refusal-channel", "a typed reason", refusing(310, "no_common_channel", "nothing in common")),
        response_case("refusal-token", "a typed reason", refusing(311, "authentication_failed", "not accepted")),
        response_case("refusal-handshake", "a typed reason", refusing(307, "bad_handshake", "channels is missing")),
    ]
