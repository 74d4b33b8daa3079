import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { ERRORS, HostlaneError, connect, listen } from 'hostlane';
import { SOON, address, listening, pair, rawPair, rejects, script, finished, socketOf, welcome } from './helpers.mjs';
import * as wire from './vectors/wire.mjs';

const wait = { timeoutMs: SOON };

/** The life-cycle events of a peer as they come, and a promise of all of them, up to `close`. */
function eventsOf(peer) {
  const seen = [];
  const closed = new Promise((resolve) => {
    peer.on('error', (error) => seen.push(error.kind)).on('close', () => resolve(seen));
  });
  peer.on('close', () => seen.push('close'));
  const late = () => pause(SOON, undefined, { ref: false }).then(() => assert.fail('no close was emitted'));
  return { seen, all: () => Promise.race([closed, late()]) };
}

/** A peer of a raw server of level 1, which has `answer` called with the socket and each request. */
async function level1Peer(t, answer, options) {
  const path = address(t);
  const serve = async (socket) => {
    t.after(() => socket.destroy());
    const raw = new wire.Raw(socket);
    await raw.frame0();
    const hostlane = { version: 1, instance: '0'.repeat(32), features: [], limits: {} };
    socket.write(Buffer.concat([welcome({ hostlane }), wire.READY]));
    for (let frame = await raw.frame1(SOON); frame !== undefined; frame = await raw.frame1(SOON)) {
      if (frame.kind === wire.KINDS.get('REQUEST')) {
        answer(socket, frame);
      }
    }
  };
  const server = createServer(serve);
  t.after(() => server.close());
  server.listen(path);
  await once(server, 'listening');
  const peer = await connect(path, { ...wait, ...options });
  t.after(() => peer.close());
  return peer;
}

/** A message of level 1 in one frame. */
function whole(kind, channel, id, payload) {
  return wire.frame1(wire.KINDS.get(kind), wire.FIRST | wire.LAST, channel, id, payload);
}

test('close ends everything under way with closed', async (t) => {
  const { client, server } = await pair(t);
  const pending = [client.recv(), client.recv({ channel: 3 }), client.request('a'), client.request('b')];
  const closed = pending.map((promise) => rejects(promise, 'closed'));
  await client.close();
  await Promise.all(closed);
  // Nobody waits for an answer to the calls any more.
  await rejects(server.recv(wait), 'peer_closed');
});

test('close can be called twice, and every use after it fails with closed', async (t) => {
  const { client } = await pair(t);
  await client.close();
  await client.close();
  await rejects(client.send('x'), 'closed');
  await rejects(client.recv(), 'closed');
  await rejects(client.request('x'), 'closed');
  await rejects(client.ping(), 'closed');
  for await (const message of client) {
    assert.fail(`a closed peer yields ${message.data.toString()}`);
  }
});

test('a closed listener removes its socket, ends its accepts and keeps its peers', async (t) => {
  const { client, server, listener } = await pair(t);
  const accepting = rejects(listener.accept(), 'closed');
  assert.ok(existsSync(socketOf(listener)));
  await listener.close();
  await listener.close();
  await accepting;
  assert.ok(!existsSync(socketOf(listener)));
  await rejects(listener.accept(), 'closed');
  for await (const peer of listener) {
    assert.fail(`a closed listener yields ${peer.info().peerId}`);
  }
  await rejects(connect(listener.address), 'not_found');
  await client.send('still here');
  assert.equal((await server.recv(wait)).data.toString(), 'still here');
});

test('an address is served once, and again after close', async (t) => {
  const listener = await listening(t);
  await rejects(listen(listener.address), 'address_in_use');
  await listener.close();
  const again = await listen(listener.address);
  await again.close();
});

test('a file that is no socket is left alone', async (t) => {
  const path = address(t);
  writeFileSync(path, 'precious');
  await rejects(listen(path), 'not_a_socket');
  assert.ok(existsSync(path));
});

test('close is emitted once, after close and after the other side ended', async (t) => {
  const { client, server, listener } = await pair(t);
  const seen = [];
  client.on('close', () => seen.push('client'));
  server.on('close', () => seen.push('server'));
  server.on('error', (error) => seen.push(error.kind));
  const closed = once(listener, 'close');
  const ended = once(server, 'close');
  await client.close();
  await client.close();
  await rejects(server.recv(wait), 'peer_closed');
  await ended;
  await server.close();
  await listener.close();
  await closed;
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(seen, ['client', 'server']);
});

test('error is emitted before close when the connection was lost', async (t) => {
  const { raw, peer } = await rawPair(t);
  const seen = [];
  peer.on('error', (error) => seen.push(error.kind));
  peer.on('close', () => seen.push('close'));
  const closed = new Promise((resolve) => peer.once('close', resolve));
  raw.write(Buffer.from('garbage!'));
  await rejects(peer.recv(wait), 'bad_magic');
  await closed;
  assert.deepEqual(seen, ['bad_magic', 'close']);
});

