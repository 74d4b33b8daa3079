import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Channel, HostlaneError } from 'hostlane';
import { SOON, fires, pair, rejects } from './helpers.mjs';

const wait = { timeoutMs: SOON };

/** Takes requests of `peer` until `count` are there. */
async function requests(peer, count) {
  const messages = [];
  while (messages.length < count) {
    messages.push(...(await peer.recvBatch(count - messages.length, wait)));
  }
  return messages;
}

test('a thousand calls at once, answered in random order, each get their own reply', async (t) => {
  const { client, server } = await pair(t);
  const calls = Array.from({ length: 1000 }, (_, n) => client.request(`call ${n}`, wait));
  const messages = await requests(server, 1000);
  assert.equal(server.stats().openServed, 1000);
  for (let n = messages.length - 1; n > 0; n -= 1) {
    const other = Math.floor(Math.random() * (n + 1));
    [messages[n], messages[other]] = [messages[other], messages[n]];
  }
  await Promise.all(messages.map((message) => message.reply(`${message.data.toString()} answered`)));
  (await Promise.all(calls)).forEach(({ data }, n) => assert.equal(data.toString(), `call ${n} answered`));
  const { calls: made, openCalls, callsCancelled } = client.stats();
  assert.deepEqual({ made, openCalls, callsCancelled }, { made: 1000, openCalls: 0, callsCancelled: 0 });
});

test('both sides call at once', async (t) => {
  const { client, server } = await pair(t);
  const serving = [client, server].map((peer, side) => peer.serve(({ data }) => `${side}: ${data.toString()}`));
  const ask = (peer, n) => peer.request(String(n), wait).then(({ data }) => data.toString());
  const answers = await Promise.all(Array.from({ length: 200 }, (_, n) => Promise.all([ask(client, n), ask(server, n)])));
  answers.forEach((pair, n) => assert.deepEqual(pair, [`1: ${n}`, `0: ${n}`]));
  await client.close();
  await Promise.all(serving);
});

test('a call ends at its deadline, and the next one gets its own reply', async (t) => {
  const { client, server } = await pair(t);
  // The first uses of everything are over.
  const warm = client.request('warm', wait);
  await (await server.recv(wait)).reply('');
  await warm;
  const late = [];
  for (let n = 0; n < 5; n += 1) {
    const start = performance.now();
    const call = client.request(`slow ${n}`, { timeoutMs: 100 });
    const message = await server.recv(wait);
    assert.ok(message.isRequest);
    assert.ok(message.deadline > 0 && message.deadline <= 100, `${message.deadline} ms are left`);
    const error = await rejects(call, 'timeout');
    late.push(performance.now() - start - 100);
    assert.equal(error.sent, 'maybe');
    const next = client.request('next', wait);
    await rejects(message.reply('too late'), 'call_ended');
    await (await server.recv(wait)).reply('mine');
    assert.equal((await next).data.toString(), 'mine');
  }
  late.sort((a, b) => a - b);
  // The machine may be busy at times: the median is what counts.
  assert.ok(late[0] > -2 && late[2] < 20, `the calls ended ${late.join(', ')} ms after their deadline`);
});

test('a request without a limit has no deadline, and a message is none', async (t) => {
  const { client, server } = await pair(t);
  const call = client.request('x');
  const request = await server.recv(wait);
  assert.equal(request.deadline, undefined);
  await client.send('one way');
  const message = await server.recv(wait);
  assert.deepEqual([message.isRequest, message.deadline, message.stream], [false, undefined, undefined]);
  assert.equal(message.signal.aborted, false);
  await rejects(message.fail(1), 'invalid_argument');
  await message.reply('a message back');
  await request.reply('y');
  assert.equal((await client.recv(wait)).data.toString(), 'a message back');
  assert.equal((await call).data.toString(), 'y');
});

test('an abort cancels the call, and the signal of its message fires', async (t) => {
  const { client, server } = await pair(t);
  const controller = new AbortController();
  const call = client.request('long', { signal: controller.signal });
  const message = await server.recv(wait);
  const aborted = fires(message.signal);
  const reason = new Error('no longer interested');
  controller.abort(reason);
  await assert.rejects(call, reason);
  await aborted;
  assert.ok(message.signal.reason instanceof HostlaneError);
  assert.equal(message.signal.reason.kind, 'call_ended');
  await rejects(message.reply('x'), 'call_ended');
  assert.equal(client.stats().callsCancelled, 1);
  // The connection goes on.
  const next = client.request('next', wait);
  await (await server.recv(wait)).reply('fine');
  assert.equal((await next).data.toString(), 'fine');
});

test('the signal of a message fires at its deadline and at the end of the connection, not after an answer', async (t) => {
  const { client, server } = await pair(t);
  const calls = [client.request('answered', wait), client.request('out of time', { timeoutMs: 50 }), client.request('lost', wait)];
  const ends = calls.map((call) => call.then(({ data }) => data.toString(), ({ kind }) => kind));
  const messages = await requests(server, 3);
  const fired = messages.slice(1).map(({ signal }) => fires(signal));
  assert.equal(messages[0].signal.aborted, false);
  await messages[0].reply('yes');
  await fired[0];
  await client.close();
  await fired[1];
  assert.deepEqual(messages.map(({ signal }) => signal.aborted), [false, true, true]);
  assert.deepEqual(await Promise.all(ends), ['yes', 'timeout', 'closed']);
});

