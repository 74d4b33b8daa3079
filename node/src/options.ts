import { HostlaneError } from './errors';
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

/** Options of `Peer.send`. */
export interface SendOptions extends WaitOptions {
  /** The channel to send on, DATA by default. */
  readonly channel?: number | undefined;
}

/** Options of `Peer.recv`. */
export interface ReceiveOptions extends WaitOptions {
  /** Take messages of this channel only; any channel by default, in the order of arrival. */
  readonly channel?: number | undefined;
}

/** What both ends of a connection decide before it exists. */
export interface CommonOptions {
  /** The channels to offer: 1 to 4, or from 256; by default 1, 2, 3 and 4. */
  readonly channels?: readonly number[] | undefined;
  /** The shared secret: a connector sends it, a listener demands it. It crosses the socket in clear. */
  readonly authToken?: string | undefined;
  /** The user ids the other side may have, by the kernel's word. By default, for a per-user name this user and root, elsewhere whoever can open the socket. */
  readonly allowUids?: readonly number[] | undefined;
  /** Milliseconds the whole handshake may take, 5000 by default. */
  readonly handshakeTimeoutMs?: number | undefined;
  /** The largest payload in bytes that is accepted or sent, 16 MiB by default. */
  readonly maxMessage?: number | undefined;
}

/** Options of `connect`. */
export interface ConnectOptions extends CommonOptions, WaitOptions {}

/** Options of `listen`. */
export interface ListenOptions extends CommonOptions {
  /** Connections the operating system keeps waiting until they are accepted. */
  readonly backlog?: number | undefined;
}

/** @internal The milliseconds of `timeoutMs`, `Infinity` without it. */
export function timeoutOf(options: WaitOptions): number {
  const { timeoutMs = Infinity } = options;
  return nonNegative('timeoutMs', timeoutMs);
}

/** @internal The bytes of a payload. */
export function bytesOf(data: Payload): Uint8Array {
  if (typeof data === 'string') {
    return Buffer.from(data);
  }
  if (!(data instanceof Uint8Array)) {
    throw invalid('data is neither a Uint8Array nor a string');
  }
  // Another thread may write to shared memory while it is read: take the copy where that is allowed.
  return data.buffer instanceof SharedArrayBuffer ? Buffer.from(data) : data;
}

/** @internal A channel number that fits the wire; whether it may be used is for the core to say. */
export function channelOf(channel: number): number {
  if (!Number.isInteger(channel) || channel < 0 || channel > 0xffff) {
    throw invalid(`${String(channel)} is no channel number`);
  }
  return channel;
}

/** @internal The options as the addon takes them. */
export function nativeOptions(options: CommonOptions & { readonly backlog?: number | undefined }): NativeOptions {
  const native: NativeOptions = {};
  if (options.channels !== undefined) {
    native.channels = options.channels.map(channelOf);
  }
  if (options.authToken !== undefined) {
    native.authToken = options.authToken;
  }
  if (options.allowUids !== undefined) {
    native.allowUids = options.allowUids.map((uid) => unsigned('allowUids', uid, 0xffff_ffff));
  }
  if (options.handshakeTimeoutMs !== undefined) {
    native.handshakeTimeoutMs = nonNegative('handshakeTimeoutMs', options.handshakeTimeoutMs);
  }
  if (options.maxMessage !== undefined) {
    native.maxMessage = unsigned('maxMessage', options.maxMessage, 0xffff_ffff);
  }
  if (options.backlog !== undefined) {
    native.backlog = unsigned('backlog', options.backlog, 0xffff);
  }
  return native;
}

function nonNegative(name: string, value: number): number {
  if (typeof value !== 'number' || !(value >= 0)) {
    throw invalid(`${name} is ${String(value)}; it is a number of milliseconds, 0 or more`);
  }
  return value;
}

function unsigned(name: string, value: number, most: number): number {
  if (!Number.isInteger(value) || value < 0 || value > most) {
    throw invalid(`${name} is ${String(value)}; it is a whole number from 0 to ${most}`);
  }
  return value;
}

function invalid(message: string): HostlaneError {
  return new HostlaneError('ERR_HOSTLANE_INVALID_ARGUMENT', message);
}
