import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Sent } from './errors';
import type { Credentials, ListenerStats, PeerInfo, PeerStats } from './info';
import { target } from './target';

/** What the kinds of an outcome are; the addon numbers them alike. */
export const Kind = {
  Failed: 0,
  Done: 1,
  Peer: 2,
  Payload: 3,
  Pong: 4,
  Batch: 5,
  StreamEnd: 6,
  LinkUp: 7,
  LinkDown: 8,
} as const;

/** What can be submitted; the addon numbers them alike. */
export const Verb = {
  Accept: 0,
  Recv: 1,
  RecvBatch: 2,
  Ping: 3,
  Drain: 4,
  CallEnded: 5,
  StreamRecv: 6,
  StreamFinish: 7,
  Send: 8,
  SendBatch: 9,
  Request: 10,
  Reply: 11,
  Fail: 12,
  StreamSend: 13,
  LinkEvents: 14,
  LinkRequest: 15,
  LinkSend: 16,
} as const;
export type Verb = (typeof Verb)[keyof typeof Verb];

/**
 * Numbers one submission and one outcome take in the shared rows.
 *
 * A submission is `verb, op, target, channel, length, timeout, extra, marks`: the number of the peer, listener, call, stream or link; the
 * bytes of the payload, which are in the shared bytes in the order of the submissions; `extra` is the most messages of RecvBatch and
 * LinkEvents, the number of messages of SendBatch (whose lengths are in an array of their own), the code of Fail, the number of
 * descriptors of Send and Request (which are in that array); `marks` is the length of the
 * idempotency key and 65536 times that of the trace context, both in front of the payload.
 *
 * An outcome is `op, kind, …`, valid until the next call that gives outcomes:
 *
 * | kind | numbers |
 * |---|---|
 * | Failed | error number, place of its `Failure` for `take`, status or -1 |
 * | Done | |
 * | Peer | number of the new peer |
 * | Payload, StreamEnd | channel, number of the call to answer or 0, length, where it begins, milliseconds of its deadline, flags, id of the call or 0 |
 * | Pong | round trip in milliseconds |
 * | Batch | how many rows of kind Payload, LinkUp or LinkDown follow |
 * | LinkUp | 1 if this side listens |
 * | LinkDown | as Failed |
 */
export const ROW = 9;

/** Bits of the flags of a payload. */
export const Flag = {
  /** It does not begin in the shared bytes: its `Buffer` is at that place for `take`. */
  Own: 1,
  /** The request opened a stream. */
  Stream: 2,
  /** It has `Marks`, at the place the flags have above these bits. */
  Marks: 4,
} as const;
/** What the flags are divided by for the place of the marks. */
export const PLACE = 8;

/** Added to a number of outcomes when `drain` may have more at once. */
export const MORE = 0x1_0000;

/** The rest of an error. */
export type Failure = readonly [message: string, sent: Sent, data: Buffer];

/** What came along with a message. */
export interface ReceivedMarks {
  readonly trace?: Buffer;
  readonly idempotencyKey?: Buffer;
  /** Number of the descriptors, for `fdsTake`. */
  readonly fds?: number;
}

/** Options as the addon takes them. */
export interface NativeOptions {
  channels?: number[];
  authToken?: string;
  secret?: string;
  level?: number;
  maxCalls?: number;
  keepaliveMs?: number;
  policies?: { channel: number; policy: string }[];
  allowUids?: number[];
  handshakeTimeoutMs?: number;
  maxMessage?: number;
  fds?: boolean;
  backlog?: number;
  command?: string[];
  reconnect?: boolean;
  retries?: number;
  delayMs?: number;
  maxDelayMs?: number;
}

/** An event of the log as the addon tells of it. */
export interface NativeLogEvent {
  readonly time: number;
  readonly level: 'error' | 'warn' | 'info' | 'debug';
  readonly event: string;
  readonly peer: string;
  readonly address: string;
  readonly code?: string;
  readonly text: string;
  readonly dropped: number;
}

/** A refused client as the addon tells of it. */
export interface NativeRefusal {
  readonly number: number;
  readonly message: string;
  readonly credentials?: Credentials;
}

/** How a connection ended, as the addon tells of it. */
export interface NativeEnd {
  readonly number: number;
  readonly message: string;
}

/** How many outcomes there are at once, and `MORE`. */
export type Outcomes = number;

/**
 * What the addon exports. Peers, listeners, calls, streams and links are numbers. Timeouts are in milliseconds, `Infinity` is for ever.
 * Operations have ids JavaScript chooses, small and free when the outcome has come. A call that gives nothing where it should give a
 * value has its error in the first row.
 */