test('fail reaches the caller with its code and data', async (t) => {
  const { client, server } = await pair(t);
  for (const [code, data] of [[0, ''], [7, 'no such row'], [2 ** 32 - 1, Buffer.from([0, 255, 1])]]) {
    const call = rejects(client.request('x', wait), 'remote_error');
    await (await server.recv(wait)).fail(code, data);
    const { status, data: received } = await call;
    assert.equal(status, code);
    assert.deepEqual(received, Buffer.from(data));
  }
  const call = client.request('x', wait);
  const message = await server.recv(wait);
  await rejects(message.fail(-1), 'invalid_argument');
  await rejects(message.fail(2 ** 32), 'invalid_argument');
  await message.reply('still answered');
  await rejects(message.reply('twice'), 'call_ended');
  assert.equal((await call).data.toString(), 'still answered');
});

test('the channel, the key and the trace of a call arrive', async (t) => {
  const { client, server } = await pair(t);
  const call = client.request('x', { ...wait, channel: Channel.ERROR, trace: 'a/b', idempotencyKey: Buffer.from([1, 2]) });
  const message = await server.recv(wait);
  assert.equal(message.channel, Channel.ERROR);
  assert.equal(message.trace.toString(), 'a/b');
  assert.deepEqual(message.idempotencyKey, Buffer.from([1, 2]));
  assert.equal(message.data.toString(), 'x');
  await message.reply('y');
  assert.equal((await call).channel, Channel.ERROR);
  await client.send('traced', { trace: 't' });
  const [sent] = await server.recvBatch(1, wait);
  assert.equal(sent.trace.toString(), 't');
  assert.equal(sent.idempotencyKey, undefined);
  // A large payload is taken from where it is, behind its marks.
  const big = Buffer.alloc(300_000, 'b');
  const large = client.request(big, { ...wait, trace: 'big' });
  const received = await server.recv(wait);
  assert.equal(received.trace.toString(), 'big');
  assert.deepEqual(received.data, big);
  await received.reply('');
  await large;
  await rejects(client.request('x', { trace: 'x'.repeat(65) }), 'invalid_argument');
  await rejects(client.request('x', { trace: '' }), 'invalid_argument');
});

test('a request nobody answers is abandoned when it is collected', async (t) => {
  const { client, server } = await pair(t);
  const call = rejects(client.request('forgotten', wait), 'call_abandoned');
  await (async () => {
    assert.equal((await server.recv(wait)).data.toString(), 'forgotten');
  })();
  let done = false;
  void call.then(() => (done = true));
  while (!done) {
    globalThis.gc();
    await new Promise((resolve) => setImmediate(resolve));
  }
  await call;
});

test('more calls than the other side serves at a time wait for their turn', async (t) => {
  const { client, server } = await pair(t, { listening: { maxCalls: 2 } });
  const calls = Array.from({ length: 5 }, (_, n) => client.request(String(n), wait));
  await requests(server, 2).then(async (messages) => {
    assert.equal(client.stats().openCalls, 2);
    await Promise.all(messages.map((message) => message.reply(message.data)));
  });
  const serving = server.serve(({ data }) => data);
  (await Promise.all(calls)).forEach(({ data }, n) => assert.equal(data.toString(), String(n)));
  await client.close();
  await serving;
});

test('calls on level 0 go one after the other, and what it has no form for is refused', async (t) => {
  const { client, server } = await pair(t, { listening: { level: 0 } });
  assert.equal(client.info().level, 0);
  const serving = server.serve((message) => {
    assert.equal(message.isRequest, false);
    return message.data;
  });
  const answers = await Promise.all(Array.from({ length: 100 }, (_, n) => client.request(String(n), wait)));
  answers.forEach(({ data }, n) => assert.equal(data.toString(), String(n)));
  await client.sendBatch(Array.from({ length: 1500 }, (_, n) => String(n)));
  for (let n = 0; n < 1500; n += 1) {
    assert.equal((await client.recv(wait)).data.toString(), String(n));
  }
  await rejects(client.request('x', { channel: Channel.DATA }), 'unsupported');
  await rejects(client.request('x', { trace: 't' }), 'unsupported');
  assert.throws(() => client.openStream('x'), { code: 'ERR_HOSTLANE_UNSUPPORTED' });
  await client.send('x');
  const echoed = await client.recv(wait);
  await rejects(echoed.fail(1), 'unsupported');
  await client.close();
  await serving;
});

test('a level that is asked for is agreed, or the connection refused', async (t) => {
  const { client } = await pair(t, { connecting: { level: 1 } });
  assert.equal(client.info().level, 1);
  await assert.rejects(pair(t, { connecting: { level: 2 } }), { code: 'ERR_HOSTLANE_INVALID_ARGUMENT' });
});
