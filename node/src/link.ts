import { EventEmitter } from 'node:events';
import { OURS, looked, onlyOptions, ours, text } from './checks';
import { As, context } from './context';
import { HostlaneError } from './errors';
import type { PeerInfo, PeerStats } from './info';
import { iterate } from './iterate';
import { Message } from './message';
import { Verb } from './native';
import { Channel, Known, nativeOptions, timeoutOf } from './options';
import type { CallOptions, LinkOptions, LinkSendOptions, Payload, WaitOptions } from './options';
import { Owner } from './owner';
import { Server } from './serve';
import type { Handler, ServeOptions } from './serve';

/** Events an iteration takes at a time. */
const AHEAD = 64;
/** The longest time a timer can be set to. */
const LONGEST = 0x7fff_ffff;

/** Closes links that were collected. */
const collected = new FinalizationRegistry<number>((id) => {
  context().native.linkRelease(id);
});

/** What a link tells, in order. A message is answered with its `reply` or `fail`. */
export type LinkEvent =
  /** The other side is there; `serving` says whether this side is the one that listens. */
  | { readonly type: 'up'; readonly serving: boolean }
  /** The other side is gone; the link goes on trying, unless told otherwise. */
  | { readonly type: 'down'; readonly error: HostlaneError }
  | { readonly type: 'message'; readonly message: Message };

/** The same for listeners, as far as it is no message: whenever `next`, an iteration or `serve` comes past it. */
export interface LinkEvents {
  up: [serving: boolean];
  down: [error: HostlaneError];
  /** The link has ended, by `close` or because its attempts ran out. Emitted once. */
  close: [];
}

/**
 * Two instances of one program, joined by an address: the first to open listens, the second connects, a third waits as a standby.
 * When one of a pair dies, the other takes over within moments, and the next one joins. Calls go both ways. A call that was lost with
 * its connection is made again on the next one only if it surely was not executed, or has an idempotency key; otherwise it fails once
 * with `ERR_HOSTLANE_CONNECTION_LOST`, whose `sent` says whether it may have been executed.
 *
 * The event loop drives it. An operation that is under way keeps the process alive, unless `unref` was called; an open link by
 * itself does not. A link nobody holds any more is closed when it is collected.
 */
export class Link extends EventEmitter<LinkEvents> implements AsyncDisposable {
  /** Its number in the addon. */
  readonly #id: number;
  /** @internal */
  readonly owner: Owner = new Owner(this);
  /** @internal */
  readonly peer = undefined;
  /** Taken by an iteration before anybody asked for them. */
  readonly #ahead: LinkEvent[] = [];
  #ended = false;

  private constructor(given: symbol, id: number) {
    super();
    ours(given, 'Link', 'Link.open');
    this.#id = id;
    collected.register(this, id);
  }

  /**
   * Opens a link; its first attempt is under way then. The address has to be one that can be listened at and connected to. Fails at
   * once with what another attempt would not change.
   */
  // eslint-disable-next-line @typescript-eslint/require-await -- an async function, so that every failure is a rejection
  static async open(address: string, options: LinkOptions = {}): Promise<Link> {
    const [at, given] = [text('address', address), nativeOptions('link', options)];
    return new Link(OURS, context().value((native) => native.linkOpen(at, given)));
  }

  /**
   * Takes the next event. A timeout loses nothing. Fails with `ERR_HOSTLANE_CLOSED` after `close`, and once and for all with the
   * error that ended the link when its attempts ran out or it was not to reconnect.
   */
  async next(options: WaitOptions = {}): Promise<LinkEvent> {
    onlyOptions('next', Known.wait, options);
    timeoutOf(options);
    const kept = this.#ahead.shift();
    if (kept !== undefined) {
      return kept;
    }
    const [event] = await this.#take(1, options, As.Message);
    return event ?? this.next(options);
  }

