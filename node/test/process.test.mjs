import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { connect } from 'hostlane';
import { SOON, address, finished, listening, run, script } from './helpers.mjs';

/** Asserts that a script ended by itself, well and within a second of starting (Node's own start included). */
function endedAlone({ code, signal, stderr, ms }) {
  assert.equal(stderr, '');
  assert.equal(signal, null);
  assert.equal(code, 0);
  assert.ok(ms < 3000, `it took ${ms} ms`);
}

/** A script tells the time of its last line; the milliseconds from there to its end. */
const LAST = "process.on('exit', () => console.log(performance.now() - last)); let last = performance.now();\n";
function lingered({ stdout }) {
  const ms = Number(stdout.trim());
  assert.ok(ms < 1000, `it lingered for ${stdout} ms`);
}

test('a process with open peers and a listener, and nothing under way, ends by itself', async (t) => {
  const result = await run(`${LAST}
    const listener = await hostlane.listen(process.argv[2]);
    const [server, client] = await Promise.all([listener.accept(), hostlane.connect(process.argv[2])]);
    await client.send('x');
    await server.recv();
    last = performance.now();
  `, address(t));
  endedAlone(result);
  lingered(result);
});

test('unref lets the process end although operations are under way', async (t) => {
  const result = await run(`${LAST}
    const listener = await hostlane.listen(process.argv[2]);
    const [server, client] = await Promise.all([listener.accept(), hostlane.connect(process.argv[2])]);
    listener.accept().catch(() => {});
    listener.unref();
    server.unref().recv().catch(() => {});
    client.ref().unref();
    client.request('x').catch(() => {});
    last = performance.now();
  `, address(t));
  endedAlone(result);
  lingered(result);
});

test('an operation under way keeps the process alive, again after ref', async (t) => {
  const result = await run(`
    const listener = await hostlane.listen(process.argv[2]);
    const [server, client] = await Promise.all([listener.accept(), hostlane.connect(process.argv[2])]);
    const error = await server.unref().ref().recv({ timeoutMs: 300 }).catch((error) => error);
    console.log(error.kind);
    await listener.accept({ timeoutMs: 100 }).catch((error) => console.log(error.kind));
  `, address(t));
  endedAlone(result);
  assert.equal(result.stdout, 'timeout\ntimeout\n');
});

test('a process that ends by itself removes the socket it listened on', async (t) => {
  const result = await run(`
    import { existsSync } from 'node:fs';
    globalThis.listener = await hostlane.listen(process.argv[2]);
    assert.ok(existsSync(process.argv[2]));
  `, address(t));
  endedAlone(result);
});

test('process.exit with operations under way ends at once', async (t) => {
  const result = await run(`
    const listener = await hostlane.listen(process.argv[2]);
    const [server] = await Promise.all([listener.accept(), hostlane.connect(process.argv[2])]);
    server.recv();
    listener.accept();
    setImmediate(() => process.exit(7));
  `, address(t));
  assert.equal(result.stderr, '');
  assert.equal(result.code, 7);
});

test('an exception in the program is its own, also right after a message', async (t) => {
  const result = await run(`
    const listener = await hostlane.listen(process.argv[2]);
    const [server, client] = await Promise.all([listener.accept(), hostlane.connect(process.argv[2])]);
    process.on('uncaughtException', (error) => { console.log(error.message); process.exit(3); });
    server.recv().then(() => queueMicrotask(() => { throw new Error('mine'); }));
    await client.send('x');
    setTimeout(() => {}, 5000);
  `, address(t));
  assert.equal(result.stdout, 'mine\n');
  assert.equal(result.code, 3);
});

test('peers nobody holds any more are collected and closed', async (t) => {
  const result = await run(`
    const listener = await hostlane.listen(process.argv[2]);
    const ends = [];
    const round = async () => {
      const [server] = await Promise.all([listener.accept(), hostlane.connect(process.argv[2]).then((peer) => peer.send('x'))]);
      await server.recv();
      ends.push(server.recv({ timeoutMs: 10000 }).catch((error) => error.kind));
    };
    for (let n = 0; n < 50; n += 1) await round();
    const collect = setInterval(gc, 5);
    assert.deepEqual(new Set(await Promise.all(ends)), new Set(['peer_closed']));
    clearInterval(collect);
  `, address(t));
  endedAlone(result);
});

