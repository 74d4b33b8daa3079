import { attached, boolean, invalid, list, looked, milliseconds, onlyOptions, signal, sizeOf, text, whole, wrong } from './checks';
import type { NativeOptions } from './native';

/** The channels every connection offers by default. A program's own channels start at 256. */
export const Channel = {
  /** Calls and their answers: `Peer.request`. */
  COMMAND: 1,
  /** One-way messages; what `Peer.send` uses unless told otherwise. */
  DATA: 2,
  /** Measurements. */
  TELEMETRY: 3,
  /** Error reports between programs. */
  ERROR: 4,
} as const;

/** What can be sent: bytes, or a text that is sent as UTF-8. The bytes are copied before the call returns. */
export type Payload = Uint8Array | string;

/** How long an operation may take. */
export interface WaitOptions {
  /** Milliseconds until the operation fails with `ERR_HOSTLANE_TIMEOUT`; 0 takes only what is there now; without it there is no limit. */
  readonly timeoutMs?: number | undefined;
  /** Gives the operation up: it rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** What can go with a message, as text or 1 to 64 bytes; on level 0, which has no form for it, it is refused. */
export interface Marks {
  /** Handed to the other program as it is, to follow the message by. */
  readonly trace?: Payload | undefined;
  /** Says that the call may be sent again under this key. */
  readonly idempotencyKey?: Payload | undefined;
}

/** A descriptor: its number, or what has it, such as a `FileHandle`. */
export type Descriptor = number | { readonly fd: number };

/** Descriptors that go with a message. */
export interface Descriptors {
  /** Descriptors for the other process, at most 4, where both sides agreed to `fds`. It gets duplicates, which are made before the call returns. */
  readonly fds?: readonly Descriptor[] | undefined;
}

/** Options of `Peer.send`. */
export interface SendOptions extends WaitOptions, Pick<Marks, 'trace'>, Descriptors {
  /** The channel to send on, DATA by default. */
  readonly channel?: number | undefined;
}

/** Options of `Peer.sendBatch`. */
export type SendBatchOptions = Omit<SendOptions, 'trace' | 'fds'>;

/** Options of `Peer.openStream` and `Link.request`. The other side is told `timeoutMs`. */
export interface CallOptions extends WaitOptions, Marks {
  /** The channel to call on, COMMAND by default; on level 0 it is the only one. */
  readonly channel?: number | undefined;
}

/** Options of `Peer.request`. */
export type RequestOptions = CallOptions & Descriptors;

/** Options of `Link.send`. */
export type LinkSendOptions = Pick<SendOptions, 'channel' | 'trace'>;

/** Options of `Peer.recv`. */
export interface ReceiveOptions extends WaitOptions {
  /** Take messages of this channel only; any channel by default, in the order of arrival. */
  readonly channel?: number | undefined;
}

/**
 * What a send does when the other side takes no more: `block` waits until its deadline; `error` fails with
 * `ERR_HOSTLANE_WOULD_BLOCK`; `drop-oldest` drops the oldest messages that have not left; `latest` keeps the newest of them only.
 * Dropped messages are counted in the stats of both sides.
 */
export type Policy = 'block' | 'error' | 'drop-oldest' | 'latest';

/** What both ends of a connection decide before it exists. */
export interface CommonOptions {
  /** The channels to offer: 1 to 4, or from 256; by default 1, 2, 3 and 4. */
  readonly channels?: readonly number[] | undefined;
  /** The shared secret of wire level 0: a connector sends it, a listener demands it. It crosses the socket in clear. */
  readonly authToken?: string | undefined;
  /** A shared secret both sides prove to know, without sending it; level 1 only, and demanded for `tcp:`. */
  readonly secret?: string | undefined;
  /** The only wire level to agree to; by default the higher one both sides have. */
  readonly level?: 0 | 1 | undefined;
  /** Calls of the other side that are served at a time, 1024 by default; more wait at their caller's. Level 1 only. */
  readonly maxCalls?: number | undefined;
  /** Milliseconds of silence after which the other side is pinged; after twice as long again the connection ends with `ERR_HOSTLANE_PEER_UNRESPONSIVE`. Level 1 only; off by default. */
  readonly keepaliveMs?: number | undefined;
  /** What a send on a channel does when the other side takes no more, by the channel's number: `drop-oldest` on TELEMETRY and `block` elsewhere by default. Level 1 only. */
  readonly policy?: Readonly<Record<number, Policy>> | undefined;
  /** The user ids the other side may have, by the kernel's word. By default, for a per-user name this user and root, elsewhere whoever can open the socket. */
  readonly allowUids?: readonly number[] | undefined;
  /** Milliseconds the whole handshake may take, 5000 by default. */
  readonly handshakeTimeoutMs?: number | undefined;
  /** The largest payload in bytes that is accepted or sent, 16 MiB by default. */
  readonly maxMessage?: number | undefined;
  /** Whether messages may carry descriptors, over Unix-domain sockets; they may not by default. */
  readonly fds?: boolean | undefined;
}

/** Options of `connect`. */
export interface ConnectOptions extends CommonOptions, WaitOptions {
  /** The program and arguments of a `spawn:` address, word for word; the address is then `spawn:` alone. */
  readonly command?: readonly string[] | undefined;
}

/** Options of `listen`. */
export interface ListenOptions extends CommonOptions {
  /** Connections the operating system keeps waiting until they are accepted. */
  readonly backlog?: number | undefined;
}

/** Options of `Link.open`. A link demands wire level 1. */
export interface LinkOptions extends Omit<CommonOptions, 'authToken' | 'fds'> {
  /** Whether the link goes on after the other side was lost, as it does by default; without, the link ends with that error. */
  readonly reconnect?: boolean | undefined;
  /** Attempts in a row that may fail before the link ends; no bound by default. Waiting for the other side to join, or as a third for a place, is no attempt; of connections in a row that lasted no longer than the next pause, each after the first is one that failed. */
  readonly retries?: number | undefined;
  /** Milliseconds of the pause before the second attempt, doubled for each further one, each shortened at random by up to half; 10 by default. */
  readonly delayMs?: number | undefined;
  /** The longest pause, 2000 by default. */
  readonly maxDelayMs?: number | undefined;
}

/** Names of options, by what has them. */
const names = (...all: readonly string[]): ReadonlySet<string> => new Set(all);
const WAIT = ['timeoutMs', 'signal'];
const COMMON = [
  'channels',
  'authToken',
  'secret',
  'level',
  'maxCalls',
  'keepaliveMs',
  'policy',
  'allowUids',
  'handshakeTimeoutMs',
  'maxMessage',
  'fds',
];

/** @internal The options there are. */
export const Known = {
  wait: names(...WAIT),
  receive: names(...WAIT, 'channel'),
  send: names(...WAIT, 'channel', 'trace', 'fds'),
  sendBatch: names(...WAIT, 'channel'),
  call: names(...WAIT, 'channel', 'trace', 'idempotencyKey'),
  request: names(...WAIT, 'channel', 'trace', 'idempotencyKey', 'fds'),
  linkSend: names('channel', 'trace'),
  serve: names('signal', 'concurrency', 'onError'),
  connect: names(...COMMON, ...WAIT, 'command'),
  listen: names(...COMMON, 'backlog'),
  link: names(...COMMON.filter((name) => name !== 'authToken' && name !== 'fds'), 'reconnect', 'retries', 'delayMs', 'maxDelayMs'),
} as const;

const POLICIES: readonly Policy[] = ['block', 'error', 'drop-oldest', 'latest'];

/** @internal The milliseconds of `timeoutMs`, `Infinity` without it; a signal that has been aborted is thrown for. */
export function timeoutOf(options: WaitOptions): number {
  const { timeoutMs = Infinity } = options;
  signal(options.signal);
  options.signal?.throwIfAborted();
  return milliseconds('timeoutMs', timeoutMs);
}

/** @internal The bytes of a payload. */
export function bytesOf(data: Payload): Uint8Array {
  if (typeof data === 'string') {
    return Buffer.from(data);
  }
  if (!(data instanceof Uint8Array)) {
    throw wrong('data', data, 'a Uint8Array or a string');
  }
  if (sizeOf(data) !== data.length) {
    throw wrong('data', data, 'a Uint8Array with the length that it has');
  }
  if (sizeOf(data) === 0) {
    attached('data', data);
  }
  // Another thread may write to shared memory while it is read: take the copy where that is allowed.
  return data.buffer instanceof SharedArrayBuffer ? Buffer.from(data) : data;
}

/** @internal A channel number that fits the wire; whether it may be used is for the core to say. */
export function channelOf(channel: number): number {
  return whole('channel', channel, 0xffff);
}

/** @internal The options of `of` as the addon takes them. */
export function nativeOptions(
  of: 'connect' | 'listen' | 'link',
  options: CommonOptions & Pick<ListenOptions, 'backlog'> & Pick<ConnectOptions, 'command'> & LinkOptions,
): NativeOptions {
  onlyOptions(of === 'link' ? 'Link.open' : of, Known[of], options);
  const native: NativeOptions = {};
  if (options.channels !== undefined) {
    native.channels = list('channels', options.channels, (name, channel) => whole(name, channel, 0xffff));
  }
  if (options.authToken !== undefined) {
    native.authToken = text('authToken', options.authToken);
  }
  if (options.secret !== undefined) {
    native.secret = text('secret', options.secret);
  }
  if (options.level !== undefined) {
    native.level = whole('level', options.level, 1);
  }
  if (options.maxCalls !== undefined) {
    native.maxCalls = whole('maxCalls', options.maxCalls, 0xffff_ffff);
  }
  if (options.keepaliveMs !== undefined) {
    native.keepaliveMs = milliseconds('keepaliveMs', options.keepaliveMs);
  }
  if (options.policy !== undefined) {
    native.policies = policies(options.policy);
  }
  if (options.command !== undefined) {
    native.command = list('command', options.command, text);
  }
  if (options.allowUids !== undefined) {
    native.allowUids = list('allowUids', options.allowUids, (name, uid) => whole(name, uid, 0xffff_ffff));
  }
  if (options.handshakeTimeoutMs !== undefined) {
    native.handshakeTimeoutMs = milliseconds('handshakeTimeoutMs', options.handshakeTimeoutMs);
  }
  if (options.maxMessage !== undefined) {
    native.maxMessage = whole('maxMessage', options.maxMessage, 0xffff_ffff);
  }
  if (options.fds !== undefined) {
    native.fds = boolean('fds', options.fds);
  }
  if (options.reconnect !== undefined) {
    native.reconnect = boolean('reconnect', options.reconnect);
  }
  if (options.retries !== undefined) {
    native.retries = whole('retries', options.retries, 0xffff_ffff);
  }
  if (options.delayMs !== undefined) {
    native.delayMs = milliseconds('delayMs', options.delayMs);
  }
  if (options.maxDelayMs !== undefined) {
    native.maxDelayMs = milliseconds('maxDelayMs', options.maxDelayMs);
  }
  if (options.backlog !== undefined) {
    native.backlog = whole('backlog', options.backlog, 0xffff);
  }
  return native;
}

function policies(given: Readonly<Record<number, Policy>>): { channel: number; policy: Policy }[] {
  if (looked(given) !== given) {
    throw wrong('policy', given, 'an object with the numbers of channels');
  }
  return Object.entries(given).map(([channel, policy]) => {
    if (!/^\d+$/.test(channel) || Number(channel) > 0xffff) {
      throw invalid(`policy has no channel ${channel}; its names are the numbers of channels`);
    }
    if (!POLICIES.includes(policy)) {
      throw wrong(`policy[${channel}]`, policy, `one of ${POLICIES.join(', ')}`);
    }
    return { channel: Number(channel), policy };
  });
}

/** @internal The numbers of descriptors. */
export function descriptorsOf(fds: readonly Descriptor[]): number[] {
  return list('fds', fds, (name, one) => whole(name, typeof one === 'object' ? looked(one).fd : one, 0x7fff_ffff));
}
