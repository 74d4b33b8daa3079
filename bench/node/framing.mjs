// Messages over `net`, behind their length (4 bytes, little-endian), and both ends on top.

import net from 'node:net';
import { Service } from './payload.mjs';
import { ready } from './works.mjs';

const HEADER = 4;
const COPIED = 4096; // a longer message is not copied behind its header

/** Cuts messages out of what arrives; large ones are put together once they are whole. */
class Cutter {
  #pieces = [];
  #have = 0;
  #need = HEADER;
  #take;

  constructor(take) {
    this.#take = take;
  }

  push(chunk) {
    if (this.#have > 0) {
      this.#pieces.push(chunk);
      this.#have += chunk.length;
      if (this.#have < this.#need) return;
      chunk = Buffer.concat(this.#pieces, this.#have);
      this.#pieces = [];
      this.#have = 0;
    }
    let at = 0;
    this.#need = HEADER;
    while (chunk.length - at >= HEADER) {
      const end = at + HEADER + chunk.readUInt32LE(at);
      if (end > chunk.length) {
        this.#need = end - at;
        break;
      }
      this.#take(chunk.subarray(at + HEADER, end));
      at = end;
    }
    if (at < chunk.length) {
      this.#pieces.push(chunk.subarray(at));
      this.#have = chunk.length - at;
    }
  }
}

/** Writes a message; false when it would be better to wait for `drain`. */
function write(socket, message) {
  if (message.length <= COPIED) {
    const frame = Buffer.allocUnsafe(HEADER + message.length);
    frame.writeUInt32LE(message.length, 0);
    message.copy(frame, HEADER);
    return socket.write(frame);
  }
  const header = Buffer.allocUnsafe(HEADER);
  header.writeUInt32LE(message.length, 0);
  socket.cork();
  socket.write(header);
  const more = socket.write(message);
  socket.uncork();
  return more;
}

/** Messages that leave together: what is put in during one turn of the loop. */
class Batch {
  #socket;
  #frames = [];
  #bytes = 0;

  constructor(socket) {
    this.#socket = socket;
  }

  put(message) {
    if (message.length > COPIED) {
      this.#flush();
      return write(this.#socket, message);
    }
    if (this.#frames.length === 0) queueMicrotask(() => this.#flush());
    this.#frames.push(message);
    this.#bytes += HEADER + message.length;
    return !this.#socket.writableNeedDrain;
  }

  #flush() {
    if (this.#frames.length === 0) return;
    const out = Buffer.allocUnsafe(this.#bytes);
    let at = 0;
    for (const message of this.#frames) {
      at = out.writeUInt32LE(message.length, at);
      at += message.copy(out, at);
    }
    this.#frames = [];
    this.#bytes = 0;
    this.#socket.write(out);
  }
}

function writer(socket, batched) {
  if (!batched) return (message) => write(socket, message);
  const batch = new Batch(socket);
  return (message) => batch.put(message);
}

/** A connected client: replies come in the order of the requests. */
export function connector(batched) {
  return (address) =>
    new Promise((connected, failed) => {
      const socket = net.connect(address);
      const waiting = [];
      let first = 0;
      const cutter = new Cutter((message) => {
        const { resolve } = waiting[first++];
        if (first === waiting.length) {
          waiting.length = 0;
          first = 0;
        }
        resolve(message);
      });
      const fail = (error) => {
        failed(error);
        for (const { reject } of waiting.splice(0)) reject(error);
      };
      const put = writer(socket, batched);
      const call = (request) =>
        new Promise((resolve, reject) => {
          waiting.push({ resolve, reject });
          put(request);
        });
      socket.on('data', (chunk) => cutter.push(chunk));
      socket.on('error', fail);
      socket.on('close', () => fail(new Error('the server is gone')));
      socket.on('connect', () =>
        connected({
          call,
          finish: call,
          async sendAll(messages) {
            for (const message of messages) {
              if (!put(message)) await new Promise((drained) => socket.once('drain', drained));
            }
          },
          close: () =>
            new Promise((closed) => {
              socket.once('close', closed);
              socket.destroy();
            }),
        }),
      );
    });
}

/** Serves all clients. */
export function server(batched) {
  return (address) => {
    const listener = net.createServer((socket) => {
      const service = new Service();
      const put = writer(socket, batched);
      const cutter = new Cutter((message) => {
        const reply = service.handle(message);
        if (reply) put(reply);
      });
      socket.on('data', (chunk) => cutter.push(chunk));
      socket.on('error', (error) => {
        if (error.code !== 'ECONNRESET' && error.code !== 'EPIPE') throw error;
      });
    });
    listener.listen(address, () => ready(address));
  };
}
