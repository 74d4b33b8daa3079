// Worker threads: each loads the addon for itself, and is terminated wherever it happens to be.

import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { SOON, address } from './helpers.mjs';

const WORKERS = 5;
const ROUNDS = 10;

/**
 * Serves, asks the next worker, and is one side of a link (the last one waits there alone), without an end. Says so once
 * all of it goes on.
 */
const SOURCE = `
  const { HostlaneError, Link, connect, listen } = require('hostlane');
  const { parentPort, workerData: { folder, n } } = require('node:worker_threads');
  const limit = { timeoutMs: ${SOON} };

  // Whoever was asked may be gone.
  function gone(error) {
    if (!(error instanceof HostlaneError)) throw error;
  }

  async function answer(peer) {
    try {
      for await (const message of peer) await message.reply(message.data);
    } catch (error) {
      gone(error);
    }
  }

  async function serve() {
    for await (const peer of await listen(folder + '/' + n)) void answer(peer);
  }

  async function ask(to, done) {
    for (;;) {
      try {
        const peer = await connect(folder + '/' + to, limit);
        for (;;) {
          await Promise.all(Array.from({ length: 10 }, (_, k) => peer.request(String(k), limit)));
          done();
        }
      } catch (error) {
        gone(error);
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    }
  }

  async function callPartner(link, done) {
    for (;;) {
      try {
        await link.request('x', limit);
        done();
      } catch (error) {
        gone(error);
      }
    }
  }

  async function join(done) {
    const link = await Link.open(folder + '/link-' + (n >> 1));
    void callPartner(link, done);
    await link.serve((message) => message.data);
  }

  void serve();
  Promise.all([
    new Promise((done) => void ask((n + 1) % ${WORKERS}, done)),
    n === ${WORKERS - 1} ? void join(() => {}) : new Promise((done) => void join(done)),
  ]).then(() => parentPort.postMessage('busy'));
`;

/** Starts them all, and ends one after the other while the rest go on. */
async function round(folder) {
  const workers = Array.from({ length: WORKERS }, (_, n) => new Worker(SOURCE, { eval: true, workerData: { folder, n } }));
  const failed = new Promise((_, reject) => workers.forEach((worker) => worker.once('error', reject)));
  const busy = workers.map((worker) => new Promise((resolve) => worker.once('message', resolve)));
  await Promise.race([Promise.all(busy), failed]);
  for (const worker of workers) {
    assert.equal(await Promise.race([worker.terminate(), failed]), 1);
  }
}

const descriptors = () => readdirSync('/proc/self/fd').length;

test(`${WORKERS * ROUNDS} workers that listen, connect and link are terminated in the middle`, async (t) => {
  const folder = dirname(address(t));
  // What the process keeps is there then.
  await round(folder);
  const before = descriptors();
  for (let n = 0; n < ROUNDS; n += 1) {
    await round(folder);
  }
  const deadline = Date.now() + SOON;
  while (descriptors() > before) {
    assert.ok(Date.now() < deadline, `${before} descriptors before, ${descriptors()} after`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
});
