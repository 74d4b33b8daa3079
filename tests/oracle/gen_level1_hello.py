"""The vectors of the `hostlane` member, offers and grants, and of the proofs. `gen_vectors.py` writes them
down; the expectations are what `hello1.py` answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import hello1
from gen_vectors import Bytes, raw, text, times
from hello1 import Limits, grant, offer
from level0 import Violation, encode_request, encode_response, parse_object

A, B = "0123456789abcdef" * 2, "fedcba9876543210" * 2  # instances, and nonces
SMALL = {"max_message": 4096, "max_calls": 4, "window": 1000, "stream_window": 2000, "keepalive_ms": 250}


def agreed(found: hello1.Hello, auth: bool) -> dict[str, Any]:
    return {"level": 1, "features": found.features, "limits": asdict(found.limits), "auth": auth}


def offer_case(
    name: str, doc: str, member: Any, *, features: Sequence[str] = (), secret: str | None = None, demand: bool = False
) -> dict[str, Any]:
    """An acceptor sees this member; `...` means the request has none."""
    payload = encode_request([1, 2], hostlane=member)
    try:
        value = parse_object(payload, "bad_handshake").get("hostlane")
        key = None if secret is None else secret.encode()
        found = hello1.decide(value, features=features, secret=key, demand=demand)
        expect = {"level": 0} if found is None else agreed(found, secret is not None)
    except Violation as problem:
        expect = {"refused": list(problem.names)}
    server = {"features": list(features), "secret": secret, "demand": demand}
    return {"id": name, "doc": doc, "server": server, "payload": text(payload.decode()), "expect": expect}


def offers() -> list[dict[str, Any]]:
    def case(
        name: str, doc: str, *, known: Sequence[str] = (), secret: str | None = None, demand: bool = False,
        **members: Any,
    ) -> dict[str, Any]:  # fmt: skip
        return offer_case(name, doc, offer(A, **members), features=known, secret=secret, demand=demand)

    proves = {"methods": ["hmac-sha256"], "nonce": B}
    cases = [
        case("nominal", "an offer of level 1"),
        offer_case("none", "a stock request", ...),
        case("limits", "what the connector accepts", limits=Limits(**SMALL)),
        case("one-limit", "the others have their defaults", limits={"max_calls": 7}),
        case("max-message-1", "the least", limits={"max_message": 1}),
        case("max-message-2-to-the-53", "more than a message can have is capped", limits={"max_message": 1 << 53}),
        case(
            "zeros",
            "no call, no credit: legal",
            limits={"max_calls": 0, "window": 0, "stream_window": 0, "keepalive_ms": 0},
        ),
        case("unknown-members", "ignored", grease=1),
        case("unknown-limits", "ignored", limits={"window": 70000, "greased": "x"}),
        case("newer-versions", "the one in common is chosen", versions=[3, 2, 1]),
        case("only-newer-versions", "nothing in common: level 0", versions=[2, 3]),
        case("no-versions", "nothing in common: level 0", versions=[]),
        case(
            "features",
            "those both know, in the order of the offer",
            features=["zeta", "fds", "grease-x", "alpha"],
            known=["alpha", "fds"],
        ),
        case("features-64", "the most names", features=[f"f{i}" for i in range(64)], known=["f63"]),
        case("feature-of-64-bytes", "the longest name", features=["f" * 64], known=["f" * 64]),
        case("auth-nobody-asks-for", "the acceptor has no secret: its answer has no auth", nonce=B),
        case("auth", "both have a secret", nonce=B, secret="s3cret"),
        case(
            "auth-several-methods",
            "unknown methods are ignored",
            auth={"methods": ["new", "hmac-sha256"], "nonce": B},
            secret="s3cret",
        ),
        case(
            "auth-unknown-method",
            "no method in common: no proof possible",
            auth={"methods": ["new"], "nonce": B},
            secret="s3cret",
        ),
        case("auth-unknown-member", "ignored", auth=proves | {"grease": []}, secret="s3cret"),
        case("auth-missing", "a proof is demanded, the connector has no secret", secret="s3cret"),
        offer_case("auth-level-0", "a proof is demanded, and level 1 with it", ..., secret="s3cret"),
        offer_case("demanded-and-absent", "the acceptor demands level 1", ..., demand=True),
        case("demanded-and-newer", "the acceptor demands level 1", versions=[2], demand=True),
        case("demanded", "the acceptor demands level 1", demand=True),
    ]
    malformed: dict[str, Any] = {
        "null": None,
        "true": True,
        "number": 1,
        "text": "1",
        "list": [1],
        "empty": {},
        "versions-missing": {k: v for k, v in offer(A).items() if k != "versions"},
        "versions-number": offer(A) | {"versions": 1},
        "versions-null": offer(A) | {"versions": None},
        "versions-texts": offer(A) | {"versions": ["1"]},
        "versions-one-text": offer(A) | {"versions": [1, "2"]},
        "versions-object": offer(A) | {"versions": {"1": 1}},
        "instance-number": offer(A) | {"instance": 5},
        "instance-31": offer(A[:31]),
        "instance-33": offer(A + "0"),
        "instance-no-hex": offer("g" * 32),
        "features-text": offer(A) | {"features": "fds"},
        "features-numbers": offer(A) | {"features": [1]},
        "features-65": offer(A, features=[f"f{i}" for i in range(65)]),
        "feature-of-65-bytes": offer(A, features=["f" * 65]),
        "feature-of-66-bytes": offer(A, features=["é" * 33]),
        "limits-list": offer(A) | {"limits": []},
        "limits-number": offer(A) | {"limits": 5},
        "max-message-0": offer(A) | {"limits": {"max_message": 0}},
        "max-message-text": offer(A) | {"limits": {"max_message": "4096"}},
        "max-message-negative": offer(A) | {"limits": {"max_message": -1}},
        "max-calls-null": offer(A) | {"limits": {"max_calls": None}},
        "window-negative": offer(A) | {"limits": {"window": -1}},
        "stream-window-list": offer(A) | {"limits": {"stream_window": [1]}},
        "keepalive-true": offer(A) | {"limits": {"keepalive_ms": True}},
        "auth-text": offer(A) | {"auth": "hmac-sha256"},
        "auth-methods-text": offer(A) | {"auth": {"methods": "hmac-sha256", "nonce": B}},
        "auth-methods-missing": offer(A) | {"auth": {"nonce": B}},
        "auth-nonce-missing": offer(A) | {"auth": {"methods": ["hmac-sha256"]}},
        "auth-nonce-short": offer(A) | {"auth": {"methods": ["hmac-sha256"], "nonce": B[:30]}},
        "auth-nonce-no-hex": offer(A) | {"auth": {"methods": ["hmac-sha256"], "nonce": "x" * 32}},
    }
    cases += [offer_case(f"malformed-{k}", "ignored: level 0", v) for k, v in malformed.items()]
    cases += [
        offer_case("malformed-and-demanded", "level 1 is demanded, and this is no offer of it", [1], demand=True),
        offer_case(
            "malformed-and-proof-demanded", "level 1 is demanded, and this is no offer of it", 7, secret="s3cret"
        ),
    ]
    return cases


def grant_case(
    name: str, doc: str, member: Any, *, features: Sequence[str] = (), secret: str | None = None, demand: bool = False
) -> dict[str, Any]:
    """A connector that offered level 1, and these features, sees this member."""
    offered = hello1.parse_offer(offer(A, features=features, nonce=B if secret is not None else None))
    payload = encode_response([1, 2], hostlane=member)
    try:
        members = parse_object(payload, "bad_handshake")
        if "hostlane" not in members:
            if demand or secret is not None:
                raise Violation("level 0 alone", "version_mismatch")
            expect: dict[str, Any] = {"level": 0}
        else:
            found = hello1.parse_grant(members["hostlane"], offered)
            if secret is not None and found.nonce is None:
                raise Violation("the acceptor has no secret", "authentication_failed")
            expect = agreed(found, secret is not None)
    except Violation as problem:
        expect = {"error": list(problem.names)}
    client = {"features": list(features), "secret": secret, "demand": demand}
    return {"id": name, "doc": doc, "client": client, "payload": text(payload.decode()), "expect": expect}


def grants() -> list[dict[str, Any]]:
    proves = {"method": "hmac-sha256", "nonce": A}
    cases = [
        grant_case("nominal", "level 1", grant(B)),
        grant_case("none", "a stock answer: level 0", ...),
        grant_case("none-and-demanded", "the connector demands level 1", ..., demand=True),
        grant_case("none-and-secret", "a proof is demanded, and level 1 with it", ..., secret="s3cret"),
        grant_case("limits", "what the acceptor accepts", grant(B, limits=Limits(**SMALL))),
        grant_case("unknown-members", "ignored", grant(B, grease=[1]) | {"limits": {"greased": 1}}),
        grant_case("features", "a part of what was offered", grant(B, features=["b"]), features=["a", "b"]),
        grant_case(
            "feature-not-offered", "nothing but what was offered", grant(B, features=["b", "c"]), features=["a", "b"]
        ),
        grant_case("version-not-offered", "a newer one", grant(B, version=2)),
        grant_case("version-0", "none above 0", grant(B, version=0)),
        grant_case("auth", "both have a secret", grant(B, nonce=A), secret="s3cret"),
        grant_case("auth-missing", "the acceptor has no secret", grant(B), secret="s3cret"),
        grant_case("auth-not-asked-for", "this side has no secret", grant(B, nonce=A)),
        grant_case("auth-unknown-method", "not offered", grant(B, auth=proves | {"method": "new"}), secret="s3cret"),
        grant_case("auth-unknown-member", "ignored", grant(B, auth=proves | {"grease": 0}), secret="s3cret"),
    ]
    malformed: dict[str, Any] = {
        "true": True,
        "number": 1,
        "text": "1",
        "list": [1],
        "empty": {},
        "version-missing": {k: v for k, v in grant(B).items() if k != "version"},
        "version-text": grant(B) | {"version": "1"},
        "version-list": grant(B) | {"version": [1]},
        "version-null": grant(B) | {"version": None},
        "instance-short": grant(B[:30]),
        "instance-no-hex": grant("z" * 32),
        "features-text": grant(B) | {"features": "fds"},
        "features-numbers": grant(B) | {"features": [1]},
        "limits-list": grant(B) | {"limits": [1]},
        "max-message-0": grant(B) | {"limits": {"max_message": 0}},
        "max-calls-negative": grant(B) | {"limits": {"max_calls": -1}},
        "window-text": grant(B) | {"limits": {"window": "1"}},
        "stream-window-null": grant(B) | {"limits": {"stream_window": None}},
        "keepalive-false": grant(B) | {"limits": {"keepalive_ms": False}},
    }
    cases += [
        grant_case(f"malformed-{k}", "an acceptor that answers level 1 answers it well", v)
        for k, v in malformed.items()
    ]
    cases += [
        grant_case("malformed-auth", "no object", grant(B) | {"auth": 1}, secret="s3cret"),
        grant_case(
            "malformed-nonce",
            "no hexadecimal digits",
            grant(B) | {"auth": proves | {"nonce": "-" * 32}},
            secret="s3cret",
        ),
    ]
    return cases


# ---------------------------------------------------------------- proofs


def proofs() -> list[dict[str, Any]]:
    def case(name: str, doc: str, secret: Bytes, request: bytes, response: bytes) -> dict[str, Any]:
        expect = {
            side: hello1.proof(raw(secret), side == "connector", request, response).hex()
            for side in ("connector", "acceptor")
        }
        return {
            "id": name, "doc": doc, "secret": secret, "request": text(request.decode()),
            "response": text(response.decode()), "expect": expect,
        }  # fmt: skip

    ask = encode_request([1, 2], hostlane=offer(A, nonce=A))
    answer = encode_response([1, 2], hostlane=grant(B, nonce=B))
    other = encode_response([1, 2], hostlane=grant(B, nonce=A))
    return [
        case("nominal", "fixed nonces and secret", text("s3cret"), ask, answer),
        case("other-nonce", "another nonce, other proofs", text("s3cret"), ask, other),
        case("other-secret", "another secret, other proofs", text("s3cret2"), ask, answer),
        case(
            "as-sent",
            "the payloads exactly as they were sent, white space and all",
            text("s3cret"),
            b" " + ask + b"\n",
            answer,
        ),
        case("secret-of-1-byte", "the shortest", "00", ask, answer),
        case("secret-of-64-bytes", "one block of the hash", times(b"k", 64), ask, answer),
        case("secret-of-65-bytes", "more than a block of the hash is hashed first", times(b"k", 65), ask, answer),
        case("secret-of-4096-bytes", "the longest", times(b"\xfe", 4096), ask, answer),
    ]
