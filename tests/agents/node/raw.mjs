// The floor: what a Node program reaches over a Unix socket with `node:net` and framing written by hand. A frame is an 8-byte
// header, the length of the payload in its first four bytes, and the payload; header and payload go out in one write.

import { createConnection, createServer } from 'node:net';
import { rmSync } from 'node:fs';
import { Latencies } from './latencies.mjs';

const HEADER = 8;

/** Calls `onFrame` with every whole frame, header included; in a reused read buffer it is valid during the call only. */
class Frames {
  #header = Buffer.alloc(HEADER);
  /** The frame that has begun, once its length is known. */
  #frame;
  #filled = 0;

  constructor(onFrame) {
    this.onFrame = onFrame;
  }

  push(chunk) {
    for (let at = 0; at < chunk.length; ) {
      if (this.#filled === 0 && chunk.length - at >= HEADER) {
        const size = HEADER + chunk.readUInt32LE(at);
        if (chunk.length - at >= size) {
          // Almost always a chunk holds the whole frame: no copy then.
          this.onFrame(chunk.subarray(at, at + size));
          at += size;
          continue;
        }
      }
      const into = this.#frame ?? this.#header;
      const taken = chunk.copy(into, this.#filled, at);
      at += taken;
      this.#filled += taken;
      this.#advance();
    }
  }

  #advance() {
    if (this.#frame === undefined && this.#filled === HEADER) {
      this.#frame = Buffer.allocUnsafe(HEADER + this.#header.readUInt32LE(0));
      this.#header.copy(this.#frame);
    }
    if (this.#filled === this.#frame?.length) {
      const whole = this.#frame;
      this.#frame = undefined;
      this.#filled = 0;
      this.onFrame(whole);
    }
  }
}

function frame(payload) {
  const bytes = Buffer.alloc(HEADER + payload.length);
  bytes.writeUInt32LE(payload.length, 0);
  bytes.set(payload, HEADER);
  return bytes;
}

/** Connects and reads into one buffer that is used again and again. */
function dial(path, onFrame) {
  const frames = new Frames(onFrame);
  const onread = {
    buffer: Buffer.alloc(256 * 1024),
    callback: (length, buffer) => {
      frames.push(buffer.subarray(0, length));
      return true;
    },
  };
  return new Promise((resolve, reject) => {
    const socket = createConnection({ path, onread }, () => resolve(socket));
    socket.once('error', reject);
  });
}

function serve(path, connected) {
  rmSync(path, { force: true });
  const server = createServer((socket) => {
    const frames = new Frames(connected(socket));
    socket.on('data', (chunk) => frames.push(chunk));
    socket.on('error', (error) => console.error(error.message));
  });
  server.listen(path, () => console.log(`ready ${path}`));
  process.once('SIGTERM', () => process.exit(0));
}

export function rawEcho(path) {
  serve(path, (socket) => (whole) => socket.write(whole));
}

export async function rawBench(path, size, seconds) {
  const latencies = new Latencies();
  const request = frame(Buffer.alloc(size, 'x'));
  let start;
  let end;
  const socket = await dial(path, (whole) => {
    const now = performance.now();
    if (whole.length !== request.length) {
      throw new Error(`the reply has ${whole.length} bytes, not ${request.length}`);
    }
    latencies.add(now - start);
    if (now >= end) {
      socket.destroy();
      console.log(latencies.json());
      return;
    }
    start = now;
    socket.write(request);
  });
  start = performance.now();
  end = start + seconds * 1000;
  socket.write(request);
}

export function rawSink(path) {
  serve(path, (socket) => {
    let messages = 0;
    return (whole) => {
      if (whole.length === HEADER) {
        socket.write(frame(Buffer.from(String(messages))));
      } else {
        messages += 1;
      }
    };
  });
}

export async function rawStream(path, size, seconds) {
  const message = frame(Buffer.alloc(size, 'x'));
  let messages = 0;
  let start;
  const socket = await dial(path, (whole) => {
    const elapsed = (performance.now() - start) / 1000;
    socket.destroy();
    if (Number(whole.subarray(HEADER).toString()) !== messages) {
      throw new Error(`${messages} messages were sent, ${whole.subarray(HEADER).toString()} arrived`);
    }
    console.log(JSON.stringify({ messages, seconds: elapsed, bytes: messages * size }));
  });
  start = performance.now();
  const pump = () => {
    while (performance.now() < start + seconds * 1000) {
      messages += 1;
      if (!socket.write(message)) {
        socket.once('drain', pump);
        return;
      }
    }
    socket.write(frame(Buffer.alloc(0)));
  };
  pump();
}
