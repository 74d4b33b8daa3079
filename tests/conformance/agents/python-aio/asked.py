"""What an operation is asked to do."""

from __future__ import annotations

from typing import Any, TypeAlias

import hostlane

Asked: TypeAlias = dict[str, Any]

WAIT = 10_000
"""Milliseconds an operation may take that names no limit."""


def wait(asked: Asked) -> float:
    """Seconds an operation may take."""
    return float(asked.get("timeout_ms", WAIT)) / 1000


def options(asked: Asked) -> Any:
    """The options of both sides."""
    named = ("level", "secret", "max_calls", "max_message", "channels")
    told: Asked = {name: asked[name] for name in named if name in asked}
    if "keepalive_ms" in asked:
        told["keepalive"] = asked["keepalive_ms"] / 1000
    if "policy" in asked:
        told["policies"] = {asked["policy_channel"]: asked["policy"]}
    return told


def payload(asked: Asked) -> bytes:
    """The text, made as long as asked."""
    text: bytes = asked.get("text", "").encode()
    missing: int = max(0, asked.get("size", 0) - len(text))
    return text + (bytes(range(251)) * (missing // 251 + 1))[:missing]


def call_options(asked: Asked) -> Any:
    """What goes with a call."""
    told: Asked = {"timeout": wait(asked), "channel": asked.get("channel", hostlane.COMMAND)}
    if "key" in asked:
        told["idempotency_key"] = asked["key"].encode()
    if "trace" in asked:
        told["trace"] = asked["trace"].encode()
    return told


def numbered(asked: Asked, size: str) -> list[bytes]:
    """Messages that begin with their number."""
    width = asked.get(size, 0)
    return [f"{number}.".ljust(width, ".").encode() for number in range(asked.get("count", 0))]
