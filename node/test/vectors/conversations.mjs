// The vectors of whole conversations. What the steps mean stands in tests/vectors/README.md.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { SOON } from '../helpers.mjs';
import { refuses } from './handshakes.mjs';
import { bytesOf } from './reader.mjs';
import { BY_NUMBER, HOLD, Subject, kept, kindOf, optionsOf, within } from './subject.mjs';
import { FIN, KINDS, NAMES, STREAM, frame1, proof } from './wire.mjs';

export function unfitTranscript({ limits = {}, steps }) {
  if ('window' in limits || 'stream_window' in limits) {
    return 'a window of another size is no option';
  }
  if (steps.some((step) => 'clock' in step)) {
    return 'the clock of a process cannot be set';
  }
  if (steps.some(({ does }) => does?.fin === true && does.payload !== '')) {
    return 'a program says the end of a stream apart from a payload';
  }
  return undefined;
}

export async function playTranscript(t, vector) {
  const { channels, limits = {} } = vector;
  const subject = await Subject.of(t, vector.role, {
    channels, policy: Object.fromEntries(channels.map((channel) => [channel, 'block'])), ...optionsOf(vector),
    ...('max_message' in limits ? { maxMessage: limits.max_message } : {}),
    ...('max_calls' in limits ? { maxCalls: limits.max_calls } : {}),
  });
  const talk = new Talk(subject, vector);
  for (const [index, step] of vector.steps.entries()) {
    const [[name, value]] = Object.entries(step);
    // Behind the step before the end, one CLOSE is nobody's business.
    talk.over ||= 'ends' in (vector.steps[index + 1] ?? {}) && name !== 'closes';
    try {
      await talk[name](value);
    } catch (error) {
      error.message = `step ${index}, ${name}: ${error.message}`;
      throw error;
    }
  }
  await talk.silent();
}

/** A conversation under way; its steps are methods of their names. */
class Talk {
  level = 0;
  over = false;
  #request;
  #response;
  #hungUp = false;
  /** Something arrived that may not have been read. */
  #arrived = false;
  #next;
  #credit = new Map();
  #ops = new Map();
  #aborts = new Map();
  #streams = new Map();
  #taken = new Map();

  constructor(subject, { role, secret = '' }) {
    this.subject = subject;
    this.client = role === 'client';
    this.secret = secret;
  }

  // -- what goes out

  /** Waits for what goes out, and keeps it for `#take`. */
  async #look(limit) {
    while (this.#next === undefined) {
      const out = await this.subject.raw.frame1(limit);
      if (out === undefined) {
        return;
      }
      const type = NAMES.get(out.kind);
      if (type === 'CREDIT') {
        const key = `${out.channel} ${out.id}`;
        const total = out.payload.readBigUInt64LE(0);
        this.#credit.set(key, total > (this.#credit.get(key) ?? 0n) ? total : this.#credit.get(key));
      } else if (!((type === 'CLOSE' && this.over) || (type === 'CANCEL' && this.#hungUp))) {
        this.#next = out;
      }
    }
  }

  async #take() {
    await this.#look(SOON);
    const out = this.#next;
    this.#next = undefined;
    assert.ok(out, 'nothing goes out');
    return out;
  }

