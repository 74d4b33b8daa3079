import type { HostlaneError } from './errors';

/** What is known about a connection; it does not change while the connection lives. */
export interface PeerInfo {
  /** The name the accepting side gave to the connecting one, such as `peer-7`; the same on both. */
  readonly peerId: string;
  /** The wire level of the connection. */
  readonly level: number;
  /** Features beyond the level, agreed in the handshake. */
  readonly features: readonly string[];
  /** The agreed channels, in the order the connecting side asked for them. */
  readonly channels: readonly number[];
  /** The random id of this process's endpoint, 32 hex digits. */
  readonly instance: string;
  /** The other side's id, if it told one. On level 0 only the connecting side does. */
  readonly peerInstance?: string;
  /** Who the kernel says the other side is; never from the wire. Absent where it cannot tell: `tcp:`, and `stdio:` over pipes. */
  readonly credentials?: Credentials;
  /** What moves the bytes: `unix`, `tcp`, `inproc`, `fd`, `stdio` or `spawn`. */
  readonly carrier: string;
  /** The address connected to, or the listener's. */
  readonly address: string;
  /** The largest payload this side accepts and sends, in bytes. */
  readonly maxMessage: number;
  /** Calls of this side that the other side serves at a time. */
  readonly maxCalls: number;
  /** The other side asks for a sign of life after so many milliseconds of silence; absent if it does not. */
  readonly peerKeepaliveMs?: number;
}

/** The process at the other end when it connected or listened, from the kernel. Decide by `uid` and `gid`; a `pid` may be reused. */
export interface Credentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** What a connection did so far. Counters only grow; they start when the handshake ends. */
export interface PeerStats {
  /** One entry per agreed channel, in handshake order. */
  readonly channels: readonly ChannelStats[];
  /** Received messages that wait for the program. */
  readonly receiveQueue: Depth;
  /** Frames that wait for the operating system to take them. */
  readonly sendQueue: Depth;
  /** Calls put on the wire by this side: the operating system took a byte of them. */
  readonly calls: number;
  /** Calls of this side that have a place at the other: no answer has come, also of those that were given up. */
  readonly openCalls: number;
  /** Calls of the other side that arrived and got a place. Level 1 only, as the next three. */
  readonly callsServed: number;
  /** Calls of the other side that have a place: unanswered, answered and not yet sent, or given up and still handled. */
  readonly openServed: number;
  /** Calls that had left and ended without an answer because this side gave them up or their time was over; not those that were lost with the connection. */
  readonly callsCancelled: number;
  /** What came for calls that had ended; it is dropped. */
  readonly late: number;
  /** Operations under way now. */
  readonly pendingOperations: number;
}

/** The counters of one channel. Bytes are payload bytes. */
export interface ChannelStats {
  readonly channel: number;
  /** Messages accepted for sending. */
  readonly messagesSent: number;
  readonly bytesSent: number;
  /** Messages that arrived, answers among them. */
  readonly messagesReceived: number;
  readonly bytesReceived: number;
  /** Messages that wait for the program now. */
  readonly queued: number;
  /** Bytes they are charged: payloads, and a fixed overhead for each message and each descriptor. Level 1 only, as everything below. */
  readonly queuedBytes: number;
  /** Most of them ever. */
  readonly queuedBytesPeak: number;
  /** Messages that wait to be sent now. */
  readonly sendQueued: number;
  /** Bytes they are charged. */
  readonly sendQueuedBytes: number;
  /** Most of them ever. */
  readonly sendQueuedBytesPeak: number;
  /** Charged bytes the other side would take now. */
  readonly sendCredit: number;
  /** Messages this side dropped by the policy of the channel. */
  readonly dropped: number;
  /** Messages the other side says it dropped. */
  readonly droppedByPeer: number;
}

/** How full a bounded queue is and was. */
export interface Depth {
  /** Messages queued now. */
  readonly messages: number;
  /** Bytes charged now: payloads, and a fixed overhead for each message and each descriptor. */
  readonly bytes: number;
  /** Most bytes ever charged at once. */
  readonly peakBytes: number;
}

/** What a listener did so far, and what it holds now. */
export interface ListenerStats {
  /** Connections taken from the operating system. */
  readonly connections: number;
  /** Handshakes that ended well. */
  readonly accepted: number;
  /** Handshakes refused, by the name of the error. */
  readonly refused: Readonly<Record<string, number>>;
  /** Handshakes running now. */
  readonly halfOpen: number;
  /** Peers ready for `accept` now. */
  readonly ready: number;
  /** Times accepting paused because descriptors or memory ran out. */
  readonly pauses: number;
}

/** A client whose handshake failed. */
export interface Refusal {
  /** Why; the client was told the same, where it still listened. */
  readonly error: HostlaneError;
  /** Who it was, if the kernel said so. */
  readonly credentials?: Credentials;
}
