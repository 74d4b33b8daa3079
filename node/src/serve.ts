import { callable, onlyOptions, signal, whole } from './checks';
import { within } from './deadline';
import { HostlaneError } from './errors';
import type { ErrorKind } from './errors';
import type { Message } from './message';
import { Known } from './options';
import type { Payload, WaitOptions } from './options';
import type { Peer } from './peer';

/** What serves the messages of a peer. What it returns, or promises, is the reply; a request it returns nothing for and has not answered itself is let go. */
// eslint-disable-next-line @typescript-eslint/no-invalid-void-type -- a handler need not return anything
export type Handler = (message: Message) => Payload | void | null | PromiseLike<Payload | void | null>;

/** Options of `serve`. */
export interface ServeOptions extends Pick<WaitOptions, 'signal'> {
  /** Most messages in the hands of the handler at a time, for each peer; 1024 by default. The others wait, at their sender's in the end. */
  readonly concurrency?: number | undefined;
  /**
   * Gets what a handler threw, with its message, and for a listener the error that ended a connection. Without it what a handler threw
   * is a warning of the process, of the type `HostlaneWarning`, and lost connections are not told. The caller gets `ERR_HOSTLANE_REMOTE_ERROR` at once: of a thrown
   * `ERR_HOSTLANE_REMOTE_ERROR`, which is not told here, with its status and data, else with `HANDLER_FAILED`. What this throws
   * itself is an unhandled rejection; serving goes on.
   */
  readonly onError?: ((error: unknown, message: Message | undefined) => void) | undefined;
}

/**
 * The `status` of a call whose handler threw, or gave what is no reply; the `data` is the name of the error and its message. It is the
 * same in every language that has handlers which can fail.
 */
export const HANDLER_FAILED = 1;

const CONCURRENCY = 1024;
/** @internal Milliseconds a listener that was closed gives each of its connections to end in good order. */
export const LAST_CALLS = 5000;

/** @internal Serves what `take` gives until it fails; `take` gets the most messages wanted. */
export class Server {
  #running = 0;
  readonly #most: number;
  /** Called when a handler is done. */
  #freed: (() => void) | undefined;

  constructor(
    readonly handler: Handler,
    readonly options: ServeOptions,
    readonly ends: readonly ErrorKind[] = ['peer_closed', 'closed'],
  ) {
    checkServing(handler, options);
    this.#most = options.concurrency ?? CONCURRENCY;
  }

  /** Resolves when it was ended by an error that is one of `ends` and every handler is done; rejects when it was lost. */
  async serve(take: (most: number) => Promise<Message[]>): Promise<void> {
    try {
      for (;;) {
        while (this.#running >= this.#most) {
          await this.#oneDone();
        }
        for (const message of await take(this.#most - this.#running)) {
          this.#running += 1;
          this.#handle(message);
        }
      }
    } catch (error) {
      while (this.#running > 0) {
        await this.#oneDone();
      }
      if (!(error instanceof HostlaneError) || !this.ends.includes(error.kind)) {
        throw error;
      }
    }
  }

  #oneDone(): Promise<void> {
    return new Promise((resolve) => (this.#freed = resolve));
  }

  #handle(message: Message): void {
    let result;
    try {
      // It may be anything: so may looking at it throw.
      result = within(message.until, this.handler, message);
      if (typeof result === 'object' && result !== null && 'then' in result) {
        // Whatever its `then` does, one of these is called, once.
        Promise.resolve(result).then(
          (reply) => {
            this.#replied(message, reply);
          },
          (error: unknown) => {
            this.#failed(message, error);
          },
        );
        return;
      }
    } catch (error) {
      this.#failed(message, error);
      return;
    }
    this.#replied(message, result);
  }

  // eslint-disable-next-line @typescript-eslint/no-invalid-void-type -- as of Handler
  #replied(message: Message, reply: Payload | void | null): void {
    if (reply === undefined || reply === null) {
      message.release();
      this.#done();
      return;
    }
    message.reply(reply).then(
      () => {
        this.#done();
      },
      (error: unknown) => {
        // No fault of anybody's if the caller has left or the connection has ended.
        if (error instanceof HostlaneError && isGone(error)) {
          message.release();
          this.#done();
        } else {
          this.#failed(message, error);
        }
      },
    );
  }

