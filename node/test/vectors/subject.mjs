// The side under test of the vectors.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createConnection, createServer } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { ERRORS, HostlaneError, connect, listen } from 'hostlane';
import { SOON, address, frame, rejects, socketOf } from '../helpers.mjs';
import { Raw } from './wire.mjs';

/** How long nothing may come where nothing is to come, and what has arrived may take to be read: Node cannot ask the kernel. */
export const HOLD = 15;

export const BY_NUMBER = new Map(ERRORS.map((row) => [row.number, row.name]));

/** What came of a promise, kept until somebody asks. */
export function kept(promise) {
  const outcome = promise.then(
    (value) => ({ value }),
    (error) => ({ error }),
  );
  return async () => {
    const { value, error } = await within(outcome, 'it does not end');
    if (error !== undefined) {
      throw error;
    }
    return value;
  };
}

/** The promise, or a failure when it takes too long. */
export async function within(promise, what, limit = SOON) {
  const timer = new AbortController();
  const late = pause(limit, undefined, { signal: timer.signal }).then(
    () => assert.fail(what),
    () => undefined,
  );
  try {
    return await Promise.race([promise, late]);
  } finally {
    timer.abort();
  }
}

/** The name in the error table. */
export function kindOf(error) {
  if (!(error instanceof HostlaneError)) {
    throw error;
  }
  return error.kind;
}

/** A listener with its one client, or a connection, while the test is its other side. */
export class Subject {
  static async of(t, role, options = {}) {
    const subject = new Subject();
    let socket;
    if (role === 'server') {
      subject.listener = await listen(address(t), options);
      t.after(() => subject.listener.close());
      subject.made = kept(subject.listener.accept());
      socket = createConnection(socketOf(subject.listener));
      await once(socket, 'connect');
    } else {
      const path = address(t);
      const server = createServer({ allowHalfOpen: true });
      server.listen(path);
      await once(server, 'listening');
      subject.made = kept(connect(path, { timeoutMs: SOON, ...options }));
      [socket] = await once(server, 'connection');
      server.close();
    }
    subject.raw = new Raw(socket);
    t.after(async () => {
      socket.destroy();
      await subject.#peer?.close();
    });
    return subject;
  }

  #peer;

  /** The connection, or why there is none. */
  async outcome() {
    let decided = false;
    const made = this.made().then(
      (peer) => (this.#peer = peer),
      (error) => kindOf(error),
    ).finally(() => (decided = true));
    const end = performance.now() + SOON;
    while (!decided && this.listener !== undefined) {
      const [refusal] = this.listener.takeRefusals();
      if (refusal !== undefined) {
        return refusal.error.kind;
      }
      assert.ok(performance.now() < end, 'the handshake does not end');
      await pause(1);
    }
    return made;
  }

  async peer() {
    this.#peer ??= await this.outcome();
    assert.notEqual(typeof this.#peer, 'string', this.#peer);
    return this.#peer;
  }

  /** Why the connection is over. */
  async end() {
    const peer = this.#peer ?? (await this.outcome());
    if (typeof peer === 'string') {
      return peer;
    }
    for (;;) {
      try {
        await peer.recv({ timeoutMs: SOON });
      } catch (error) {
        return kindOf(error);
      }
    }
  }

  write(bytes) {
    this.raw.socket.write(bytes);
  }

  async handshake() {
    const got = await this.raw.frame0();
    assert.equal(got?.[0], 0);
    return got[1];
  }

  /** Offers level 1, up to the READY of this side. */
  async level1() {
    const offer = { protocol: 'ipcprims', version: '1.0', channels: [1, 2, 3, 4] };
    this.write(frame(0, JSON.stringify({ ...offer, hostlane: { versions: [1], instance: '0'.repeat(32) } })));
    await this.handshake();
  }

  /** Writes chunks; what comes of them has to be these messages and this end. */
  async feed(chunks, eof, messages, end) {
    const got = [];
    chunks.forEach((chunk) => this.write(chunk));
    if (eof) {
      this.raw.socket.end();
    }
    for (const [channel, payload] of messages) {
      const message = await (await this.peer()).recv({ timeoutMs: SOON });
      assert.equal(message.channel, channel);
      assert.ok(message.data.equals(payload), `${message.data.length} bytes`);
      got.push(message);
    }
    if (end === 'more') {
      await rejects((await this.peer()).recv({ timeoutMs: HOLD }), 'timeout');
    } else {
      const is = await this.end();
      assert.ok(end === 'clean' ? is === 'peer_closed' : end.includes(is), `${is}, not ${end}`);
    }
    return got;
  }
}

/** The options of a side of offers.json, grants.json or transcripts.json. */
export function optionsOf({ features = [], secret, demand }) {
  return {
    ...(features.includes('fds') ? { fds: true } : {}),
    ...(typeof secret === 'string' ? { secret } : {}),
    ...(demand === true ? { level: 1 } : {}),
  };
}
