// The works, and the command line that all programs share. A client has
//   call(request)       resolves with the reply; may be called many times at once
//   sendAll(messages)   one-way; resolves when more may be sent
//   finish(message)     sends the last message behind all that were sent, resolves with its reply
//   close()             resolves when the connection has ended

import { once } from 'node:events';
import { FINISH, ONE_WAY, REQUEST, cycle, report } from './payload.mjs';

const WINDOW = 64;
const WARM_UP = 0.5; // of the time, before anything is counted: the compiler needs it
const SMALL = 4096;

const SIZES = {
  rt64: 64,
  rt64k: 64 << 10,
  rt1m: 1 << 20,
  fly64: 64,
  oneway64: 64,
  oneway1m: 1 << 20,
  connect: 64,
  idle: 64,
  many: 64,
};
// Connections that a client opens and keeps.
const STAY = { idle: 1, many: 1000 };

function check(request, reply) {
  if (!request.equals(reply)) throw new Error('the reply is not the request');
}

async function roundTrips(client, requests, seconds) {
  const times = [];
  const start = performance.now();
  const end = start + seconds * 1000;
  for (let last = start; last < end; ) {
    const request = requests[times.length % requests.length];
    check(request, await client.call(request));
    const now = performance.now();
    times.push(now - last);
    last = now;
  }
  return times;
}

async function fly(client, requests, seconds) {
  const end = performance.now() + seconds * 1000;
  let count = 0;
  const one = async (request) => {
    while (performance.now() < end) {
      check(request, await client.call(request));
      count++;
    }
  };
  await Promise.all(requests.slice(0, WINDOW).map(one));
  return count;
}

async function oneWay(client, size, seconds) {
  const messages = cycle(ONE_WAY, size);
  const [last] = cycle(FINISH, 64);
  const start = performance.now();
  let count = 0;
  while (performance.now() - start < seconds * 1000) {
    const burst = size <= SMALL ? messages : [messages[count % messages.length]];
    await client.sendAll(burst);
    count += burst.length;
  }
  const got = await client.finish(last);
  const spent = (performance.now() - start) / 1000;
  if (!report(count).equals(got)) throw new Error(`${count} messages were sent and others were received`);
  return { count, spent };
}

/** A new connection that has had a reply; how long both took is added to the times. */
async function opened(connect, address, requests, times) {
  const request = requests[times.length % requests.length];
  const start = performance.now();
  const client = await connect(address);
  check(request, await client.call(request));
  times.push(performance.now() - start);
  return client;
}

async function connects(connect, address, seconds) {
  const requests = cycle(REQUEST, 64);
  const times = [];
  for (let spent = 0; spent < seconds * 1000; spent += times.at(-1)) {
    const client = await opened(connect, address, requests, times);
    await client.close();
  }
  return times;
}

async function stay(connect, address, work) {
  const requests = cycle(REQUEST, 64);
  const times = [];
  const clients = [];
  while (clients.length < STAY[work]) clients.push(await opened(connect, address, requests, times));
  console.log(timesLine(work, times));
  await once(process.stdin.resume(), 'end');
  for (const client of clients) await client.close();
}

function line(work, count, seconds, times = []) {
  const ordered = Float64Array.from(times).sort();
  const quantile = (share) => (ordered.length ? ordered[Math.floor((ordered.length - 1) * share)] * 1000 : null);
  return JSON.stringify({
    work,
    count,
    seconds,
    p50_us: quantile(0.5),
    p99_us: quantile(0.99),
    bytes: count * SIZES[work],
  });
}

function timesLine(work, times) {
  return line(work, times.length, times.reduce((sum, time) => sum + time, 0) / 1000, times);
}

async function run(connect, address, work, seconds) {
  if (work === 'connect') return timesLine(work, await connects(connect, address, seconds));
  const size = SIZES[work];
  const client = await connect(address);
  try {
    if (work.startsWith('oneway')) {
      await oneWay(client, size, seconds * WARM_UP);
      const { count, spent } = await oneWay(client, size, seconds);
      return line(work, count, spent);
    }
    const requests = cycle(REQUEST, size);
    if (work === 'fly64') {
      await fly(client, requests, seconds * WARM_UP);
      const start = performance.now();
      const count = await fly(client, requests, seconds);
      return line(work, count, (performance.now() - start) / 1000);
    }
    await roundTrips(client, requests, seconds * WARM_UP);
    return timesLine(work, await roundTrips(client, requests, seconds));
  } finally {
    await client.close();
  }
}

/** Says that clients can connect. */
export function ready(address) {
  console.log(`ready ${address}`);
}

/** `server ADDR` or `client ADDR WORK SECONDS`. */
export async function program(serve, connect) {
  const [mode, address, work, seconds] = process.argv.slice(2);
  if (mode === 'server' && address) {
    await serve(address);
  } else if (mode === 'client' && work in SIZES && Number(seconds) > 0) {
    if (work in STAY) await stay(connect, address, work);
    else console.log(await run(connect, address, work, Number(seconds)));
  } else {
    console.error(`usage: server ADDR | client ADDR ${Object.keys(SIZES).join('|')} SECONDS`);
    process.exitCode = 1;
  }
}
