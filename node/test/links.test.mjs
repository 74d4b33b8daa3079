// Links: exactly one of two serves, whoever survives goes on, nothing is executed twice.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { HostlaneError, Link, Message, connect, listen } from 'hostlane';
import { SOON, address, finished, fires, rejects, run, script } from './helpers.mjs';

/** A link that is closed with the test. */
async function opened(t, at, options) {
  const link = await Link.open(at, options);
  t.after(() => link.close());
  return link;
}

/** Takes the event that the other side is there: whether this side serves. */
async function up(link) {
  const event = await link.next({ timeoutMs: SOON });
  assert.equal(event.type, 'up');
  assert.equal(link.isServing, event.serving);
  return event.serving;
}

async function down(link) {
  const event = await link.next({ timeoutMs: SOON });
  assert.equal(event.type, 'down');
  assert.ok(event.error instanceof HostlaneError);
  return event.error.kind;
}

async function message(link) {
  const event = await link.next({ timeoutMs: SOON });
  assert.equal(event.type, 'message');
  assert.ok(event.message instanceof Message);
  return event.message;
}

/** A process that is one side of a link, and says who it is. */
function partner(t, at) {
  const child = script(`
    const link = await hostlane.Link.open(process.argv[2]);
    console.log(link.isServing);
    await link.serve((message) => {
      if (message.data.toString() === 'die') process.kill(process.pid, 'SIGKILL');
      return process.pid + ': ' + message.data;
    });
  `, at);
  child.stderr.pipe(process.stderr);
  t.after(() => child.kill('SIGKILL'));
  return child;
}

async function line(child) {
  const [text] = await once(createInterface(child.stdout), 'line');
  return text;
}

