"""The handshake of one side of a level-1 conversation, without I/O: the first message of each side, what they agree
on, and the proofs."""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Sequence
from typing import Any

import hello1
import level0
from hello1 import Hello, Limits
from level0 import Violation
from level1 import wrong


class Handshake:
    def __init__(
        self,
        connector: bool,
        channels: Sequence[int],
        *,
        limits: Limits,
        features: Sequence[str] = (),
        secret: bytes | None = None,
        token: str | None = None,
        demand: bool = False,
        levels: Sequence[int] = (hello1.LEVEL,),
        peer_id: str = "peer-1",
        grease: bool = True,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.connector, self.limits = connector, limits
        self.secret, self.token = secret, token
        self.demand = demand or secret is not None
        self.features, self.levels = list(features), list(levels)
        self.grease = grease
        self.instance = entropy(16).hex()
        self.nonce = entropy(16).hex() if secret is not None else None
        self.channels, self.peer_id = list(channels), peer_id

        self.level: int | None = None
        self.offered: Hello | None = None
        self.agreed: list[str] = []
        self.theirs_limits = Limits()
        self.request = self.response = b""
        self.prove = self.proved = False

    def ask(self) -> bytes:
        """The request of a connector."""
        members: dict[str, Any] = {}
        if self.levels:
            extra = {"grease_member": [7]} if self.grease else {}
            features = [*self.features, "grease-feature"] if self.grease else self.features
            value = hello1.offer(
                self.instance, versions=self.levels, features=features, limits=self.limits, nonce=self.nonce, **extra
            )
            self.offered = hello1.parse_offer(value)
            members["hostlane"] = value
        self.request = level0.encode_request(self.channels, self.token, **members)
        return self.request

    def asked(self, payload: bytes) -> bytes:
        """What an acceptor answers to this request."""
        self.request = payload
        request = level0.parse_request(payload)
        response = level0.agree(request, self.channels, self.peer_id, self.token)
        offered = None
        if "hostlane" in request.extra or self.demand:
            offered = hello1.decide(
                request.extra.get("hostlane"), features=self.features, secret=self.secret, demand=self.demand
            )
        members = {}
        if offered is not None and self.levels:
            self.level, self.theirs_limits, self.agreed = 1, offered.limits, offered.features
            members["hostlane"] = hello1.grant(
                self.instance, features=self.agreed, limits=self.limits, nonce=self.nonce
            )
            self.prove = self.secret is not None
        else:
            self.level = 0
        self.channels = response.channels
        self.response = level0.encode_response(self.channels, self.peer_id, **members)
        return self.response

    def answered(self, payload: bytes) -> None:
        """A connector has this answer."""
        self.response = payload
        response = level0.parse_response(payload, self.channels)
        self.channels, self.peer_id = response.channels, response.peer_id
        if self.offered is None or "hostlane" not in response.extra:
            if self.demand:
                raise Violation("the acceptor grants level 0 alone", "version_mismatch")
            self.level = 0
            return
        granted = hello1.parse_grant(response.extra["hostlane"], self.offered)
        self.level, self.theirs_limits, self.agreed = 1, granted.limits, granted.features
        if self.secret is not None and granted.nonce is None:
            raise Violation("the acceptor has no secret", "authentication_failed")
        self.prove = self.secret is not None

    def unproved(self) -> bool:
        """Whether the proof of the other side has to come yet."""
        return self.prove and not self.proved

    def proof(self) -> bytes:
        """Of this side."""
        assert self.secret is not None
        return hello1.proof(self.secret, self.connector, self.request, self.response)

    def check(self, given: bytes) -> None:
        """The other side proves that it has the secret, or it does not."""
        if not self.unproved():
            raise wrong("AUTH that nobody asked for")
        assert self.secret is not None
        right = hello1.proof(self.secret, not self.connector, self.request, self.response)
        if not hmac.compare_digest(given, right):
            raise wrong("the proof is wrong", "authentication_failed")
        self.proved = True
