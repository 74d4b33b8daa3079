import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SOON, address, fires, pair, rejects, run } from './helpers.mjs';

const wait = { timeoutMs: SOON };

test('items both ways, in order, and the reply at the end', async (t) => {
  const { client, server } = await pair(t);
  const serving = server.serve(async (message) => {
    assert.deepEqual([message.callId, message.stream.callId], [stream.callId, stream.callId]);
    let sum = 0;
    for await (const item of message.stream) {
      sum += Number(item.toString());
      await message.stream.send(`${item.toString()} seen`);
    }
    await message.stream.finish();
    return String(sum);
  });
  const stream = client.openStream('add', { ...wait, trace: 't' });
  assert.ok(stream.callId > 0);
  const sending = (async () => {
    for (let n = 0; n < 1000; n += 1) {
      await stream.send(String(n));
    }
    await stream.finish();
  })();
  let next = 0;
  for await (const item of stream) {
    assert.equal(item.toString(), `${next} seen`);
    next += 1;
  }
  await sending;
  assert.equal(next, 1000);
  assert.equal(stream.reply.toString(), '499500');
  await rejects(stream.send('more'), 'call_ended');
  await client.close();
  await serving;
});

test('an empty item is an item, and a large one stays whole', async (t) => {
  const { client, server } = await pair(t);
  const stream = client.openStream();
  const message = await server.recv(wait);
  assert.equal(message.data.length, 0);
  const big = Buffer.alloc(3_000_000, 'b');
  const received = [message.stream.recv(wait), message.stream.recv(wait), message.stream.recv(wait)];
  await Promise.all([stream.send(''), stream.send(big), stream.finish()]);
  assert.deepEqual(await Promise.all(received), [Buffer.alloc(0), big, undefined]);
  await rejects(stream.send('x'), 'invalid_argument');
  await message.reply('end');
  assert.equal(await stream.recv(wait), undefined);
  assert.equal(stream.reply.toString(), 'end');
});

test('a sender waits for its reader: memory stays bounded', async (t) => {
  const { client, server } = await pair(t);
  const stream = client.openStream('', wait);
  const message = await server.recv(wait);
  const item = Buffer.alloc(10_000);
  let sent = 0;
  for (;;) {
    const error = await message.stream.send(item, { timeoutMs: 100 }).then(() => undefined, (reason) => reason);
    if (error !== undefined) {
      assert.equal(error.kind, 'timeout');
      assert.equal(error.sent, 'no');
      break;
    }
    sent += 1;
  }
  // The credit of one direction of a stream is 256 KiB.
  assert.ok(sent > 0 && sent * item.length < 300_000, `${sent} items went to nobody`);
  // Others are not held up by it.
  const call = client.request('beside', wait);
  await (await server.recv(wait)).reply('free');
  assert.equal((await call).data.toString(), 'free');
  const ended = (async () => {
    let count = 0;
    for await (const { length } of stream) {
      assert.equal(length, item.length);
      count += 1;
    }
    return count;
  })();
  await message.stream.send(item, wait);
  await message.reply('');
  assert.equal(await ended, sent + 1);
});

test('leaving the iteration gives the call up', async (t) => {
  const { client, server } = await pair(t);
  const stream = client.openStream('', wait);
  const message = await server.recv(wait);
  const aborted = fires(message.signal);
  await message.stream.send('first');
  for await (const item of stream) {
    assert.equal(item.toString(), 'first');
    break;
  }
  await aborted;
  await rejects(message.stream.send('second'), 'call_ended');
  stream.close();
  await rejects(stream.recv(), 'call_ended');
});

test('an abort gives the stream up, a failed call ends it', async (t) => {
  const { client, server } = await pair(t);
  const controller = new AbortController();
  const stream = client.openStream('', { signal: controller.signal });
  const message = await server.recv(wait);
  const aborted = fires(message.signal);
  const received = rejects(stream.recv(), 'cancelled');
  controller.abort();
  await Promise.all([aborted, received]);
  assert.throws(() => client.openStream('', { signal: controller.signal }), { name: 'AbortError' });

  const failed = client.openStream('', wait);
  const other = await server.recv(wait);
  await other.stream.send('item');
  await other.fail(5, 'bad');
  const items = [];
  const error = await rejects(
    (async () => {
      for await (const item of failed) {
        items.push(item.toString());
      }
    })(),
    'remote_error',
  );
  assert.deepEqual([items, error.status, error.data.toString()], [['item'], 5, 'bad']);
});

test('a signal that lives on keeps no stream', async (t) => {
  const { code, stdout, stderr } = await run(`
    const accepting = await hostlane.listen(process.argv[2]);
    const [server, client] = await Promise.all([accepting.accept(), hostlane.connect(process.argv[2])]);
    const { signal } = new AbortController();
    for (let n = 0; n < 10; n += 1) client.openStream(String(n), { signal });
    const end = performance.now() + 20_000;
    while (client.stats().openCalls > 0 && performance.now() < end) {
      globalThis.gc();
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    console.log(client.stats().openCalls);
    signal.throwIfAborted();
    await Promise.all([client.close(), server.close(), accepting.close()]);
  `, address(t));
  assert.deepEqual([code, stdout, stderr], [0, '0\n', '']);
});

test('an item that times out is not lost', async (t) => {
  const { client, server } = await pair(t);
  const stream = client.openStream('', wait);
  const message = await server.recv(wait);
  await rejects(stream.recv({ timeoutMs: 30 }), 'timeout');
  await message.stream.send('kept');
  assert.equal((await stream.recv(wait)).toString(), 'kept');
  await client.close();
  const { kind } = await message.stream.recv(wait).catch((error) => error);
  assert.ok(kind === 'call_ended' || kind === 'connection_lost', kind);
});
