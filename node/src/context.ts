import { Aborts } from './aborts';
import { OURS, onlyOptions, sizeOf } from './checks';
import { inherited } from './deadline';
import { HostlaneError } from './errors';
import type { LinkEvent } from './link';
import { Message } from './message';
import { Flag, Kind, MORE, PLACE, ROW, Verb, load, waitMode } from './native';
import type { Failure, Native, NativeOptions, Outcomes, ReceivedMarks } from './native';
import { Known, bytesOf, channelOf, descriptorsOf, timeoutOf } from './options';
import type { Descriptor, Marks, Payload, WaitOptions } from './options';
import { Outgoing } from './outgoing';
import { Owner } from './owner';

/** Outcomes fetched in one call. */
const ROWS = 512;
/** Bytes of small payloads cut from one piece of memory; it is freed when none of them is held any more. */
const BYTES = 64 * 1024;
/** A piece with less left is replaced before the next call. */
const LEAST = 16 * 1024;

const NOTHING = Buffer.alloc(0);
const NOW = Promise.resolve();

/** What the payload of an operation becomes. */
export const As = {
  /** A message, or messages, let go when they are collected. */
  Message: 0,
  /** Messages whose calls somebody sees to. */
  Served: 1,
  /** Its bytes. */
  Bytes: 2,
} as const;
export type As = (typeof As)[keyof typeof As];

/** What is told how an operation ended, beside its promise. */
export interface Sink {
  /** The reply at the end of a stream. */
  ended?(reply: Buffer): void;
  /** The operation is under way: nothing was wrong with its arguments. */
  taken?(): void;
  /** It failed after that. */
  refused?(): void;
}

/** What the operations are called, and the options they have. */
const OPTIONS: Readonly<Record<Verb, readonly [of: string, known: ReadonlySet<string>]>> = {
  [Verb.Accept]: ['accept', Known.wait],
  [Verb.Recv]: ['recv', Known.receive],
  [Verb.RecvBatch]: ['recvBatch', Known.wait],
  [Verb.Ping]: ['ping', Known.wait],
  [Verb.Drain]: ['drain', Known.wait],
  [Verb.CallEnded]: ['signal', Known.wait],
  [Verb.StreamRecv]: ['recv', Known.wait],
  [Verb.StreamFinish]: ['finish', Known.wait],
  [Verb.Send]: ['send', Known.send],
  [Verb.SendBatch]: ['sendBatch', Known.sendBatch],
  [Verb.Request]: ['request', Known.request],
  [Verb.Reply]: ['reply', Known.wait],
  [Verb.Fail]: ['fail', Known.wait],
  [Verb.StreamSend]: ['send', Known.wait],
  [Verb.LinkEvents]: ['next', Known.wait],
  [Verb.LinkRequest]: ['request', Known.call],
  [Verb.LinkSend]: ['send', Known.linkSend],
};

interface Operation {
  /** Held while the operation is under way, so that its peer is not collected. */
  readonly owner: Owner;
  readonly as: As;
  readonly resolve: (value: unknown) => void;
  readonly reject: (reason: unknown) => void;
  readonly signal: AbortSignal | undefined;
  readonly sink: Sink | undefined;
}

/** What an operation is started with, beside its verb. */
export interface Start {
  readonly target: number;
  readonly channel?: number | undefined;
  readonly data?: Payload;
  readonly extra?: number;
  readonly marks?: Marks | undefined;
  readonly as?: As;
  /** It gets no more time than is left of the call being served. */
  readonly inherits?: boolean;
  readonly sink?: Sink;
  /** Descriptors that go along. */
  readonly fds?: readonly Descriptor[] | undefined;
}

/** Lets the calls of messages go that were collected. */
const collected = new FinalizationRegistry<number>((call) => {
  context().native.callRelease(call);
});

/**
 * The one context of this environment (a worker thread has its own), and the promises that wait on it. Everything happens on
 * the JavaScript thread. What a turn of the loop starts is gathered and handed to the addon in one call at its end, before the
 * loop goes on; when the addon has something to say it calls `wake`, which fetches all of it.
 */