test('a peer with an operation under way is not collected', async (t) => {
  const result = await run(`
    const listener = await hostlane.listen(process.argv[2]);
    const accepting = listener.accept();
    const received = hostlane.connect(process.argv[2]).then((peer) => peer.recv());
    const server = await accepting;
    for (let n = 0; n < 20; n += 1) { gc(); await new Promise((resolve) => setTimeout(resolve, 2)); }
    await server.send('there');
    const message = await received;
    gc();
    await message.reply('and back');
    assert.equal((await server.recv()).data.toString(), 'and back');
  `, address(t));
  endedAlone(result);
});

test('worker threads load, use and unload it 20 times', async (t) => {
  const listener = await listening(t);
  const serving = (async () => {
    for await (const peer of listener) {
      void (async () => {
        for await (const message of peer) {
          await message.reply(message.data);
        }
      })();
    }
  })();
  const source = `
    const { connect } = require('hostlane');
    const { parentPort, workerData } = require('node:worker_threads');
    (async () => {
      const peer = await connect(workerData.address);
      const { data } = await peer.request('from a worker', { timeoutMs: ${SOON} });
      parentPort.postMessage(data.toString());
      // A third of them end with an operation under way, a third are terminated so, a third close.
      if (workerData.n % 3 === 0) await peer.close();
      else if (workerData.n % 3 === 1) peer.unref().recv().catch(() => {});
      else await peer.recv();
    })();
  `;
  for (let n = 0; n < 20; n += 1) {
    const worker = new Worker(source, { eval: true, workerData: { address: listener.address, n } });
    const ended = new Promise((resolve, reject) => worker.once('exit', resolve).once('error', reject));
    const [said] = await new Promise((resolve, reject) => worker.once('message', (...args) => resolve(args)).once('error', reject));
    assert.equal(said, 'from a worker');
    if (n % 3 === 2) {
      await worker.terminate();
    }
    assert.equal(await ended, n % 3 === 2 ? 1 : 0);
  }
  await listener.close();
  await serving;
});

test('many workers at once talk to each other', async (t) => {
  const listener = await listening(t);
  const source = `
    const { connect } = require('hostlane');
    const { workerData } = require('node:worker_threads');
    (async () => {
      const peer = await connect(workerData.address);
      for (let n = 0; n < 200; n += 1) {
        const { data } = await peer.request(String(n), { timeoutMs: ${SOON} });
        if (data.toString() !== String(n)) throw new Error('wrong answer');
      }
    })();
  `;
  const workers = Array.from({ length: 4 }, () => new Worker(source, { eval: true, workerData: { address: listener.address } }));
  const ended = Promise.all(workers.map((worker) => new Promise((resolve, reject) => worker.once('exit', resolve).once('error', reject))));
  const serving = (async () => {
    for await (const peer of listener) {
      void (async () => {
        for await (const message of peer) {
          await message.reply(message.data);
        }
      })();
    }
  })();
  assert.deepEqual(await ended, [0, 0, 0, 0]);
  await listener.close();
  await serving;
});

test('open calls, streams and requests in hand keep no process from ending, by itself or by exit', async (t) => {
  for (const [end, code] of [['', 0], ['setImmediate(() => process.exit(5));', 5]]) {
    const result = await run(`${LAST}
      const listener = await hostlane.listen(process.argv[2]);
      const [server, client] = await Promise.all([listener.accept(), hostlane.connect(process.argv[2])]);
      client.unref();
      for (let n = 0; n < 100; n += 1) client.request('x').catch(() => {});
      client.openStream('s').recv().catch(() => {});
      globalThis.held = await server.recvBatch(50);
      held.forEach((message) => message.signal.addEventListener('abort', () => {}));
      server.serve(() => new Promise(() => {}));
      server.unref();
      client.sendBatch(Array.from({ length: 1000 }, () => 'one way'));
      await new Promise((resolve) => setImmediate(resolve));
      ${end}
      last = performance.now();
    `, address(t));
    assert.deepEqual([result.stderr, result.signal, result.code], ['', null, code]);
    lingered(result);
  }
});

test('workers serve and call each other, each with a context of its own', async (t) => {
  const path = address(t);
  const source = `
    const { connect, listen } = require('hostlane');
    const { parentPort, workerData } = require('node:worker_threads');
    (async () => {
      const listener = await listen(workerData);
      parentPort.postMessage('ready');
      await listener.serve(async (message) => {
        if (message.data.toString() === 'end') {
          await listener.close();
        }
        return message.data;
      });
    })();
  `;
  const worker = new Worker(source, { eval: true, workerData: path });
  const ended = new Promise((resolve, reject) => worker.once('exit', resolve).once('error', reject));
  await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
  const peers = await Promise.all(Array.from({ length: 3 }, () => connect(path, { timeoutMs: SOON })));
  await Promise.all(peers.map(async (peer) => {
    const calls = Array.from({ length: 300 }, (_, n) => peer.request(String(n), { timeoutMs: SOON }));
    (await Promise.all(calls)).forEach(({ data }, n) => assert.equal(data.toString(), String(n)));
  }));
  await peers[0].request('end', { timeoutMs: SOON });
  await Promise.all(peers.map((peer) => peer.drain({ timeoutMs: SOON })));
  assert.equal(await ended, 0);
});

