// Every wrong argument is an error of hostlane's that names it, whatever function got it: nothing is ignored, nothing is thrown by
// what lies below.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HostlaneError, Link, connect, listen, log } from 'hostlane';
import { SOON, address, pair, rejects } from './helpers.mjs';

const wait = { timeoutMs: SOON };

/** Asserts that each call is refused with a text that names what was wrong. */
async function refused(...cases) {
  for (const [call, names] of cases) {
    const error = await rejects(
      (async () => call())(),
      'invalid_argument',
    );
    assert.ok(error.message.includes(names), `${error.message}: ${names} is not in it`);
    assert.equal(error.sent, 'no');
  }
}

/** A pair whose server answers with what it is asked. */
async function echoing(t) {
  const made = await pair(t);
  made.server.serve((message) => message.data).catch(() => {});
  return made;
}

test('what is no address is refused', async () => {
  for (const open of [connect, listen, Link.open]) {
    for (const wrong of [5, undefined, null, {}, Buffer.from('x'), ['x'], Symbol('x')]) {
      await refused([() => open(wrong), 'address is']);
    }
  }
});

test('options that do not exist are refused by name, whoever gets them', async (t) => {
  const { client, server, listener } = await pair(t);
  const link = await Link.open(address(t));
  t.after(() => link.close());
  const call = client.request('x', wait);
  const message = await server.recv(wait);
  const stream = client.openStream('s');
  const at = address(t);
  const typo = { tiemout: 5 };
  await refused(
    ...[
      () => connect(at, typo),
      () => listen(at, typo),
      () => Link.open(at, typo),
      () => client.request('x', typo),
      () => client.send('x', typo),
      () => client.sendBatch(['x'], typo),
      () => client.recv(typo),
      () => client.recvBatch(1, typo),
      () => client.openStream('x', typo),
      () => client.ping(typo),
      () => client.drain(typo),
      () => client.serve(() => undefined, typo),
      () => listener.accept(typo),
      () => listener.serve(() => undefined, typo),
      () => message.reply('x', typo),
      () => message.fail(1, '', typo),
      () => stream.send('x', typo),
      () => stream.recv(typo),
      () => stream.finish(typo),
      () => link.request('x', typo),
      () => link.send('x', typo),
      () => link.next(typo),
      () => link.serve(() => undefined, typo),
    ].map((call) => [call, 'no option tiemout']),
    [() => connect(at, { backlog: 1 }), 'connect has no option backlog'],
    [() => listen(at, wait), 'listen has no option timeoutMs'],
    [() => listen(at, { command: ['x'] }), 'listen has no option command'],
    [() => connect(at, { reconnect: true }), 'connect has no option reconnect'],
    [() => Link.open(at, { authToken: 'x' }), 'Link.open has no option authToken'],
    [() => link.send('x', wait), 'send has no option timeoutMs'],
    [() => client.send('x', { idempotencyKey: 'x' }), 'send has no option idempotencyKey'],
    [() => connect(at, { policy: { data: 'latest' } }), 'policy has no channel data'],
    [() => connect(at, { policy: { 2: 'newest' } }), 'policy[2] is "newest"'],
  );
  // None of it was taken for anything, and nothing is broken by it.
  stream.close();
  await message.reply('fine');
  assert.equal((await call).data.toString(), 'fine');
});

test('options and arguments of a wrong type are refused by name', async (t) => {
  const { client, server, listener } = await pair(t);
  const at = address(t);
  const link = await Link.open(address(t));
  t.after(() => link.close());
  await client.send('x');
  const oneWay = await server.recv(wait);
  const gone = new Uint8Array(8);
  structuredClone(gone.buffer, { transfer: [gone.buffer] });
  await refused(
    ...[5, null, 'text', [], ['x'], () => undefined].flatMap((options) => [
      [() => connect(at, options), 'options of connect'],
      [() => listen(at, options), 'options of listen'],
      [() => Link.open(at, options), 'options of Link.open'],
      [() => client.request('x', options), 'options of request'],
      [() => client.send('x', options), 'options of send'],
      [() => client.recv(options), 'options of recv'],
      [() => client.recvBatch(1, options), 'options of recvBatch'],
      [() => client.sendBatch(['x'], options), 'options of sendBatch'],
      [() => client.openStream('x', options), 'options of openStream'],
      [() => client.serve(() => undefined, options), 'options of serve'],
      [() => link.request('x', options), 'options of request'],
      [() => link.next(options), 'options of next'],
      [() => listener.accept(options), 'options of accept'],
      [() => oneWay.reply('x', options), 'options of reply'],
    ]),
    ...Object.entries({
      channels: [5, '12', [1, 'x'], [1.5], {}],
      authToken: [5, null, Buffer.from('x')],
      secret: [5, null, Buffer.from('x')],
      level: [2, '1', true],
      maxCalls: [-1, '5', 1.5],
      keepaliveMs: ['5', null, -1],
      policy: [5, ['latest'], null, 'latest'],
      allowUids: [0, ['root'], [-1]],
      handshakeTimeoutMs: ['5', Number.NaN],
      maxMessage: ['5', -1],
      fds: ['yes', 1],
      command: ['/bin/cat', [5], {}],
      signal: [5, {}, null],
      timeoutMs: ['5', null, 5n],
    }).flatMap(([name, values]) => values.map((value) => [() => connect(at, { [name]: value }), name])),
    [() => listen(at, { backlog: '5' }), 'backlog'],
    [() => Link.open(at, { retries: -1 }), 'retries'],
    [() => Link.open(at, { reconnect: 1 }), 'reconnect'],
    [() => Link.open(at, { delayMs: 'long' }), 'delayMs'],
    [() => client.request(5), 'data is 5'],
    ...[undefined, null, 5, {}].map((payloads) => [() => client.sendBatch(payloads), 'payloads is']),
    [() => client.sendBatch(['x', 5]), 'data is 5'],
    [() => client.request(gone), 'data is an array whose memory was transferred'],
    [() => client.send(gone), 'data is an array whose memory was transferred'],
    [() => client.sendBatch(['x', gone]), 'data is an array whose memory was transferred'],
    [() => client.sendBatch([Buffer.alloc(200_000), gone]), 'data is an array whose memory was transferred'],
    [() => client.request('x', { trace: gone }), 'trace is'],
    [() => client.openStream({}), 'data is an object'],
    [() => client.send('x', { channel: '2' }), 'channel is "2"'],
    [() => client.send('x', { fds: 5 }), 'fds is 5'],
    [() => client.send('x', { fds: [null] }), 'fds[0]'],
    [() => client.request('x', { idempotencyKey: 5 }), 'idempotencyKey is 5'],
    [() => client.request('x', { trace: {} }), 'trace is an object'],
    [() => client.request('x', { signal: 5 }), 'signal is 5'],
    [() => client.recvBatch('5'), 'most is "5"'],
    [() => client.serve(), 'handler is undefined'],
    [() => listener.serve('handler'), 'handler is "handler"'],
    [() => link.serve({}), 'handler is an object'],
    [() => server.serve(() => undefined, { onError: 5 }), 'onError is 5'],
    [() => server.serve(() => undefined, { concurrency: 0 }), 'concurrency is 0'],
    [() => server.serve(() => undefined, { signal: 5 }), 'signal is 5'],
    [() => log.enable('loud', () => undefined), 'level is "loud"'],
    [() => log.enable('info', 5), 'told is 5'],
  );
  const call = client.request('still here', wait);
  await (await server.recv(wait)).reply('fine');
  assert.equal((await call).data.toString(), 'fine');
});

