// Node's channel to a forked child, as structured clones: bytes as they are.

import { channel } from './fork-channel.mjs';

await channel(
  import.meta.url,
  'advanced',
  (message) => message,
  (message) => Buffer.from(message.buffer, message.byteOffset, message.length),
);
