// What answers the other side: the first word of a request says how.

import { setTimeout } from 'node:timers/promises';
import { Channel, HostlaneError } from 'hostlane';
import { Chains, extend } from './chain.mjs';

/** The longest wait of a handler, in milliseconds. */
const timeoutMs = 20_000;

/** The service of one end, and what it has seen. */
export class Service {
  chains = new Chains();
  #requests = 0;
  #cancelled = 0;
  #messages = 0;
  #disordered = 0;
  #last = new Map();
  #error = '';
  #held = [];

  /** Serves until the connection ends. */
  async serve(peer) {
    try {
      await peer.serve((message) => this.#handle(peer, message), { onError: (error) => this.#failed(error) });
    } catch (error) {
      // The calls of this side tell how the connection ended.
      if (!(error instanceof HostlaneError)) throw error;
    }
  }

  async #handle(peer, message) {
    const chained = this.chains.take(message.data);
    // A call of level 0 is a plain message.
    if (!message.isRequest && message.channel !== Channel.COMMAND) {
      if (!chained) this.#count(message);
      return undefined;
    }
    this.#requests += 1;
    const text = message.data.length <= 256 ? message.data.toString() : '';
    const [verb, ...words] = text.split(' ');
    const rest = words.join(' ');
    switch (verb) {
      case 'hold':
        return this.#hold(message, Number(words[0]), Number(words[1]));
      case 'tell':
        return told(message);
      case 'sleep':
        await setTimeout(Number(rest));
        return message.data;
      case 'watch':
        await aborted(message.signal);
        this.#cancelled += 1;
        return undefined;
      case 'fail':
        await this.#fail(message, Number(words[0]), words.slice(1).join(' '));
        return undefined;
      case 'abandon':
        return undefined;
      case 'close':
        peer.close();
        return undefined;
      case 'back':
        return (await peer.request(rest, { timeoutMs })).data;
      case 'stream':
        return this.#stream(message, rest);
      case 'extend':
        return JSON.stringify(await extend(peer, JSON.parse(rest)));
      default:
        return message.data;
    }
  }

  #failed(error) {
    if (!(error instanceof HostlaneError)) throw error;
    this.#error = error.kind;
  }

  /** One-way messages begin with a number that grows along their channel. */
  #count(message) {
    const number = Number.parseInt(message.data.toString(), 10);
    this.#messages += 1;
    this.#disordered += number > (this.#last.get(message.channel) ?? -1) ? 0 : 1;
    this.#last.set(message.channel, number);
  }

  /** `hold N SEED`: answers nobody before the Nth has come, then all in a random order. */
  #hold(message, wanted, seed) {
    return new Promise((answer) => {
      const held = this.#held;
      held.push(() => answer(message.data));
      if (held.length < wanted) return;
      let random = seed;
      for (let last = held.length - 1; last > 0; last--) {
        random = (Math.imul(random, 1_664_525) + 1_013_904_223) >>> 0;
        const other = (random >>> 8) % (last + 1);
        [held[last], held[other]] = [held[other], held[last]];
      }
      for (const one of held.splice(0)) one();
    });
  }

  async #fail(message, code, data) {
    try {
      await message.fail(code, data, { timeoutMs });
    } catch (error) {
      if (error.kind !== 'unsupported') throw error;
      await message.reply('unsupported', { timeoutMs });
    }
  }

  /** `stream echo`: every item goes back. `stream N`: N items once the caller has finished. The reply is the count. */
  async #stream(message, how) {
    const items = message.stream;
    if (items === undefined) return 'no stream';
    let count = 0;
    for await (const item of items) {
      count += 1;
      this.chains.take(item);
      if (how === 'echo') await items.send(item, { timeoutMs });
    }
    for (let number = 0; how !== 'echo' && number < Number(how); number++) await items.send(String(number), { timeoutMs });
    return String(count);
  }

  /** What came from the other side so far. */
  report() {
    return {
      requests: this.#requests,
      cancelled: this.#cancelled,
      messages: this.#messages,
      ordered: this.#disordered === 0,
      error: this.#error,
    };
  }
}

function aborted(signal) {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', resolve, { once: true });
  });
}

/** `tell`: what came beside the payload. */
function told(message) {
  const deadline = message.deadline === undefined ? '-' : 'deadline';
  return [message.idempotencyKey ?? '-', message.trace ?? '-', deadline, message.channel].join(' ');
}
