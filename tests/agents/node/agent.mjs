// The Node agent of the cross-language runs: `agent.mjs MODE ADDRESS …`. It uses the published API alone.

import { createInterface } from 'node:readline';
import { readFile } from 'node:fs/promises';
import { Channel, HostlaneError, connect, listen } from 'hostlane';
import { rawBench, rawEcho, rawSink, rawStream } from './raw.mjs';
import { Latencies } from './latencies.mjs';

const PIECE = 256 * 1024;
const timeoutMs = 5000;

/** Reads file names from standard input; sends each file in pieces and as one call, and writes out what came back. */
async function files(address) {
  let peer;
  for await (const path of createInterface({ input: process.stdin })) {
    try {
      peer ??= await connect(address, { timeoutMs });
      const file = await readFile(path);
      await write(...(await pieces(peer, file)));
      await write(...(await call(peer, file)));
    } catch (error) {
      await peer?.close();
      peer = undefined;
      const name = error instanceof HostlaneError ? error.kind : (error.code ?? error.name);
      await write(`error ${name} ${error.message.replaceAll('\n', ' ')}\n`);
    }
  }
  await peer?.close();
}

async function pieces(peer, file) {
  const latencies = new Latencies();
  const echoes = [];
  let at = 0;
  do {
    const start = performance.now();
    await peer.send(file.subarray(at, at + PIECE), { channel: Channel.DATA, timeoutMs });
    const echo = await peer.recv({ channel: Channel.DATA, timeoutMs });
    latencies.add(performance.now() - start);
    echoes.push(echo.data);
    at += PIECE;
  } while (at < file.length);
  const data = Buffer.concat(echoes);
  return [`data ${data.length} ${latencies.quantile(0.5)}\n`, data];
}

async function call(peer, file) {
  const start = performance.now();
  const { data } = await peer.request(file, { timeoutMs });
  return [`call ${data.length} ${Math.round((performance.now() - start) * 1e6)}\n`, data];
}

/** Writes to standard output and waits until it is out: a runner that reads slowly must not make memory grow. */
function write(...parts) {
  return new Promise((resolve, reject) => {
    process.stdout.write(Buffer.concat(parts.map((part) => Buffer.from(part))), (error) => (error ? reject(error) : resolve()));
  });
}

/** Calls of `size` bytes, one after the other. */
async function bench(address, size, seconds) {
  const peer = await connect(address, { timeoutMs });
  const payload = Buffer.alloc(size, 'x');
  const latencies = new Latencies();
  const end = performance.now() + seconds * 1000;
  for (let now = performance.now(); now < end; ) {
    const { data } = await peer.request(payload);
    const then = performance.now();
    if (data.length !== size) {
      throw new Error(`the reply has ${data.length} bytes, not ${size}`);
    }
    latencies.add(then - now);
    now = then;
  }
  await peer.close();
  console.log(latencies.json());
}

/** One-way messages of `size` bytes to `sink`, which is asked at the end how many came. */
async function stream(address, size, seconds) {
  const peer = await connect(address, { timeoutMs });
  const payload = Buffer.alloc(size, 'x');
  const start = performance.now();
  let messages = 0;
  while (performance.now() < start + seconds * 1000) {
    await peer.send(payload);
    messages += 1;
  }
  const { data } = await peer.request('');
  const elapsed = (performance.now() - start) / 1000;
  await peer.close();
  if (Number(data.toString()) !== messages) {
    throw new Error(`${messages} messages were sent, ${data.toString()} arrived`);
  }
  console.log(JSON.stringify({ messages, seconds: elapsed, bytes: messages * size }));
}

/** Counts the DATA messages of each connection and tells the count to whoever calls. */
async function sink(address) {
  const listener = await listen(address);
  process.once('SIGTERM', () => process.exit(0));
  console.log(`ready ${address}`);
  for await (const peer of listener) {
    count(peer).catch((error) => console.error(error));
  }
}

async function count(peer) {
  let messages = 0;
  for await (const message of peer) {
    if (message.channel === Channel.COMMAND) {
      await message.reply(String(messages));
    } else {
      messages += 1;
    }
  }
  await peer.close();
}

const modes = {
  files,
  bench,
  stream,
  sink,
  'raw-echo': rawEcho,
  'raw-bench': rawBench,
  'raw-sink': rawSink,
  'raw-stream': rawStream,
};
const [mode, address, size, seconds] = process.argv.slice(2);
if (!(mode in modes) || address === undefined) {
  console.error(`usage: agent.mjs ${Object.keys(modes).join('|')} ADDRESS [SIZE SECONDS]`);
  process.exit(64);
}
await modes[mode](address, Number(size), Number(seconds));
