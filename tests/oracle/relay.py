"""A relay between `hostlane check` and a real peer, which spoils what the peer says or is told: a planted fault.

    relay.py FAULT server LISTEN TO            serves LISTEN, and relays to the server at TO
    relay.py FAULT client TO COMMAND...        relays what COMMAND, told `{relayed}`, says to the checker at TO

`up` is what comes from the peer under test, `down` what is sent to it. A way that a fault leaves alone is passed on
byte by byte.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import level0
import level1
from level1 import Type

Frame = level0.Frame | level1.Frame
Edit = Callable[["Talk", Frame], list[bytes]]


@dataclass
class Talk:
    """One relayed connection, as far as faults ask."""

    agreed: int | None = None  # the level, once it is known
    count: int = 0
    held: list[bytes] = field(default_factory=list)


def is_kind(frame: Frame, *kinds: Type) -> bool:
    return isinstance(frame, level1.Frame) and frame.type in kinds


def opening(change: Callable[[bytes], bytes]) -> Edit:
    """The handshake's own message, changed."""

    def edit(talk: Talk, frame: Frame) -> list[bytes]:
        if talk.agreed is not None or frame.channel != 0 or not isinstance(frame, level0.Frame):
            return [frame.encode()]
        return [level0.Frame(0, change(frame.payload)).encode()]

    return edit


def hello(change: Callable[[dict], object]) -> Edit:
    """Its members, changed."""

    def edit(payload: bytes) -> bytes:
        members = json.loads(payload)
        change(members)
        return level0.dump(members)

    return opening(edit)


def numbered(kind: Type, change: Callable[[level1.Frame], list[level1.Frame]]) -> Edit:
    """Frames of one type of level 1, changed."""

    def edit(_: Talk, frame: Frame) -> list[bytes]:
        if isinstance(frame, level1.Frame) and frame.type == kind:
            return [changed.encode() for changed in change(frame)]
        return [frame.encode()]

    return edit


def put(frame: level1.Frame, **changes: object) -> list[level1.Frame]:
    return [level1.Frame(**(vars(frame) | changes))]  # type: ignore[arg-type]


def every_fifth_lost(talk: Talk, frame: Frame) -> list[bytes]:
    counts = is_kind(frame, Type.MESSAGE, Type.RESPONSE) or (isinstance(frame, level0.Frame) and frame.channel != 0)
    talk.count += counts
    return [] if counts and talk.count % 5 == 0 else [frame.encode()]


def swapped(talk: Talk, frame: Frame) -> list[bytes]:
    """Messages leave in pairs, the second one first."""
    if frame.channel != 2:
        return [frame.encode()]
    talk.held.append(frame.encode())
    if len(talk.held) < 2:
        return []
    second, first = talk.held.pop(), talk.held.pop()
    return [second, first]


def spoilt(_: Talk, frame: Frame) -> list[bytes]:
    """The last byte of what is longer than a kilobyte."""
    encoded = bytearray(frame.encode())
    if len(encoded) > 1024:
        encoded[-1] ^= 1
    return [bytes(encoded)]


def quiet_on_0(_: Talk, frame: Frame) -> list[bytes]:
    """No control message of level 0 is answered."""
    return (
        []
        if isinstance(frame, level0.Frame) and frame.channel == 0 and b'"type"' in frame.payload
        else [frame.encode()]
    )


def lenient(talk: Talk, frame: Frame) -> list[bytes]:
    """Unknown control types are dropped before anybody sees them."""
    if (
        isinstance(frame, level0.Frame)
        and frame.channel == 0
        and b'"grease-1"' in frame.payload
        and b"type" in frame.payload
    ):
        return []
    return [frame.encode()]


def uncritical(_: Talk, frame: Frame) -> list[bytes]:
    if isinstance(frame, level1.Frame) and frame.type not in level1.KNOWN:
        return []
    return [frame.encode()]


