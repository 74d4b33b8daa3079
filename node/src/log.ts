import { callable, wrong } from './checks';
import { context } from './context';
import type { ErrorKind } from './errors';
import type { NativeLogEvent } from './native';

/** How much an event matters. */
export type LogLevel = 'error' | 'warn' | 'info' | 'debug';

/** What happened to a connection. Payloads and secrets are never in it. */
export interface LogEvent {
  /** When, in milliseconds since the beginning of 1970, as of `Date.now()`. */
  readonly time: number;
  readonly level: LogLevel;
  /** Its name, such as `connected`, `ended` or `link_up`. */
  readonly event: string;
  /** The `peerId` of the connection; empty where there is none yet. */
  readonly peer: string;
  /** The address connected to, or the listener's. */
  readonly address: string;
  /** The `kind` of the error that is the reason, where there is one. */
  readonly code?: ErrorKind;
  /** The details, for people. */
  readonly text: string;
  /** Events that were dropped in front of this one because nobody took them: above 1024 the oldest go first. */
  readonly dropped: number;
}

const LEVELS: readonly LogLevel[] = ['error', 'warn', 'info', 'debug'];

let listener: ((event: LogEvent) => void) | undefined;
const events: NativeLogEvent[] = [];
let scheduled = false;

/**
 * Has `told` called with every event of `level` and of what matters more from now on, instead of who was before. It is called on this
 * JavaScript thread, behind whatever was running there, in the turn of the event loop in which hostlane had something to do. Events
 * are kept for the whole process: with worker threads, enable it in one.
 */
export function enable(level: LogLevel, told: (event: LogEvent) => void): void {
  if (!LEVELS.includes(level)) {
    throw wrong('level', level, `one of ${LEVELS.join(', ')}`);
  }
  callable('told', told);
  listener = told;
  context().heard = schedule;
  context().native.logEnable(LEVELS.indexOf(level) + 1);
}

/** Keeps no events any more. Those kept before are told yet. */
export function disable(): void {
  context().native.logEnable(0);
  schedule();
}

function schedule(): void {
  if (!scheduled) {
    scheduled = true;
    process.nextTick(tell);
  }
}

function tell(): void {
  scheduled = false;
  events.push(...context().native.logDrain());
  try {
    for (let event = events.shift(); event !== undefined; event = events.shift()) {
      listener?.(event as LogEvent);
    }
  } finally {
    // Where one threw, the others are told all the same.
    if (events.length > 0) {
      schedule();
    }
  }
}
