// node stream.mjs ADDRESS: one program that serves sums over a stream and asks for one.
// README-begin
import { connect, listen } from 'hostlane';

const listener = await listen(process.argv[2]);
listener.serve(async ({ data, stream }) => {
  if (!stream) throw new TypeError('only streams are served');
  let sum = Number(data.toString());
  for await (const item of stream) {
    sum += Number(item.toString());
    await stream.send(`${sum} so far`);
  }
  return String(sum);
});

const peer = await connect(process.argv[2]);
const stream = peer.openStream('100', { timeoutMs: 5000 });
for (const n of [1, 2, 3]) await stream.send(String(n));
await stream.finish();
for await (const item of stream) console.log(item.toString());
console.log(`the sum is ${stream.reply?.toString()}`);

await peer.close();
await listener.close();
// README-end