export class Context {
  readonly native: Native = load();
  readonly #rows = new Float64Array(ROWS * ROW);
  #bytes = Buffer.allocUnsafeSlow(BYTES);
  /** Bytes of it that are cut already. */
  #used = 0;
  readonly #outgoing = new Outgoing();
  #scheduled = false;
  /** By the id the addon knows them by; a free place holds nothing. */
  readonly #operations: (Operation | undefined)[] = [undefined];
  readonly #free: number[] = [];
  readonly #aborts = new Aborts((op) => {
    this.flush();
    this.native.cancel(op);
  });
  readonly #flush = () => {
    this.#scheduled = false;
    this.flush();
  };

  constructor() {
    const { ops, out, lengths } = this.#outgoing;
    this.native.open(
      () => {
        this.wake();
      },
      waitMode(),
      [this.#rows, this.#bytes],
      [ops, out, lengths],
    );
  }

  /**
   * Starts an operation and promises its outcome: the number of a new peer, a Message or several, bytes, the milliseconds of a Pong,
   * or nothing. An abort of the signal cancels it and rejects with the signal's reason, unless the outcome came first: nothing
   * received is lost.
   */
  start<T>(owner: Owner, options: WaitOptions, verb: Verb, start: Start): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      onlyOptions(...OPTIONS[verb], options);
      const { signal } = options;
      const own = timeoutOf(options);
      const timeoutMs = start.inherits === true ? inherited(own) : own;
      const channel = start.channel === undefined ? -1 : channelOf(start.channel);
      const fds = start.fds === undefined || start.fds.length === 0 ? undefined : descriptorsOf(start.fds);
      const operation: Operation = {
        owner,
        as: start.as ?? As.Message,
        resolve: resolve as (value: unknown) => void,
        reject,
        signal,
        sink: start.sink,
      };
      // Before anything is put: a signal is the program's, and what it does may start operations, or fail.
      const op = this.#operation(operation);
      if (fds !== undefined) {
        this.flush();
        this.#outgoing.putNumbers(fds);
      }
      const outgoing = this.#room();
      const mark = outgoing.mark;
      let length = 0;
      let marks = 0;
      let large: Uint8Array | undefined;
      if ('data' in start) {
        try {
          if (start.marks !== undefined) {
            marks = outgoing.putMarks(start.marks);
          }
          const put = outgoing.put(start.data);
          if (typeof put === 'number') {
            length = put;
          } else {
            length = sizeOf(put);
            large = put;
          }
        } catch (error) {
          outgoing.back(mark);
          this.#forget(op, operation);
          throw error;
        }
      }
      outgoing.add(verb, op, start.target, channel, length, timeoutMs, fds?.length ?? start.extra ?? 0, marks);
      start.sink?.taken?.();
      if (large === undefined && fds === undefined) {
        this.#schedule();
      } else {
        this.flush(large);
      }
    });
  }

  /** Starts sending `payloads` on one channel, as one operation: what fails is the end of all behind it. */
  sendBatch(owner: Owner, options: WaitOptions, target: number, channel: number, payloads: readonly Payload[]): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      onlyOptions(...OPTIONS[Verb.SendBatch], options);
      const timeoutMs = timeoutOf(options);
      const { signal } = options;
      const settle = resolve as (value: unknown) => void;
      const operation: Operation = { owner, as: As.Message, resolve: settle, reject, signal, sink: undefined };
      const op = this.#operation(operation);
      this.flush();
      let all: Uint8Array[] | undefined;
      try {
        all = this.#outgoing.putMany(payloads) ? undefined : payloads.map(bytesOf);
      } catch (error) {
        this.#forget(op, operation);
        throw error;
      }
      if (all === undefined) {
        this.#outgoing.add(Verb.SendBatch, op, target, channel, this.#outgoing.mark, timeoutMs, payloads.length, 0);
        this.#schedule();
      } else {
        const lengths = Uint32Array.from(all, sizeOf);
        this.#refill();
        this.#settleAll(this.native.sendBatch(op, target, channel, Buffer.concat(all), lengths, timeoutMs));
        this.heard?.();
      }
    });
  }

  /** Connects, promising the number of the new peer. */
  connect(options: WaitOptions, address: string, given: NativeOptions): Promise<number> {
    return new Promise<number>((resolve, reject) => {
      const { signal } = options;
      const timeoutMs = timeoutOf(options);
      const op = this.#operation({
        owner: new Owner(),
        as: As.Message,
        resolve: resolve as (value: unknown) => void,
        reject,
        signal,
        sink: undefined,
      });
      this.flush();
      this.#settleAll(this.native.connect(op, address, given, timeoutMs));
      this.heard?.();
    });
  }

  /** What a call gives that is never under way, or its error thrown. What was started before it is handed over first. */
  value<T>(call: (native: Native) => T | null): T {
    this.flush();
    const value = call(this.native);
    this.heard?.();
    if (value === null) {
      throw this.#failure(0);
    }
    return value;
  }

  /** Hands over what was started, the last operation with the payload `large` if that is given. */
  flush(large?: Uint8Array): void {
    const { count } = this.#outgoing;
    if (count === 0) {
      return;
    }
    let outcomes;
    try {
      this.#refill();
      outcomes = this.native.submit(count, large);
    } catch (cause) {
      this.#fail(cause);
      return;
    } finally {
      this.#outgoing.clear();
    }
    this.#settleAll(outcomes);
    this.heard?.();
  }

  /** Fetches all that has happened. */
  wake(): void {
    this.#settleAll(MORE);
    this.heard?.();
  }

  /** Something happened: the log may have more. */
  heard: (() => void) | undefined;

  /** Makes the operations of `owner`, those under way included, keep the process alive or not. */
  setReferenced(owner: Owner, referenced: boolean): void {
    if (owner.referenced !== referenced) {
      owner.referenced = referenced;
      this.native.hold(referenced ? owner.pending : -owner.pending);
    }
  }

  /** The memory to gather in, with room for one more operation. */
  #room(): Outgoing {
    if (!this.#outgoing.hasRoom) {
      this.flush();
    }
    return this.#outgoing;
  }

  #schedule(): void {
    if (!this.#scheduled) {
      this.#scheduled = true;
      void NOW.then(this.#flush);
    }
  }

  /** A place for an operation: its id. */
  #operation(operation: Operation): number {
    const { owner, signal } = operation;
    const op = this.#free.pop() ?? this.#operations.length;
    this.#operations[op] = operation;
    owner.pending += 1;
    if (!owner.referenced) {
      this.native.hold(-1);
    }
    if (signal !== undefined) {
      try {
        this.#aborts.add(signal, op);
      } catch (error) {
        this.#forget(op, operation);
        throw error;
      }
    }
    return op;
  }

  /** Sees to it that small payloads find memory. */
  #refill(): void {
    if (BYTES - this.#used < LEAST) {
      this.#bytes = Buffer.allocUnsafeSlow(BYTES);
      this.#used = 0;
      this.native.setBytes(this.#bytes);
    }
  }

  /** Settles the outcomes there are, and those there may be behind them. */
  #settleAll(outcomes: Outcomes): void {
    this.#settleRows(outcomes % MORE);
    while (outcomes >= MORE) {
      try {
        this.#refill();
        outcomes = this.native.drain();
      } catch (cause) {
        this.#fail(cause);
        return;
      }
      this.#settleRows(outcomes % MORE);
    }
  }

  #settleRows(count: number): void {
    for (let row = 0; row < count; row += 1) {
      const at = row * ROW;
      const op = this.#number(at);
      const kind = this.#number(at + 1);
      const rows = kind === Kind.Batch ? this.#number(at + 2) : 0;
      row += rows;
      const operation = this.#operations[op];
      if (operation !== undefined) {
        this.#forget(op, operation);
        this.#settle(operation, kind, at, rows);
      }
    }
  }

  #settle(operation: Operation, kind: number, at: number, rows: number): void {
    switch (kind) {
      case Kind.Payload:
        operation.resolve(operation.as === As.Bytes ? this.#payload(at) : this.#message(operation, at));
        return;
      case Kind.Batch: {
        const items: (Message | LinkEvent)[] = [];
        for (let row = 1; row <= rows; row += 1) {
          items.push(this.#item(operation, at + row * ROW));
        }
        operation.resolve(items);
        return;
      }
      case Kind.Peer:
      case Kind.Pong:
        operation.resolve(this.#number(at + 2));
        return;
      case Kind.StreamEnd:
        operation.sink?.ended?.(this.#payload(at));
        operation.resolve(undefined);
        return;
      case Kind.Failed: {
        const error = this.#failure(at);
        const aborted = error.kind === 'cancelled' && operation.signal?.aborted === true;
        operation.reject(aborted ? operation.signal.reason : error);
        operation.sink?.refused?.();
        operation.owner.failed?.();
        return;
      }
      default:
        operation.resolve(undefined);
    }
  }

  /** A message, or what else a link tells. */
  #item(operation: Operation, at: number): Message | LinkEvent {
    switch (this.#number(at + 1)) {
      case Kind.LinkUp:
        return { type: 'up', serving: this.#number(at + 2) === 1 };
      case Kind.LinkDown:
        return { type: 'down', error: this.#failure(at) };
      default:
        return this.#message(operation, at);
    }
  }

  #message({ owner, as }: Operation, at: number): Message {
    const call = this.#number(at + 3);
    const left = this.#number(at + 6);
    const flags = this.#number(at + 7);
    const marks = (flags & Flag.Marks) !== 0 ? (this.native.take(Math.floor(flags / PLACE)) as ReceivedMarks) : undefined;
    const until = left === Infinity ? Infinity : performance.now() + left;
    const data = this.#payload(at);
    if (owner.origin === undefined) {
      throw new TypeError('a message came to what has none');
    }
    const id = this.#number(at + 8);
    const message = new Message(OURS, owner.origin, this.#number(at + 2), data, call, id, until, (flags & Flag.Stream) !== 0, marks);
    if (call !== 0 && as === As.Message) {
      collected.register(message, call);
    }
    return message;
  }

  #payload(at: number): Buffer {
    const length = this.#number(at + 4);
    const start = this.#number(at + 5);
    if ((this.#number(at + 7) & Flag.Own) !== 0) {
      return this.native.take(start) as Buffer;
    }
    if (length === 0) {
      return NOTHING;
    }
    this.#used = start + length;
    return this.#bytes.subarray(start, start + length);
  }

  #number(at: number): number {
    return this.#rows[at] ?? NaN;
  }

  #failure(at: number): HostlaneError {
    const [message, sent, data] = this.native.take(this.#number(at + 3)) as Failure;
    const status = this.#number(at + 4);
    return new HostlaneError(this.#number(at + 2), message, { sent, ...(status >= 0 && { status, data }) });
  }

  #forget(op: number, operation: Operation): void {
    this.#operations[op] = undefined;
    this.#free.push(op);
    if (operation.signal !== undefined) {
      this.#aborts.delete(operation.signal, op);
    }
    operation.owner.pending -= 1;
    if (!operation.owner.referenced) {
      this.native.hold(1);
    }
  }

  /** The context itself is broken: no operation will ever finish. */
  #fail(cause: unknown): void {
    const error = new HostlaneError('ERR_HOSTLANE_INTERNAL', undefined, { cause, sent: 'maybe' });
    this.#operations.forEach((operation, op) => {
      if (operation !== undefined) {
        this.native.hold(-1);
        this.#forget(op, operation);
        operation.reject(error);
      }
    });
  }
}

let current: Context | undefined;

/** The context of this environment, made at first use. */
export function context(): Context {
  current ??= new Context();
  return current;
}
