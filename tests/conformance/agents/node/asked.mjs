// What an operation is asked to do.

import { Channel } from 'hostlane';

/** Milliseconds an operation may take that names no limit. */
const WAIT = 10_000;

/** How long it may take. */
export const wait = (asked) => ({ timeoutMs: asked.timeout_ms ?? WAIT });

/** The options of both sides. */
export function options(asked) {
  const { level, secret, channels, max_calls: maxCalls, max_message: maxMessage, keepalive_ms: keepaliveMs } = asked;
  const policy = asked.policy && { [asked.policy_channel]: asked.policy.replace('_', '-') };
  return { level, secret, channels, maxCalls, maxMessage, keepaliveMs, policy };
}

/** The text, made as long as asked. */
export function payload({ text = '', size = 0 }) {
  const bytes = Buffer.from(text);
  const filled = Buffer.alloc(Math.max(size, bytes.length), Buffer.from(Array.from({ length: 251 }, (_, at) => at)));
  // The pattern begins behind the text.
  return Buffer.concat([bytes, filled.subarray(0, filled.length - bytes.length)]);
}

export const callOptions = (asked) => ({ ...wait(asked), channel: asked.channel ?? Channel.COMMAND, idempotencyKey: asked.key, trace: asked.trace });

/** Messages that begin with their number. */
export const numbered = (count = 0, size = 0) => Array.from({ length: count }, (_, number) => `${number}.`.padEnd(size, '.'));
