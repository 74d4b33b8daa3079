// What the tests share: a directory per test, a connected pair, raw peers that speak the wire by hand, child processes.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { HostlaneError, connect, listen } from 'hostlane';

/** Long enough for anything that is going to happen, on a busy machine too. */
export const SOON = 10_000;

/** A fresh address, whose directory goes with the test. */
export function address(t) {
  const directory = mkdtempSync(join(tmpdir(), 'hostlane-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return join(directory, 's.sock');
}

/** A listener that is closed with the test. */
export async function listening(t, options) {
  const listener = await listen(address(t), options);
  t.after(() => listener.close());
  return listener;
}

/** The file a listener's socket is. */
export function socketOf(listener) {
  return listener.address.replace(/^unix:/, '');
}

/** Both ends of a connection, closed with the test. */
export async function pair(t, { connecting, listening: accepting } = {}) {
  const listener = await listening(t, accepting);
  const [server, client] = await Promise.all([
    listener.accept({ timeoutMs: SOON }),
    connect(listener.address, { timeoutMs: SOON, ...connecting }),
  ]);
  t.after(() => Promise.all([client.close(), server.close()]));
  return { listener, server, client };
}

/** Asserts that the promise rejects with the error of this kind, and returns the error. */
export async function rejects(promise, kind) {
  const error = await promise.then(
    (value) => assert.fail(`resolved with ${String(value)} instead of failing with ${kind}`),
    (reason) => reason,
  );
  if (!(error instanceof HostlaneError)) {
    throw error;
  }
  assert.equal(error.kind, kind, error.message);
  assert.equal(error.code, `ERR_HOSTLANE_${kind.toUpperCase()}`);
  return error;
}

/** Resolves when the signal fires, which by itself keeps no process alive; fails if it does not. */
export function fires(signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('the signal did not fire')), SOON);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    }, { once: true });
  });
}

/** A frame of the wire. */
export function frame(channel, payload) {
  const body = Buffer.from(payload);
  const header = Buffer.alloc(8);
  header.write('IP', 'latin1');
  header.writeUInt32LE(body.length, 2);
  header.writeUInt16LE(channel, 6);
  return Buffer.concat([header, body]);
}

/** A handshake request as a stock client sends it. */
export function hello(members = {}) {
  return frame(0, JSON.stringify({ protocol: 'ipcprims', version: '1.0', channels: [1, 2, 3, 4], ...members }));
}

/** A handshake response as a stock server sends it. */
export function welcome(members = {}) {
  return frame(0, JSON.stringify({ protocol: 'ipcprims', version: '1.0', channels: [1, 2, 3, 4], peer_id: 'peer-1', ...members }));
}

/** A raw connection. `frames()` yields `[channel, payload]` until it ends. */
export class Raw {
  constructor(t, socket) {
    this.socket = socket;
    // To be cut off is what these peers are for: `frames` ends then.
    socket.on('error', (error) => assert.match(error.code, /^(EPIPE|ECONNRESET)$/));
    t.after(() => socket.destroy());
  }

  static async connect(t, path) {
    const socket = createConnection(path);
    await once(socket, 'connect');
    return new Raw(t, socket);
  }

  write(...parts) {
    this.socket.write(Buffer.concat(parts));
  }

  end() {
    this.socket.end();
  }

  async *#chunks() {
    try {
      yield* this.socket;
    } catch (error) {
      assert.match(error.code, /^(EPIPE|ECONNRESET)$/);
    }
  }

  async *frames() {
    let bytes = Buffer.alloc(0);
    for await (const chunk of this.#chunks()) {
      bytes = Buffer.concat([bytes, chunk]);
      while (bytes.length >= 8 && bytes.length >= 8 + bytes.readUInt32LE(2)) {
        const size = 8 + bytes.readUInt32LE(2);
        yield [bytes.readUInt16LE(6), bytes.subarray(8, size)];
        bytes = bytes.subarray(size);
      }
    }
  }
}

/** A raw server at `path`; `connected` gets each connection as a `Raw`. */
export async function rawServer(t, path, connected) {
  const server = createServer((socket) => connected(new Raw(t, socket)));
  t.after(() => server.close());
  server.listen(path);
  await once(server, 'listening');
}

/** A raw client whose handshake succeeded, and the peer it became. */
export async function rawPair(t, options) {
  const listener = await listening(t, options);
  const raw = await Raw.connect(t, socketOf(listener));
  raw.write(hello());
  const frames = raw.frames();
  const peer = await listener.accept({ timeoutMs: SOON });
  t.after(() => peer.close());
  const { value } = await frames.next();
  assert.equal(value[0], 0);
  assert.ok(JSON.parse(value[1]).peer_id);
  return { raw, frames, peer, listener };
}

/** Runs `source` as a module in a Node of its own, with `HOSTLANE` the imported package; resolves with what became of it. */
export function run(source, ...args) {
  const child = script(source, ...args);
  return finished(child);
}

/** Starts `source` as `run` does. */
export function script(source, ...args) {
  const prelude = "import * as hostlane from 'hostlane'; import assert from 'node:assert/strict';\n";
  return spawn(process.execPath, ['--expose-gc', '--input-type=module', '-', ...args], {
    // The package is found from here.
    cwd: fileURLToPath(new URL('.', import.meta.url)),
    stdio: ['pipe', 'pipe', 'pipe'],
  }).on('spawn', function () {
    this.stdin.end(prelude + source);
  });
}

/** What became of a child: its exit code, signal, output, and the milliseconds it lived. */
export async function finished(child) {
  const start = performance.now();
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
  const timer = setTimeout(() => child.kill('SIGKILL'), 30_000);
  const [code, signal] = await once(child, 'close');
  clearTimeout(timer);
  return { code, signal, stdout, stderr, ms: performance.now() - start };
}
