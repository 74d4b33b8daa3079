// Chains: messages that each carry their number and the SHA-256 over themselves and all before, so that whoever receives them knows
// what is missing, what came twice, in another order or changed. See docs/soak.md.

import { createHash } from 'node:crypto';
import { HostlaneError } from 'hostlane';
import { callOptions, wait } from './asked.mjs';

/** More than anything takes that stands before a body. */
const BEFORE = 256;

/** Bodies are this again and again, from the number of their message on. */
const BODY = Buffer.from(Array.from({ length: 251 }, (_, at) => at));

/** The head of a message behind another. */
function headOf(before, name, number, body) {
  return createHash('sha256').update(`${before}${name} ${number} `).update(body).digest('hex');
}

/** The chains that arrive at an end, by name. */
export class Chains {
  #all = new Map();

  /** Takes a message into account; false if it is of no chain. */
  take(message) {
    const [word, name, text, head, ...rest] = message.subarray(0, BEFORE).toString('latin1').split(' ');
    const number = Number(text);
    if (word !== 'chain' || rest.length === 0 || !Number.isSafeInteger(number)) return false;
    let came = this.#all.get(name);
    if (came === undefined) this.#all.set(name, (came = nothing()));
    if (number < came.next) {
      // It fills a gap if there is one.
      if (came.lost > 0) {
        came.lost -= 1;
        came.reordered += 1;
      } else {
        came.doubled += 1;
      }
      return true;
    }
    const body = message.subarray(word.length + name.length + text.length + head.length + 4);
    came.lost += number - came.next;
    came.corrupted += number === came.next && head !== headOf(came.head, name, number, body) ? 1 : 0;
    came.next = number + 1;
    came.head = head;
    return true;
  }

  /** What came of a chain so far. */
  report(name) {
    return this.#all.get(name) ?? nothing();
  }

  forget() {
    this.#all.clear();
  }
}

/** What came of a chain; `next` is the number that is due. */
const nothing = () => ({ next: 0, head: '', lost: 0, doubled: 0, reordered: 0, corrupted: 0 });

/** A chain that is sent. */
class Chain {
  #random;
  head = '';
  /** Messages that were sent, and what of them came back otherwise. */
  next = 0;
  wrong = 0;
  bytes = 0;

  constructor({ chain, bits, seed }) {
    this.name = chain;
    this.bits = bits;
    this.#random = seed;
  }

  /** The next message; its body has up to two to the power of `bits` bytes. */
  message(number) {
    this.#random = (Math.imul(this.#random, 1_664_525) + 1_013_904_223) >>> 0;
    const width = (this.#random >>> 27) % (this.bits + 1);
    const size = (this.#random >>> 7) & ((1 << width) - 1);
    const first = number % BODY.length;
    const body = Buffer.alloc(first + size, BODY).subarray(first);
    this.head = headOf(this.head, this.name, number, body);
    const message = Buffer.concat([Buffer.from(`chain ${this.name} ${number} ${this.head} `), body]);
    this.bytes += message.length;
    return message;
  }

  /** Sends the messages one after the other; `one` gives what comes back. */
  async exchange(count, one) {
    for (let number = 0; number < count; number++) {
      const message = this.message(number);
      const back = await one(message);
      this.wrong += back?.equals(message) ? 0 : 1;
      this.next += 1;
    }
  }
}

/** Sends a chain, and tells how far it came. */
export async function extend(peer, asked) {
  const chain = new Chain(asked);
  let failed;
  try {
    await send(peer, asked, chain);
  } catch (error) {
    if (!(error instanceof HostlaneError)) throw error;
    failed = error;
  }
  const { next, head, bytes, wrong } = chain;
  return { next, head, bytes, wrong, error: failed?.kind ?? '', sent: failed?.sent ?? '' };
}

async function send(peer, asked, chain) {
  const { how, count, channel } = asked;
  if (how === 'send') {
    await chain.exchange(count, async (message) => {
      await peer.send(message, { ...wait(asked), channel });
      return message;
    });
  } else if (how === 'call') {
    await chain.exchange(count, async (message) => (await peer.request(message, callOptions(asked))).data);
  } else {
    const stream = peer.openStream('stream echo', callOptions(asked));
    try {
      await chain.exchange(count, async (message) => {
        await stream.send(message, wait(asked));
        return stream.recv(wait(asked));
      });
      await stream.finish(wait(asked));
      chain.wrong += (await stream.recv(wait(asked))) === undefined ? 0 : 1;
    } finally {
      stream.close();
    }
  }
}
