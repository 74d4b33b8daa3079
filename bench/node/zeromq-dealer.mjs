// zeromq over its ipc transport: DEALER to ROUTER for requests, PUSH to PULL for one-way messages.

import { Context, Dealer, Pull, Push, Router } from 'zeromq';
import { Service } from './payload.mjs';
import { program, ready } from './works.mjs';

const LARGE = 64 * 1024;
const LARGE_QUEUE = 16; // messages: queues are bounded by their number alone

const oneWay = (address) => `ipc://${address}.push`;

async function connect(address) {
  const context = new Context();
  const requests = new Dealer({ context, linger: 0 });
  requests.connect(`ipc://${address}`);
  const waiting = [];
  const reading = (async () => {
    for await (const [reply] of requests) waiting.shift()(reply);
  })();
  let push;
  // A socket takes one send at a time.
  let sending = Promise.resolve();
  const call = (request) =>
    new Promise((resolve, reject) => {
      sending = sending.then(() => {
        waiting.push(resolve);
        return requests.send(request);
      });
      sending.catch(reject);
    });
  const sendAll = async (messages) => {
    if (!push) {
      const bound = messages[0].length > LARGE ? { sendHighWaterMark: LARGE_QUEUE } : {};
      push = new Push({ context, linger: 0, ...bound });
      push.connect(oneWay(address));
    }
    for (const message of messages) await push.send(message);
  };
  return {
    call,
    sendAll,
    // The report is made where the stream ends, and asked for where replies are given.
    async finish(message) {
      await sendAll([message]);
      return call(message);
    },
    async close() {
      requests.close();
      push?.close();
      await reading;
    },
  };
}

async function serve(address) {
  const requests = new Router();
  await requests.bind(`ipc://${address}`);
  const pull = new Pull();
  await pull.bind(oneWay(address));
  const reports = [];
  const asking = [];
  void count(pull, (report) => (asking.length > 0 ? asking.shift()(report) : reports.push(report)));
  ready(address);
  const service = new Service();
  for await (const [client, message] of requests) {
    const reply = service.handle(message);
    // Only the end of a stream is answered with other bytes, and it was counted elsewhere.
    const counted = () => reports.shift() ?? new Promise((report) => asking.push(report));
    await requests.send([client, reply === message ? message : await counted()]);
  }
}

async function count(pull, give) {
  const service = new Service();
  for await (const [message] of pull) {
    const report = service.handle(message);
    if (report) give(report);
  }
}

await program(serve, connect);
