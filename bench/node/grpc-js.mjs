// grpc-js over a Unix socket: unary calls, and a client's stream for one-way messages. The bytes are the messages: no
// schema, no serializer.

import { once } from 'node:events';
import grpc from '@grpc/grpc-js';
import { Service } from './payload.mjs';
import { program, ready } from './works.mjs';

const MAX_MESSAGE = 16 << 20;
const options = {
  'grpc.max_receive_message_length': MAX_MESSAGE,
  // A window that lets 1 MiB through without a stop.
  'grpc-node.flow_control_window': 4 << 20,
  // A client is a connection of its own.
  'grpc.use_local_subchannel_pool': 1,
};

const same = (bytes) => bytes;
const method = (name, requestStream) => ({
  path: `/bench.Works/${name}`,
  requestStream,
  responseStream: false,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
});
const works = { ask: method('Ask', false), tell: method('Tell', true) };
const Works = grpc.makeGenericClientConstructor(works, 'Works');

const answered = (start) =>
  new Promise((resolve, reject) => start((error, reply) => (error ? reject(error) : resolve(reply))));

async function connect(address) {
  const client = new Works(`unix:${address}`, grpc.credentials.createInsecure(), options);
  const call = (request) => answered((done) => client.ask(request, done));
  let stream;
  let report;
  const send = async (message) => {
    if (!stream) report = answered((done) => (stream = client.tell(done)));
    if (!stream.write(message)) await once(stream, 'drain');
  };
  return {
    call,
    async sendAll(messages) {
      for (const message of messages) await send(message);
    },
    async finish(message) {
      await send(message);
      stream.end();
      stream = undefined;
      return report;
    },
    close: () => client.close(),
  };
}

async function serve(address) {
  const server = new grpc.Server(options);
  server.addService(works, {
    ask: (call, reply) => reply(null, new Service().handle(call.request)),
    tell(call, reply) {
      const service = new Service();
      call.on('data', (message) => {
        const report = service.handle(message);
        if (report) reply(null, report);
      });
    },
  });
  await answered((bound) => server.bindAsync(`unix:${address}`, grpc.ServerCredentials.createInsecure(), bound));
  ready(address);
}

await program(serve, connect);
