// The log: nothing a program did not ask for, and everything it did.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Link, connect, listen, log } from 'hostlane';
import { SOON, address, finished, listening, pair, rejects, script } from './helpers.mjs';

/** Events from now on, until the test ends. */
function hearing(t, level) {
  const events = [];
  log.enable(level, (event) => events.push(event));
  t.after(async () => {
    log.disable();
    await turn();
  });
  return events;
}

const turn = () => new Promise((resolve) => setImmediate(resolve));
const names = (events) => events.map(({ event }) => event).sort();

async function until(condition) {
  const end = performance.now() + SOON;
  while (!condition()) {
    assert.ok(performance.now() < end, 'the condition did not come true in time');
    await turn();
  }
}

test('events come with their facts', async (t) => {
  const events = hearing(t, 'info');
  const { client, server, listener } = await pair(t);
  await until(() => events.length === 2);
  for (const event of events) {
    assert.deepEqual([event.event, event.level, event.peer, event.dropped], ['connected', 'info', client.info().peerId, 0]);
    assert.equal(event.address, listener.address);
    assert.ok(Math.abs(Date.now() - event.time) < SOON && event.code === undefined);
  }
  await client.close();
  await rejects(server.recv({ timeoutMs: SOON }), 'peer_closed');
  await until(() => events.length === 4);
  assert.deepEqual(names(events), ['connected', 'connected', 'ended', 'ended']);
  assert.deepEqual(events.slice(2).map(({ code }) => code).sort(), ['closed', 'peer_closed']);
});

test('silent when off, and a level of its own', async (t) => {
  const events = hearing(t, 'warn');
  await pair(t);
  await turn();
  assert.deepEqual(events, []);
  const listener = await listening(t, { secret: 'right' });
  listener.accept().catch(() => undefined);
  await rejects(connect(listener.address, { secret: 'wrong' }), 'authentication_failed');
  await until(() => events.length === 2);
  assert.deepEqual(names(events), ['handshake_failed', 'refused']);
  assert.ok(events.every(({ code, level }) => code === 'authentication_failed' && level === 'warn'));
  assert.ok(!JSON.stringify(events).includes('right'));
  log.disable();
  await assert.rejects(connect(listener.address, { secret: 'wrong' }));
  await turn();
  assert.equal(events.length, 2);
});

test('links', async (t) => {
  const events = hearing(t, 'debug');
  const at = address(t);
  const [a, b] = [await Link.open(at), await Link.open(at)];
  await Promise.all([a.next({ timeoutMs: SOON }), b.next({ timeoutMs: SOON })]);
  await b.close();
  await a.next({ timeoutMs: SOON });
  await a.close();
  await until(() => names(events).filter((name) => name === 'link_up').length === 2 && names(events).includes('link_down'));
});

test('dropped events are counted', async (t) => {
  const events = hearing(t, 'info');
  const listener = await listen('inproc:dropped');
  t.after(() => listener.close());
  const peers = [];
  for (let n = 0; n < 600; n += 1) {
    peers.push(...(await Promise.all([listener.accept(), connect('inproc:dropped')])));
  }
  await until(() => events.length === 1200);
  // Nobody is told before the turn of the loop is over.
  for (const peer of peers) void peer.close();
  await until(() => events.length === 1200 + 1024);
  assert.equal(events[1200].dropped, 1200 - 1024);
  assert.ok(events.slice(1201).every(({ dropped }) => dropped === 0));
});

test('what throws is uncaught, and the others are told all the same', async (t) => {
  const child = script(`
    let told = 0;
    process.on('uncaughtException', (error) => console.log(error.message));
    hostlane.log.enable('info', () => { told += 1; if (told === 1) throw new Error('mine'); });
    const listener = await hostlane.listen(process.argv[2]);
    const [server, client] = await Promise.all([listener.accept(), hostlane.connect(process.argv[2])]);
    await client.close();
    await server.recv().catch(() => undefined);
    process.on('exit', () => console.log(told));
  `, address(t));
  const { code, stdout, stderr } = await finished(child);
  assert.deepEqual([code, stdout, stderr], [0, 'mine\n4\n', '']);
});

test('misuse', () => {
  assert.throws(() => log.enable('loud', () => undefined), { kind: 'invalid_argument' });
  assert.throws(() => log.enable('info'), { kind: 'invalid_argument' });
});
