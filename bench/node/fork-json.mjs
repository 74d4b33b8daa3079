// Node's channel to a forked child, as JSON: bytes as base64.

import { channel } from './fork-channel.mjs';

await channel(
  import.meta.url,
  'json',
  (message) => message.toString('base64'),
  (message) => Buffer.from(message, 'base64'),
);
