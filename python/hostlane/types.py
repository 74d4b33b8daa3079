"""Constants, and what connections and listeners tell about themselves.

All classes are immutable, comparable and can be pickled.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, TypedDict

from hostlane import _core

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from os import PathLike

    from _typeshed import FileDescriptorLike

    from hostlane._error import Error

__all__ = [
    "COMMAND",
    "DATA",
    "DEFAULT_TIMEOUT",
    "ERROR",
    "TELEMETRY",
    "CallOptions",
    "ChannelStats",
    "ConnectOptions",
    "Credentials",
    "Depth",
    "Info",
    "LinkDown",
    "LinkOptions",
    "LinkUp",
    "ListenOptions",
    "ListenerStats",
    "Options",
    "Policy",
    "Refusal",
    "SendOptions",
    "Stats",
]

COMMAND: Final = 1
"""The channel of calls and their replies."""

DATA: Final = 2
"""The channel of one-way messages, unless another is named."""

TELEMETRY: Final = 3
"""The channel of measurements and events."""

ERROR: Final = 4
"""The channel on which the other program reports errors of its own, by convention as JSON."""

DEFAULT_TIMEOUT: Final[float] = _core.DEFAULT_TIMEOUT
"""Seconds a call waits when it is not told otherwise; receiving and accepting wait for ever."""


Policy: TypeAlias = Literal["block", "error", "drop_oldest", "latest"]
"""What a send does while the other side takes no more of its channel.

``"block"`` waits until its timeout, ``"error"`` raises :class:`hostlane.WouldBlockError`,
``"drop_oldest"`` makes room among what has not left yet, ``"latest"`` keeps only the newest of it.
"""


class SendOptions(TypedDict, total=False):
    """What a message can be told."""

    channel: int
    """One of the agreed channels; COMMAND by default for calls, DATA for other messages."""

    trace: bytes | None
    """Handed to the other program as it is; 1 to 64 bytes."""

    fds: Sequence[FileDescriptorLike] | None
    """Descriptors for the other process, at most 4, if both sides agreed to ``fds``. It gets
    duplicates."""


class CallOptions(SendOptions, total=False):
    """What a call can be told."""

    idempotency_key: bytes | None
    """Says that the call may be made again under this key of 1 to 64 bytes."""


class Options(TypedDict, total=False):
    """What connecting and listening can both be told."""

    channels: Iterable[int]
    """Channel numbers to agree on, in order of preference; 1 to 4 by default."""

    secret: str | None
    """A secret that both sides prove to each other without sending it, a str of 1 to 4096 bytes
    of UTF-8; for random bytes their ``hex()``. Demands wire level 1; mandatory for ``tcp:``."""

    auth_token: str | None
    """The shared secret of wire level 0. It crosses the wire in clear, so only names and paths
    accept it."""

    allow_uids: Iterable[int]
    """User ids the other side may run under. By default whoever may open the socket; for a bare
    name this user and root."""

    handshake_timeout: float
    """Seconds for the whole handshake; 5 by default."""

    max_message: int
    """Largest payload accepted and sent, in bytes; 16 MiB by default and at most."""

    level: Literal[0, 1] | None
    """The wire level to insist on; by default the highest both sides know."""

    max_calls: int
    """Calls of the other side that are served at a time; 1024 by default. More wait at their
    caller's."""

    keepalive: float
    """Pings when nothing arrived for so many seconds, and ends the connection when still nothing
    comes. By default there is none."""

    policies: Mapping[int, Policy]
    """By channel; ``"drop_oldest"`` for TELEMETRY, ``"block"`` for the others by default."""

    fds: bool
    """Whether messages may carry descriptors, over Unix-domain sockets; they may not by default."""

    spin: float
    """Seconds, at most 0.01, that a blocking wait looks at the connection before it sleeps; 0 never
    does. Saves a wake-up when the other side answers at once, and costs processor time. By default
    as long as it was seen to pay. For processors set aside for it."""


class ConnectOptions(Options, total=False):
    """What connecting can be told."""

    command: Sequence[str | PathLike[str]]
    """For the address ``spawn:``: the program to start and its arguments, word for word."""


class ListenOptions(Options, total=False):
    """What listening can be told."""

    backlog: int
    """Connections the kernel holds while nobody accepts them."""


class LinkOptions(Options, total=False):
    """What a link can be told. A link demands wire level 1."""

    reconnect: bool
    """Whether the link goes on after the other side was lost; it does by default. Without, the link
    ends with that error."""

    retries: int | None
    """Attempts in a row that may fail before the link ends; by default there is no bound. Waiting
    for the other side to join, or as a third for a place, is no attempt; of connections in a
    row that lasted no longer than the next pause, each after the first is one that failed."""

    delay: float
    """Seconds before the second attempt, doubled for each further one; 0.01 by default. Each pause
    is shortened at random by up to a half."""

    max_delay: float
    """The longest pause in seconds; 2 by default."""


