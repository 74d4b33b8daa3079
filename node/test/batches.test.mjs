import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Channel, connect } from 'hostlane';
import { SOON, address, finished, pair, rawServer, rejects, script } from './helpers.mjs';

const wait = { timeoutMs: SOON };

async function take(peer, count, most) {
  const messages = [];
  while (messages.length < count) {
    const batch = await peer.recvBatch(most, wait);
    assert.ok(batch.length > 0 && batch.length <= most);
    messages.push(...batch);
  }
  return messages;
}

test('batches arrive whole and in order, large messages and texts among them', async (t) => {
  const { client, server } = await pair(t);
  const payloads = Array.from({ length: 20_000 }, (_, n) => (n % 3 === 0 ? `text ${n}` : Buffer.from(`bytes ${n}`)));
  payloads[700] = Buffer.alloc(200_000, 'l');
  payloads[701] = '';
  payloads[9000] = 'x'.repeat(50_000);
  const sent = client.sendBatch(payloads, wait);
  const after = client.send('after', wait);
  const messages = await take(server, payloads.length + 1, 400);
  await Promise.all([sent, after]);
  messages.forEach(({ data, channel }, n) => {
    const expected = n < payloads.length ? payloads[n] : 'after';
    assert.ok(data.equals(Buffer.from(expected)), `message ${n}`);
    assert.equal(channel, Channel.DATA);
  });
  const { messagesSent, bytesSent } = client.stats().channels.find(({ channel }) => channel === Channel.DATA);
  assert.equal(messagesSent, payloads.length + 1);
  assert.equal(bytesSent, payloads.reduce((sum, payload) => sum + payload.length, 5));
});

test('what was cut from shared memory is never written over', async (t) => {
  const { client, server } = await pair(t);
  const kept = [];
  for (let round = 0; round < 50; round += 1) {
    await client.sendBatch(Array.from({ length: 100 }, (_, n) => `${round}/${n}`.padEnd(64, '.')), wait);
    kept.push(...(await take(server, 100, 33)));
  }
  kept.forEach(({ data }, at) => assert.equal(data.toString(), `${Math.floor(at / 100)}/${at % 100}`.padEnd(64, '.')));
});

test('a batch takes any iterable, and an empty one is nothing', async (t) => {
  const { client, server } = await pair(t);
  await client.sendBatch([]);
  await client.sendBatch((function* () {
    yield 'a';
    yield 'b';
  })(), { channel: Channel.ERROR });
  const messages = await take(server, 2, 10);
  assert.deepEqual(messages.map(({ data, channel }) => [data.toString(), channel]), [['a', 4], ['b', 4]]);
  await rejects(client.sendBatch(['fine', 12]), 'invalid_argument');
  await rejects(client.sendBatch(['x'], { channel: 300 }), 'invalid_channel');
  await rejects(server.recvBatch(0), 'invalid_argument');
  await rejects(server.recvBatch(1, { timeoutMs: 20 }), 'timeout');
});

test('what is refused is the end of its batch, however that is made up', async (t) => {
  for (const level of [1, 0]) {
    const { client, server } = await pair(t, { connecting: { level, maxMessage: 50_000 }, listening: { maxMessage: 50_000 } });
    const many = Array.from({ length: 5000 }, () => 'many');
    for (const before of [['a', 'b'], ['a', Buffer.alloc(20_000, 'b')], many]) {
      const error = await client.sendBatch([...before, Buffer.alloc(60_000), 'behind', Buffer.alloc(30_000)], wait).catch((reason) => reason);
      assert.equal(error.kind, 'payload_too_large');
      await client.send('after', wait);
      const messages = await take(server, before.length + 1, 400);
      assert.deepEqual(messages.map(({ data }) => data.length), [...before, 'after'].map(({ length }) => length));
    }
    if (level === 1) {
      await rejects(client.sendBatch([...many, 5], wait), 'invalid_argument');
    }
    await client.close();
    await rejects(server.recv(wait), 'peer_closed');
  }
});

test('what makes a batch may send meanwhile', async (t) => {
  const { client, server } = await pair(t);
  const inner = [];
  await client.sendBatch((function* () {
    for (let n = 0; n < 300; n += 1) {
      inner.push(client.send(`inner ${n}`));
      yield `outer ${n}`;
    }
  })());
  await Promise.all(inner);
  const texts = (await take(server, 600, 1000)).map(({ data }) => data.toString());
  const expected = ['inner', 'outer'].flatMap((word) => Array.from({ length: 300 }, (_, n) => `${word} ${n}`));
  assert.deepEqual(texts, expected);
});

test('requests in a batch are answered', async (t) => {
  const { client, server } = await pair(t);
  const calls = Array.from({ length: 30 }, (_, n) => client.request(String(n), wait));
  const messages = await take(server, 30, 100);
  await Promise.all(messages.map((message) => message.reply(message.data)));
  (await Promise.all(calls)).forEach(({ data }, n) => assert.equal(data.toString(), String(n)));
});

