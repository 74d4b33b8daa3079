import { OURS, invalid, onlyOptions, ours } from './checks';
import { As, context } from './context';
import { inherited } from './deadline';
import { iterate } from './iterate';
import { Verb } from './native';
import { Channel, Known, bytesOf, channelOf, timeoutOf } from './options';
import type { CallOptions, Payload, WaitOptions } from './options';
import type { Peer } from './peer';

const NOTHING = Buffer.alloc(0);

/** What is left of a stream that was collected. */
interface Left {
  readonly id: number;
  readonly forget: (() => void) | undefined;
}

/** Gives up the calls of streams that were collected. */
const collected = new FinalizationRegistry<Left>(({ id, forget }) => {
  forget?.();
  context().native.streamRelease(id);
});

/** Has an abort close the stream, which the signal does not keep; what is returned takes that back. */
function closes(signal: AbortSignal, stream: WeakRef<Stream>): () => void {
  const close = () => {
    stream.deref()?.close();
  };
  signal.addEventListener('abort', close, { once: true });
  return () => {
    signal.removeEventListener('abort', close);
  };
}

/**
 * The items of one call, in both directions, each with a credit of its own: a stream nobody reads stops nobody else, and its sender
 * waits. The caller gets it from `Peer.openStream`, the other side from `Message.stream`, whose `reply` or `fail` ends it.
 */
export class Stream implements AsyncDisposable {
  readonly #peer: Peer;
  readonly #id: number;
  readonly #calling: boolean;
  /** The id of its call, unique in the connection; the same that `Message.callId` tells on the other side. */
  readonly callId: number;
  /** The signal needs to know of it no more. */
  readonly #forget: (() => void) | undefined;
  #reply: Buffer | undefined;
  #closed = false;

  private constructor(given: symbol, peer: Peer, id: number, calling: boolean, signal?: AbortSignal) {
    ours(given, 'Stream', 'openStream or a message');
    this.#peer = peer;
    this.#id = id;
    this.#calling = calling;
    this.callId = context().value((native) => native.streamCallId(id));
    this.#forget = signal && closes(signal, new WeakRef(this));
    collected.register(this, { id, forget: this.#forget });
  }

  /** @internal */
  static open(peer: Peer, id: number, data: Payload, options: CallOptions): Stream {
    onlyOptions('openStream', Known.call, options);
    const { channel = Channel.COMMAND, signal, trace, idempotencyKey } = options;
    const timeoutMs = inherited(timeoutOf(options));
    const [key, path] = [idempotencyKey, trace].map((mark) => (mark === undefined ? NOTHING : markOf(mark)));
    const stream = context().value((native) =>
      native.streamOpen(id, channelOf(channel), bytesOf(data), timeoutMs, key ?? NOTHING, path ?? NOTHING),
    );
    return new Stream(OURS, peer, stream, true, signal);
  }

  /** @internal */
  static serving(peer: Peer, id: number): Stream {
    return new Stream(OURS, peer, id, false);
  }

  /**
   * Sends an item; resolves once the whole of it was handed to the operating system, which waits for the other side to take earlier
   * ones. Fails with `ERR_HOSTLANE_CALL_ENDED` when the call is over.
   */
  send(item: Payload, options: WaitOptions = {}): Promise<void> {
    return context().start(this.#peer.owner, options, Verb.StreamSend, { target: this.#id, data: item });
  }

  /** Says that this side sends no more. The other direction goes on. */
  finish(options: WaitOptions = {}): Promise<void> {
    return context().start(this.#peer.owner, options, Verb.StreamFinish, { target: this.#id });
  }

  /**
   * The next item; nothing at the end: for the caller that of the call, whose reply is then in `reply`, for the other side the caller's
   * `finish`. Fails with `ERR_HOSTLANE_REMOTE_ERROR` when the other side failed the call. A timeout loses nothing.
   */
  recv(options: WaitOptions = {}): Promise<Buffer | undefined> {
    return context().start<Buffer | undefined>(this.#peer.owner, options, Verb.StreamRecv, {
      target: this.#id,
      as: As.Bytes,
      sink: this,
    });
  }

  /** The reply that ended the call, for its caller, after the last item. */
  get reply(): Buffer | undefined {
    return this.#reply;
  }

  /** @internal */
  ended(reply: Buffer): void {
    this.#reply = reply;
    this.#forget?.();
  }

  /** Gives the caller's call up unless it has ended: the other side is told. On the other side the duty to answer stays. May be called any number of times. */
  close(): void {
    if (!this.#closed) {
      this.#closed = true;
      this.#forget?.();
      context().flush();
      context().native.streamRelease(this.#id);
    }
  }

  /** The items that come. To leave the iteration early gives the caller's call up. */
  [Symbol.asyncIterator](): AsyncIterableIterator<Buffer, undefined> {
    const items = iterate(() => this.recv());
    const done = (): Promise<IteratorResult<Buffer, undefined>> => {
      if (this.#calling) {
        this.close();
      }
      return Promise.resolve({ value: undefined, done: true });
    };
    return {
      next: () =>
        items.next().then((result) => (result.value === undefined ? { value: undefined, done: true } : (result as IteratorResult<Buffer, undefined>))),
      return: done,
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  /** `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    this.close();
    return Promise.resolve();
  }
}

function markOf(mark: Payload): Uint8Array {
  const bytes = bytesOf(mark);
  if (bytes.length === 0) {
    throw invalid('a key or trace has at least one byte');
  }
  return bytes;
}
