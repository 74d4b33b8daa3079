import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HANDLER_FAILED, HostlaneError, connect } from 'hostlane';
import { SOON, address, finished, fires, listening, pair, rejects, script } from './helpers.mjs';

const wait = { timeoutMs: SOON };

test('a listener serves many clients at once, until it is closed; what is in hand is answered', async (t) => {
  const listener = await listening(t);
  let finish;
  const serving = listener.serve(async ({ data }) => {
    await new Promise((resolve) => {
      if (data.toString() === 'last') finish = resolve;
      else setImmediate(resolve);
    });
    return `${data.toString()}!`;
  });
  const clients = await Promise.all(Array.from({ length: 10 }, () => connect(listener.address, wait)));
  const answers = await Promise.all(clients.flatMap((client, n) => [client.request(`a${n}`, wait), client.request(`b${n}`, wait)]));
  assert.deepEqual(answers.map(({ data }) => data.toString()), clients.flatMap((_, n) => [`a${n}!`, `b${n}!`]));
  const last = clients[0].request('last', wait);
  while (finish === undefined) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  await listener.close();
  let error;
  while (error === undefined) {
    error = await clients[0].send('after', wait).catch((reason) => reason);
  }
  assert.equal(error.kind, 'draining');
  finish();
  assert.equal((await last).data.toString(), 'last!');
  await serving;
  await rejects(clients[9].request('after', wait), 'connection_lost');
});

test('A calls B, which calls A back within what is left of the time', async (t) => {
  const { client, server } = await pair(t);
  const left = {};
  const a = client.serve(async (message) => {
    left.back = message.deadline;
    return `${message.data.toString()} A`;
  });
  const b = server.serve(async (message) => {
    left.there = message.deadline;
    await new Promise((resolve) => setTimeout(resolve, 60));
    const back = await server.request(`${message.data.toString()} B`);
    return `${back.data.toString()} B`;
  });
  const { data } = await client.request('A', { timeoutMs: SOON });
  assert.equal(data.toString(), 'A B A B');
  assert.ok(left.there <= SOON && left.back <= left.there - 50, `${left.there} ms were left, then ${left.back}`);
  await client.close();
  await Promise.all([a, b]);
});

test('a nested call ends with the call it is made for', async (t) => {
  const { client, server } = await pair(t);
  let nested;
  const b = server.serve((message) => {
    nested = rejects(server.request('nobody answers', { timeoutMs: SOON }), 'timeout');
    return nested.then(() => message.data);
  }, { onError: () => {} });
  const start = performance.now();
  await rejects(client.request('x', { timeoutMs: 80 }), 'timeout');
  await nested;
  assert.ok(performance.now() - start < SOON / 2);
  await client.close();
  await b;
});

test('what a handler throws, or gives that is no reply, reaches the caller at once and is told', async (t) => {
  const { client, server } = await pair(t);
  const errors = [];
  const serving = server.serve(
    (message) => {
      switch (message.data.toString()) {
        case 'throw':
          throw new RangeError('thrown');
        case 'reject':
          return Promise.reject(new Error('rejected'));
        case 'text':
          throw 'mere text';
        case 'nothing':
          return undefined;
        case 'number':
          return 42;
        case 'later':
          return Promise.resolve({ not: 'bytes' });
        case 'too much':
          return Buffer.alloc(16 * 1024 * 1024 + 1);
        case 'own':
          return message.fail(3, 'own');
        default:
          throw new HostlaneError('ERR_HOSTLANE_REMOTE_ERROR', 'told', { status: 9, data: Buffer.from('why') });
      }
    },
    { onError: (error, message) => errors.push([error.message ?? error, message.data.toString()]) },
  );
  for (const [asked, told] of [
    ['throw', /^RangeError: thrown$/],
    ['reject', /^Error: rejected$/],
    ['text', /^mere text$/],
    ['number', /^HostlaneError: data is 42; it is a Uint8Array or a string$/],
    ['later', /^HostlaneError: data is an object; it is a Uint8Array or a string$/],
    ['too much', /^HostlaneError: .*more than the limit/],
  ]) {
    const { status, data } = await rejects(client.request(asked, wait), 'remote_error');
    assert.equal(status, HANDLER_FAILED);
    assert.match(data.toString(), told);
    assert.deepEqual(errors.pop()[1], asked);
  }
  await rejects(client.request('nothing', wait), 'call_abandoned');
  assert.equal((await rejects(client.request('own', wait), 'remote_error')).status, 3);
  const { status, data } = await rejects(client.request('told', wait), 'remote_error');
  assert.deepEqual([status, data.toString()], [9, 'why']);
  // A one-way message is answered by nobody; that its handler failed is told all the same.
  await client.send('throw', wait);
  await client.request('own', wait).catch(() => undefined);
  assert.deepEqual(errors, [['thrown', 'throw']]);
  await client.close();
  await serving;
});