  async silent() {
    if (this.level === 1) {
      await this.#look(HOLD);
      assert.equal(this.#next, undefined);
    } else {
      assert.equal(await this.subject.raw.frame0(HOLD), undefined);
    }
  }

  async sends(value) {
    if (value.type === undefined) {
      await this.#sends0(value);
      return;
    }
    const out = await this.#take();
    assert.equal(NAMES.get(out.kind), value.type);
    assert.equal(out.channel, value.channel ?? out.channel);
    assert.equal(out.id, BigInt(value.id ?? out.id));
    if (out.kind >= 0x10) {
      assert.ok(out.payload.equals(bytesOf(value.payload)), `${out.payload.length} bytes`);
      assert.equal(out.status, value.status);
      assert.deepEqual([(out.flags & FIN) !== 0, (out.flags & STREAM) !== 0], [value.fin ?? false, value.stream ?? false]);
      if (value.deadline_us !== undefined) {
        assert.ok(out.deadline > 0n && out.deadline <= BigInt(value.deadline_us), String(out.deadline));
      }
      return;
    }
    for (const member of ['last', 'total']) {
      if (value[member] !== undefined) {
        assert.equal(out.payload.readBigUInt64LE(0), BigInt(value[member]));
      }
    }
    if (value.code !== undefined && value.type !== 'GOAWAY') {
      assert.equal(out.payload.readUInt32LE(0), value.code);
    }
    assert.equal(out.payload.toString('hex'), value.token ?? out.payload.toString('hex'));
    if (value.proof === true) {
      assert.ok(out.payload.equals(proof(this.secret, this.client, this.#request, this.#response)));
    }
  }

  async #sends0(value) {
    const [channel, payload] = await this.subject.raw.frame0();
    assert.equal(channel, value.channel);
    if (value.json === undefined) {
      assert.ok(payload.equals(bytesOf(value.payload)));
      return;
    }
    const got = JSON.parse(payload);
    if (this.client) {
      delete got.hostlane;
    }
    assert.deepEqual(got, value.json);
  }

  async closes(names) {
    const out = await this.#take();
    assert.equal(NAMES.get(out.kind), 'CLOSE');
    const name = BY_NUMBER.get(out.payload.readUInt32LE(0));
    assert.ok(names.includes(name), name);
    await this.silent();
    this.over = true;
  }

  async credits({ channel = 0, id = 0, at_least: least }) {
    const end = performance.now() + SOON;
    while ((this.#credit.get(`${channel} ${id}`) ?? 0n) < BigInt(least)) {
      assert.ok(performance.now() < end, 'the credit does not come');
      await this.#look(HOLD);
    }
  }

  async asks({ auth }) {
    this.#request = await this.subject.handshake();
    const { versions, ...rest } = JSON.parse(this.#request).hostlane;
    assert.deepEqual([versions.includes(1), 'auth' in rest], [true, auth]);
  }

  async answers({ level, auth }) {
    this.#response = await this.subject.handshake();
    const { version = 0, ...rest } = JSON.parse(this.#response).hostlane ?? {};
    assert.deepEqual([version, 'auth' in rest], [level, auth]);
    this.level = level;
  }

  async refuses(names) {
    refuses(await this.subject.handshake(), names);
  }

  // -- what comes in

  arrives(value) {
    const bytes = bytesOf(value);
    if (!this.client) {
      this.#request ??= bytes.subarray(8);
    } else if (this.#request !== undefined && this.#response === undefined) {
      this.#response = bytes.subarray(8, 8 + bytes.readUInt32LE(2));
      this.level = JSON.parse(this.#response).hostlane === undefined ? 0 : 1;
    }
    this.subject.write(bytes);
    this.#arrived = true;
  }

  proof(which) {
    const secret = which === 'other-secret' ? `${this.secret}?` : this.secret;
    const connector = which === 'reflected' ? this.client : !this.client;
    this.subject.write(frame1(KINDS.get('AUTH'), 0, 0, 0, proof(secret, connector, this.#request, this.#response)));
    this.#arrived = true;
  }

  eof() {
    this.over = true;
    this.#hungUp = true;
    this.subject.raw.socket.end();
  }

  // -- what the program does

  async does(value) {
    const peer = await this.subject.peer();
    if (this.#arrived) {
      this.#arrived = false;
      await pause(HOLD);
    }
    const started = this.#start(peer, value, value.payload === undefined ? undefined : bytesOf(value.payload));
    if (started !== undefined) {
      this.#ops.set(value.op ?? value.what, kept(started));
    }
  }

  #start(peer, value, data) {
    const { what, channel, call, op } = value;
    switch (what) {
      case 'send':
        return peer.send(data, { channel });
      case 'request':
        return peer.request(data).then((reply) => reply.data);
      case 'call':
        return this.#call(peer, value, data);
      case 'cancel':
        return this.#cancel(call);
      case 'reply':
        return value.status === undefined ? this.#taken.get(call).reply(data) : this.#taken.get(call).fail(value.status, data);
      case 'abandon':
        this.#streams.get(call)?.close();
        this.#streams.delete(call);
        this.#taken.delete(call);
        return collect();
      case 'item':
        return value.fin === true ? this.#stream(call).finish() : this.#stream(call).send(data);
      case 'ping':
        return peer.ping();
      case 'drain':
        return peer.drain();
      case 'close':
        return peer.close();
      default:
        return assert.fail(`an operation that is not known here: ${what} ${op}`);
    }
  }

  #call(peer, { op, channel = 1, stream }, data) {
    if (stream === true) {
      this.#streams.set(op, peer.openStream(data, { channel }));
      return undefined;
    }
    const abort = new AbortController();
    this.#aborts.set(op, abort);
    return peer.request(data, { channel, signal: abort.signal }).then((reply) => reply.data);
  }

  #cancel(call) {
    const stream = this.#streams.get(call);
    if (stream === undefined) {
      this.#aborts.get(call).abort();
      return;
    }
    // Whoever waits for an item is told.
    this.#ops.set(call, kept(stream.recv()));
    stream.close();
  }

  /** That of a call of either side. */
  #stream(call) {
    if (!this.#streams.has(call)) {
      this.#streams.set(call, this.#taken.get(call).stream);
    }
    return this.#streams.get(call);
  }

  // -- what the program is told

  /** What an operation or a call ended with; fails as that did. */
  async #ended(name) {
    if (this.#ops.has(name)) {
      return this.#ops.get(name)();
    }
    const stream = this.#streams.get(name);
    while ((await stream.recv({ timeoutMs: SOON })) !== undefined);
    return stream.reply;
  }

  async delivers(value) {
    const message = await (await this.subject.peer()).recv({ timeoutMs: SOON });
    assert.equal(message.channel, value.channel);
    assert.ok(message.data.equals(bytesOf(value.payload)), `${message.data.length} bytes`);
    assert.deepEqual([message.isRequest, message.stream !== undefined], [value.call !== undefined, value.stream ?? false]);
    if (value.call !== undefined) {
      this.#taken.set(value.call, message);
    }
  }

  async item({ call, payload }) {
    assert.ok((await this.#stream(call).recv({ timeoutMs: SOON })).equals(bytesOf(payload)));
  }

  async finished(call) {
    assert.equal(await this.#stream(call).recv({ timeoutMs: SOON }), undefined);
  }

  async replies(value) {
    const { call, payload } = typeof value === 'string' ? { call: 'request', payload: value } : value;
    assert.ok((await this.#ended(call)).equals(bytesOf(payload)));
  }

  async fails(value) {
    const error = await this.#ended(value.call ?? value.op).then(
      () => assert.fail('it did not fail'),
      (reason) => reason,
    );
    // What a program gives up fails with the reason of its own signal, which says nothing of what was sent.
    const given = error.name === 'AbortError';
    const kind = given ? 'cancelled' : kindOf(error);
    assert.ok(value.error.includes(kind), kind);
    assert.equal(error.sent, given ? undefined : (value.sent ?? error.sent));
    if (value.code !== undefined) {
      assert.equal(error.status, value.code);
      assert.ok(error.data.equals(bytesOf(value.payload ?? '')));
    }
  }

  async told({ call }) {
    const { signal } = this.#taken.get(call);
    if (!signal.aborted) {
      await within(once(signal, 'abort'), 'the program is not told');
    }
  }

  async ponged() {
    await this.#ended('ping');
  }

  async drained() {
    await this.#ended('drain');
  }

  async ends(names) {
    this.over = true;
    const end = await this.subject.end();
    assert.ok(names.includes(end), end);
  }
}

/** Until what nobody has any more is collected. */
async function collect() {
  for (let turn = 0; turn < 10; turn += 1) {
    globalThis.gc();
    await pause(1);
  }
}
