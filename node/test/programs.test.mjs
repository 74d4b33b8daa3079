// The example programs and the agent, as their users run them.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { address, finished } from './helpers.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const echo = join(root, 'examples/node/echo.mjs');
const request = join(root, 'examples/node/request.mjs');
const stream = join(root, 'examples/node/stream.mjs');
const agent = join(root, 'tests/agents/node/agent.mjs');
const node = (...args) => promisify(execFile)(process.execPath, args);

/** Starts a server and waits for its one line. */
async function serving(t, at, ...command) {
  const child = spawn(process.execPath, command);
  t.after(() => child.kill('SIGKILL'));
  const [line] = await once(child.stdout.setEncoding('utf8'), 'data');
  assert.equal(line, `ready ${at}\n`);
  return child;
}

test('echo answers request, and ends on SIGTERM without a trace', async (t) => {
  const at = address(t);
  const server = await serving(t, at, echo, at);
  const done = finished(server);
  assert.equal((await node(request, at, 'hällo')).stdout, 'hällo\n');
  server.kill('SIGTERM');
  const { code, signal, stderr } = await done;
  assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' });
  assert.ok(!existsSync(at));
});

test('inspect tells what failed, what is known and what happened', async (t) => {
  const { stdout, stderr } = await node(join(root, 'examples/node/inspect.mjs'), address(t));
  assert.match(stdout, /^remote_error 42: no such price\non level 1, to user \d+\n1 calls, 0 open\nchannel 1: 1 sent, 1 received\n/);
  assert.match(stdout, /\nthere and back in [\d.e-]+ ms\n$/);
  assert.match(stderr, /^info connected peer-1 - /);
  assert.match(stderr, /\ninfo ended peer-1 peer_closed /);
});

test('echo ends on SIGTERM while clients are connected', async (t) => {
  const at = address(t);
  const server = await serving(t, at, echo, at);
  const done = finished(server);
  const client = spawn(process.execPath, [agent, 'files', at]);
  t.after(() => client.kill('SIGKILL'));
  client.stdin.write(`${fileURLToPath(import.meta.url)}\n`);
  await once(client.stdout, 'data');
  server.kill('SIGTERM');
  assert.equal((await done).code, 0);
});

test('request says what went wrong, by name', async (t) => {
  const failed = await node(request, address(t), 'x').catch((error) => error);
  assert.equal(failed.code, 1);
  assert.match(failed.stderr, /^hostlane: not_found: /);
  assert.equal(failed.stdout, '');
});

test('the stream example adds up', async (t) => {
  const { stdout } = await node(stream, address(t));
  assert.equal(stdout, '101 so far\n103 so far\n106 so far\nthe sum is 106\n');
});

test('the agent brings every byte of every file back', async (t) => {
  const at = address(t);
  await serving(t, at, echo, at);
  const directory = dirname(at);
  const contents = { empty: 0, small: 1000, exact: 256 * 1024, large: 700_001 };
  const paths = Object.entries(contents).map(([name, size]) => {
    const path = join(directory, name);
    writeFileSync(path, Buffer.from(Uint8Array.from({ length: size }, (_, at) => (at * 31) & 0xff)));
    return path;
  });
  const client = spawn(process.execPath, [agent, 'files', at]);
  client.stdin.end(`${[...paths, join(directory, 'missing')].join('\n')}\n`);
  const chunks = [];
  client.stdout.on('data', (chunk) => chunks.push(chunk));
  const [code] = await once(client, 'close');
  assert.equal(code, 0);
  let out = Buffer.concat(chunks);
  const line = () => {
    const end = out.indexOf('\n');
    const text = out.subarray(0, end).toString();
    out = out.subarray(end + 1);
    return text;
  };
  for (const path of paths) {
    const file = readFileSync(path);
    for (const what of ['data', 'call']) {
      const [said, size, ns] = line().split(' ');
      assert.equal(said, what);
      assert.equal(Number(size), file.length);
      assert.ok(Number(ns) > 0);
      assert.ok(out.subarray(0, file.length).equals(file));
      out = out.subarray(file.length);
    }
  }
  assert.match(line(), /^error ENOENT /);
  assert.equal(out.length, 0);
});

for (const raw of ['', 'raw-']) {
  test(`the agent measures round trips with ${raw}bench`, async (t) => {
    const at = address(t);
    await (raw ? serving(t, at, agent, 'raw-echo', at) : serving(t, at, echo, at));
    for (const size of [0, 64, 100_000]) {
      const { stdout } = await node(agent, `${raw}bench`, at, String(size), '0.1');
      const { median_ns: median, p99_ns: p99, count } = JSON.parse(stdout);
      assert.ok(count > 5 && median > 0 && p99 >= median, stdout);
    }
  });

  test(`the agent counts what it streams with ${raw}stream`, async (t) => {
    const at = address(t);
    await serving(t, at, agent, `${raw}sink`, at);
    for (const size of [64, 100_000]) {
      const { stdout } = await node(agent, `${raw}stream`, at, String(size), '0.1');
      const { messages, bytes, seconds } = JSON.parse(stdout);
      assert.ok(messages > 5 && bytes === messages * size && seconds > 0.09, stdout);
    }
  });
}

test('the README shows the examples as they are', () => {
  const readme = readFileSync(join(root, 'node/README.md'), 'utf8');
  for (const file of [echo, request, stream]) {
    const [, shown] = /\/\/ README-begin\n([^]*)\/\/ README-end/.exec(readFileSync(file, 'utf8'));
    assert.ok(readme.includes('```js\n' + shown + '```'), file);
  }
});

test('two links greet each other, and the survivor a third', async (t) => {
  const at = address(t);
  const start = (name) => {
    const child = spawn(process.execPath, [join(root, 'examples/node/link.mjs'), at, name]);
    t.after(() => child.kill('SIGKILL'));
    const told = { text: '' };
    child.stdout.setEncoding('utf8').on('data', (text) => (told.text += text));
    const until = async (text) => {
      while (!told.text.includes(text)) await once(child.stdout, 'data');
    };
    return { child, until };
  };
  const [a, b] = [start('a'), start('b')];
  await Promise.all([a.until('b got: hello from a'), b.until('a got: hello from b')]);
  a.child.kill('SIGKILL');
  await b.until('down: ');
  const c = start('c');
  await Promise.all([b.until('c got: hello from b'), c.until('b got: hello from c')]);
});
