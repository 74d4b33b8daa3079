// What a strict TypeScript program sees of the ESM entry; compiled, not run.

import { Channel, ERRORS, HostlaneError, connect, listen } from 'hostlane';
import type { ErrorCode, Listener, Message, Peer, PeerInfo } from 'hostlane';

const listener: Listener = await listen('./s.sock', { channels: [1, 2, 300], maxMessage: 1024 });
const peer: Peer = await connect(listener.address, { timeoutMs: 1000, signal: AbortSignal.timeout(10) });

await peer.send(new Uint8Array(3), { channel: Channel.TELEMETRY });
const message: Message = await peer.request('text', { timeoutMs: 5 });
const data: Buffer = message.data;
await message.reply(data);

for await (const other of listener) {
  other.unref().on('close', () => undefined);
  other.on('error', (error: HostlaneError) => error.code);
  for await (const { channel } of other) {
    channel.toFixed();
  }
}

try {
  await using closed = peer;
  await closed.ping();
} catch (error) {
  if (error instanceof HostlaneError && error.code === 'ERR_HOSTLANE_TIMEOUT') {
    const code: ErrorCode = error.code;
    const sent: 'no' | 'maybe' = error.sent;
    console.log(code, sent, error.kind, error.number, error.retryable, ERRORS.length);
  }
}

const info: PeerInfo = peer.info();
console.log(info.credentials?.uid, peer.stats().sendQueue.peakBytes, listener.takeRefusals()[0]?.error.kind);

// @ts-expect-error -- peers come from connect and accept
new (peer.constructor as typeof Peer)();
// @ts-expect-error -- a number is no payload
await peer.send(1);
// @ts-expect-error -- no such code
console.log(new HostlaneError('ERR_HOSTLANE_BOGUS'));
