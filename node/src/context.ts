import { Aborts } from './aborts';
import { HostlaneError } from './errors';
import type { Message } from './message';
import { Kind, STRIDE, load, waitMode } from './native';
import type { Failure, Native, Started } from './native';

/** Outcomes fetched in one call. */
const SLOTS = 64;
/** Bytes of small payloads fetched in one call; one that finds no room comes as a Buffer of its own. */
const BYTES = 64 * 1024;

/** Who operations belong to, and whether they keep the process alive. */
export class Owner {
  /** Operations of this owner that are under way. */
  pending = 0;
  /** Whether they keep the process alive. */
  referenced = true;

  /** `received` makes a message of what arrived; `failed` is called with every failure of an operation. */
  constructor(
    readonly received?: (channel: number, data: Buffer) => Message,
    readonly failed?: (error: HostlaneError) => void,
  ) {}
}

interface Operation {
  /** Held while the operation is under way, so that its peer is not collected. */
  readonly owner: Owner;
  readonly resolve: (value: unknown) => void;
  readonly reject: (reason: unknown) => void;
  readonly signal: AbortSignal | undefined;
}

/**
 * The one context of this environment (a worker thread has its own), and the promises that wait on it. Everything happens on
 * the JavaScript thread: an operation started in the addon either is finished at once or gets an id; when the addon has
 * something to say it calls `#wake`, which fetches all of it.
 */
export class Context {
  readonly native: Native = load();
  readonly #slots = new Float64Array(SLOTS * STRIDE);
  readonly #bytes = Buffer.alloc(BYTES);
  readonly #operations = new Map<number, Operation>();
  readonly #aborts = new Aborts((op) => {
    this.native.cancel(op);
  });

  constructor() {
    this.native.open(
      () => {
        this.#wake();
      },
      waitMode(),
      this.#slots,
      this.#bytes,
    );
  }

  /**
   * Starts an operation and promises its outcome: the number of a new peer, a Message, the milliseconds of a Pong, or nothing.
   * An abort of `signal` cancels it and rejects with the signal's reason, unless the outcome came first: nothing received is lost.
   */
  run<T>(owner: Owner, signal: AbortSignal | undefined, start: (native: Native) => Started): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      signal?.throwIfAborted();
      const operation: Operation = { owner, resolve: resolve as (value: unknown) => void, reject, signal };
      const op = start(this.native);
      if (op === 0) {
        this.#settle(operation, 0, 0);
        return;
      }
      this.#operations.set(op, operation);
      owner.pending += 1;
      if (!owner.referenced) {
        this.native.hold(-1);
      }
      if (signal !== undefined) {
        this.#aborts.add(signal, op);
      }
    });
  }

  /** What a call gives that is never under way, or its error thrown. */
  value<T>(call: (native: Native) => T | null): T {
    const value = call(this.native);
    if (value === null) {
      throw this.#failure(0);
    }
    return value;
  }

  /** Makes the operations of `owner`, those under way included, keep the process alive or not. */
  setReferenced(owner: Owner, referenced: boolean): void {
    if (owner.referenced !== referenced) {
      owner.referenced = referenced;
      this.native.hold(referenced ? owner.pending : -owner.pending);
    }
  }

  #wake(): void {
    let count;
    do {
      try {
        count = this.native.drain();
      } catch (cause) {
        this.#fail(new HostlaneError('ERR_HOSTLANE_INTERNAL', undefined, { cause, sent: 'maybe' }));
        return;
      }
      let offset = 0;
      for (let at = 0; at < count * STRIDE; at += STRIDE) {
        const op = this.#slot(at);
        const operation = this.#operations.get(op);
        if (operation !== undefined) {
          this.#forget(op, operation);
          this.#settle(operation, at, offset);
        }
        if (this.#slot(at + 1) === Kind.Small) {
          offset += this.#slot(at + 2);
        }
      }
    } while (count === SLOTS);
  }

  /** Settles `operation` by the outcome at `at`, whose payload, if it is a small one, is at `offset`. */
  #settle(operation: Operation, at: number, offset: number): void {
    const { owner } = operation;
    const a = this.#slot(at + 2);
    const b = this.#slot(at + 3);
    switch (this.#slot(at + 1)) {
      case Kind.Small:
        // A copy out of the shared bytes, which the next call overwrites.
        operation.resolve(owner.received?.(b, Buffer.from(this.#bytes.subarray(offset, offset + a))));
        return;
      case Kind.Large:
        operation.resolve(owner.received?.(b, this.native.take(a) as Buffer));
        return;
      case Kind.Peer:
      case Kind.Pong:
        operation.resolve(a);
        return;
      case Kind.Failed: {
        const error = this.#failure(at);
        const aborted = error.kind === 'cancelled' && operation.signal?.aborted === true;
        operation.reject(aborted ? operation.signal.reason : error);
        owner.failed?.(error);
        return;
      }
      default:
        operation.resolve(undefined);
    }
  }

  #slot(at: number): number {
    return this.#slots[at] ?? NaN;
  }

  #failure(at: number): HostlaneError {
    const [message, sent] = this.native.take(this.#slot(at + 3)) as Failure;
    return new HostlaneError(this.#slot(at + 2), message, { sent });
  }

  #forget(op: number, operation: Operation): void {
    this.#operations.delete(op);
    if (operation.signal !== undefined) {
      this.#aborts.delete(operation.signal, op);
    }
    operation.owner.pending -= 1;
    if (!operation.owner.referenced) {
      this.native.hold(1);
    }
  }

  /** The context itself is broken: no operation will ever finish. */
  #fail(error: HostlaneError): void {
    this.native.hold(-this.#operations.size);
    for (const [op, operation] of this.#operations) {
      this.#forget(op, operation);
      operation.reject(error);
    }
  }
}

let current: Context | undefined;

/** The context of this environment, made at first use. */
export function context(): Context {
  current ??= new Context();
  return current;
}
