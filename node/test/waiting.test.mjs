import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Channel, connect } from 'hostlane';
import { SOON, Raw, address, frame, listening, pair, rawPair, rawServer, rejects, socketOf } from './helpers.mjs';

const wait = { timeoutMs: SOON };

/** Asserts that what `operation` starts fails with a timeout after `ms`, and never before. */
async function timesOut(ms, operation) {
  const start = performance.now();
  const error = await rejects(operation(), 'timeout');
  const took = performance.now() - start;
  assert.ok(took >= ms - 1 && took < ms + 3000, `a timeout of ${ms} ms took ${took} ms`);
  return error;
}

test('recv ends at its deadline and loses nothing', async (t) => {
  const { client, server } = await pair(t);
  const error = await timesOut(50, () => server.recv({ timeoutMs: 50 }));
  assert.equal(error.retryable, true);
  await timesOut(0, () => server.recv({ timeoutMs: 0 }));
  await client.send('after');
  assert.equal((await server.recv(wait)).data.toString(), 'after');
});

test('timeoutMs 0 takes what is there now', async (t) => {
  const { client, server } = await pair(t);
  await client.send('first');
  await client.send('second');
  await server.recv(wait);
  let message;
  const deadline = performance.now() + SOON;
  while (message === undefined) {
    assert.ok(performance.now() < deadline);
    message = await server.recv({ timeoutMs: 0 }).catch((error) => assert.equal(error.kind, 'timeout'));
  }
  assert.equal(message.data.toString(), 'second');
});

test('accept, connect and ping end at their deadlines', async (t) => {
  const listener = await listening(t);
  await timesOut(40, () => listener.accept({ timeoutMs: 40 }));
  const silent = address(t);
  await rawServer(t, silent, () => {});
  await timesOut(40, () => connect(silent, { timeoutMs: 40 }));
  await timesOut(40, () => connect(silent, { handshakeTimeoutMs: 40 }));
  const { peer } = await rawPair(t);
  await timesOut(40, () => peer.ping({ timeoutMs: 40 }));
});

test('a call that timed out never leaves its answer to the next one', async (t) => {
  const { peer, raw, frames } = await rawPair(t);
  const error = await timesOut(40, () => peer.request('slow', { timeoutMs: 40 }));
  assert.equal(error.sent, 'maybe');
  assert.equal((await frames.next()).value[1].toString(), 'slow');
  raw.write(frame(Channel.COMMAND, 'late'));
  await rejects(peer.request('next', wait), 'connection_lost');
  assert.equal((await frames.next()).done, true);
});

test('a queued call that timed out leaves the others alone', async (t) => {
  const { client, server } = await pair(t, { connecting: { level: 0 } });
  const first = client.request('first', wait);
  const error = await timesOut(30, () => client.request('queued', { timeoutMs: 30 }));
  assert.equal(error.sent, 'no');
  await (await server.recv(wait)).reply('answer');
  assert.equal((await first).data.toString(), 'answer');
  const third = client.request('third', wait);
  const message = await server.recv(wait);
  assert.equal(message.data.toString(), 'third');
  await message.reply('3');
  assert.equal((await third).data.toString(), '3');
});

test('a send to a peer that does not read ends at its deadline', async (t) => {
  const { peer } = await rawPair(t);
  const big = Buffer.alloc(16 * 1024 * 1024);
  await timesOut(60, () => peer.send(big, { timeoutMs: 60 }));
});

test('abort gives the reason of the signal', async (t) => {
  const { client, server } = await pair(t);
  const reason = new Error('changed my mind');
  await assert.rejects(server.recv({ signal: AbortSignal.abort(reason) }), reason);
  const controller = new AbortController();
  const received = server.recv({ signal: controller.signal });
  assert.equal(server.stats().pendingOperations, 1);
  controller.abort(reason);
  await assert.rejects(received, reason);
  await assert.rejects(server.recv({ signal: AbortSignal.timeout(10) }), { name: 'TimeoutError' });
  await client.send('not lost');
  assert.equal((await server.recv(wait)).data.toString(), 'not lost');
});

test('a message that came before the abort is delivered', async (t) => {
  const { client, server } = await pair(t);
  for (let n = 0; n < 200; n += 1) {
    const controller = new AbortController();
    const received = server.recv({ signal: controller.signal });
    await client.send(String(n));
    setImmediate(() => controller.abort());
    const message = await received.catch((error) => {
      assert.equal(error.name, 'AbortError');
      return server.recv(wait);
    });
    assert.equal(message.data.toString(), String(n));
  }
});

test('abort works for connect, accept, ping and a queued call, and removes its listener', async (t) => {
  const listener = await listening(t);
  const silent = address(t);
  let arrived;
  const arrival = new Promise((resolve) => (arrived = resolve));
  await rawServer(t, silent, arrived);
  const { peer } = await rawPair(t);
  const busy = peer.request('busy', wait);
  const controller = new AbortController();
  const { signal } = controller;
  const aborted = [
    listener.accept({ signal }),
    connect(silent, { signal }),
    peer.ping({ signal }),
    peer.request('queued', { signal }),
  ].map((promise) => assert.rejects(promise, { name: 'AbortError' }));
  await arrival;
  assert.equal(peer.stats().pendingOperations, 3);
  controller.abort();
  await Promise.all(aborted);
  const closed = rejects(busy, 'closed');
  await peer.close();
  await closed;
});

test('an AbortSignal can serve any number of operations', async (t) => {
  const warnings = [];
  const warned = (warning) => warnings.push(warning);
  process.on('warning', warned);
  t.after(() => process.off('warning', warned));
  const { client, server } = await pair(t);
  const { signal } = new AbortController();
  const received = Array.from({ length: 50 }, () => server.recv({ signal }));
  for (let n = 0; n < 50; n += 1) {
    await client.send(String(n));
  }
  const messages = await Promise.all(received);
  messages.forEach(({ data }, n) => assert.equal(data.toString(), String(n)));
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(warnings, []);
});

test('waiting never blocks the event loop: a 10 ms timer stays on time', async (t) => {
  const pairs = await Promise.all(Array.from({ length: 10 }, () => pair(t)));
  const pending = pairs.flatMap(({ server }) => Array.from({ length: 10 }, () => rejects(server.recv(), 'closed')));
  const late = [];
  for (let n = 0; n < 50; n += 1) {
    const start = performance.now();
    await new Promise((resolve) => setTimeout(resolve, 10));
    late.push(performance.now() - start - 10);
  }
  late.sort((a, b) => a - b);
  // The machine may be busy at times; a loop that is blocked is late every time.
  assert.ok(late[25] < 25, `the median of 50 timers is ${late[25]} ms late`);
  assert.ok(late[0] < 5, `every timer is at least ${late[0]} ms late`);
  await Promise.all(pairs.map(({ server }) => server.close()));
  await Promise.all(pending);
});

test('silent clients do not keep an honest one waiting', async (t) => {
  const listener = await listening(t);
  await Promise.all(Array.from({ length: 50 }, () => Raw.connect(t, socketOf(listener))));
  const start = performance.now();
  const [server, client] = await Promise.all([listener.accept(wait), connect(listener.address, wait)]);
  const took = performance.now() - start;
  assert.ok(took < 1000, `an honest client waited ${took} ms`);
  await Promise.all([client.close(), server.close()]);
});
