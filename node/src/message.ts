import { onlyOptions, ours, whole } from './checks';
import { As, context } from './context';
import { HostlaneError } from './errors';
import { Verb } from './native';
import type { ReceivedMarks } from './native';
import { Known } from './options';
import type { Payload, WaitOptions } from './options';
import { Owner } from './owner';
import type { Origin } from './owner';
import { Stream } from './stream';

/** The signal of a message, and whether the message was answered: then nobody has to be told. */
interface Watch {
  readonly controller: AbortController;
  answered: boolean;
}

/** Closes the descriptors of messages that were collected. */
const collected = new FinalizationRegistry<number>((fds) => {
  context().native.fdsRelease(fds);
});

/** Waiting for a caller to leave keeps no process alive. */
const watching = new Owner();
watching.referenced = false;

/**
 * A message that arrived. Keep it as long as you like; `data` may be a part of memory it shares with messages that came at the
 * same time, so copy what you keep for long.
 *
 * A request is answered once, by `reply` or `fail`. One that is collected without an answer is let go: its caller gets
 * `ERR_HOSTLANE_CALL_ABANDONED`. On wire level 0, which has no ids, nothing is a request: a call is answered by a message.
 */
export class Message {
  readonly #origin: Origin;
  /** The channel it came on. */
  readonly channel: number;
  /** The payload. */
  readonly data: Buffer;
  /** The number of the call in the addon, or 0. */
  readonly #call: number;
  /** The id of the call, unique in its connection; 0 for a one-way message. */
  readonly callId: number;
  /** By `performance.now()`. */
  readonly #until: number;
  readonly #opensStream: boolean;
  readonly #marks: ReceivedMarks | undefined;
  #fds: number | undefined;
  /** Answers under way or given: more than one where the program gave more, which are refused. */
  #answers = 0;
  #watch: Watch | undefined;
  #stream: Stream | undefined;

  /** @internal */
  constructor(
    given: symbol,
    origin: Origin,
    channel: number,
    data: Buffer,
    call: number,
    callId: number,
    until: number,
    opensStream: boolean,
    marks: ReceivedMarks | undefined,
  ) {
    ours(given, 'Message', 'what receives it');
    this.#origin = origin;
    this.channel = channel;
    this.data = data;
    this.#call = call;
    this.callId = callId;
    this.#until = until;
    this.#opensStream = opensStream;
    this.#marks = marks;
    this.#fds = marks?.fds;
    if (this.#fds !== undefined) {
      collected.register(this, this.#fds, this);
    }
  }

  /** Whether somebody waits for an answer. */
  get isRequest(): boolean {
    return this.#call !== 0;
  }

  /** Milliseconds the caller still waits, 0 or more; `undefined` if it set no limit. */
  get deadline(): number | undefined {
    return this.#until === Infinity ? undefined : Math.max(0, this.#until - performance.now());
  }

  /** What the sender gave along to follow the message by. */
  get trace(): Buffer | undefined {
    return this.#marks?.trace;
  }

  /** The key under which the caller may send this call again. */
  get idempotencyKey(): Buffer | undefined {
    return this.#marks?.idempotencyKey;
  }

  /**
   * Hands over the descriptors that came along, once, in the order they were sent; whoever takes them has to close them. What nobody
   * takes is closed when the message is collected.
   */
  takeFds(): number[] {
    const fds = this.#fds;
    if (fds === undefined) {
      return [];
    }
    this.#fds = undefined;
    collected.unregister(this);
    return context().native.fdsTake(fds);
  }

  /**
   * Aborts when an answer is no longer wanted: the caller left, ran out of time, or lost the connection. Never after an answer was
   * given, and never for a one-way message.
   */
  get signal(): AbortSignal {
    this.#watch ??= this.#startWatch();
    return this.#watch.controller.signal;
  }

  /** The stream this request opened: items both ways until it is answered. */
  get stream(): Stream | undefined {
    const { peer } = this.#origin;
    if (this.#opensStream && peer !== undefined) {
      this.#stream ??= Stream.serving(
        peer,
        context().value((native) => native.callStream(this.#call)),
      );
    }
    return this.#stream;
  }

  /**
   * Answers: a request with its reply, a one-way message with a message on its channel. Fails with `ERR_HOSTLANE_CALL_ENDED` when no
   * answer is wanted any more, and as `Peer.send` does.
   */
  reply(data: Payload, options: WaitOptions = {}): Promise<void> {
    if (this.#call === 0) {
      return this.#sendBack(data, options);
    }
    return this.#answer(Verb.Reply, data, options, 0);
  }

  /** Answers a request with an error: `code`, a number below 2^32 of the program's own, and `data` reach the caller in `ERR_HOSTLANE_REMOTE_ERROR`. Fails as `reply` does, and with `ERR_HOSTLANE_INVALID_ARGUMENT` for a one-way message. */
  async fail(code: number, data: Payload = '', options: WaitOptions = {}): Promise<void> {
    const status = whole('code', code, 0xffff_ffff);
    if (this.#call === 0) {
      const kind = this.#origin.info().level === 0 ? 'ERR_HOSTLANE_UNSUPPORTED' : 'ERR_HOSTLANE_INVALID_ARGUMENT';
      throw new HostlaneError(kind, 'nobody waits for an answer to this message');
    }
    await this.#answer(Verb.Fail, data, options, status);
  }

  /** @internal */
  get until(): number {
    return this.#until;
  }

  /** @internal An answer is on its way. */
  taken(): void {
    this.#answered(1);
  }

  /** @internal An answer was refused: another may follow. */
  refused(): void {
    this.#answered(-1);
  }

  /** @internal Lets the call go unless it was answered. */
  release(): void {
    if (this.#call !== 0 && this.#answers === 0) {
      context().flush();
      context().native.callRelease(this.#call);
    }
  }

  async #sendBack(data: Payload, options: WaitOptions): Promise<void> {
    onlyOptions('reply', Known.wait, options);
    await this.#origin.send(data, { ...options, channel: this.channel });
  }

  #answer(verb: Verb, data: Payload, options: WaitOptions, extra: number): Promise<void> {
    return context().start(this.#origin.owner, options, verb, { target: this.#call, data, extra, sink: this });
  }

  #answered(change: number): void {
    this.#answers += change;
    if (this.#watch !== undefined) {
      this.#watch.answered = this.#answers > 0;
    }
  }

  #startWatch(): Watch {
    const watch = { controller: new AbortController(), answered: this.#answers > 0 };
    if (this.#call !== 0 && !watch.answered) {
      const ended = () => {
        if (!watch.answered) {
          watch.controller.abort(new HostlaneError('ERR_HOSTLANE_CALL_ENDED'));
        }
      };
      // It ends with an error where the call had ended before.
      context().start(watching, {}, Verb.CallEnded, { target: this.#call, as: As.Bytes }).then(ended, ended);
    }
    return watch;
  }
}
