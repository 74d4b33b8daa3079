import { AsyncLocalStorage } from 'node:async_hooks';

/** When the call that is being served runs out of time, by `performance.now()`. Calls made on its behalf get no more. */
const serving = new AsyncLocalStorage<number>();

/** Runs `handler` with the deadline `until` for the calls it makes. */
export function within<A, R>(until: number, handler: (argument: A) => R, argument: A): R {
  // Without a deadline nothing is stored: async hooks make every promise of the process slower.
  return until === Infinity ? handler(argument) : serving.run(until, handler, argument);
}

/** The smaller of `timeoutMs` and what is left of the call being served. */
export function inherited(timeoutMs: number): number {
  const until = serving.getStore();
  return until === undefined ? timeoutMs : Math.min(timeoutMs, Math.max(0, until - performance.now()));
}
