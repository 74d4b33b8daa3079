// node inspect.mjs ADDRESS: one program that fails a call, and tells what is known about its connection and what happened to it.
// README-begin
import { HostlaneError, connect, listen, log } from 'hostlane';

log.enable('info', ({ level, event, peer, code, text }) => console.error(level, event, peer, code ?? '-', text));

const listener = await listen(process.argv[2]);
listener.serve((message) => message.fail(42, 'no such price'));

const peer = await connect(process.argv[2]);
try {
  await peer.request('price', { timeoutMs: 5000 });
} catch (error) {
  if (!(error instanceof HostlaneError)) throw error;
  console.log(`${error.kind} ${error.status}: ${error.data}`);
}
console.log(`on level ${peer.info().level}, to user ${peer.info().credentials?.uid}`);
const { calls, openCalls, channels } = peer.stats();
console.log(`${calls} calls, ${openCalls} open`);
for (const { channel, messagesSent, messagesReceived } of channels) {
  console.log(`channel ${channel}: ${messagesSent} sent, ${messagesReceived} received`);
}
console.log(`there and back in ${await peer.ping({ timeoutMs: 5000 })} ms`);
await peer.drain({ timeoutMs: 5000 });
await listener.close();
// README-end
