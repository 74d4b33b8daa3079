// hostlane: calls for round trips, DATA messages for what is one-way.

import { connect as dial, listen } from '../../node/dist/index.mjs';
import { Service } from './payload.mjs';
import { program, ready } from './works.mjs';

const COPIES = 64; // one-way messages handed over before their promises are looked at

async function connect(address) {
  const peer = await dial(address);
  const call = async (request) => (await peer.request(request)).data;
  return {
    call,
    finish: call,
    async sendAll(messages) {
      for (let at = 0; at < messages.length; at += COPIES) {
        await Promise.all(messages.slice(at, at + COPIES).map((message) => peer.send(message)));
      }
    },
    close: () => peer.close(),
  };
}

async function serve(address) {
  const listener = await listen(address);
  ready(address);
  for await (const peer of listener) void answer(peer);
}

async function answer(peer) {
  const service = new Service();
  for await (const message of peer) {
    const reply = service.handle(message.data);
    if (reply) await message.reply(reply);
  }
  await peer.close();
}

await program(serve, connect);
