// vscode-jsonrpc over a Unix socket: requests, and notifications for one-way messages; bytes as base64.

import { once } from 'node:events';
import net from 'node:net';
import { SocketMessageReader, SocketMessageWriter, createMessageConnection } from 'vscode-jsonrpc/node';
import { Service } from './payload.mjs';
import { program, ready } from './works.mjs';

const ENOUGH = 256; // messages on their way before a sender waits

const pack = (message) => message.toString('base64');
const unpack = (text) => Buffer.from(text, 'base64');

const over = (socket) => createMessageConnection(new SocketMessageReader(socket), new SocketMessageWriter(socket));

async function connect(address) {
  const socket = net.connect(address);
  await once(socket, 'connect');
  const connection = over(socket);
  connection.listen();
  const call = async (request) => unpack(await connection.sendRequest('ask', pack(request)));
  return {
    call,
    finish: call,
    async sendAll(messages) {
      for (let at = 0; at < messages.length; at += ENOUGH) {
        const sent = messages.slice(at, at + ENOUGH).map((message) => connection.sendNotification('tell', pack(message)));
        await Promise.all(sent);
      }
    },
    async close() {
      connection.dispose();
      socket.destroy();
      await once(socket, 'close');
    },
  };
}

function serve(address) {
  const listener = net.createServer((socket) => {
    const service = new Service();
    const connection = over(socket);
    connection.onRequest('ask', (text) => pack(service.handle(unpack(text))));
    connection.onNotification('tell', (text) => void service.handle(unpack(text)));
    connection.onClose(() => connection.dispose());
    connection.listen();
  });
  listener.listen(address, () => ready(address));
}

await program(serve, connect);