test('a killed server leaves a socket that the next one takes over', async (t) => {
  const path = address(t);
  const child = script(`
    const listener = await hostlane.listen(process.argv[2]);
    console.log('ready');
    await listener.accept();
  `, path);
  const done = finished(child);
  await new Promise((resolve) => child.stdout.once('data', resolve));
  child.kill('SIGKILL');
  await done;
  const result = await run('const listener = await hostlane.listen(process.argv[2]); await listener.close();', path);
  endedAlone(result);
});

test('a process whose peers, listeners and links are closed ends at once, whatever was under way', async (t) => {
  const cases = {
    'a client that stays': `
      const listener = await hostlane.listen(process.argv[2]);
      const serving = listener.serve((message) => message.data);
      const client = spawn(process.execPath, ['--input-type=module', '-e', process.argv[3], process.argv[2]], { stdio: 'ignore' });
      while (listener.stats().accepted === 0) await new Promise((resolve) => setTimeout(resolve, 5));
      client.unref();
      last = performance.now();
      await listener.close();
      await serving;
      client.kill();`,
    'a handler that never answers': `
      const listener = await hostlane.listen(process.argv[2]);
      listener.serve(() => new Promise(() => {}));
      const client = await hostlane.connect(process.argv[2]);
      client.request('x', { timeoutMs: 10000 }).catch(() => {});
      await client.ping();
      last = performance.now();
      await client.close();
      await listener.close();`,
    'connects that failed': `
      for (const timeoutMs of [0, 10000]) await hostlane.connect(process.argv[2], { timeoutMs }).catch(() => {});
      const mute = createServer(() => {}).unref().listen(process.argv[2]);
      await once(mute, 'listening');
      await hostlane.connect(process.argv[2], { timeoutMs: 50 }).catch(() => {});
      hostlane.connect(process.argv[2], { signal: AbortSignal.timeout(50) }).catch(() => {});
      setTimeout(() => (last = performance.now()), 60);`,
    'everything under way, with a keepalive': `
      const options = { keepaliveMs: 10000 };
      const listener = await hostlane.listen(process.argv[2], options);
      const [server, client] = await Promise.all([listener.accept(), hostlane.connect(process.argv[2], options)]);
      const timeoutMs = 10000;
      const stream = client.openStream('x', { timeoutMs });
      for (const under of [client.request('x', { timeoutMs }), stream.recv({ timeoutMs }), listener.accept({ timeoutMs }), client.drain({ timeoutMs })]) {
        under.catch(() => {});
      }
      const [opened] = await server.recvBatch(1);
      opened.signal.addEventListener('abort', () => {});
      opened.stream.recv({ timeoutMs }).catch(() => {});
      last = performance.now();
      await Promise.all([client.close(), server.close(), listener.close()]);`,
    'links, the third of them waiting for a place': `
      const links = await Promise.all([1, 2, 3].map(() => hostlane.Link.open(process.argv[2])));
      links.forEach((link) => {
        link.serve((message) => message.data).catch(() => {});
        link.request('x', { timeoutMs: 10000 }).catch(() => {});
        link.next({ timeoutMs: 10000 }).catch(() => {});
      });
      await links[0].request('x').catch(() => {});
      last = performance.now();
      await Promise.all(links.map((link) => link.close()));`,
  };
  const client = `
    import { connect } from ${JSON.stringify(import.meta.resolve('hostlane'))};
    const peer = await connect(process.argv[1]);
    await peer.recv().catch(() => {});`;
  for (const [name, source] of Object.entries(cases)) {
    await t.test(name, async (t) => {
      const imports = `
        import { spawn } from 'node:child_process';
        import { once } from 'node:events';
        import { createServer } from 'node:net';
        process.on('unhandledRejection', (error) => { throw error; });`;
      const result = await run(`${imports}${LAST}${source}`, address(t), client);
      endedAlone(result);
      lingered(result);
    });
  }
});
