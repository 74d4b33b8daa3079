import { detached, sizeOf, wrong } from './checks';
import { ROW } from './native';
import type { Verb } from './native';
import type { Marks, Payload } from './options';

/** Operations started in one turn before they are handed over early. */
const OPS = 256;
/** Bytes of their payloads. */
const BYTES = 128 * 1024;
/** Payloads above this are never copied here: the addon takes them from where they are, at once. */
const LARGE = 16 * 1024;
/** Messages in one batch. */
const LENGTHS = 4096;
/** Most bytes of an idempotency key and a trace context together; whether they may be that long is for the core to say. */
const MARKS = 1024;

/** What one turn of the loop started, in memory shared with the addon, until all of it is handed over in one call. */
export class Outgoing {
  readonly ops = new Float64Array(OPS * ROW);
  readonly out = Buffer.alloc(BYTES);
  readonly lengths = new Uint32Array(LENGTHS);
  /** Operations gathered. */
  count = 0;
  #used = 0;

  /** Whether one more operation with a payload fits. */
  get hasRoom(): boolean {
    return this.count < OPS && this.#used + LARGE + MARKS <= BYTES;
  }

  /** Forgets what was handed over. */
  clear(): void {
    this.count = 0;
    this.#used = 0;
  }

  /** Adds an operation; its payload has been put already. */
  add(verb: Verb, op: number, target: number, channel: number, length: number, timeoutMs: number, extra: number, marks: number): void {
    const { ops } = this;
    const at = this.count * ROW;
    ops[at] = verb;
    ops[at + 1] = op;
    ops[at + 2] = target;
    ops[at + 3] = channel;
    ops[at + 4] = length;
    ops[at + 5] = timeoutMs;
    ops[at + 6] = extra;
    ops[at + 7] = marks;
    this.count += 1;
  }

  /** Puts a payload: its length, or the bytes that are too many. */
  put(data: Payload | undefined): number | Uint8Array {
    if (typeof data === 'string') {
      if (data.length <= LARGE / 3) {
        const length = this.out.write(data, this.#used);
        this.#used += length;
        return length;
      }
      data = Buffer.from(data);
    } else if (!(data instanceof Uint8Array)) {
      throw wrong('data', data, 'a Uint8Array or a string');
    }
    if (sizeOf(data) > LARGE) {
      // Another thread may write to shared memory while it is read: take the copy where that is allowed.
      return data.buffer instanceof SharedArrayBuffer ? Buffer.from(data) : data;
    }
    return this.#copy('data', data);
  }

  /** Puts payloads as one batch; `false`, and nothing, if they find no room. Nothing else is gathered then. */
  putMany(payloads: readonly Payload[]): boolean {
    let fits = payloads.length <= LENGTHS;
    try {
      for (let at = 0; fits && at < payloads.length; at += 1) {
        const length = this.#used + LARGE <= BYTES ? this.put(payloads[at]) : undefined;
        if (typeof length === 'number') {
          this.lengths[at] = length;
        } else {
          fits = false;
        }
      }
    } catch (error) {
      this.clear();
      throw error;
    }
    if (!fits) {
      this.clear();
    }
    return fits;
  }

  /** Puts the numbers of descriptors. Nothing else is gathered then, before it is handed over. */
  putNumbers(numbers: readonly number[]): void {
    this.lengths.set(numbers.slice(0, LENGTHS));
  }

  /** Puts what goes with a message, in front of its payload. */
  putMarks(marks: Marks): number {
    const key = this.#mark('idempotencyKey', marks.idempotencyKey);
    return key + 0x1_0000 * this.#mark('trace', marks.trace);
  }

  #mark(name: string, mark: Payload | undefined): number {
    if (mark === undefined) {
      return 0;
    }
    const bytes = typeof mark === 'string' ? Buffer.from(mark) : mark;
    if (!(bytes instanceof Uint8Array) || sizeOf(bytes) === 0 || sizeOf(bytes) > MARKS / 2) {
      throw wrong(name, mark, 'a Uint8Array or a string, neither empty nor long');
    }
    return this.#copy(name, bytes);
  }

  /** How many bytes it copied. */
  #copy(name: string, bytes: Uint8Array): number {
    const length = sizeOf(bytes);
    try {
      this.out.set(bytes, this.#used);
    } catch {
      throw detached(name);
    }
    this.#used += length;
    return length;
  }

  /** Where the payloads end, to go back to with `back`. */
  get mark(): number {
    return this.#used;
  }

  /** Takes back what was put since `mark`. */
  back(mark: number): void {
    this.#used = mark;
  }
}
