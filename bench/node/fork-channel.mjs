// Node's channel to a forked child, which is the server. There is none to connect to: the program started as `server`
// only tells where a child has to run, so that it is placed like all other servers.

import { fork } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Service } from './payload.mjs';
import { program, ready } from './works.mjs';

const ENOUGH = 256; // messages on their way before a sender waits
const A_DAY = 86_400_000;

function cores() {
  return /^Cpus_allowed_list:\s*(\S+)/m.exec(readFileSync('/proc/self/status', 'utf8'))[1];
}

function placed(list, options) {
  if (list === cores()) return options;
  return { ...options, execPath: 'taskset', execArgv: ['--cpu-list', list, process.execPath] };
}

function serve(address) {
  writeFileSync(address, cores());
  ready(address);
  setInterval(() => {}, A_DAY);
}

function connector(script, serialization, pack, unpack) {
  return async (address) => {
    const child = fork(script, ['child'], placed(readFileSync(address, 'utf8'), { serialization }));
    const waiting = [];
    child.on('message', (message) => waiting.shift().resolve(unpack(message)));
    child.on('exit', () => {
      for (const { reject } of waiting) reject(new Error('the child is gone'));
    });
    const call = (request) =>
      new Promise((resolve, reject) => {
        waiting.push({ resolve, reject });
        child.send(pack(request));
      });
    return {
      call,
      finish: call,
      async sendAll(messages) {
        for (let at = 0; at < messages.length; at += ENOUGH) {
          const part = messages.slice(at, at + ENOUGH);
          const last = part.pop();
          for (const message of part) child.send(pack(message));
          await new Promise((resolve, reject) => {
            child.send(pack(last), (error) => (error ? reject(error) : resolve()));
          });
        }
      },
      close: () =>
        new Promise((closed) => {
          child.once('exit', closed);
          child.disconnect();
        }),
    };
  };
}

function answer(pack, unpack) {
  const service = new Service();
  process.on('message', (message) => {
    const reply = service.handle(unpack(message));
    if (reply) process.send(pack(reply));
  });
}

/** The whole program, for one way to write messages down. */
export async function channel(url, serialization, pack, unpack) {
  if (process.argv[2] === 'child') return answer(pack, unpack);
  return program(serve, connector(fileURLToPath(url), serialization, pack, unpack));
}
