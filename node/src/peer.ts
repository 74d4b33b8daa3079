import { EventEmitter } from 'node:events';
import { Owner, context } from './context';
import type { HostlaneError } from './errors';
import type { PeerInfo, PeerStats } from './info';
import { iterate } from './iterate';
import { Message } from './message';
import type { Native, Started } from './native';
import { Channel, bytesOf, channelOf, nativeOptions, timeoutOf } from './options';
import type { ConnectOptions, Payload, ReceiveOptions, SendOptions, WaitOptions } from './options';

/** Closes the connections of peers that were collected. */
const collected = new FinalizationRegistry<number>((id) => {
  context().native.peerRelease(id);
});

/** The life-cycle events of a peer; messages are received with `recv` or by iterating. */
export interface PeerEvents {
  /** The connection has ended, by `close` or because an operation found it ended. Emitted once. */
  close: [];
  /** Before `close`, the error that ended the connection; only where somebody listens. The operation rejects with it as well. */
  error: [error: HostlaneError];
}

/**
 * One end of a connection. Any number of operations may be under way at once. An operation that is under way keeps the process
 * alive, unless `unref` was called; an open peer by itself does not. A peer nobody holds any more is closed when it is collected.
 */
export class Peer extends EventEmitter<PeerEvents> implements AsyncDisposable {
  /** Its number in the addon. */
  readonly #id: number;
  readonly #owner: Owner;
  #ended = false;

  private constructor(id: number) {
    super();
    this.#id = id;
    this.#owner = new Owner(
      (channel, data) => new Message(this, channel, data),
      (error) => {
        if (endsConnection(error)) {
          this.#end(error);
        }
      },
    );
    collected.register(this, id);
  }

  /** @internal */
  static of(id: number): Peer {
    return new Peer(id);
  }

  /**
   * Sends one message; resolves once the whole of it was handed to the operating system. Messages arrive in the order of the calls.
   * A timeout before the first byte left leaves the connection as it was; after it, the connection is closed.
   */
  send(data: Payload, options: SendOptions = {}): Promise<void> {
    const { channel = Channel.DATA } = options;
    return this.#run(options, (native, ms) => native.send(this.#id, channelOf(channel), bytesOf(data), ms));
  }

  /** Takes the next message. Fails with `ERR_HOSTLANE_PEER_CLOSED` after the last one of a connection the other side ended. A timeout loses nothing. */
  recv(options: ReceiveOptions = {}): Promise<Message> {
    const { channel } = options;
    return this.#run(options, (native, ms) => native.recv(this.#id, channel === undefined ? -1 : channelOf(channel), ms));
  }

  /**
   * Calls the other side on COMMAND and takes its answer. Calls of one peer are made one after the other, in the order they were
   * asked for. A call that ends by timeout or abort after it was sent closes the connection, so that its late answer cannot be
   * taken for the answer of the next one.
   */
  request(data: Payload, options: WaitOptions = {}): Promise<Message> {
    return this.#run(options, (native, ms) => native.request(this.#id, bytesOf(data), ms));
  }

  /** Asks the other side for a sign of life; resolves with the round trip in milliseconds. */
  ping(options: WaitOptions = {}): Promise<number> {
    return this.#run(options, (native, ms) => native.ping(this.#id, ms));
  }

  /** Ends the connection in good order: sends nothing new, lets calls finish, agrees on the end with the other side. Messages already received can still be taken. */
  async drain(options: WaitOptions = {}): Promise<void> {
    await this.#run(options, (native, ms) => native.drainPeer(this.#id, ms));
    this.#end(undefined);
  }

  /** Ends the connection now: everything under way fails with `ERR_HOSTLANE_CLOSED`. May be called any number of times. */
  close(): Promise<void> {
    context().native.peerClose(this.#id);
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
    context().setReferenced(this.#owner, true);
    return this;
  }

  /** Lets the process exit although operations of this peer are under way. */
  unref(): this {
    context().setReferenced(this.#owner, false);
    return this;
  }

  /** Every message from here on; ends when the connection was ended by either side, and throws when it was lost. */
  [Symbol.asyncIterator](): AsyncIterableIterator<Message, undefined> {
    return iterate(() => this.recv(), 'peer_closed', 'closed');
  }

  /** `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #run<T>(options: WaitOptions, start: (native: Native, timeoutMs: number) => Started): Promise<T> {
    return context().run(this.#owner, options.signal, (native) => start(native, timeoutOf(options)));
  }

  #end(error: HostlaneError | undefined): void {
    if (this.#ended) {
      return;
    }
    this.#ended = true;
    process.nextTick(() => {
      if (error !== undefined && error.kind !== 'peer_closed' && this.listenerCount('error') > 0) {
        this.emit('error', error);
      }
      this.emit('close');
    });
  }
}

/** Whether a connection is over when an operation on it failed so: it is lost, or a message begun could not be finished. */
function endsConnection({ kind, number, sent }: HostlaneError): boolean {
  return (
    kind === 'closed' ||
    kind === 'peer_closed' ||
    kind === 'connection_lost' ||
    (kind === 'timeout' && sent === 'maybe') ||
    (number >= 300 && number < 400)
  );
}

/** Connects to `address`; without `timeoutMs` only the handshake is limited, by `handshakeTimeoutMs`. */
export async function connect(address: string, options: ConnectOptions = {}): Promise<Peer> {
  const id = await context().run<number>(new Owner(), options.signal, (native) =>
    native.connect(address, nativeOptions(options), timeoutOf(options)),
  );
  return Peer.of(id);
}
