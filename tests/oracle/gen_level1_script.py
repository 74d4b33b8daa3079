"""The words of the level-1 conversations: what the `gen_level1_*` files write them with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import level0
from gen_level1_hello import A, B
from gen_vectors import Bytes, hexed, text
from hello1 import grant, offer
from level0 import CONTROL, encode_request, encode_response
from level1 import Extensions, Flag, Type, control, message

SERVED = [1, 2, 3, 4]
M, Q, R, S = Type.MESSAGE, Type.REQUEST, Type.RESPONSE, Type.STREAM
Step = dict[str, Any]


def transcript(name: str, doc: str, role: str, *steps: Step | list[Step], **options: Any) -> dict[str, Any]:
    flat = [s for step in steps for s in (step if isinstance(step, list) else [step])]
    return {"id": name, "doc": doc, "level": 1, "role": role, "channels": SERVED} | options | {"steps": flat}


def arrives(*parts: bytes | Bytes) -> Step:
    values = [hexed(part) if isinstance(part, bytes) else part for part in parts]
    if all(isinstance(value, str) for value in values):
        return {"arrives": "".join(values)}
    return {"arrives": values}


def handshake(payload: bytes) -> list[Bytes]:
    return [level0.HEADER.pack(level0.MAGIC, len(payload), CONTROL).hex(), text(payload.decode())]


def does(what: str, **arguments: Any) -> Step:
    return {"does": {"what": what} | {k: hexed(v) if isinstance(v, bytes) else v for k, v in arguments.items()}}


def sends(kind: Type, **fields: Any) -> Step:
    return {"sends": {"type": kind.name} | {k: hexed(v) if isinstance(v, bytes) else v for k, v in fields.items()}}


def step(name: str, value: Any = True, **fields: Any) -> Step:
    return {name: {k: hexed(v) if isinstance(v, bytes) else v for k, v in fields.items()} if fields else value}


def delivers(channel: int, payload: bytes, **more: Any) -> Step:
    return step("delivers", channel=channel, payload=payload, **more)


def fails(name: str, *errors: str, **more: Any) -> Step:
    return step("fails", call=name, error=list(errors), **more)


def bad(*names: str) -> list[Step]:
    """The fault is told in CLOSE and to the program."""
    return [{"closes": list(names)}, {"ends": list(names)}]


def calls(*names: str) -> list[Step]:
    """Calls of this side, by their names; their ids count up from 1 or 2."""
    return [
        s
        for name in names
        for s in (does("call", op=name, payload=name.encode()), sends(Q, channel=1, payload=name.encode()))
    ]


def carries(count: int, kind: Type, channel: int, id: int = 0, payload: bytes = b"") -> list[Step]:
    """A message arrives, and so many descriptors with it."""
    data = message(kind, channel, id, payload, Flag.FDS, extensions=Extensions(fds=count))
    return [step("descriptors", count), arrives(data)]


def status(code: int) -> Extensions:
    return Extensions(status=code)


def opened(role: str, features: Sequence[str] = (), **limits: int) -> list[Step]:
    """The handshake up to both READY; `features` and `limits` are those of the other side."""
    members: dict[str, Any] = {"limits": limits} if limits else {}
    if features:
        members["features"] = features
    if role == "server":
        return [
            arrives(*handshake(encode_request(SERVED, hostlane=offer(A, **members)))),
            step("answers", level=1, auth=False),
            sends(Type.READY),
            arrives(control(Type.READY)),
        ]
    return [
        step("asks", auth=False),
        arrives(*handshake(encode_response(SERVED, hostlane=grant(B, **members))), control(Type.READY)),
        sends(Type.READY),
    ]