  /**
   * Calls the other side and takes its answer; waits for the other side while it is not there. The other side is told `timeoutMs`; a
   * call made while another is being served gets no more than is left of that one. A call that ends by timeout or abort is cancelled.
   */
  request(data: Payload, options: CallOptions = {}): Promise<Message> {
    const { channel = Channel.COMMAND, trace, idempotencyKey } = looked(options);
    const marks = trace === undefined && idempotencyKey === undefined ? undefined : { trace, idempotencyKey };
    return context().start(this.owner, options, Verb.LinkRequest, { target: this.#id, channel, data, inherits: true, marks });
  }

  /**
   * Sends one message to who is there. Fails with `ERR_HOSTLANE_CONNECTION_LOST` while nobody is, it is not kept; and with
   * `ERR_HOSTLANE_WOULD_BLOCK` while the other side does not take what was sent before.
   */
  send(data: Payload, options: LinkSendOptions = {}): Promise<void> {
    const { channel = Channel.DATA, trace } = looked(options);
    const marks = trace === undefined ? undefined : { trace };
    return context().start(this.owner, options as WaitOptions, Verb.LinkSend, { target: this.#id, channel, data, marks });
  }

  /**
   * Gives every message to `handler`, as they come, across all connections the link has. What the handler returns, or promises, is the
   * reply. Resolves when this side closed the link and every handler is done; rejects with what ended the link otherwise.
   */
  async serve(handler: Handler, options: ServeOptions = {}): Promise<void> {
    const server = new Server(handler, options, ['closed']);
    const wait = { signal: options.signal };
    const take = async (most: number) => {
      const events = this.#ahead.length > 0 ? this.#ahead.splice(0, most) : await this.#take(Math.min(most, AHEAD), wait, As.Served);
      return events.flatMap((event) => (event.type === 'message' ? [event.message] : []));
    };
    await server.serve(take);
  }

  /** Whether this side is the one that listens; `undefined` while there is no decision. */
  get isServing(): boolean | undefined {
    context().flush();
    return context().native.linkServing(this.#id) ?? undefined;
  }

  /** Who the other side of the connection there is is. Throws `ERR_HOSTLANE_CONNECTION_LOST` while there is none. */
  info(): PeerInfo {
    return context().value((native) => native.linkInfo(this.#id));
  }

  /** What went through the connection there is. Throws as `info`. */
  stats(): PeerStats {
    return context().value((native) => native.linkStats(this.#id));
  }

  /** Ends the link now: everything under way fails with `ERR_HOSTLANE_CLOSED`, the address is free. May be called any number of times. */
  close(): Promise<void> {
    context().flush();
    this.#ahead.length = 0;
    context().native.linkClose(this.#id);
    context().heard?.();
    this.#end();
    return Promise.resolve();
  }

  /** Lets operations of this link keep the process alive, as they do at first. */
  ref(): this {
    context().setReferenced(this.owner, true);
    return this;
  }

  /** Lets the process exit although operations of this link are under way. */
  unref(): this {
    context().setReferenced(this.owner, false);
    return this;
  }

  /** Every event from here on; ends when this side closed the link, and throws what ended it otherwise. */
  [Symbol.asyncIterator](): AsyncIterableIterator<LinkEvent, undefined> {
    return iterate(() => this.#next(), 'closed');
  }

  /** `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #next(): Promise<LinkEvent> {
    if (this.#ahead.length === 0) {
      this.#ahead.push(...(await this.#take(AHEAD, {}, As.Message)));
    }
    // Somebody else may have taken all of them meanwhile.
    return this.#ahead.shift() ?? this.#next();
  }

  async #take(most: number, options: WaitOptions, as: As): Promise<LinkEvent[]> {
    const timeoutMs = timeoutOf(options);
    const over = new AbortController();
    // The operation keeps the process alive, or is not to.
    const timer =
      timeoutMs === Infinity
        ? undefined
        : setTimeout(
            () => {
              over.abort(new HostlaneError('ERR_HOSTLANE_TIMEOUT'));
            },
            Math.min(timeoutMs, LONGEST),
          ).unref();
    const signals = [options.signal, timer && over.signal].filter((signal) => signal !== undefined);
    const signal = signals.length > 1 ? AbortSignal.any(signals) : signals[0];
    try {
      const start = { target: this.#id, extra: most, as };
      const items = await context().start<(Message | LinkEvent)[]>(this.owner, { signal }, Verb.LinkEvents, start);
      return items.map((item) => this.#told(item));
    } catch (error) {
      if (signal?.aborted !== true) {
        this.#end();
      }
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  #told(item: Message | LinkEvent): LinkEvent {
    if (item instanceof Message) {
      return { type: 'message', message: item };
    }
    if (item.type === 'up') {
      process.nextTick(() => this.emit('up', item.serving));
    } else if (item.type === 'down') {
      process.nextTick(() => this.emit('down', item.error));
    }
    return item;
  }

  #end(): void {
    if (!this.#ended) {
      this.#ended = true;
      process.nextTick(() => this.emit('close'));
    }
  }
}