@dataclass(frozen=True, slots=True)
class LinkUp:
    """The other side of a link is there."""

    serving: bool
    """Whether this side is the one that listens."""


@dataclass(frozen=True, slots=True)
class LinkDown:
    """The other side of a link is gone; the link goes on trying, unless told otherwise."""

    error: Error
    """Why."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who the process at the other end is: the word of the kernel, never of the wire."""

    pid: int
    """Process id when it connected or listened; may have been reused since."""

    uid: int
    """User id; decide on this."""

    gid: int
    """Group id."""


@dataclass(frozen=True, slots=True)
class Info:
    """Facts about a connection; they do not change while it lives."""

    peer_id: str
    """The name the accepting side gave to the connecting one; the same on both sides."""

    level: int
    """Wire level of the connection."""

    features: tuple[str, ...]
    """Features beyond the level, agreed in the handshake."""

    channels: tuple[int, ...]
    """Agreed channels, in the order the connecting side asked for them."""

    instance: str
    """Random id of this process's endpoint: 32 hex digits."""

    peer_instance: str | None
    """The other side's id, if it told one."""

    credentials: Credentials | None
    """The process at the other end; None where the kernel cannot tell: ``tcp:``, and ``stdio:``
    over pipes."""

    carrier: str
    """What moves the bytes: ``"unix"``, ``"tcp"``, ``"inproc"``, ``"fd"``, ``"stdio"`` or
    ``"spawn"``."""

    address: str
    """The address connected to, or the listener's."""

    max_message: int
    """Largest payload this side accepts and sends, in bytes."""

    max_calls: int
    """Calls of this side that the other side serves at a time."""

    peer_keepalive: float | None
    """The other side asks for a sign of life when it hears nothing for so many seconds; None: it
    does not."""


@dataclass(frozen=True, slots=True)
class Depth:
    """How full a bounded queue is and was."""

    messages: int
    """Messages queued now."""

    bytes: int
    """Bytes charged now: payloads, and a fixed overhead for each message and each descriptor."""

    peak_bytes: int
    """Most bytes ever charged at once."""


@dataclass(frozen=True, slots=True)
class ChannelStats:
    """Counters of one channel; bytes are payload bytes."""

    channel: int
    """The channel."""

    messages_sent: int
    """Messages accepted for sending."""

    bytes_sent: int
    """Their bytes."""

    messages_received: int
    """Messages that arrived, replies among them."""

    bytes_received: int
    """Their bytes."""

    queued: int
    """Messages that wait for the program now."""

    queued_bytes: int
    """Bytes charged for them: payloads, and a fixed overhead for each message and each
    descriptor. Wire level 1 only, as everything below."""

    queued_bytes_peak: int
    """Most of them ever."""

    send_queued: int
    """Messages that wait to be sent now."""

    send_queued_bytes: int
    """Bytes charged for them."""

    send_queued_bytes_peak: int
    """Most of them ever."""

    send_credit: int
    """Charged bytes the other side would take now."""

    dropped: int
    """Messages this side dropped by the policy of the channel."""

    dropped_by_peer: int
    """Messages the other side says it dropped."""


@dataclass(frozen=True, slots=True)
class Stats:
    """What a connection did since its handshake."""

    channels: tuple[ChannelStats, ...]
    """One entry per agreed channel, in handshake order."""

    receive_queue: Depth
    """Received messages that wait for the program."""

    send_queue: Depth
    """Frames that wait for the carrier."""

    calls: int
    """Calls put on the wire by this side: the operating system took a byte of them."""

    open_calls: int
    """Calls of this side that have a place at the other: no answer has come, also of those that
    were given up."""

    calls_served: int
    """Calls of the other side that arrived and got a place. Wire level 1 only, as the next
    three."""

    open_served: int
    """Calls of the other side that have a place: unanswered, answered and not yet sent, or given
    up and still handled."""

    calls_cancelled: int
    """Calls that had left and ended without an answer because this side gave them up or their
    time was over; not those that were lost with the connection."""

    late: int
    """Frames that came for calls that had ended; they are dropped."""

    pending_operations: int
    """Operations pending now."""


@dataclass(frozen=True, slots=True)
class ListenerStats:
    """What a listener did so far, and what it holds now."""

    connections: int
    """Connections taken from the kernel."""

    accepted: int
    """Handshakes that ended well."""

    refused: dict[str, int] = field(hash=False)
    """Refused handshakes: how many, by the ``kind`` of the reason."""

    half_open: int
    """Handshakes running now."""

    ready: int
    """Peers ready for ``accept`` now."""

    pauses: int
    """Times accepting paused because descriptors or memory ran out."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A client whose handshake failed, and why."""

    code: int
    """Number of the reason in the error table."""

    kind: str
    """Name of the reason in the error table."""

    message: str
    """What went wrong, for people; the client was told too, where it still listened."""

    credentials: Credentials | None
    """Who the client was, if the kernel said so."""
