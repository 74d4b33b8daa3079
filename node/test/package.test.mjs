import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import * as esm from 'hostlane';

const cjs = createRequire(import.meta.url)('hostlane');
const { target } = createRequire(import.meta.url)('../dist/target.js');
const here = fileURLToPath(new URL('.', import.meta.url));

test('ESM and CommonJS get the same objects', () => {
  const names = Object.keys(esm);
  assert.deepEqual(names.sort(), Object.keys(cjs).sort());
  assert.deepEqual(names.sort(), ['Channel', 'ERRORS', 'HANDLER_FAILED', 'HostlaneError', 'Link', 'Listener', 'Message', 'Peer', 'Stream', 'connect', 'listen', 'log']);
  for (const name of names) {
    assert.equal(esm[name], cjs[name]);
  }
});

test('a CommonJS program runs', () => {
  const source = `
    const { connect, HostlaneError } = require('hostlane');
    connect('./nothing-here').catch((error) => console.log(error instanceof HostlaneError, error.code));
  `;
  const out = execFileSync(process.execPath, ['-e', source], { cwd: here, encoding: 'utf8' });
  assert.equal(out, 'true ERR_HOSTLANE_NOT_FOUND\n');
});

test('importing starts nothing and needs no addon', () => {
  const source = "const hostlane = require('hostlane'); console.log(typeof hostlane.connect)";
  const env = { ...process.env, HOSTLANE_NATIVE: '/nowhere.node' };
  assert.equal(execFileSync(process.execPath, ['-e', source], { cwd: here, env, encoding: 'utf8' }), 'function\n');
});

test('a missing addon is told with the target and what to do', () => {
  const source = "require('hostlane').connect('x').catch((error) => console.log(error.code, error.message))";
  const env = { ...process.env, HOSTLANE_NATIVE: '/nowhere.node' };
  const out = execFileSync(process.execPath, ['-e', source], { cwd: here, env, encoding: 'utf8' });
  assert.match(out, /^MODULE_NOT_FOUND /);
  assert.ok(out.includes(`${process.platform}-${process.arch}`), out);
  assert.ok(out.includes('/nowhere.node'), out);
  assert.ok(out.includes('npm run build:native'), out);
});

test('a file that is no addon is told with its path, and why', () => {
  const source = "require('hostlane').connect('x').catch((error) => console.log(error.code, error.message, error.cause.message))";
  const file = fileURLToPath(import.meta.url);
  const env = { ...process.env, HOSTLANE_NATIVE: file };
  const out = execFileSync(process.execPath, ['-e', source], { cwd: here, env, encoding: 'utf8' });
  assert.match(out, /^ERR_DLOPEN_FAILED /);
  assert.ok(out.includes(`cannot load its native addon`) && out.split(file).length > 2, out);
});

test('an unknown way of waiting is refused', () => {
  const source = "require('hostlane').connect('x').catch((error) => console.log(error.message))";
  const env = { ...process.env, HOSTLANE_NODE_WAIT: 'sometimes' };
  const out = execFileSync(process.execPath, ['-e', source], { cwd: here, env, encoding: 'utf8' });
  assert.match(out, /"sometimes"/);
});

test('a packed package has its addon, its code and its declarations', () => {
  const root = fileURLToPath(new URL('../..', import.meta.url));
  const [pack] = JSON.parse(execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: root, encoding: 'utf8' }));
  const files = pack.files.map(({ path }) => path);
  for (const name of [`native/hostlane.${target()}.node`, 'dist/index.js', 'dist/index.mjs', 'dist/index.d.ts', 'dist/index.d.mts']) {
    assert.ok(files.includes(`node/${name}`), `${name} is not in ${files.join(' ')}`);
  }
  const others = files.filter((path) => !/^(package\.json|README\.md|LICENSE.*|node\/(dist|native)\/.*)$/.test(path));
  assert.deepEqual(others, []);
});

test('every row of the error table makes an error, by number and by code', () => {
  assert.ok(esm.ERRORS.length > 30);
  for (const row of esm.ERRORS) {
    for (const error of [new esm.HostlaneError(row.number), new esm.HostlaneError(row.code)]) {
      assert.ok(error instanceof Error);
      assert.equal(error.name, 'HostlaneError');
      assert.equal(error.number, row.number);
      assert.equal(error.code, row.code);
      assert.equal(error.kind, row.name);
      assert.equal(error.message, row.meaning);
      assert.equal(error.retryable, row.retryable);
      assert.equal(error.sent, 'no');
      assert.ok(!('cause' in error));
    }
  }
  assert.equal(new Set(esm.ERRORS.map(({ number }) => number)).size, esm.ERRORS.length);
  assert.throws(() => new esm.HostlaneError(99999), TypeError);
  const cause = new Error('why');
  const error = new esm.HostlaneError('ERR_HOSTLANE_TIMEOUT', 'text', { cause, sent: 'maybe' });
  assert.equal(error.cause, cause);
  assert.equal(error.message, 'text');
  assert.equal(error.sent, 'maybe');
});

test('the addon names no symbol of libuv or V8: it loads in hosts that have neither', async (t) => {
  await assert.rejects(esm.connect(''), { code: 'ERR_HOSTLANE_INVALID_ADDRESS' });
  const addon = process.report.getReport().sharedObjects.find((path) => path.endsWith('.node'));
  const nm = spawnSync('nm', ['-D', '--undefined-only', addon], { encoding: 'utf8' });
  if (nm.error?.code === 'ENOENT') {
    t.skip('nm (binutils) is not installed');
    return;
  }
  assert.equal(nm.status, 0, nm.stderr);
  const foreign = nm.stdout.split('\n').filter((line) => / (uv_|v8|_ZN2v8|_ZN4node)/.test(line));
  assert.deepEqual(foreign, []);
});