test('a call that runs out of time ends a connection of level 0 only', async (t) => {
  for (const level of [0, 1]) {
    const { client, server } = await pair(t, { connecting: { level } });
    const events = eventsOf(client);
    const [error] = await Promise.all([rejects(client.request('slow', { timeoutMs: 50 }), 'timeout'), server.recv(wait)]);
    assert.equal(error.sent, 'maybe');
    if (level === 1) {
      const call = client.request('quick', wait);
      await (await server.recv(wait)).reply('fine');
      assert.equal((await call).data.toString(), 'fine');
      assert.deepEqual(events.seen, []);
      await server.close();
      await rejects(client.recv(wait), 'peer_closed');
    }
    assert.deepEqual(await events.all(), level === 1 ? ['close'] : ['connection_lost', 'close']);
  }
});

test('an error of one call is not the end of the connection, whatever its number', async (t) => {
  const numbers = ERRORS.map(({ number }) => number);
  let next = 0;
  const peer = await level1Peer(t, (socket, { id }) => {
    const number = numbers[next];
    next += 1;
    const reason = Buffer.alloc(4);
    reason.writeUInt32LE(number ?? 0);
    socket.write(number === undefined ? whole('RESPONSE', 1, id, 'fine') : wire.frame1(wire.KINDS.get('ERROR'), 0, 0, id, reason));
  });
  const events = eventsOf(peer);
  for (const number of numbers) {
    await assert.rejects(peer.request('', wait), HostlaneError, `${number}`);
  }
  assert.equal((await peer.request('', wait)).data.toString(), 'fine');
  assert.deepEqual(events.seen, []);
  await peer.close();
  assert.deepEqual(await events.all(), ['close']);
});

test('a connection that a keepalive ended has ended', async (t) => {
  const peer = await level1Peer(t, () => undefined, { keepaliveMs: 50 });
  const events = eventsOf(peer);
  await rejects(peer.request('', wait), 'peer_unresponsive');
  assert.deepEqual(await events.all(), ['peer_unresponsive', 'close']);
});

test('what ended the connection is told, not what an operation failed with, and before a close', async (t) => {
  const peer = await level1Peer(t, (socket, { id }) => {
    const cancelled = wire.frame1(wire.KINDS.get('ERROR'), 0, 0, id, Buffer.from([110, 0, 0, 0]));
    socket.write(Buffer.concat([cancelled, wire.READY]));
  });
  const events = eventsOf(peer);
  await rejects(peer.request('', wait), 'cancelled');
  await peer.close();
  assert.deepEqual(await events.all(), ['protocol_error', 'close']);
});

test('the end is found beside messages that nobody took', async (t) => {
  const peer = await level1Peer(t, (socket) => {
    socket.end(whole('MESSAGE', 2, 0, 'unasked'));
  });
  const events = eventsOf(peer);
  await rejects(peer.request('', wait), 'connection_lost');
  assert.deepEqual(await events.all(), ['close']);
  assert.equal((await peer.recv(wait)).data.toString(), 'unasked');
});

test('a message that nobody takes any more finds the end, which the loop has not read', async (t) => {
  const { raw, peer } = await rawPair(t);
  const events = eventsOf(peer);
  raw.socket.destroy();
  await rejects(peer.send('x'), 'connection_lost');
  assert.deepEqual(await events.all(), ['close']);
});

test('a stream that cannot be opened finds the end', async (t) => {
  const { client, server } = await pair(t);
  const events = eventsOf(client);
  await server.close();
  const found = () => {
    try {
      client.openStream('').close();
      return false;
    } catch (error) {
      return error.kind === 'connection_lost';
    }
  };
  while (!found()) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.deepEqual(await events.all(), ['close']);
});

test('without a listener for error nothing is thrown', async (t) => {
  const { raw, peer } = await rawPair(t);
  const closed = new Promise((resolve) => peer.once('close', resolve));
  raw.write(Buffer.from('garbage!'));
  await rejects(peer.recv(wait), 'bad_magic');
  await closed;
});

test('Symbol.asyncDispose closes', async (t) => {
  const { client, listener } = await pair(t);
  await client[Symbol.asyncDispose]();
  await listener[Symbol.asyncDispose]();
  await rejects(client.recv(), 'closed');
  await rejects(listener.accept(), 'closed');
});

test('a call whose peer is killed fails with connection_lost', async (t) => {
  const listener = await listening(t);
  const child = script(`
    const peer = await hostlane.connect(process.argv[2]);
    await peer.send('ready');
    await peer.recv({ channel: hostlane.Channel.COMMAND });
    await peer.send('got it');
    await peer.recv();
  `, listener.address);
  const done = finished(child);
  const peer = await listener.accept(wait);
  assert.equal((await peer.recv(wait)).data.toString(), 'ready');
  const call = peer.request('never answered', wait);
  assert.equal((await peer.recv({ ...wait, channel: 2 })).data.toString(), 'got it');
  child.kill('SIGKILL');
  const error = await rejects(call, 'connection_lost');
  assert.equal(error.sent, 'maybe');
  assert.equal((await done).signal, 'SIGKILL');
  await peer.close();
});

test('one peer that fails does not disturb another', async (t) => {
  const { raw, peer, listener } = await rawPair(t);
  const [server, client] = await Promise.all([listener.accept(wait), connect(listener.address, wait)]);
  raw.write(Buffer.from('garbage!'));
  await rejects(peer.recv(wait), 'bad_magic');
  await client.send('fine');
  assert.equal((await server.recv(wait)).data.toString(), 'fine');
  await Promise.all([client.close(), server.close()]);
});
