// What a strict TypeScript program sees of the ESM entry; compiled, not run.

import { Channel, ERRORS, HostlaneError, Link, connect, listen, log } from 'hostlane';
import type { ConnectOptions, ErrorCode, Handler, LinkEvent, LogEvent, Listener, Message, Peer, PeerInfo, Stream } from 'hostlane';

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

const limits: ConnectOptions = { level: 1, secret: 's', maxCalls: 5, keepaliveMs: 1000, policy: { 3: 'latest' }, command: ['a'] };
await connect('spawn:', limits);
await message.fail(7, 'why');
const handler: Handler = async ({ isRequest, deadline, signal, stream }) => {
  signal.throwIfAborted();
  await peer.request('nested', { timeoutMs: deadline, signal, channel: 1, idempotencyKey: 'k', trace: new Uint8Array(1) });
  await stream?.send('item');
  return isRequest ? 'reply' : undefined;
};
void listener.serve(handler, { concurrency: 3, onError: (error, of) => console.log(error, of?.channel) });
void peer.serve(() => {});
await peer.sendBatch(['a', new Uint8Array(2)], { channel: 2 });
const batch: Message[] = await peer.recvBatch(10, { timeoutMs: 1 });
console.log(batch.length);
const stream: Stream = peer.openStream('x', { timeoutMs: 5 });
for await (const item of stream) {
  const bytes: Buffer = item;
  console.log(bytes.length, stream.reply?.length);
}
await stream.finish();

await peer.send('x', { fds: [1, { fd: 2 }] });
const fds: number[] = message.takeFds();
log.enable('warn', (event: LogEvent) => console.log(event.event, event.code, event.dropped, fds));
log.disable();

await using link = await Link.open('name', { reconnect: false, retries: 3, delayMs: 5, maxDelayMs: 10, secret: 's' });
link.on('up', (serving: boolean) => serving).on('down', (error: HostlaneError) => error.kind);
const event: LinkEvent = await link.next({ timeoutMs: 5 });
if (event.type === 'message') {
  await event.message.reply('x');
} else if (event.type === 'up') {
  console.log(event.serving, link.isServing);
}
await link.request('x', { idempotencyKey: 'k', timeoutMs: 5 });
await link.send('x', { channel: 3, trace: 't' });
void link.serve(handler);
// @ts-expect-error -- a link has no authToken
await Link.open('name', { authToken: 'x' });

const info: PeerInfo = peer.info();
console.log(info.credentials?.uid, peer.stats().sendQueue.peakBytes, listener.takeRefusals()[0]?.error.kind);

// @ts-expect-error -- peers come from connect and accept
new (peer.constructor as typeof Peer)();
// @ts-expect-error -- a number is no payload
await peer.send(1);
// @ts-expect-error -- no such policy
await connect('x', { policy: { 2: 'sometimes' } });
// @ts-expect-error -- no such code
console.log(new HostlaneError('ERR_HOSTLANE_BOGUS'));
