// The shared vectors of tests/vectors, played against a real listener or a real connection: the test is the other side, at a raw
// socket. What the steps mean stands in tests/vectors/README.md.

import assert from 'node:assert/strict';
import { createHash, createHmac } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { ERRORS, HostlaneError, connect, listen } from 'hostlane';
import { SOON, address, frame, rejects, socketOf } from './helpers.mjs';

/** How long nothing may come where nothing is to come, and what has arrived may take to be read: Node cannot ask the kernel. */
const HOLD = 15;

const KINDS = new Map(Object.entries({
  AUTH: 0x03, READY: 0x04, PING: 0x05, PONG: 0x06, GOAWAY: 0x07, DRAIN_ACK: 0x08, CLOSE: 0x09, ERROR: 0x0a, CREDIT: 0x0b,
  CANCEL: 0x0c, REFUSE: 0x0d, MESSAGE: 0x10, REQUEST: 0x11, RESPONSE: 0x12, STREAM: 0x13,
}));
const NAMES = new Map([...KINDS].map(([name, kind]) => [kind, name]));
const [FIRST, LAST, EXT, FIN, STREAM] = [0x01, 0x02, 0x04, 0x08, 0x10];
const BY_NUMBER = new Map(ERRORS.map((row) => [row.number, row.name]));

