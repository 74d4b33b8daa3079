// Payloads as in the Rust frame: a numbered head with the kind on top, then bytes to check. They are made before and
// given out in cycles: making one costs JavaScript about as much as sending one.

export const REQUEST = 1;
export const ONE_WAY = 2;
export const FINISH = 3;

const CYCLE_BYTES = 64 * 1024;
const LARGE_CYCLE = 4;

/** The messages of a kind and size, again and again in this order. */
export function cycle(kind, size) {
  const count = Math.max(CYCLE_BYTES / size, LARGE_CYCLE);
  return Array.from({ length: count }, (_, number) => {
    const message = Buffer.allocUnsafe(size);
    let state = size;
    for (let at = 8; at < size; at++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      message[at] = state >>> 24;
    }
    message.writeUIntLE(number, 0, 6);
    message[6] = 0;
    message[7] = kind;
    return message;
  });
}

/** What a receiver of so many one-way messages answers in the end. */
export function report(count) {
  const bytes = Buffer.alloc(8);
  bytes.writeUIntLE(count, 0, 6);
  return bytes;
}

/** What one connection's server answers. */
export class Service {
  #count = 0;
  #cycle;

  /** Judges one message; what to send back, if anything. */
  handle(message) {
    switch (message[7]) {
      case REQUEST:
        return message;
      case ONE_WAY:
        this.#cycle ??= cycle(ONE_WAY, message.length);
        if (!message.equals(this.#cycle[this.#count % this.#cycle.length])) {
          throw new Error(`one-way message ${this.#count} is not the one that was due`);
        }
        this.#count++;
        return undefined;
      case FINISH: {
        const counted = report(this.#count);
        this.#count = 0;
        this.#cycle = undefined;
        return counted;
      }
      default:
        throw new Error(`a message of kind ${message[7]}`);
    }
  }
}
