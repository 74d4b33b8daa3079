import { EventEmitter } from 'node:events';
import { OURS, ours, text } from './checks';
import { context } from './context';
import { HostlaneError } from './errors';
import type { ListenerStats, Refusal } from './info';
import { iterate } from './iterate';
import { Verb } from './native';
import { nativeOptions } from './options';
import type { ListenOptions, WaitOptions } from './options';
import { Owner } from './owner';
import { Peer } from './peer';
import { LAST_CALLS, checkServing, serveOne } from './serve';
import type { Handler, ServeOptions } from './serve';

/** Closes the sockets of listeners that were collected. */
const collected = new FinalizationRegistry<number>((id) => {
  context().native.listenerRelease(id);
});

/** The life-cycle events of a listener; connections are taken with `accept` or by iterating. */
export interface ListenerEvents {
  /** The listener was closed. Emitted once. */
  close: [];
}

/**
 * A socket other processes connect to. Handshakes run side by side: no client waits for another. An `accept` that is under way
 * keeps the process alive, unless `unref` was called; an open listener by itself does not.
 */
export class Listener extends EventEmitter<ListenerEvents> implements AsyncDisposable {
  /** Its number in the addon. */
  readonly #id: number;
  readonly #owner = new Owner();
  #closed = false;

  private constructor(given: symbol, id: number) {
    super();
    ours(given, 'Listener', 'listen');
    this.#id = id;
    collected.register(this, id);
  }

  /** @internal */
  static of(id: number): Listener {
    return new Listener(OURS, id);
  }

  /** Where it listens, in the form `connect` takes. */
  get address(): string {
    return context().value((native) => native.listenerAddress(this.#id));
  }

  /** Takes the next connection whose handshake succeeded. Refused clients never get here: `takeRefusals` tells of them. */
  async accept(options: WaitOptions = {}): Promise<Peer> {
    return Peer.of(await context().start<number>(this.#owner, options, Verb.Accept, { target: this.#id }));
  }

  /**
   * Serves every client that connects, as `Peer.serve` does. When the listener is closed the connections end in good order: nothing
   * new is served, and what is being served gets 5 seconds. Resolves when all have ended and every handler is done.
   */
  async serve(handler: Handler, options: ServeOptions = {}): Promise<void> {
    checkServing(handler, options);
    const peers = new Map<Peer, Promise<void>>();
    try {
      for (;;) {
        const peer = await this.accept({ signal: options.signal });
        peers.set(
          peer,
          serveOne(peer, handler, options).finally(() => peers.delete(peer)),
        );
      }
    } catch (error) {
      const closed = error instanceof HostlaneError && error.kind === 'closed';
      if (closed) {
        // What cannot end in good order just ends.
        peers.forEach((_, peer) => void peer.drain({ timeoutMs: LAST_CALLS }).catch(() => peer.close()));
      }
      await Promise.all(peers.values());
      if (!closed) {
        throw error;
      }
    }
  }

  /** Stops listening and removes the socket: every `accept` under way fails with `ERR_HOSTLANE_CLOSED`; accepted peers stay. May be called any number of times. */
  close(): Promise<void> {
    context().flush();
    context().native.listenerClose(this.#id);
    context().heard?.();
    if (!this.#closed) {
      this.#closed = true;
      process.nextTick(() => this.emit('close'));
    }
    return Promise.resolve();
  }

  /** How many connections were accepted and refused, and how full the queues are. */
  stats(): ListenerStats {
    return context().value((native) => native.listenerStats(this.#id));
  }

  /** The clients refused since the last call, the newest of them if there were many, and why. */
  takeRefusals(): Refusal[] {
    const refusals = context().value((native) => native.listenerRefusals(this.#id));
    return refusals.map(({ number, message, credentials }) => ({
      error: new HostlaneError(number, message),
      ...(credentials && { credentials }),
    }));
  }

  /** Lets an `accept` keep the process alive, as it does at first. */
  ref(): this {
    context().setReferenced(this.#owner, true);
    return this;
  }

  /** Lets the process exit although an `accept` is under way. */
  unref(): this {
    context().setReferenced(this.#owner, false);
    return this;
  }

  /** Every connection from here on; ends when the listener is closed. */
  [Symbol.asyncIterator](): AsyncIterableIterator<Peer, undefined> {
    return iterate(() => this.accept(), 'closed');
  }

  /** `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** Listens on `address`. A socket left behind by a dead process is taken over; one that is served is not. */
// eslint-disable-next-line @typescript-eslint/require-await -- an async function, so that every failure is a rejection
export async function listen(address: string, options: ListenOptions = {}): Promise<Listener> {
  const [at, given] = [text('address', address), nativeOptions('listen', options)];
  return Listener.of(context().value((native) => native.listen(at, given)));
}
