"""What level 1 adds to the handshake: the `hostlane` member of both sides, and the proofs."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from level0 import MAX_PAYLOAD, Violation

METHOD = "hmac-sha256"
LEVEL = 1
MAX_FEATURES = 64
MAX_FEATURE_NAME = 64
MAX_SECRET = 4096
HEX32 = re.compile(r"[0-9a-fA-F]{32}", re.ASCII)


@dataclass(frozen=True)
class Limits:
    max_message: int = MAX_PAYLOAD
    max_calls: int = 1024
    window: int = 65_536
    stream_window: int = 262_144
    keepalive_ms: int = 0


@dataclass(frozen=True)
class Hello:
    """A well-formed `hostlane` member. `nonce` is None where its sender has no secret it can prove."""

    versions: list[int]
    instance: str
    features: list[str] = field(default_factory=list)
    limits: Limits = Limits()
    nonce: str | None = None


def _bad(text: str) -> Violation:
    return Violation(f"hostlane: {text}", "bad_handshake")


def _number(value: Any, name: str, least: int = 0) -> int:
    if type(value) is not int or value < least:
        raise _bad(f"{name} is {value!r}")
    return value


def _hex32(value: Any, name: str) -> str:
    if not isinstance(value, str) or not HEX32.fullmatch(value):
        raise _bad(f"{name} is not 32 hexadecimal digits")
    return value


def _texts(value: Any, name: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise _bad(f"{name} is no list of texts")
    return value


def _features(member: dict[str, Any]) -> list[str]:
    names = _texts(member.get("features", []), "features")
    if len(names) > MAX_FEATURES or any(
        len(name.encode("utf-8", "surrogatepass")) > MAX_FEATURE_NAME for name in names
    ):
        raise _bad("too many features, or one with too long a name")
    return names


def _limits(member: dict[str, Any]) -> Limits:
    given = member.get("limits", {})
    if not isinstance(given, dict):
        raise _bad("limits is no object")
    values = {
        name: _number(given[name], name, 1 if name == "max_message" else 0)
        for name in asdict(Limits())
        if name in given
    }
    if "max_message" in values:
        values["max_message"] = min(values["max_message"], MAX_PAYLOAD)
    return Limits(**values)


def _object(member: Any) -> dict[str, Any]:
    if not isinstance(member, dict):
        raise _bad("no object")
    return member


def parse_offer(value: Any) -> Hello:
    """The member of a request. A violation means: this side ignores it and stays on level 0."""
    member = _object(value)
    versions = member.get("versions")
    if not isinstance(versions, list):
        raise _bad("versions is missing or no list")
    versions = [_number(version, "a version") for version in versions]
    nonce = None
    if "auth" in member:
        auth = _object(member["auth"])
        methods, nonce = _texts(auth.get("methods"), "methods"), _hex32(auth.get("nonce"), "nonce")
        nonce = nonce if METHOD in methods else None
    return Hello(versions, _hex32(member.get("instance"), "instance"), _features(member), _limits(member), nonce)


def parse_grant(value: Any, offered: Hello) -> Hello:
    """The member of a response; whatever is wrong with it is `bad_handshake`."""
    member = _object(value)
    version = _number(member.get("version"), "version")
    if version not in offered.versions or version < 1:
        raise _bad(f"version {version} was not offered")
    features = _features(member)
    if not set(features) <= set(offered.features):
        raise _bad("a feature that was not offered")
    nonce = None
    if "auth" in member:
        auth = _object(member["auth"])
        nonce = _hex32(auth.get("nonce"), "nonce")
        if auth.get("method") != METHOD:
            raise _bad(f"method {auth.get('method')!r} was not offered")
        if offered.nonce is None:
            raise _bad("auth was not offered")
    return Hello([version], _hex32(member.get("instance"), "instance"), features, _limits(member), nonce)


def offer(
    instance: str,
    *,
    versions: Sequence[int] = (LEVEL,),
    features: Sequence[str] = (),
    limits: Limits | dict[str, Any] | None = None,
    nonce: str | None = None,
    **members: Any,
) -> dict[str, Any]:
    """The member of a request; `members` adds to it or replaces, `...` as a value removes."""
    member: dict[str, Any] = {"versions": list(versions), "instance": instance, "features": list(features)}
    member["limits"] = asdict(limits) if isinstance(limits, Limits) else limits or {}
    if nonce is not None:
        member["auth"] = {"methods": [METHOD], "nonce": nonce}
    member |= members
    return {name: value for name, value in member.items() if value is not ...}


def grant(
    instance: str,
    *,
    version: int = LEVEL,
    features: Sequence[str] = (),
    limits: Limits | dict[str, Any] | None = None,
    nonce: str | None = None,
    **members: Any,
) -> dict[str, Any]:
    member: dict[str, Any] = {"version": version, "instance": instance, "features": list(features)}
    member["limits"] = asdict(limits) if isinstance(limits, Limits) else limits or {}
    if nonce is not None:
        member["auth"] = {"method": METHOD, "nonce": nonce}
    member |= members
    return {name: value for name, value in member.items() if value is not ...}


def decide(
    value: Any, *, features: Sequence[str] = (), secret: bytes | None = None, demand: bool = False
) -> Hello | None:
    """The acceptor's decision on a request's member: the offer it takes, or None for level 0."""
    demand = demand or secret is not None
    taken = None
    try:
        found = parse_offer(value)
        taken = found if LEVEL in found.versions else None
    except Violation:
        pass
    if taken is None:
        if demand:
            raise Violation("level 1 is demanded", "version_mismatch")
        return None
    if secret is not None and taken.nonce is None:
        raise Violation("a proof is demanded", "authentication_failed")
    common = [name for name in taken.features if name in features]
    return Hello(taken.versions, taken.instance, common, taken.limits, taken.nonce)


def proof(secret: bytes, connector: bool, request: bytes, response: bytes) -> bytes:
    text = b"hostlane auth 1" + (b"c" if connector else b"a")
    text += hashlib.sha256(request).digest() + hashlib.sha256(response).digest()
    return hmac.new(secret, text, hashlib.sha256).digest()
