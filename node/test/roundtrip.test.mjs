import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Channel, Message, connect } from 'hostlane';
import { SOON, listening, pair, rejects } from './helpers.mjs';

const wait = { timeoutMs: SOON };

test('messages go both ways and keep their channel', async (t) => {
  const { client, server } = await pair(t);
  await client.send('to the server');
  await server.send(Buffer.from('to the client'), { channel: Channel.TELEMETRY });
  const there = await server.recv(wait);
  const here = await client.recv(wait);
  assert.ok(there instanceof Message);
  assert.equal(there.channel, Channel.DATA);
  assert.equal(there.data.toString(), 'to the server');
  assert.equal(here.channel, Channel.TELEMETRY);
  assert.equal(here.data.toString(), 'to the client');
});

test('a message that has not arrived yet is waited for', async (t) => {
  const { client, server } = await pair(t);
  const received = server.recv(wait);
  await client.send('late');
  assert.equal((await received).data.toString(), 'late');
});

test('all 256 byte values, the empty payload and odd views arrive as they are', async (t) => {
  const { client, server } = await pair(t);
  const all = Uint8Array.from({ length: 256 }, (_, byte) => byte);
  const shared = new Uint8Array(new SharedArrayBuffer(4)).fill(7);
  for (const payload of [all, new Uint8Array(0), '', all.subarray(10, 20), Buffer.from('ä\0ö'), shared]) {
    await client.send(payload);
    const { data } = await server.recv(wait);
    assert.ok(Buffer.isBuffer(data));
    assert.deepEqual(data, Buffer.from(payload));
  }
});

test('the bytes are taken before send returns', async (t) => {
  const { client, server } = await pair(t);
  const big = Buffer.alloc(4 * 1024 * 1024, 'a');
  const sent = client.send(big);
  big.fill('b');
  const { data } = await server.recv(wait);
  await sent;
  assert.ok(data.equals(Buffer.alloc(big.length, 'a')));
});

test('a payload at the limit passes, one byte more is refused and harms nothing', async (t) => {
  const limit = 16 * 1024 * 1024;
  const { client, server } = await pair(t);
  const most = Buffer.alloc(limit, 0xa5);
  const received = server.recv(wait);
  await client.send(most, wait);
  assert.ok((await received).data.equals(most));
  const error = await rejects(client.send(Buffer.alloc(limit + 1)), 'payload_too_large');
  assert.equal(error.sent, 'no');
  await client.send('still there');
  assert.equal((await server.recv(wait)).data.toString(), 'still there');
});

test('maxMessage sets the limit', async (t) => {
  const { client, server } = await pair(t, { connecting: { maxMessage: 10 } });
  await client.send('0123456789');
  await rejects(client.send('0123456789a'), 'payload_too_large');
  assert.equal((await server.recv(wait)).data.length, 10);
});

test('recv of a channel leaves the others in their order', async (t) => {
  const { client, server } = await pair(t);
  await client.send('d1', { channel: Channel.DATA });
  await client.send('t1', { channel: Channel.TELEMETRY });
  await client.send('d2', { channel: Channel.DATA });
  assert.equal((await server.recv({ ...wait, channel: Channel.TELEMETRY })).data.toString(), 't1');
  assert.equal((await server.recv(wait)).data.toString(), 'd1');
  assert.equal((await server.recv(wait)).data.toString(), 'd2');
});

test("a program's own channels are agreed in the handshake", async (t) => {
  const channels = [256, 65535, 2];
  const { client, server } = await pair(t, { connecting: { channels }, listening: { channels: [2, 65535] } });
  assert.deepEqual(client.info().channels, [65535, 2]);
  await client.send('mine', { channel: 65535 });
  const message = await server.recv(wait);
  assert.equal(message.channel, 65535);
  await message.reply('yours');
  assert.equal((await client.recv(wait)).channel, 65535);
  await rejects(client.send('not agreed', { channel: 256 }), 'invalid_channel');
});

test('a call gets its answer', async (t) => {
  const { client, server } = await pair(t);
  const reply = client.request('question', wait);
  const message = await server.recv(wait);
  assert.equal(message.channel, Channel.COMMAND);
  await message.reply(Buffer.concat([message.data, Buffer.from('!')]));
  assert.equal((await reply).data.toString(), 'question!');
});

test('concurrent calls are answered in the order they were made', async (t) => {
  const { client, server } = await pair(t);
  const serving = (async () => {
    for await (const message of server) {
      await message.reply(message.data);
    }
  })();
  const order = [];
  const calls = Array.from({ length: 500 }, async (_, n) => {
    const { data } = await client.request(String(n), wait);
    assert.equal(data.toString(), String(n));
    order.push(n);
  });
  await Promise.all(calls);
  assert.deepEqual(order, [...order].sort((a, b) => a - b));
  assert.equal(client.stats().calls, 500);
  await client.close();
  await serving;
});