/** The cases of a file. Numbers that a double cannot hold are strings. */
function cases(file) {
  const text = readFileSync(new URL(`../../tests/vectors/${file}`, import.meta.url), 'utf8');
  return JSON.parse(text.replaceAll(/(?<=[^\\]": )\d{16,}(?=[,}\]])/g, '"$&"')).cases;
}

/** A test of each case of a file; what `unfit` has a reason against is skipped with it. */
function vectors(name, file, play, unfit = () => undefined) {
  test(`vectors: ${name}`, async (t) => {
    for (const vector of cases(file)) {
      const skip = unfit(vector);
      await t.test(vector.id, skip === undefined ? {} : { skip }, (inner) => play(inner, vector));
    }
  });
}

/** A byte value of tests/vectors/README.md. */
function raw(value) {
  if (typeof value === 'string') {
    return Buffer.from(value, 'hex');
  }
  if (Array.isArray(value)) {
    return Buffer.concat(value.map(raw));
  }
  return value.text === undefined ? Buffer.concat(Array(value.times).fill(raw(value.hex))) : Buffer.from(value.text);
}

/** A frame of level 1. */
function frame1(kind, flags, channel, id, payload = '') {
  const body = Buffer.from(payload);
  const header = Buffer.alloc(16);
  header.writeUInt32LE(body.length, 0);
  header.writeUInt8(kind, 4);
  header.writeUInt8(flags, 5);
  header.writeUInt16LE(channel, 6);
  header.writeBigUInt64LE(BigInt(id), 8);
  return Buffer.concat([header, body]);
}

const READY = frame1(KINDS.get('READY'), 0, 0, 0);

/** What a side proves a secret by. */
function proof(secret, connector, request, response) {
  const digest = (bytes) => createHash('sha256').update(bytes).digest();
  const text = [Buffer.from(`hostlane auth 1${connector ? 'c' : 'a'}`), digest(request), digest(response)];
  return createHmac('sha256', secret).update(Buffer.concat(text)).digest();
}

/** What came of a promise, kept until somebody asks. */
function kept(promise) {
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
async function within(promise, what, limit = SOON) {
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
function kindOf(error) {
  if (!(error instanceof HostlaneError)) {
    throw error;
  }
  return error.kind;
}

/** The other side of whatever is tested. */
class Raw {
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

/** A listener with its one client, or a connection, while the test is its other side. */
class Subject {
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

function refuses(payload, names) {
  const { error } = JSON.parse(payload);
  assert.ok(names.includes(error.name), error.name);
  assert.equal(BY_NUMBER.get(error.code), error.name);
}

const reserved = (channel) => channel === 0 || (channel > 4 && channel < 256);

// ---- one rule at a time -------------------------------------------------------------------------------------------------------

test('vectors: the error table', () => {
  const table = ERRORS.map(({ number, name, meaning, retryable }) => ({ number, name, doc: meaning, retryable }));
  assert.deepEqual(table, cases('errors.json').map(({ number, name, doc, retryable }) => ({ number, name, doc, retryable })));
});

vectors('requests', 'framing/requests.json', async (t, { server, payload, expect }) => {
  const token = server.auth_token === null ? {} : { authToken: server.auth_token };
  const subject = await Subject.of(t, 'server', { channels: server.channels, ...token });
  subject.write(frame(0, raw(payload)));
  const answer = await subject.handshake();
  if (expect.refused !== undefined) {
    refuses(answer, expect.refused);
    assert.ok(expect.refused.includes(await subject.end()));
    return;
  }
  assert.deepEqual(JSON.parse(answer).channels, expect.channels);
  assert.deepEqual((await subject.peer()).info().channels, expect.channels);
}, ({ server }) => (server.channels.some(reserved) ? 'a program cannot ask for a reserved channel to be served' : undefined));

vectors('responses', 'framing/responses.json', async (t, { asked, payload, expect }) => {
  const subject = await Subject.of(t, 'client', { channels: asked });
  assert.deepEqual(JSON.parse(await subject.handshake()).channels, asked);
  subject.write(frame(0, raw(payload)));
  if (expect.error !== undefined) {
    const outcome = await subject.outcome();
    assert.ok(expect.error.includes(outcome), String(outcome));
    return;
  }
  const { channels, peerId } = (await subject.peer()).info();
  assert.deepEqual({ channels, peer_id: peerId }, expect);
});

vectors('frames', 'framing/frames.json', async (t, { limit, chunks, eof, expect }) => {
  const messages = expect.frames.map(({ channel, payload }) => [channel, raw(payload)]);
  const channels = [...new Set([1, 2, 3, 4, ...messages.map(([channel]) => channel)])];
  const subject = await Subject.of(t, 'server', { channels, maxMessage: limit });
  subject.write(frame(0, JSON.stringify({ protocol: 'ipcprims', version: '1.0', channels })));
  await subject.handshake();
  await subject.peer();
  await subject.feed(chunks.map(raw), eof, messages, expect.end);
}, ({ expect }) => (expect.frames.some(({ channel }) => reserved(channel)) ? "a frame on a channel that is no program's" : undefined));

vectors('control', 'framing/control.json', async (t, { payload, expect }) => {
  const subject = await Subject.of(t, 'server');
  subject.write(frame(0, JSON.stringify({ protocol: 'ipcprims', version: '1.0', channels: [1, 2, 3, 4] })));
  await subject.handshake();
  await subject.peer();
  subject.write(frame(0, raw(payload)));
  if (expect.error !== undefined || expect.type === 'shutdown_force') {
    assert.ok((expect.error ?? 'peer_closed').includes(await subject.end()));
    return;
  }
  const answer = { ping: 'pong', shutdown_request: 'shutdown_ack' }[expect.type];
  if (answer === undefined) {
    // What comes next is the answer to the ping behind it.
    subject.write(frame(0, '{"type":"ping"}'));
  }
  assert.deepEqual(JSON.parse(await subject.handshake()), { type: answer ?? 'pong' });
});

/** The options of a side of offers.json, grants.json or transcripts.json. */
function options({ features = [], secret, demand }) {
  return {
    ...(features.includes('fds') ? { fds: true } : {}),
    ...(typeof secret === 'string' ? { secret } : {}),
    ...(demand === true ? { level: 1 } : {}),
  };
}

const strange = (side) => (vector) =>
  vector[side].features.some((name) => name !== 'fds') ? 'a feature that this language does not have' : undefined;

const features = (names = []) => names.filter((name) => !name.startsWith('grease')).sort();

vectors('offers', 'level1/offers.json', async (t, { server, payload, expect }) => {
  const subject = await Subject.of(t, 'server', { channels: [1, 2], ...options(server) });
  subject.write(frame(0, raw(payload)));
  const answer = await subject.handshake();
  if (expect.refused !== undefined) {
    refuses(answer, expect.refused);
    return;
  }
  const member = JSON.parse(answer).hostlane;
  if (expect.level === 0) {
    assert.equal(member, undefined);
    assert.equal((await subject.peer()).info().level, 0);
    return;
  }
  assert.deepEqual(features(member.features), features(expect.features));
  assert.equal('auth' in member, expect.auth);
}, strange('server'));

vectors('grants', 'level1/grants.json', async (t, { client, payload, expect }) => {
  const subject = await Subject.of(t, 'client', { channels: [1, 2], ...options(client) });
  const request = await subject.handshake();
  subject.write(frame(0, raw(payload)));
  if (expect.error !== undefined) {
    const outcome = await subject.outcome();
    assert.ok(expect.error.includes(outcome), String(outcome));
    return;
  }
  if (expect.level === 1) {
    if (expect.auth) {
      subject.write(frame1(KINDS.get('AUTH'), 0, 0, 0, proof(client.secret, false, request, raw(payload))));
    }
    subject.write(READY);
  }
  const info = (await subject.peer()).info();
  assert.equal(info.level, expect.level);
  assert.deepEqual(features([...info.features]), features(expect.features));
}, strange('client'));

vectors('proofs of the raw side', 'level1/proofs.json', (t, { secret, request, response, expect }) => {
  for (const [side, connector] of [['connector', true], ['acceptor', false]]) {
    assert.equal(proof(raw(secret), connector, raw(request), raw(response)).toString('hex'), expect[side]);
  }
});

const SHOWN = ['MESSAGE', 'PING', 'READY', 'CREDIT'];

vectors('frames of level 1', 'level1/frames.json', async (t, vector) => {
  const items = vector.expect.items.filter(({ type }) => type === 'MESSAGE');
  const subject = await Subject.of(t, 'server', { maxMessage: vector.max_message });
  await subject.level1();
  if (vector.ready) {
    subject.write(READY);
    await subject.peer();
  }
  const messages = items.map(({ channel, payload }) => [channel, raw(payload)]);
  await subject.feed(vector.chunks.map(raw), vector.eof, messages, vector.expect.end);
}, ({ expect }) =>
  expect.items.every(({ type }) => SHOWN.includes(type)) ? undefined : 'a frame that takes a call, a secret or another ending to be right');

vectors('extensions', 'level1/extensions.json', async (t, { form, payload, expect }) => {
  const subject = await Subject.of(t, 'server');
  await subject.level1();
  const end = expect.error ?? 'more';
  if (form === 'ready') {
    await subject.feed([frame1(KINDS.get('READY'), 0, 0, 0, raw(payload))], false, [], end);
    return;
  }
  subject.write(READY);
  const chunk = frame1(KINDS.get('REQUEST'), FIRST | LAST | EXT, 1, 1, raw(payload));
  const messages = expect.error === undefined ? [[1, raw(expect.rest)]] : [];
  const [message] = await subject.feed([chunk], false, messages, end);
  if (message !== undefined) {
    assert.equal(message.idempotencyKey?.toString('hex'), expect.extensions.idempotency);
    assert.equal(message.trace?.toString('hex'), expect.extensions.trace);
    assert.equal(message.deadline !== undefined, 'deadline_us' in expect.extensions);
  }
}, ({ expect }) =>
  (expect.extensions?.deadline_us ?? Infinity) < 1e6 ? 'a deadline that may pass before a program takes the call' : undefined);

vectors('control frames of level 1', 'level1/control.json', async (t, { type, payload, expect }) => {
  const subject = await Subject.of(t, 'server');
  await subject.level1();
  subject.write(READY);
  await subject.peer();
  let end = expect.error ?? 'more';
  if (type === 'CLOSE' && expect.error === undefined) {
    const name = BY_NUMBER.get(expect.fields.code) ?? 'remote_error';
    end = [name === 'closed' ? 'peer_closed' : name];
  }
  await subject.feed([frame1(KINDS.get(type), 0, 0, 0, raw(payload))], false, [], end);
  if (type === 'PING' && end === 'more') {
    let out;
    do {
      out = await subject.raw.frame1(SOON);
    } while (out.kind !== KINDS.get('PONG'));
    assert.equal(out.payload.toString('hex'), expect.fields.token);
  }
}, ({ type, expect }) =>
  expect.error !== undefined || ['PING', 'PONG', 'CLOSE'].includes(type)
    ? undefined
    : 'a frame that takes a call or a handshake to be right');

// ---- whole conversations ------------------------------------------------------------------------------------------------------

function unplayable({ limits = {}, steps }) {
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

for (const folder of ['framing', 'level1']) {
  vectors(`transcripts of ${folder}`, `${folder}/transcripts.json`, async (t, vector) => {
    const { channels, limits = {} } = vector;
    const subject = await Subject.of(t, vector.role, {
      channels, policy: Object.fromEntries(channels.map((channel) => [channel, 'block'])), ...options(vector),
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
  }, unplayable);
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
      assert.ok(out.payload.equals(raw(value.payload)), `${out.payload.length} bytes`);
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
      assert.ok(payload.equals(raw(value.payload)));
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
    const bytes = raw(value);
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
    const started = this.#start(peer, value, value.payload === undefined ? undefined : raw(value.payload));
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
    assert.ok(message.data.equals(raw(value.payload)), `${message.data.length} bytes`);
    assert.deepEqual([message.isRequest, message.stream !== undefined], [value.call !== undefined, value.stream ?? false]);
    if (value.call !== undefined) {
      this.#taken.set(value.call, message);
    }
  }

  async item({ call, payload }) {
    assert.ok((await this.#stream(call).recv({ timeoutMs: SOON })).equals(raw(payload)));
  }

  async finished(call) {
    assert.equal(await this.#stream(call).recv({ timeoutMs: SOON }), undefined);
  }

  async replies(value) {
    const { call, payload } = typeof value === 'string' ? { call: 'request', payload: value } : value;
    assert.ok((await this.#ended(call)).equals(raw(payload)));
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
      assert.ok(error.data.equals(raw(value.payload ?? '')));
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