async function until(condition) {
  const end = performance.now() + SOON;
  while (!condition()) {
    assert.ok(performance.now() < end, 'the condition did not come true in time');
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

test('the first serves, the second connects, and calls go both ways', async (t) => {
  const at = address(t);
  const [a, b] = [await opened(t, at), await opened(t, at)];
  assert.equal(a.isServing, true);
  const told = [];
  a.on('up', (serving) => told.push(serving));
  const answer = (link) => (received) => {
    if (received.data.toString() === 'fail') {
      throw new HostlaneError('ERR_HOSTLANE_REMOTE_ERROR', '', { sent: 'maybe', status: 9, data: Buffer.from('as asked') });
    }
    return received.data.toString() === 'back' ? link.request('there').then((reply) => reply.data) : `${link.isServing}: ${received.data}`;
  };
  const served = [a.serve(answer(a)), b.serve(answer(b))];
  assert.equal((await a.request('hello')).data.toString(), 'false: hello');
  assert.equal((await b.request('back')).data.toString(), 'false: there');
  const error = await rejects(a.request('fail'), 'remote_error');
  assert.deepEqual([error.status, error.data.toString()], [9, 'as asked']);
  const replies = await Promise.all(Array.from({ length: 1000 }, (_, n) => b.request(String(n))));
  replies.forEach((reply, n) => assert.equal(reply.data.toString(), `true: ${n}`));
  assert.deepEqual([a.info().level, a.info().carrier], [1, 'unix']);
  assert.equal(b.stats().calls, 1001);
  await Promise.all([a.close(), b.close()]);
  await Promise.all(served);
  assert.deepEqual(told, [true]);
});

test('events and messages by hand', async (t) => {
  const at = address(t);
  const [a, b] = [await opened(t, at), await opened(t, at)];
  assert.deepEqual(await Promise.all([up(a), up(b)]), [true, false]);
  await b.send('one', { trace: 't', channel: 3 });
  const one = await message(a);
  assert.deepEqual([one.data.toString(), one.channel, one.trace.toString(), one.isRequest, one.callId], ['one', 3, 't', false, 0]);
  await one.reply('back');
  assert.equal((await message(b)).channel, 3);
  const call = b.request(Buffer.alloc(100_000, 7), { idempotencyKey: 'k' });
  const two = await message(a);
  assert.deepEqual([two.data.length, two.idempotencyKey.toString(), two.isRequest, two.stream], [100_000, 'k', true, undefined]);
  await two.reply('answer');
  assert.equal((await call).data.toString(), 'answer');
  await rejects(two.reply('again'), 'call_ended');
  await rejects(a.next({ timeoutMs: 10 }), 'timeout');
  await rejects(a.next({ timeoutMs: 0 }), 'timeout');
  const reason = new Error('mine');
  const aborting = new AbortController();
  const waiting = a.next({ signal: aborting.signal, timeoutMs: SOON });
  aborting.abort(reason);
  assert.equal(await waiting.catch((error) => error), reason);
  // Nothing went with who gave up.
  await b.send('kept');
  assert.equal((await message(a)).data.toString(), 'kept');
  await b.close();
  assert.equal(await down(a), 'peer_closed');
  await rejects(a.send('nobody is there'), 'connection_lost');
  assert.throws(() => a.info(), { kind: 'connection_lost' });
  assert.equal(a.isServing, true);
});

test('a call that is given up ends on the other side', async (t) => {
  const at = address(t);
  const [a, b] = [await opened(t, at), await opened(t, at)];
  await Promise.all([up(a), up(b)]);
  const aborting = new AbortController();
  const call = b.request('', { signal: aborting.signal });
  const asked = await message(a);
  const fired = fires(asked.signal);
  aborting.abort();
  await assert.rejects(call, { name: 'AbortError' });
  await fired;
  await rejects(asked.reply('late'), 'call_ended');
  await until(() => b.stats().openCalls === 0);
  await rejects(b.request('', { timeoutMs: 20 }), 'timeout');
  const late = await message(a);
  await fires(late.signal);
});

test('who looks at the signal of a call that has ended already is told', async (t) => {
  const at = address(t);
  const [a, b] = [await opened(t, at), await opened(t, at, { reconnect: false })];
  await Promise.all([up(a), up(b)]);
  await rejects(b.request('', { timeoutMs: 20 }), 'timeout');
  const left = await message(a);
  // What came behind the cancel says that it is here, and nothing else comes.
  await b.send('behind');
  await message(a);
  await fires(left.signal);
  // The same where the link is over.
  const lost = rejects(a.request('', { timeoutMs: SOON }), 'closed');
  const last = await message(b);
  await a.close();
  await lost;
  assert.equal(await down(b), 'peer_closed');
  await rejects(b.next({ timeoutMs: SOON }), 'peer_closed');
  await fires(last.signal);
});

test('an iteration ends with close', async (t) => {
  const at = address(t);
  const [a, b] = [await opened(t, at), await opened(t, at)];
  await up(b);
  for (let n = 0; n < 200; n += 1) await b.send(String(n));
  const seen = [];
  for await (const event of a) {
    if (event.type === 'message') seen.push(Number(event.message.data));
    if (seen.length === 1) await rejects(a.next({ timeoutMs: -1 }), 'invalid_argument');
    if (seen.length === 200) {
      const closed = once(a, 'close');
      await a.close();
      await closed;
    }
  }
  assert.deepEqual(seen, Array.from({ length: 200 }, (_, n) => n));
});

test('of two processes that start at once exactly one serves', async (t) => {
  for (let round = 0; round < 2; round += 1) {
    const at = address(t);
    const pair = [partner(t, at), partner(t, at)];
    const third = await opened(t, at, { retries: 5, delayMs: 5, maxDelayMs: 15 });
    // It waits until one of them makes room; or was among the first two, as good.
    const reply = await third.request('?', { timeoutMs: 1000 }).catch(async (error) => {
      assert.equal(error.kind, 'timeout');
      assert.equal(third.isServing, undefined);
      pair.pop().kill('SIGKILL');
      return third.request('?', { timeoutMs: SOON });
    });
    assert.ok(pair.some((child) => reply.data.toString() === `${child.pid}: ?`), reply.data.toString());
  }
});

test('the survivor serves within moments, and the next joins', async (t) => {
  const at = address(t);
  let other = partner(t, at);
  assert.equal(await line(other), 'true');
  const link = await opened(t, at);
  const took = [];
  for (let round = 0; round < 3; round += 1) {
    await up(link);
    const start = performance.now();
    other.kill('SIGKILL');
    await down(link);
    await until(() => link.isServing === true);
    took.push(performance.now() - start);
    other = partner(t, at);
    assert.equal((await link.request('in', { timeoutMs: SOON })).data.toString(), `${other.pid}: in`);
  }
  assert.ok(took.sort((x, y) => x - y)[1] < 500, String(took));
});

test('a lost call fails once and says whether it may have been executed', async (t) => {
  const at = address(t);
  let other = partner(t, at);
  await line(other);
  const link = await opened(t, at);
  const error = await rejects(link.request('die', { timeoutMs: SOON }), 'connection_lost');
  assert.equal(error.sent, 'maybe');
  other = partner(t, at);
  assert.equal((await link.request('on', { timeoutMs: SOON })).data.toString(), `${other.pid}: on`);
});

test('an idempotent call is made again', async (t) => {
  const listener = await listen(address(t));
  t.after(() => listener.close());
  const link = await opened(t, listener.address, { delayMs: 5 });
  const call = link.request('x', { idempotencyKey: 'k', timeoutMs: SOON });
  for (let lives = 2; lives > 0; lives -= 1) {
    const peer = await listener.accept({ timeoutMs: SOON });
    assert.equal((await peer.recv({ timeoutMs: SOON })).idempotencyKey.toString(), 'k');
    await peer.close();
  }
  const peer = await listener.accept({ timeoutMs: SOON });
  t.after(() => peer.close());
  await (await peer.recv({ timeoutMs: SOON })).reply('y');
  assert.equal((await call).data.toString(), 'y');
});

test('without reconnecting, and when retries run out, one error is the end', async (t) => {
  const at = address(t);
  const [a, b] = [await opened(t, at, { reconnect: false }), await opened(t, at)];
  await Promise.all([up(a), up(b)]);
  await b.close();
  assert.equal(await down(a), 'peer_closed');
  for (let times = 0; times < 2; times += 1) {
    await rejects(a.next({ timeoutMs: SOON }), 'peer_closed');
    await rejects(a.request(''), 'peer_closed');
    await rejects(a.serve(() => undefined), 'peer_closed');
  }
  const missing = await opened(t, `${dirname(at)}/missing/s`, { retries: 2, delayMs: 20, maxDelayMs: 30 });
  const start = performance.now();
  const closed = once(missing, 'close');
  await rejects(missing.next({ timeoutMs: SOON }), 'not_found');
  assert.ok(performance.now() - start >= 25);
  await closed;
  await rejects(missing.request(''), 'not_found');
});

test('a call waits for the other side', async (t) => {
  const at = `${dirname(address(t))}/later/s`;
  const link = await opened(t, at, { delayMs: 5, maxDelayMs: 5 });
  await rejects(link.request('?', { timeoutMs: 30 }), 'timeout');
  const call = link.request('?', { timeoutMs: SOON });
  mkdirSync(dirname(at));
  const other = await opened(t, at);
  void other.serve((received) => received.data);
  assert.equal((await call).data.toString(), '?');
});

test('close ends what waits and frees the address', async (t) => {
  const at = address(t);
  const link = await Link.open(at);
  const waits = [link.next(), link.next({ timeoutMs: SOON }), link.request('')];
  const serving = link.serve(() => undefined);
  await link.close();
  await link.close();
  for (const wait of waits) await rejects(wait, 'closed');
  await serving;
  await rejects(link.next(), 'closed');
  await rejects(link.request(''), 'closed');
  assert.equal((await opened(t, at)).isServing, true);
});

test('messages nobody takes hold the other side back', async (t) => {
  const at = address(t);
  const [a, b] = [await opened(t, at), await opened(t, at)];
  await up(b);
  let sent = 0;
  for (; sent < 1000; sent += 1) {
    const error = await b.send(Buffer.alloc(100_000, sent % 256)).then(() => undefined, (reason) => reason);
    if (error !== undefined) {
      assert.equal(error.kind, 'would_block');
      break;
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.ok(sent < 1000);
  await up(a);
  for (let n = 0; n < sent; n += 1) assert.equal((await message(a)).data[99_999], n % 256);
});

test('misuse', async (t) => {
  const at = address(t);
  for (const options of [
    { delayMs: 0 },
    { delayMs: -1 },
    { delayMs: 2, maxDelayMs: 1 },
    { retries: -1 },
    { retries: 'many' },
    { reconnect: 1 },
    { level: 0 },
  ]) {
    await rejects(Link.open(at, options), 'invalid_argument');
  }
  for (const fixed of ['fd:3', 'stdio:', 'spawn:true', 'systemd:']) await rejects(Link.open(fixed), 'unsupported');
  writeFileSync(at, 'a file');
  await rejects(Link.open(at), 'not_a_socket');
  const link = await opened(t, address(t));
  await rejects(link.request(5), 'invalid_argument');
  await rejects(link.request('', { channel: 0 }), 'invalid_channel');
  await rejects(link.next({ timeoutMs: -1 }), 'invalid_argument');
  await rejects(connect(at, { timeoutMs: SOON }), 'not_a_socket');
});

test('a link nobody holds is closed, and one with nothing under way keeps no process alive', async (t) => {
  const result = await run(`
    const at = process.argv[2];
    await hostlane.Link.open(at);
    const other = await hostlane.Link.open(at + '2');
    other.next().catch(() => undefined);
    other.unref();
    for (let tries = 0; tries < 100; tries += 1) {
      globalThis.gc();
      await new Promise((resolve) => setTimeout(resolve, 10));
      const next = await hostlane.Link.open(at);
      const serving = next.isServing;
      await next.close();
      if (serving) process.exit(0);
    }
    process.exit(1);
  `, address(t));
  assert.deepEqual([result.code, result.stderr], [0, '']);
});

test('an open link lets its process end', async (t) => {
  const child = script("const link = await hostlane.Link.open(process.argv[2]); link.on('up', () => {});", address(t));
  const { code, stderr } = await finished(child);
  assert.deepEqual([code, stderr], [0, '']);
});
