import { EventEmitter } from 'node:events';
import { OURS, iterable, looked, onlyOptions, ours, text, whole } from './checks';
import { As, context } from './context';
import type { Start } from './context';
import { HostlaneError } from './errors';
import type { PeerInfo, PeerStats } from './info';
import { iterate } from './iterate';
import type { Message } from './message';
import { Verb } from './native';
import { Channel, Known, channelOf, nativeOptions, timeoutOf } from './options';
import type {
  CallOptions,
  ConnectOptions,
  Payload,
  ReceiveOptions,
  RequestOptions,
  SendBatchOptions,
  SendOptions,
  WaitOptions,
} from './options';
import { Owner } from './owner';
import { Server } from './serve';
import type { Handler, ServeOptions } from './serve';
import { Stream } from './stream';

/** Messages an iteration takes at a time. */
const AHEAD = 128;

/** Closes the connections of peers that were collected. */
const collected = new FinalizationRegistry<number>((id) => {
  context().native.peerRelease(id);
});

/** The life-cycle events of a peer; messages are received with `recv` or by iterating. */
export interface PeerEvents {
  /**
   * The connection has ended, by `close` or because an operation that failed found it ended. Emitted once. With nothing under way
   * nobody learns of an end until the next operation: a `recv` that waits does at once.
   */
  close: [];
  /** Before `close`, what the connection was lost by: not `ERR_HOSTLANE_CLOSED` or `ERR_HOSTLANE_PEER_CLOSED`. Only where somebody listens. */
  error: [error: HostlaneError];
}

/**
 * One end of a connection. Any number of operations may be under way at once. An operation that is under way keeps the process
 * alive, unless `unref` was called; an open peer by itself does not. A peer nobody holds any more is closed when it is collected.
 */
export class Peer extends EventEmitter<PeerEvents> implements AsyncDisposable {
  /** Its number in the addon. */
  readonly #id: number;
  /** @internal */
  readonly owner: Owner;

  #level: number | undefined;
  /** Taken by an iteration before anybody asked for them; whoever receives next gets them first. */
  readonly #ahead: Message[] = [];
  #ended = false;
  /** An operation has failed, and nobody has looked yet whether the connection has ended. */
  #doubted = false;

  private constructor(given: symbol, id: number) {
    super();
    ours(given, 'Peer', 'connect or accept');
    this.#id = id;
    this.owner = new Owner(this, () => {
      this.#failed();
    });
    collected.register(this, id);
  }

  /** @internal */
  get peer(): this {
    return this;
  }

  /** @internal */
  static of(id: number): Peer {
    return new Peer(OURS, id);
  }

  /**
   * Sends one message; resolves once the whole of it was handed to the operating system. Messages arrive in the order of the calls;
   * those of one turn of the event loop leave together. A timeout before the first byte left leaves the connection as it was; after
   * it, the connection is closed.
   */
  send(data: Payload, options: SendOptions = {}): Promise<void> {
    const { channel = Channel.DATA, trace, fds } = looked(options);
    const marks = trace === undefined ? undefined : { trace };
    return this.#start(options, Verb.Send, { target: this.#id, channel, data, marks, fds });
  }

