import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { connect, listen } from 'hostlane';
import { SOON, address, listening, pair, rawPair, rejects, script, finished, socketOf } from './helpers.mjs';

const wait = { timeoutMs: SOON };

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
