// hostlane: calls for round trips, batches of DATA messages for what is one-way.

import { connect as dial, listen } from '../../node/dist/index.mjs';
import { Service } from './payload.mjs';
import { program, ready } from './works.mjs';

async function connect(address) {
  const peer = await dial(address);
  const call = async (request) => (await peer.request(request)).data;
  return { call, finish: call, sendAll: (messages) => peer.sendBatch(messages), close: () => peer.close() };
}

async function serve(address) {
  const listener = await listen(address);
  ready(address);
  for await (const peer of listener) void answer(peer);
}

async function answer(peer) {
  const service = new Service();
  await peer.serve((message) => service.handle(message.data));
  await peer.close();
}

await program(serve, connect);