def renumbered(talk: Talk, frame: Frame) -> list[bytes]:
    """Ids that were used before are forgiven: the second call of an id is dropped."""
    if is_kind(frame, Type.REQUEST):
        assert isinstance(frame, level1.Frame)
        if frame.encode()[8:16] in talk.held:
            return []
        talk.held.append(frame.encode()[8:16])
    return [frame.encode()]


def refuse_with(code: int, name: str) -> Callable[[dict], None]:
    def change(members: dict) -> None:
        if "error" in members:
            members["error"] |= {"code": code, "name": name}

    return change


def into(member: str, value: object) -> Callable[[dict], None]:
    def change(members: dict) -> None:
        if "error" not in members:
            members[member] = value

    return change


def wide(members: dict) -> None:
    if "hostlane" in members and isinstance(members["hostlane"], dict):
        members["hostlane"]["limits"] = {"window": 1 << 40, "stream_window": 1 << 40}


UP: dict[str, Edit] = {
    "wrong-close-code": numbered(Type.CLOSE, lambda f: put(f, payload=(212).to_bytes(4, "little"))),
    "no-close": numbered(Type.CLOSE, lambda f: []),
    "close-twice": numbered(Type.CLOSE, lambda f: [f, f]),
    "wrong-token": numbered(Type.PONG, lambda f: put(f, payload=bytes(8))),
    "pong-twice": numbered(Type.PONG, lambda f: [f, f]),
    "wrong-channel": numbered(Type.RESPONSE, lambda f: put(f, channel=2)),
    "reply-twice": numbered(Type.RESPONSE, lambda f: [f, f]),
    "wrong-id": numbered(Type.RESPONSE, lambda f: put(f, id=f.id + 2)),
    "no-credit": numbered(Type.CREDIT, lambda f: []),
    "no-ack": numbered(Type.DRAIN_ACK, lambda f: []),
    "even-call": numbered(Type.REQUEST, lambda f: put(f, id=f.id + 1)),
    "loses": every_fifth_lost,
    "swaps": swapped,
    "spoils": spoilt,
    "no-pong": quiet_on_0,
    "wrong-refusal": hello(refuse_with(305, "unknown_control")),
    "bare-refusal": hello(lambda members: members.pop("error", {}) and members.update(error={"code": 307})),
    "reserved-granted": hello(lambda members: members.get("channels", []).append(5)),
    "no-peer-id": hello(lambda members: members.pop("peer_id", None)),
    "feature-out-of-nothing": hello(lambda members: members.get("hostlane", {}).update(features=["teleport"])),
}
DOWN: dict[str, Edit] = {
    "ignores-the-window": hello(wide),
    "any-version": hello(into("version", "1.0")),
    "any-protocol": hello(into("protocol", "ipcprims")),
    "lenient-control": lenient,
    "forgives-critical": uncritical,
    "forgives-ids": renumbered,
}
# What is done to whole connections.
WHOLE = ("none", "never-ends", "slow", "one-client")
FAULTS = (*UP, *DOWN, *WHOLE)


