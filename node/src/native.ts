import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Sent } from './errors';
import type { Credentials, ListenerStats, PeerInfo, PeerStats } from './info';
import { target } from './target';

/** What the kinds of an outcome are; the addon numbers them alike. */
export const Kind = {
  Failed: 0,
  Peer: 1,
  Small: 2,
  Large: 3,
  Sent: 4,
  Pong: 5,
  Drained: 6,
} as const;

/**
 * Numbers one outcome takes in the shared slots: `op, kind, a, b`. They are valid until the next call that gives outcomes.
 *
 * | kind | a | b |
 * |---|---|---|
 * | Failed | error number | place of its `Failure` for `take` |
 * | Peer | number of the new peer | |
 * | Small | length of the payload, which is in the shared bytes behind the ones before it | channel |
 * | Large | place of its `Buffer` for `take` | channel |
 * | Pong | round trip in milliseconds | |
 * | Sent, Drained | | |
 */
export const STRIDE = 4;

/** The rest of an error. */
export type Failure = readonly [message: string, sent: Sent];

/** Options as the addon takes them. */
export interface NativeOptions {
  channels?: number[];
  authToken?: string;
  allowUids?: number[];
  handshakeTimeoutMs?: number;
  maxMessage?: number;
  backlog?: number;
}

/** A refused client as the addon tells of it. */
export interface NativeRefusal {
  readonly number: number;
  readonly message: string;
  readonly credentials?: Credentials;
}

/** The number of an operation under way, or 0 if it is finished: its outcome is in the first slot. */
export type Started = number;

/**
 * What the addon exports. Peers and listeners are numbers. Timeouts are in milliseconds, `Infinity` is for ever. A call that gives
 * nothing where it should give a value has its error in the first slot.
 */
export interface Native {
  /** `wake` is called on the JavaScript thread, once per batch; outcomes are put into `slots` and `bytes`. */
  open(wake: () => void, mode: WaitMode, slots: Float64Array, bytes: Uint8Array): void;
  /** How many operations finished since the last call, at most as many as there are slots: then there may be more. */
  drain(): number;
  /** What of an outcome is no number. */
  take(place: number): Buffer | Failure;
  /** Corrects how many operations keep the process alive: each one does from its start to its end, unless this takes it back. */
  hold(change: number): void;

  connect(address: string, options: NativeOptions, timeoutMs: number): Started;
  accept(listener: number, timeoutMs: number): Started;
  /** `channel` -1 is any channel. */
  recv(peer: number, channel: number, timeoutMs: number): Started;
  send(peer: number, channel: number, data: Uint8Array, timeoutMs: number): Started;
  request(peer: number, data: Uint8Array, timeoutMs: number): Started;
  ping(peer: number, timeoutMs: number): Started;
  drainPeer(peer: number, timeoutMs: number): Started;
  /** The operation still ends in a batch: with `cancelled`, or with its outcome if that came first. */
  cancel(op: number): void;

  peerClose(peer: number): void;
  peerRelease(peer: number): void;
  peerInfo(peer: number): PeerInfo | null;
  peerStats(peer: number): PeerStats | null;

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

/** Loads the addon. */
export function load(): Native {
  const path = addonPath();
  if (!existsSync(path)) {
    throw new Error(
      `hostlane has no native addon for ${target()}: ${path} does not exist. ` +
        'Build it with `npm run build:native`, or set HOSTLANE_NATIVE to the path of a built addon.',
    );
  }
  try {
    // Not `require`: it would take a file that is not called .node for JavaScript.
    const module = { exports: {} };
    process.dlopen(module, path);
    return module.exports as Native;
  } catch (cause) {
    throw new Error(
      `hostlane cannot load its native addon for ${target()} from ${path}. ` +
        'Build it again with `npm run build:native`, or set HOSTLANE_NATIVE to an addon built for this platform.',
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