  /**
   * Sends many messages of one channel in as few steps as they allow; resolves once all of them were handed to the operating system.
   * The fastest way for small ones. The first that fails is the end: none behind it is sent, and `stats` tells how many were taken
   * before it. On wire level 0, which has no batches, they are sent one after the other, and what is sent meanwhile may go between.
   */
  async sendBatch(payloads: Iterable<Payload>, options: SendBatchOptions = {}): Promise<void> {
    onlyOptions('sendBatch', Known.sendBatch, options);
    iterable('payloads', payloads);
    const channel = channelOf(options.channel ?? Channel.DATA);
    this.#level ??= this.info().level;
    if (this.#level > 0) {
      // All of them first: what makes them may send as well.
      await context().sendBatch(this.owner, options, this.#id, channel, [...payloads]);
      return;
    }
    const end = performance.now() + timeoutOf(options);
    for (const data of payloads) {
      await this.send(data, { ...options, timeoutMs: Math.max(0, end - performance.now()) });
    }
  }

  /** Takes the next message. Fails with `ERR_HOSTLANE_PEER_CLOSED` after the last one of a connection the other side ended. A timeout loses nothing. */
  recv(options: ReceiveOptions = {}): Promise<Message> {
    if (this.#ahead.length > 0) {
      return this.#recvAhead(options);
    }
    return this.#start(options, Verb.Recv, { target: this.#id, channel: looked(options).channel });
  }

  /** Takes all messages that are there, at most `most`, waiting for the first. There may be fewer than have arrived: what is taken in one go is bounded. Fails as `recv` does. */
  async recvBatch(most: number, options: WaitOptions = {}): Promise<Message[]> {
    whole('most', most, Number.MAX_SAFE_INTEGER, 1);
    return this.#recvBatch(most, options, As.Message);
  }

  /**
   * Calls the other side and takes its answer. Any number of calls may be under way, in both directions, and be answered in any order.
   * The other side is told `timeoutMs`; a call made while another is being served gets no more than is left of that one. A call that
   * ends by timeout or abort is cancelled, and the other side told.
   *
   * On wire level 0, which has no ids, calls are made one after the other, and one that is given up closes the connection, so that its
   * late answer cannot be taken for the answer of the next one.
   */
  request(data: Payload, options: RequestOptions = {}): Promise<Message> {
    const { channel = Channel.COMMAND, trace, idempotencyKey, fds } = looked(options);
    const target = this.#id;
    const marks = trace === undefined && idempotencyKey === undefined ? undefined : { trace, idempotencyKey };
    return this.#start(options, Verb.Request, { target, channel, data, inherits: true, marks, fds });
  }

  /** Opens a stream: a call with many messages both ways. Never waits. Throws `ERR_HOSTLANE_UNSUPPORTED` on wire level 0, and what `request` fails with. An abort of `signal` gives the stream up. */
  openStream(data: Payload = '', options: CallOptions = {}): Stream {
    try {
      return Stream.open(this, this.#id, data, options);
    } catch (error) {
      this.#failed();
      throw error;
    }
  }

  /**
   * Gives every message to `handler`, as they come. What the handler returns, or promises, is the reply. Calls it makes get no more
   * time than is left of the one it serves. Resolves when either side ended the connection and every handler is done; rejects when
   * the connection was lost.
   */
  async serve(handler: Handler, options: ServeOptions = {}): Promise<void> {
    const server = new Server(handler, options);
    const wait = { signal: options.signal };
    await server.serve((most) => this.#recvBatch(most, wait, As.Served));
  }

  /** Asks the other side for a sign of life; resolves with the round trip in milliseconds. */
  ping(options: WaitOptions = {}): Promise<number> {
    return this.#start(options, Verb.Ping, { target: this.#id });
  }

  /** Ends the connection in good order: sends nothing new, lets calls finish, agrees on the end with the other side. Messages already received can still be taken. */
  async drain(options: WaitOptions = {}): Promise<void> {
    await this.#start(options, Verb.Drain, { target: this.#id });
    this.#end(undefined);
  }

  /** Ends the connection now: everything under way fails with `ERR_HOSTLANE_CLOSED`. May be called any number of times. */
  close(): Promise<void> {
    context().flush();
    this.#ahead.length = 0;
    // It may have ended before.
    this.#look();
    context().native.peerClose(this.#id);
    context().heard?.();
    this.#end(undefined);
    return Promise.resolve();
  }

  /** Who the other side is and what the handshake agreed on. */
  info(): PeerInfo {
    return context().value((native) => native.peerInfo(this.#id));
  }

  /** What went through so far, and how full the queues are. */
  stats(): PeerStats {
    return context().value((native) => native.peerStats(this.#id));
  }

  /** Lets operations of this peer keep the process alive, as they do at first. */
  ref(): this {
    context().setReferenced(this.owner, true);
    return this;
  }

  /** Lets the process exit although operations of this peer are under way. */
  unref(): this {
    context().setReferenced(this.owner, false);
    return this;
  }

  /** Every message from here on; ends when the connection was ended by either side, and throws when it was lost. */
  [Symbol.asyncIterator](): AsyncIterableIterator<Message, undefined> {
    return iterate(() => this.#next(), 'peer_closed', 'closed');
  }

  /** `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #start<T>(options: WaitOptions, verb: Verb, start: Start): Promise<T> {
    return context().start(this.owner, options, verb, start);
  }

  async #next(): Promise<Message> {
    if (this.#ahead.length === 0) {
      this.#ahead.push(...(await this.#recvBatch(AHEAD, {}, As.Message)));
    }
    const message = this.#ahead.shift();
    // Somebody else may have taken all of them meanwhile.
    return message ?? this.#next();
  }

  /** Takes what an iteration took, with options as good as if it had not. */
  async #recvAhead(options: ReceiveOptions): Promise<Message> {
    onlyOptions('recv', Known.receive, options);
    timeoutOf(options);
    const channel = options.channel === undefined ? undefined : channelOf(options.channel);
    const at = this.#ahead.findIndex((message) => channel === undefined || message.channel === channel);
    const [message] = at < 0 ? [] : this.#ahead.splice(at, 1);
    return message ?? this.#start(options, Verb.Recv, { target: this.#id, channel });
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- an async function, so that every failure is a rejection
  async #batchAhead(most: number, options: WaitOptions): Promise<Message[]> {
    onlyOptions('recvBatch', Known.wait, options);
    timeoutOf(options);
    return this.#ahead.splice(0, most);
  }

  #recvBatch(most: number, options: WaitOptions, as: As): Promise<Message[]> {
    if (this.#ahead.length > 0) {
      return this.#batchAhead(most, options);
    }
    return this.#start(options, Verb.RecvBatch, { target: this.#id, extra: most, as });
  }

  #failed(): void {
    if (!this.#doubted && !this.#ended) {
      this.#doubted = true;
      process.nextTick(() => {
        this.#look();
      });
    }
  }

  /** Asks whether the connection has ended, where an operation failed: its error may be of this operation alone. */
  #look(): void {
    if (!this.#doubted) {
      return;
    }
    // A write fails before the end is read.
    context().wake();
    this.#doubted = false;
    const end = context().native.peerEnd(this.#id);
    if (end !== null) {
      const error = new HostlaneError(end.number, end.message);
      const lost = error.kind !== 'peer_closed' && error.kind !== 'closed';
      this.#end(lost ? error : undefined);
    }
  }

  #end(lost: HostlaneError | undefined): void {
    if (this.#ended) {
      return;
    }
    this.#ended = true;
    process.nextTick(() => {
      if (lost !== undefined && this.listenerCount('error') > 0) {
        this.emit('error', lost);
      }
      this.emit('close');
    });
  }
}

/** Connects to `address`; without `timeoutMs` only the handshake is limited, by `handshakeTimeoutMs`. */
export async function connect(address: string, options: ConnectOptions = {}): Promise<Peer> {
  const native = nativeOptions('connect', options);
  return Peer.of(await context().connect(options, text('address', address), native));
}