test('what an iteration took ahead is received next, in order, and dropped by close', async (t) => {
  const { client, server } = await pair(t);
  for (let n = 0; n < 10; n += 1) {
    await client.send(String(n), { channel: n === 7 ? Channel.ERROR : Channel.DATA });
  }
  const call = rejects(client.request('call', wait), 'connection_lost');
  for await (const { data } of server) {
    assert.equal(data.toString(), '0');
    break;
  }
  // That something is there makes no wrong option right.
  for (const wrong of [{ timeoutMs: -1 }, { tiemout: 5 }, { signal: 5 }]) {
    await rejects(server.recv(wrong), 'invalid_argument');
    await rejects(server.recvBatch(3, wrong), 'invalid_argument');
  }
  await rejects(server.recv({ channel: -1 }), 'invalid_argument');
  const text = ({ data }) => data.toString();
  assert.equal(text(await server.recv(wait)), '1');
  assert.equal(text(await server.recv({ ...wait, channel: Channel.ERROR })), '7');
  assert.deepEqual((await server.recvBatch(3, wait)).map(text), ['2', '3', '4']);
  for await (const { data } of server) {
    assert.equal(data.toString(), '5');
    break;
  }
  await assert.rejects(server.recv({ signal: AbortSignal.abort() }), { name: 'AbortError' });
  assert.equal(text(await server.recv(wait)), '6');
  await server.close();
  await rejects(server.recv(wait), 'closed');
  await call;
});

test('two receivers share what comes', async (t) => {
  const { client, server } = await pair(t);
  const receivers = [server.recvBatch(10, wait), server.recvBatch(10, wait)];
  await client.send('one');
  const [first] = await Promise.race(receivers);
  assert.equal(first.data.toString(), 'one');
  await client.send('two');
  const texts = (await Promise.all(receivers)).flat().map(({ data }) => data.toString());
  assert.deepEqual(texts.sort(), ['one', 'two']);
});

test('policies: error, latest and drop-oldest, counted on both sides', async (t) => {
  const channels = [1, 2, 3, 256, 257];
  const policy = { 2: 'error', 256: 'latest', 257: 'drop-oldest' };
  const { client, server } = await pair(t, { connecting: { channels, policy }, listening: { channels } });
  const item = Buffer.alloc(60_000);
  const full = async (channel) => {
    for (let sent = 0; ; sent += 1) {
      const error = await client.send(item, { channel, timeoutMs: 200 }).then(() => undefined, (reason) => reason);
      if (error !== undefined) {
        return [sent, error.kind];
      }
    }
  };
  const [sent, kind] = await full(2);
  assert.equal(kind, 'would_block');
  assert.ok(sent > 0 && sent < 1000);
  for (const channel of [256, 257]) {
    for (let n = 0; n < 400; n += 1) {
      await client.send(Buffer.concat([Buffer.from(`${n}`.padEnd(8)), item]), { channel });
    }
  }
  const of = (peer, number) => peer.stats().channels.find(({ channel }) => channel === number);
  assert.ok(of(client, 256).dropped > 100 && of(client, 257).dropped > 10, JSON.stringify(client.stats()));
  assert.ok(of(client, 257).sendQueuedBytes <= 4 * 1024 * 1024);
  assert.ok(of(client, 257).sendQueuedBytesPeak >= of(client, 257).sendQueuedBytes);
  // The newest is what gets through in the end.
  for (const channel of [256, 257]) {
    let last;
    do {
      last = (await server.recv({ ...wait, channel })).data.subarray(0, 8).toString().trim();
    } while (last !== '399');
  }
  assert.equal(of(server, 256).droppedByPeer, of(client, 256).dropped);
  await assert.rejects(connect('nobody', { policy: { 2: 'sometimes' } }), { code: 'ERR_HOSTLANE_INVALID_ARGUMENT' });
  await assert.rejects(connect('nobody', { policy: { 300: 'latest' } }), { code: 'ERR_HOSTLANE_INVALID_ARGUMENT' });
});

test('keepalive pings a silent side, and ends the connection when it is stuck', async (t) => {
  const path = address(t);
  const { client, server } = await pair(t, { connecting: { keepaliveMs: 60 } });
  assert.equal(server.info().peerKeepaliveMs, 60);
  assert.equal(client.info().peerKeepaliveMs, undefined);
  // It is answered by the other side's engine, whatever its program does.
  await rejects(client.recv({ timeoutMs: 400 }), 'timeout');
  await rejects(connect(client.info().address, { keepaliveMs: 1 }), 'invalid_argument');
  const child = script(`
    const listener = await hostlane.listen(process.argv[2]);
    console.log('ready');
    const peer = await listener.accept();
    await peer.recv();
  `, path);
  t.after(() => child.kill('SIGKILL'));
  const done = finished(child);
  await new Promise((resolve) => child.stdout.once('data', resolve));
  const peer = await connect(path, { keepaliveMs: 60, timeoutMs: SOON });
  t.after(() => peer.close());
  child.kill('SIGSTOP');
  await rejects(peer.recv(wait), 'peer_unresponsive');
  child.kill('SIGKILL');
  await done;
});

test('a secret is proved by both sides and never crosses the wire', async (t) => {
  const secret = 'between us';
  const { client, server } = await pair(t, { connecting: { secret }, listening: { secret } });
  await client.send('in');
  assert.equal((await server.recv(wait)).data.toString(), 'in');
  const { listener } = await pair(t, { connecting: { secret }, listening: { secret } });
  await rejects(connect(listener.address, { ...wait, secret: 'guessed' }), 'authentication_failed');
  await rejects(connect(listener.address, wait), 'authentication_failed');
  let said = '';
  const path = address(t);
  await rawServer(t, path, (raw) => raw.socket.on('data', (data) => (said += data.toString('latin1'))));
  await rejects(connect(path, { secret, timeoutMs: 100 }), 'timeout');
  assert.ok(said.includes('ipcprims') && !said.includes(secret));
});
