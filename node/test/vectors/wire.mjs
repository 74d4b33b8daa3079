// The raw side of the vectors: what it writes, and the frames that it reads.

import assert from 'node:assert/strict';
import { createHash, createHmac } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { SOON } from '../helpers.mjs';

export const KINDS = new Map(Object.entries({
  AUTH: 0x03, READY: 0x04, PING: 0x05, PONG: 0x06, GOAWAY: 0x07, DRAIN_ACK: 0x08, CLOSE: 0x09, ERROR: 0x0a, CREDIT: 0x0b,
  CANCEL: 0x0c, REFUSE: 0x0d, MESSAGE: 0x10, REQUEST: 0x11, RESPONSE: 0x12, STREAM: 0x13,
}));
export const NAMES = new Map([...KINDS].map(([name, kind]) => [kind, name]));
export const [FIRST, LAST, EXT, FIN, STREAM] = [0x01, 0x02, 0x04, 0x08, 0x10];

/** A channel that is no program's. */
export const reserved = (channel) => channel === 0 || (channel > 4 && channel < 256);

/** A frame of level 1. */
export function frame1(kind, flags, channel, id, payload = '') {
  const body = Buffer.from(payload);
  const header = Buffer.alloc(16);
  header.writeUInt32LE(body.length, 0);
  header.writeUInt8(kind, 4);
  header.writeUInt8(flags, 5);
  header.writeUInt16LE(channel, 6);
  header.writeBigUInt64LE(BigInt(id), 8);
  return Buffer.concat([header, body]);
}

export const READY = frame1(KINDS.get('READY'), 0, 0, 0);

/** What a side proves a secret by. */
export function proof(secret, connector, request, response) {
  const digest = (bytes) => createHash('sha256').update(bytes).digest();
  const text = [Buffer.from(`hostlane auth 1${connector ? 'c' : 'a'}`), digest(request), digest(response)];
  return createHmac('sha256', secret).update(Buffer.concat(text)).digest();
}

/** The other side of whatever is tested. */
export class Raw {
  bytes = Buffer.alloc(0);
  ended = false;
  #changed = () => undefined;

  constructor(socket) {
    this.socket = socket;
    const changed = () => this.#changed();
    socket.on('data', (chunk) => {
      this.bytes = Buffer.concat([this.bytes, chunk]);
      changed();
    });
    // To be cut off is what this side is for.
    socket.on('error', (error) => assert.match(error.code, /^(EPIPE|ECONNRESET)$/));
    for (const event of ['end', 'close']) {
      socket.on(event, () => {
        this.ended = true;
        changed();
      });
    }
  }

  /** So many bytes; undefined when they do not come within `limit` or the stream ends. */
  async exactly(count, limit) {
    const end = performance.now() + limit;
    while (this.bytes.length < count) {
      const left = end - performance.now();
      if (this.ended || left <= 0) {
        return undefined;
      }
      const timer = new AbortController();
      const change = new Promise((resolve) => (this.#changed = resolve));
      await Promise.race([change, pause(left, undefined, { signal: timer.signal }).catch(() => undefined)]);
      timer.abort();
    }
    const taken = this.bytes.subarray(0, count);
    this.bytes = this.bytes.subarray(count);
    return taken;
  }

  /** A frame of level 0: channel and payload. */
  async frame0(limit = SOON) {
    const header = await this.exactly(8, limit);
    if (header === undefined) {
      return undefined;
    }
    assert.equal(header.toString('latin1', 0, 2), 'IP');
    return [header.readUInt16LE(6), await this.exactly(header.readUInt32LE(2), SOON)];
  }

  #started = new Map();

  /** A control frame or a whole message of level 1; undefined when none comes within `limit`. */
  async frame1(limit) {
    for (;;) {
      const header = await this.exactly(16, limit);
      if (header === undefined) {
        return undefined;
      }
      const out = {
        kind: header.readUInt8(4), flags: header.readUInt8(5), channel: header.readUInt16LE(6), id: header.readBigUInt64LE(8),
        payload: await this.exactly(header.readUInt32LE(0), SOON), status: undefined, deadline: undefined,
      };
      if (!NAMES.has(out.kind)) {
        continue; // NOP, GREASE and the like
      }
      if (out.kind < 0x10) {
        return out;
      }
      const message = whole(this.#started.get(out.channel), out);
      if (message.flags & LAST) {
        this.#started.delete(out.channel);
        return message;
      }
      this.#started.set(out.channel, message);
    }
  }
}

/** A message with what one more frame brings. */
function whole(before, out) {
  if (before !== undefined) {
    before.payload = Buffer.concat([before.payload, out.payload]);
    before.flags |= out.flags & LAST;
    return before;
  }
  if (out.flags & EXT) {
    const size = 2 + out.payload.readUInt16LE(0);
    for (let at = 2; at < size; at += 4 + out.payload.readUInt16LE(at + 2)) {
      const kind = out.payload.readUInt16LE(at);
      if (kind === 1) {
        out.deadline = out.payload.readBigUInt64LE(at + 4);
      } else if (kind === 4) {
        out.status = out.payload.readUInt32LE(at + 4);
      }
    }
    out.payload = out.payload.subarray(size);
  }
  out.payload = out.flags & LAST ? out.payload : out.payload.subarray(4);
  return out;
}