test('whatever a handler throws or returns, its caller is told at once, and serving goes on', async (t) => {
  const { client, server } = await pair(t);
  const odd = (members) => Object.defineProperties(new Error('mine'), members);
  const throws = { get() { throw new Error('of the getter'); } };
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  const thrown = {
    message: odd({ message: throws }),
    name: odd({ name: throws }),
    symbol: odd({ name: { value: Symbol('odd') } }),
    bare: odd({ name: { value: Object.create(null) } }),
    status: Object.defineProperties(new HostlaneError('ERR_HOSTLANE_REMOTE_ERROR'), { status: throws }),
    tag: { get [Symbol.toStringTag]() { throw new Error('of the tag'); }, toString: undefined },
    proxy,
    negative: new HostlaneError('ERR_HOSTLANE_REMOTE_ERROR', 'told', { status: -5 }),
    long: new HostlaneError('ERR_HOSTLANE_REMOTE_ERROR', 'told', { status: 9, data: Buffer.alloc(16 * 1024 * 1024 + 1) }),
    text: new Error('x'.repeat(16 * 1024 * 1024)),
  };
  const errors = [];
  const serving = server.serve(
    ({ data }) => {
      if (data.toString() === 'fine') return data;
      if (data.toString() === 'returned') return proxy;
      throw thrown[data.toString()];
    },
    { concurrency: 1, onError: (error) => errors.push(error) },
  );
  for (const asked of [...Object.keys(thrown), 'returned']) {
    const { status, data } = await rejects(client.request(asked, wait), 'remote_error');
    assert.equal(status, HANDLER_FAILED);
    assert.ok(data.length > 0, asked);
    assert.equal((await client.request('fine', wait)).data.toString(), 'fine');
  }
  const { negative, long, ...told } = thrown;
  assert.ok(Object.values(told).every((error) => errors.includes(error)));
  assert.ok(!errors.includes(negative) && !errors.includes(long));
  await client.close();
  await serving;
});

test('an answer that was refused leaves the request to be answered', async (t) => {
  const { client, server } = await pair(t);
  const call = client.request('x', wait);
  const message = await server.recv(wait);
  const { signal } = message;
  for (const [data, options] of [[42], ['y', { timeout: 1 }], ['y', { timeoutMs: -1 }], ['y', null]]) {
    await rejects(message.reply(data, options), 'invalid_argument');
  }
  await rejects(message.fail(1, 42), 'invalid_argument');
  await rejects(message.reply(Buffer.alloc(16 * 1024 * 1024 + 1)), 'payload_too_large');
  await message.reply('y');
  assert.equal((await call).data.toString(), 'y');
  await rejects(message.reply('z'), 'call_ended');
  assert.equal(signal.aborted, false);

  // Refused, and left: the caller has gone, which the signal still tells.
  const gone = rejects(client.request('x', { timeoutMs: 100 }), 'timeout');
  const other = await server.recv(wait);
  const told = fires(other.signal);
  await rejects(other.reply(42), 'invalid_argument');
  await gone;
  await told;
});

test('a request whose answer comes too late is let go', async (t) => {
  const { client, server } = await pair(t);
  let late;
  const serving = server.serve(async (message) => {
    late = message;
    await fires(message.signal);
    return 'too late';
  });
  await rejects(client.request('x', { timeoutMs: 20 }), 'timeout');
  await client.close();
  await serving;
  // The addon has nothing of it any more.
  const error = await rejects(late.reply('again'), 'call_ended');
  assert.equal(error.message, 'the call was answered or let go');
});

