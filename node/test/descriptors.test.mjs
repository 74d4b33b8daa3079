// Descriptors that go with messages: they arrive with theirs, work in another process, and none is left over.

import assert from 'node:assert/strict';
import { closeSync, openSync, readFileSync, readdirSync, readSync, writeSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { connect, listen } from 'hostlane';
import { SOON, address, finished, pair, rejects, script } from './helpers.mjs';

const both = { connecting: { fds: true }, listening: { fds: true } };

/** A file to write to, and the number of it. */
function file(t) {
  const path = join(dirname(address(t)), 'file');
  return { path, fd: openSync(path, 'w+') };
}

function held() {
  return readdirSync('/proc/self/fd').length;
}

test('another process writes into a file it was sent', async (t) => {
  const at = address(t);
  const listener = await listen(at, { fds: true });
  t.after(() => listener.close());
  const child = script(`
    import { closeSync, writeSync } from 'node:fs';
    const peer = await hostlane.connect(process.argv[2], { fds: true });
    for await (const message of peer) {
      for (const fd of message.takeFds()) {
        writeSync(fd, 'from ' + process.pid);
        closeSync(fd);
      }
      assert.deepEqual(message.takeFds(), []);
      if (message.isRequest) await message.reply('done');
    }
  `, at);
  const peer = await listener.accept({ timeoutMs: SOON });
  const [one, two] = [file(t), file(t)];
  const handle = await open(`${two.path}2`, 'w+');
  const call = peer.request('write', { fds: [one.fd, handle], timeoutMs: SOON });
  // Duplicates were made already.
  closeSync(one.fd);
  closeSync(two.fd);
  await handle.close();
  assert.equal((await call).data.toString(), 'done');
  assert.equal(readFileSync(one.path, 'utf8'), `from ${child.pid}`);
  assert.equal(readFileSync(`${two.path}2`, 'utf8'), `from ${child.pid}`);
  await peer.close();
  const { code, stderr } = await finished(child);
  assert.deepEqual([code, stderr], [0, '']);
});

test('each message has its own, among many, and with a large payload', async (t) => {
  const { client, server } = await pair(t, both);
  const { fd, path } = file(t);
  const sends = [];
  for (let n = 0; n < 50; n += 1) {
    sends.push(client.send(n === 49 ? Buffer.alloc(100_000, n) : `${n}`, { fds: n % 2 === 0 ? [] : [fd], trace: 't' }));
  }
  await Promise.all(sends);
  for (let n = 0; n < 50; n += 1) {
    const message = await server.recv({ timeoutMs: SOON });
    const fds = message.takeFds();
    assert.equal(fds.length, n % 2, String(n));
    assert.equal(message.trace.toString(), 't');
    for (const one of fds) {
      writeSync(one, 'x');
      closeSync(one);
    }
  }
  assert.equal(readFileSync(path, 'utf8'), 'x'.repeat(25));
  assert.equal(readSync(fd, Buffer.alloc(1)), 0);
  closeSync(fd);
});

test('what nobody takes is closed when its message is collected', async (t) => {
  const { client, server } = await pair(t, both);
  const { fd } = file(t);
  const before = held();
  for (let n = 0; n < 20; n += 1) {
    await client.send('x', { fds: [fd, fd] });
    await server.recv({ timeoutMs: SOON });
  }
  const end = performance.now() + SOON;
  while (held() > before) {
    assert.ok(performance.now() < end, 'they are left over');
    globalThis.gc();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  closeSync(fd);
});

test('misuse', async (t) => {
  const { client, server } = await pair(t, both);
  const { fd } = file(t);
  for (const fds of [[-1], ['1'], [1.5], 5, [{}], [1 << 30]]) {
    await rejects(client.send('x', { fds }), 'invalid_argument');
  }
  await rejects(client.send('x', { fds: [fd, fd, fd, fd, fd] }), 'invalid_argument');
  await client.send('fine');
  assert.equal((await server.recv({ timeoutMs: SOON })).data.toString(), 'fine');
  await rejects(connect(dirname(server.info().address), { fds: 'yes' }), 'invalid_argument');
  const without = await pair(t);
  await rejects(without.client.send('x', { fds: [fd] }), 'unsupported');
  await rejects(without.client.request('x', { fds: [fd] }), 'unsupported');
  closeSync(fd);
});