class Way:
    """One direction. With an edit frames are cut, and what is no frame ends the cutting."""

    def __init__(self, edit: Edit | None, speaks_first: bool) -> None:
        self.edit, self.speaks_first = edit, speaks_first
        self.buffer, self.hellos, self.raw = bytearray(), 0, edit is None

    def take(self, talk: Talk, data: bytes) -> bytes:
        self.buffer += data
        out = b""
        while True:
            if self.hellos and talk.agreed is None and self.speaks_first and not self.raw:
                return out  # it depends on the answer what comes next
            frame = self.cut(talk)
            if frame is None:
                break
            first = self.hellos == 0
            self.hellos += 1
            if self.edit is not None:
                out += b"".join(self.edit(talk, frame))
            if first and not self.speaks_first:
                talk.agreed = 1 if b'"hostlane"' in frame.payload else 0
        if self.edit is None:
            if self.hellos:
                self.buffer.clear()
            return data
        if self.raw:
            out += bytes(self.buffer)
            self.buffer.clear()
        return out

    def cut(self, talk: Talk) -> Frame | None:
        """The next frame. Where nothing is edited the first one alone is looked at."""
        if (self.edit is None and self.hellos) or (self.raw and self.edit is not None):
            return None
        if self.hellos == 0 or talk.agreed != 1:
            if len(self.buffer) >= 8 and self.buffer[:2] == level0.MAGIC:
                length, channel = int.from_bytes(self.buffer[2:6], "little"), int.from_bytes(self.buffer[6:8], "little")
                return self.whole(8, length, lambda payload: level0.Frame(channel, payload))
            self.raw = self.raw or not level0.MAGIC.startswith(bytes(self.buffer[:2]))
            return None
        if len(self.buffer) < 16:
            return None
        length, kind, flags, channel, ident = level1.HEADER.unpack_from(self.buffer)
        return self.whole(16, length, lambda payload: level1.Frame(kind, flags, channel, ident, payload))

    def whole(self, head: int, length: int, make: Callable[[bytes], Frame]) -> Frame | None:
        if length > 17 << 20:
            self.raw = True
        if len(self.buffer) < head + length or (self.raw and self.edit is not None):
            return None
        payload = bytes(self.buffer[head : head + length])
        del self.buffer[: head + length]
        return make(payload)


def relay(
    peer: socket.socket, checker: socket.socket, server: bool, up: Edit | None, down: Edit | None, ends: bool = True
) -> None:
    """Until both ways have ended. `server` is what the peer is; without `ends` its end is kept back."""
    talk = Talk()
    ways = {
        peer: (Way(up, not server), checker),
        checker: (Way(down, server), peer),
    }
    open_ways = set(ways)
    while open_ways:
        for source in select.select(list(open_ways), [], [], 30.0)[0]:
            way, target = ways[source]
            try:
                data = source.recv(1 << 16)
            except OSError:
                data = b""
            try:
                for each, aim in ((way, target), (ways[target][0], source)):
                    out = each.take(talk, data if each is way else b"")
                    if out:
                        aim.sendall(out)
                if not data:
                    open_ways.discard(source)
                    if not ends and source is peer:
                        continue
                    target.shutdown(socket.SHUT_WR)
            except OSError:
                open_ways.clear()
    if not ends:
        time.sleep(20.0)  # the fault itself
    for sock in (peer, checker):
        sock.close()


def faulty(fault: str, peer: socket.socket, checker: socket.socket, server: bool) -> None:
    relay(peer, checker, server, UP.get(fault), DOWN.get(fault), fault != "never-ends")


def connect(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(path.removeprefix("unix:"))
    return sock


def listen(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(path)
    sock.listen(128)
    return sock


def serve(fault: str, at: str, to: str) -> None:
    door = listen(at)
    print(f"ready {at}", flush=True)
    served = 0
    while True:
        checker, _ = door.accept()
        served += 1
        if fault == "one-client" and served > 3:
            checker.close()
            continue
        if fault == "slow":
            time.sleep(1.5)  # the fault itself
        threading.Thread(target=faulty, args=(fault, connect(to), checker, True), daemon=True).start()


def between(fault: str, to: str, command: list[str]) -> int:
    with tempfile.TemporaryDirectory() as place:
        at = os.path.join(place, "r")
        door = listen(at)
        client = subprocess.Popen([word.replace("{relayed}", at) for word in command])
        door.settimeout(5.0)
        peer, _ = door.accept()
        passed_on = threading.Thread(target=faulty, args=(fault, peer, connect(to), False), daemon=True)
        passed_on.start()
        status = client.wait()
        passed_on.join(5.0)
        return status


if __name__ == "__main__":
    fault, role, *rest = sys.argv[1:]
    if fault not in FAULTS:
        sys.exit(f"no fault is called {fault}")
    if role == "server":
        serve(fault, *rest)
    else:
        sys.exit(between(fault, rest[0], rest[1:]))