test('iterating yields every message and ends when the other side does', async (t) => {
  const { client, server } = await pair(t);
  const count = 1000;
  const sending = (async () => {
    for (let n = 0; n < count; n += 1) {
      await client.send(String(n));
    }
    await client.close();
  })();
  const seen = [];
  for await (const message of server) {
    seen.push(Number(message.data.toString()));
  }
  await sending;
  assert.deepEqual(seen, Array.from({ length: count }, (_, n) => n));
  await rejects(server.recv(wait), 'peer_closed');
});

test('leaving an iteration leaves the peer open', async (t) => {
  const { client, server } = await pair(t);
  await client.send('first');
  await client.send('second');
  for await (const message of server) {
    assert.equal(message.data.toString(), 'first');
    break;
  }
  assert.equal((await server.recv(wait)).data.toString(), 'second');
});

test('iterating a listener serves every client, and ends with close', async (t) => {
  const listener = await listening(t);
  const serving = (async () => {
    const peers = [];
    for await (const peer of listener) {
      peers.push(peer);
      void (async () => {
        for await (const message of peer) {
          await message.reply(message.data);
        }
      })();
    }
    await Promise.all(peers.map((peer) => peer.close()));
    return peers.length;
  })();
  const clients = await Promise.all(Array.from({ length: 20 }, () => connect(listener.address, wait)));
  const answers = await Promise.all(clients.map((client, n) => client.request(`client ${n}`, wait)));
  answers.forEach(({ data }, n) => assert.equal(data.toString(), `client ${n}`));
  await listener.close();
  assert.equal(await serving, 20);
  await Promise.all(clients.map((client) => client.close()));
});

test('ping tells the round trip', async (t) => {
  const { client, server } = await pair(t);
  const ms = await client.ping(wait);
  assert.ok(ms > 0 && ms < SOON, `${ms} ms`);
  assert.ok((await server.ping(wait)) > 0);
});

test('drain finishes what is under way and ends the connection', async (t) => {
  const { client, server } = await pair(t);
  const ends = (async () => {
    const seen = [];
    for await (const message of server) {
      seen.push(message.data.toString());
      if (message.channel === Channel.COMMAND) {
        await message.reply('done');
      }
    }
    return seen;
  })();
  await client.send('one');
  const call = client.request('two', wait);
  const drained = client.drain(wait);
  await rejects(client.send('three', wait), 'closed');
  assert.equal((await call).data.toString(), 'done');
  await drained;
  assert.deepEqual(await ends, ['one', 'two']);
});

test('info tells who is there', async (t) => {
  const { client, server, listener } = await pair(t);
  for (const peer of [client, server]) {
    const info = peer.info();
    assert.equal(info.level, 1);
    assert.equal(info.carrier, 'unix');
    assert.equal(info.address, listener.address);
    assert.deepEqual(info.channels, [1, 2, 3, 4]);
    assert.deepEqual(info.credentials, { pid: process.pid, uid: process.getuid(), gid: process.getgid() });
    assert.match(info.instance, /^[0-9a-f]{32}$/);
    assert.equal(info.maxMessage, 16 * 1024 * 1024);
  }
  assert.equal(client.info().peerId, server.info().peerId);
});

test('stats count', async (t) => {
  const { client, server, listener } = await pair(t);
  await client.send('12345');
  await server.recv(wait);
  const data = (peer) => peer.stats().channels.find(({ channel }) => channel === Channel.DATA);
  assert.equal(data(client).messagesSent, 1);
  assert.equal(data(client).bytesSent, 5);
  assert.equal(data(server).messagesReceived, 1);
  assert.equal(data(server).bytesReceived, 5);
  assert.equal(data(server).queued, 0);
  assert.equal(listener.stats().accepted, 1);
  assert.deepEqual(listener.stats().refused, {});
});

test('arguments that make no sense are told apart', async (t) => {
  const { client, listener } = await pair(t);
  await rejects(connect(''), 'invalid_address');
  await rejects(connect('bogus:address'), 'invalid_address');
  await rejects(connect(`/${'x'.repeat(200)}`), 'address_too_long');
  await rejects(connect('tls:localhost:7000'), 'unsupported');
  await rejects(connect('tcp:127.0.0.1:7000'), 'authentication_required');
  await rejects(connect(`${listener.address}.not`), 'not_found');
  await rejects(connect(listener.address, { channels: [] }), 'invalid_argument');
  await rejects(connect(listener.address, { channels: [0] }), 'invalid_channel');
  await rejects(connect(listener.address, { maxMessage: 2 ** 32 - 1 }), 'invalid_argument');
  await rejects(connect(listener.address, { maxMessage: 1.5 }), 'invalid_argument');
  await rejects(connect(listener.address, { timeoutMs: -1 }), 'invalid_argument');
  await rejects(connect(listener.address, { timeoutMs: Number.NaN }), 'invalid_argument');
  await rejects(client.send('x', { channel: 70000 }), 'invalid_argument');
  await rejects(client.send('x', { channel: 0 }), 'invalid_channel');
  await rejects(client.send('x', { channel: 5 }), 'invalid_channel');
  await rejects(client.send('x', { channel: 256 }), 'invalid_channel');
  await rejects(client.send(12), 'invalid_argument');
  await rejects(client.send([1, 2]), 'invalid_argument');
  await rejects(client.request(undefined), 'invalid_argument');
});