export interface Native {
  /**
   * `wake` is called on the JavaScript thread, once per batch; outcomes are put into rows and bytes, submissions taken from rows,
   * bytes and the lengths of batched messages.
   */
  open(
    wake: () => void,
    mode: WaitMode,
    outcomes: readonly [rows: Float64Array, bytes: Uint8Array],
    submissions: readonly [rows: Float64Array, bytes: Uint8Array, lengths: Uint32Array],
  ): void;
  /** What finished since the last call. */
  drain(): Outcomes;
  /** Starts the first `count` operations; the payload of the last one is `large`, if that is given: it was sent or copied after the call. */
  submit(count: number, large: Uint8Array | undefined): Outcomes;
  /** What of an outcome is no number. */
  take(place: number): Buffer | Failure | ReceivedMarks;
  /** Small payloads go into `bytes` from here on, from its start. */
  setBytes(bytes: Uint8Array): void;
  /** Corrects how many operations keep the process alive: each one does from its start to its end, unless this takes it back. */
  hold(change: number): void;
  /** The operation still ends in a batch: with `cancelled`, or with its outcome if that came first. */
  cancel(op: number): void;

  connect(op: number, address: string, options: NativeOptions, timeoutMs: number): Outcomes;
  /** A batch that finds no room in the shared bytes: its payloads one behind the other, and their lengths. */
  sendBatch(op: number, peer: number, channel: number, payloads: Uint8Array, lengths: Uint32Array, timeoutMs: number): Outcomes;
  /** The call is let go; its caller is told unless it was answered. */
  callRelease(call: number): void;
  callStream(call: number): number | null;
  streamOpen(peer: number, channel: number, data: Uint8Array, timeoutMs: number, key: Uint8Array, trace: Uint8Array): number | null;
  streamCallId(stream: number): number | null;
  streamRelease(stream: number): void;

  peerClose(peer: number): void;
  peerRelease(peer: number): void;
  peerInfo(peer: number): PeerInfo | null;
  peerStats(peer: number): PeerStats | null;
  /** Nothing while the connection goes on, as far as this side has noticed. */
  peerEnd(peer: number): NativeEnd | null;

  linkOpen(address: string, options: NativeOptions): number | null;
  linkClose(link: number): void;
  linkRelease(link: number): void;
  linkServing(link: number): boolean | null;
  linkInfo(link: number): PeerInfo | null;
  linkStats(link: number): PeerStats | null;

  /** The descriptors are the program's to close from then on. */
  fdsTake(fds: number): number[];
  fdsRelease(fds: number): void;

  /** Keeps events of the process from a level on: 0 for none, to 4 for all. */
  logEnable(level: number): void;
  logDrain(): NativeLogEvent[];

  listen(address: string, options: NativeOptions): number | null;
  listenerClose(listener: number): void;
  listenerRelease(listener: number): void;
  listenerAddress(listener: number): string | null;
  listenerStats(listener: number): ListenerStats | null;
  listenerRefusals(listener: number): NativeRefusal[] | null;
}

/** How the environment learns that the context has work: `poll` on the event loop itself, or a reader thread. */
export type WaitMode = 'poll' | 'threadsafe';

/** The file the addon is loaded from: HOSTLANE_NATIVE, or the one of this platform beside the package's code. */
function addonPath(): string {
  const override = process.env['HOSTLANE_NATIVE'];
  if (override !== undefined && override !== '') {
    return resolve(override);
  }
  return join(__dirname, '..', 'native', `hostlane.${target()}.node`);
}

/** An error with the code Node itself gives for the same mistake. */
function unloaded(code: 'MODULE_NOT_FOUND' | 'ERR_DLOPEN_FAILED', text: string, options?: ErrorOptions): Error {
  return Object.assign(new Error(text, options), { code });
}

/** Loads the addon. */
export function load(): Native {
  const path = addonPath();
  if (!existsSync(path)) {
    throw unloaded(
      'MODULE_NOT_FOUND',
      `hostlane has no native addon for ${target()}: ${path} does not exist. ` +
        'Build it with `npm run build:native` in the checkout the package comes from and install it again, or set HOSTLANE_NATIVE to the path of a built addon.',
    );
  }
  try {
    // Not `require`: it would take a file that is not called .node for JavaScript.
    const module = { exports: {} };
    process.dlopen(module, path);
    return module.exports as Native;
  } catch (cause) {
    throw unloaded(
      'ERR_DLOPEN_FAILED',
      `hostlane cannot load its native addon for ${target()} from ${path}. ` +
        'Build it again with `npm run build:native` in the checkout the package comes from, or set HOSTLANE_NATIVE to an addon built for this platform.',
      { cause },
    );
  }
}

/**
 * The event loop is polled directly where it is known to be libuv with its functions reachable. Bun resolves the symbols and
 * aborts in them; Electron and Deno are left on the portable way.
 */
export function waitMode(): WaitMode {
  const wanted = process.env['HOSTLANE_NODE_WAIT'];
  if (wanted === 'poll' || wanted === 'threadsafe') {
    return wanted;
  }
  if (wanted !== undefined && wanted !== '') {
    throw new Error(`HOSTLANE_NODE_WAIT is "${wanted}"; it may be "poll" or "threadsafe"`);
  }
  const { bun, electron, deno } = process.versions as Record<string, string | undefined>;
  return bun === undefined && electron === undefined && deno === undefined ? 'poll' : 'threadsafe';
}