test('without onError, what a handler throws is a warning, and serving goes on', async () => {
  const child = script(`
    const address = process.env.TMPDIR ?? '/tmp';
    const listener = await hostlane.listen(\`\${address}/hostlane-\${process.pid}.sock\`);
    const strange = Object.defineProperty(new Error('odd'), 'stack', { value: 7 });
    const thrown = { mine: new Error('mine'), strange, nothing: undefined, bare: Object.create(null) };
    const told = [];
    process.on('warning', ({ name, message }) => told.push([name, message]));
    listener.serve(({ data }) => {
      if (data.toString() in thrown) throw thrown[data.toString()];
      return 'fine';
    });
    const client = await hostlane.connect(listener.address);
    for (const what of Object.keys(thrown)) {
      await assert.rejects(client.request(what), { kind: 'remote_error', status: hostlane.HANDLER_FAILED });
    }
    console.log((await client.request('well')).data.toString(), JSON.stringify(told));
    await listener.close();
    await client.close();
  `);
  const { code, stdout, stderr } = await finished(child);
  const texts = ['Error: mine', 'Error: odd', 'undefined', 'what was thrown has no text'];
  const warnings = texts.map((text) => ['HostlaneWarning', `a handler failed: ${text}`]);
  assert.deepEqual([code, stdout], [0, `fine ${JSON.stringify(warnings)}\n`]);
  assert.match(stderr, /HostlaneWarning: a handler failed: Error: mine\nError: mine\n {4}at /);
});

test('an onError that throws neither stops serving nor keeps an answer back', async (t) => {
  const child = script(`
    const listener = await hostlane.listen(process.argv[2]);
    const told = [];
    process.on('unhandledRejection', (error) => told.push(error.message));
    const accepted = listener.accept();
    const client = await hostlane.connect(listener.address);
    const server = await accepted;
    const thenable = { then() { throw new Error('no promise'); } };
    const serving = server.serve(
      (message) => {
        switch (message.data.toString()) {
          case 'throw': throw new Error('mine');
          case 'reject': return Promise.reject(new Error('mine'));
          case 'then': return thenable;
          case 'text': throw Object.create(null);
          default: return 'fine';
        }
      },
      { concurrency: 1, onError: () => { throw new Error('of onError'); } },
    );
    const wait = { timeoutMs: 10_000 };
    for (const asked of ['throw', 'reject', 'then', 'text']) {
      await assert.rejects(client.request(asked, wait), { kind: 'remote_error', status: hostlane.HANDLER_FAILED });
    }
    console.log((await client.request('x', wait)).data.toString());
    await client.close();
    await serving;
    await listener.close();
    console.log(told.join());
  `, address(t));
  const { code, stdout, stderr } = await finished(child);
  assert.deepEqual([code, stdout, stderr], [0, `fine\n${Array(4).fill('of onError').join()}\n`, '']);
});

test('no more messages than asked for are in the hands of a handler', async (t) => {
  const { client, server } = await pair(t);
  let running = 0;
  let most = 0;
  const serving = server.serve(
    async ({ data }) => {
      running += 1;
      most = Math.max(most, running);
      await new Promise((resolve) => setImmediate(resolve));
      running -= 1;
      return data;
    },
    { concurrency: 7 },
  );
  await Promise.all(Array.from({ length: 100 }, (_, n) => client.request(String(n), wait)));
  assert.equal(most, 7);
  await client.close();
  await serving;
});

test('an aborted serve leaves the peer to others', async (t) => {
  const { client, server } = await pair(t);
  const controller = new AbortController();
  const serving = server.serve(({ data }) => data, { signal: controller.signal });
  assert.equal((await client.request('served', wait)).data.toString(), 'served');
  controller.abort();
  await assert.rejects(serving, { name: 'AbortError' });
  const call = client.request('by hand', wait);
  await (await server.recv(wait)).reply('done');
  assert.equal((await call).data.toString(), 'done');
});

test('drain lets the calls in flight finish, both ways', async (t) => {
  const { client, server } = await pair(t);
  const gates = [];
  const serving = server.serve(({ data }) => new Promise((resolve) => gates.push(() => resolve(data))));
  const calls = ['a', 'b', 'c'].map((text) => client.request(text, wait));
  while (gates.length < 3) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  const draining = client.drain(wait);
  await rejects(client.request('late', wait), 'closed');
  gates.forEach((open) => open());
  assert.deepEqual((await Promise.all(calls)).map(({ data }) => data.toString()), ['a', 'b', 'c']);
  await draining;
  await serving;
});

test('the peer that is asked to drain starts nothing new', async (t) => {
  const { client, server } = await pair(t);
  const call = client.request('under way', wait);
  const message = await server.recv(wait);
  const draining = server.drain(wait);
  let error;
  while (error === undefined) {
    error = await client.send('more', wait).catch((reason) => reason);
  }
  assert.equal(error.kind, 'draining');
  await message.reply('done');
  assert.equal((await call).data.toString(), 'done');
  await draining;
});