test('an operation that its signal refuses leaves nothing behind for the next one', async (t) => {
  const { client: peer } = await echoing(t);
  const { client: other } = await echoing(t);
  const broken = () => {
    throw new RangeError('no listeners here');
  };
  // Tokens of a program's own: not all of a signal, or one that fails, or one that starts operations itself.
  const inner = [];
  const starting = {
    throwIfAborted() {},
    addEventListener() {
      inner.push(other.request('from within', wait));
    },
    removeEventListener() {},
  };
  const failing = { throwIfAborted() {}, addEventListener: broken, removeEventListener: broken };
  await refused([() => peer.request('of the failed call', { ...wait, signal: { throwIfAborted() {} } }), 'signal is']);
  for (let round = 0; round < 2; round += 1) {
    const failed = [
      peer.request('of the failed call', { ...wait, signal: failing }),
      peer.sendBatch(['of the', 'failed batch'], { ...wait, signal: failing }),
      peer.request(5, { ...wait, signal: starting }),
    ].map((call) => call.then(assert.fail, (error) => error.name));
    const answers = [peer.request('hello', { ...wait, signal: starting }), other.request('hello', wait)];
    assert.deepEqual(await Promise.all(failed), ['RangeError', 'RangeError', 'HostlaneError']);
    for (const answer of answers) {
      assert.equal((await answer).data.toString(), 'hello');
    }
  }
  assert.equal(inner.length, 4);
  for (const answer of inner) {
    assert.equal((await answer).data.toString(), 'from within');
  }
});

test('bytes are as many as there are, whatever their class says', async (t) => {
  const { client: peer } = await echoing(t);
  await peer.request('something else that was sent before', wait);
  for (const said of [44, 3, -5, NaN, 1.5, 2 ** 33]) {
    const bytes = Object.defineProperty(new Uint8Array(10).fill(0x2e), 'length', { value: said });
    const [answer, beside] = await Promise.all([peer.request(bytes, wait), peer.request('hello', wait)]);
    assert.equal(answer.data.toString(), '.'.repeat(10));
    assert.equal(beside.data.toString(), 'hello');
  }
});

test('nothing is made by new that comes from elsewhere', async (t) => {
  const { client, server, listener } = await pair(t);
  const link = await Link.open(address(t));
  t.after(() => link.close());
  const stream = client.openStream('s');
  const message = await server.recv(wait);
  for (const made of [client, listener, link, stream, message]) {
    const { constructor } = made;
    await refused([() => new constructor(), `a ${constructor.name} is not made`], [() => new constructor(1, 1, 1), 'is not made']);
    await refused([() => new (class extends constructor {})(), `a ${constructor.name} is not made`]);
  }
  stream.close();
});

test('whatever was closed says so', async (t) => {
  const { client, server, listener } = await pair(t);
  const link = await Link.open(address(t));
  const stream = client.openStream('s');
  const call = rejects(client.request('x', wait), 'closed');
  const opened = await server.recv(wait);
  const message = await server.recv(wait);
  await Promise.all([client.close(), server.close(), listener.close(), link.close()]);
  for (const use of [
    () => client.request('x'),
    () => client.send('x'),
    () => client.sendBatch(['x']),
    () => client.recv(),
    () => client.recvBatch(5),
    () => client.ping(),
    () => client.openStream(''),
    () => listener.accept(),
    () => link.request('x'),
    () => link.send('x'),
    () => link.next(),
  ]) {
    await assert.rejects(
      async () => use(),
      (error) => error instanceof HostlaneError && ['closed', 'connection_lost'].includes(error.kind),
      String(use),
    );
  }
  await call;
  for (const use of [() => message.reply('x'), () => opened.reply('x'), () => stream.send('x')]) {
    await assert.rejects(use, (error) => error instanceof HostlaneError);
  }
  // Serving what was closed is over at once.
  await Promise.all([client.serve(() => undefined), listener.serve(() => undefined), link.serve(() => undefined)]);
});