  /** The handler failed, or what it gave is no reply: the caller is told so, at once. */
  #failed(message: Message, error: unknown): void {
    const passed = passedOn(error);
    if (passed === undefined || !message.isRequest) {
      this.#report(error, message);
    }
    if (!message.isRequest) {
      this.#done();
      return;
    }
    this.#fail(message, passed ?? { status: HANDLER_FAILED, data: described(error) }, true);
  }

  /** Tells the caller; if that is refused for what it is told, then of that. */
  #fail(message: Message, { status, data }: Told, again: boolean): void {
    message.fail(status, data).then(
      () => {
        this.#done();
      },
      (reason: unknown) => {
        if (!(reason instanceof HostlaneError && isGone(reason))) {
          this.#report(reason, message);
          if (again) {
            this.#fail(message, { status: HANDLER_FAILED, data: described(reason) }, false);
            return;
          }
        }
        message.release();
        this.#done();
      },
    );
  }

  #report(error: unknown, message: Message): void {
    if (this.options.onError !== undefined) {
      tell(this.options.onError, error, message);
    } else {
      warn(error);
    }
  }

  #done(): void {
    this.#running -= 1;
    const freed = this.#freed;
    this.#freed = undefined;
    freed?.();
  }
}

/** One request that goes wrong is no reason for the program to end, and none to say nothing. */
function warn(thrown: unknown): void {
  let detail = '';
  try {
    const stack: unknown = thrown instanceof Error ? thrown.stack : '';
    detail = typeof stack === 'string' ? stack : '';
  } catch {
    // Then the text has to do.
  }
  process.emitWarning(`a handler failed: ${described(thrown)}`, { type: 'HostlaneWarning', detail });
}

/** Tells the program of an error. What it throws then is an unhandled rejection: serving goes on. */
function tell(onError: NonNullable<ServeOptions['onError']>, error: unknown, message: Message | undefined): void {
  try {
    onError(error, message);
  } catch (thrown) {
    void Promise.reject(asError(thrown));
  }
}

/** Programs may throw anything: what is looked at of it may throw itself. */
function asError(thrown: unknown): Error {
  try {
    if (thrown instanceof Error) {
      return thrown;
    }
  } catch {
    // It answers no question: then it is no error.
  }
  return new Error('a handler threw what is no error', { cause: thrown });
}

/** What the caller of a call that failed is told. */
interface Told {
  readonly status: number;
  readonly data: Payload | undefined;
}

/** The status and data of a call that the handler failed by throwing `ERR_HOSTLANE_REMOTE_ERROR`. */
function passedOn(thrown: unknown): Told | undefined {
  try {
    if (thrown instanceof HostlaneError && thrown.status !== undefined) {
      return { status: thrown.status, data: thrown.data };
    }
  } catch {
    // Nor is it one of those.
  }
  return undefined;
}

/** What the caller is told of an error: its name and message, never where it comes from. */
function described(thrown: unknown): string {
  try {
    if (thrown instanceof Error) {
      // Whatever the program made of them; of a symbol only `String` makes a text.
      const { name, message }: { readonly name: unknown; readonly message: unknown } = thrown;
      return `${String(name)}: ${String(message)}`;
    }
    return String(thrown);
  } catch {
    return 'what was thrown has no text';
  }
}

/** @internal Refuses what nothing can be served with. */
export function checkServing(handler: Handler, options: ServeOptions): void {
  callable('handler', handler);
  onlyOptions('serve', Known.serve, options);
  signal(options.signal);
  if (options.concurrency !== undefined) {
    whole('concurrency', options.concurrency, Number.MAX_SAFE_INTEGER, 1);
  }
  if (options.onError !== undefined) {
    callable('onError', options.onError);
  }
}

function isGone({ kind, number }: HostlaneError): boolean {
  return kind === 'call_ended' || kind === 'closed' || kind === 'connection_lost' || kind === 'peer_closed' || (number >= 300 && number < 400);
}

/** @internal Serves one peer of a listener to its end, and tells `onError` if that was a bad one. */
export async function serveOne(peer: Peer, handler: Handler, options: ServeOptions): Promise<void> {
  try {
    await peer.serve(handler, options);
  } catch (error) {
    if (options.signal?.aborted !== true && options.onError !== undefined) {
      tell(options.onError, error, undefined);
    }
  }
  await peer.close();
}
