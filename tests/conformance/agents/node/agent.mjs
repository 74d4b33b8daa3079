// The Node agent: one JSON object a line, operations in, outcomes out. See docs/conformance.md.

import { createHash } from 'node:crypto';
import { createInterface } from 'node:readline';
import { Channel, HostlaneError, connect, listen } from 'hostlane';
import { callOptions, numbered, options, payload, wait } from './asked.mjs';
import { extend } from './chain.mjs';
import { Service } from './service.mjs';

/** A reply up to so many bytes is shown as text. */
const SHOWN = 256;

/** A reply, for the runner to judge. */
function shown({ data }) {
  const text = data.length <= SHOWN ? data.toString() : null;
  return { len: data.length, sha256: createHash('sha256').update(data).digest('hex'), text };
}

/** One end of a connection: the listening one, or the connecting one. */
class End {
  listener;
  connected;
  started = new Map();
  service = new Service();

  /** The connection; of a listener the first that is accepted. */
  async peer() {
    this.connected = await this.connected;
    return this.connected;
  }

  hello() {
    return { lang: 'node', features: ['inproc', 'tcp', 'unix'] };
  }

  async listen(asked) {
    this.listener = await listen(asked.address, options(asked));
    this.connected = this.listener.accept();
    // Nobody may come, which is told by whoever needs the connection.
    this.connected.then((peer) => asked.serve === 0 || this.#serveAll(this.listener, peer)).catch(() => undefined);
    return { address: this.listener.address };
  }

  /** The first is the one of the operations; all are served. */
  async #serveAll(listener, first) {
    this.service.serve(first);
    for (;;) {
      const peer = await listener.accept();
      this.service.serve(peer).then(() => peer.close());
    }
  }

  async connect(asked) {
    this.connected = await connect(asked.address, { ...wait(asked), ...options(asked) });
    if (asked.serve !== 0) this.service.serve(this.connected);
    return {};
  }

  async serve() {
    this.service.serve(await this.peer());
    return {};
  }

  async call(asked) {
    return shown(await (await this.peer()).request(payload(asked), callOptions(asked)));
  }

  /** Many calls at once, each with a number of its own behind its text. */
  async calls(asked) {
    const peer = await this.peer();
    const errors = {};
    let right = 0;
    const call = async (number) => {
      const text = `${asked.text} ${number}`;
      try {
        const { data } = await peer.request(text, callOptions(asked));
        right += data.toString() === text ? 1 : 0;
      } catch (error) {
        errors[error.kind] = (errors[error.kind] ?? 0) + 1;
      }
    };
    await Promise.all(Array.from({ length: asked.count }, (_, number) => call(number)));
    const failed = Object.values(errors).reduce((sum, count) => sum + count, 0);
    return { right, wrong: asked.count - right - failed, errors };
  }

  async start(asked) {
    const abort = new AbortController();
    const reply = (await this.peer()).request(payload(asked), { ...callOptions(asked), signal: abort.signal });
    // It is told by `wait`.
    reply.catch(() => undefined);
    this.started.set(asked.id, { abort, reply });
    return {};
  }

  async wait(asked) {
    return shown(await this.started.get(asked.id).reply);
  }

  cancel(asked) {
    this.started.get(asked.id).abort.abort();
    return {};
  }

  /** Numbered one-way messages. */
  async send(asked) {
    const peer = await this.peer();
    for (const message of numbered(asked.count, asked.size)) await peer.send(message, { ...wait(asked), channel: asked.channel });
    return {};
  }

  /** A stream with items both ways; what comes back is numbered, too. */
  async stream(asked) {
    const stream = (await this.peer()).openStream(payload(asked), callOptions(asked));
    for (const item of numbered(asked.count, asked.item_size)) await stream.send(item, wait(asked));
    if (asked.finish !== 0) await stream.finish(wait(asked));
    let items = 0;
    let ordered = true;
    for await (const item of stream) {
      ordered &&= Number.parseInt(item.toString(), 10) === items;
      items += 1;
    }
    return { items, ordered, reply: stream.reply?.toString() };
  }

  async chain(asked) {
    return extend(await this.peer(), asked);
  }

  chained({ chain }) {
    return this.service.chains.report(chain);
  }

  forget() {
    this.service.chains.forget();
    return {};
  }

  seen() {
    return this.service.report();
  }

  async info() {
    const { level, maxMessage, carrier, channels } = (await this.peer()).info();
    return { level, max_message: maxMessage, carrier, channels };
  }

  async stats({ channel = Channel.DATA }) {
    const stats = (await this.peer()).stats();
    const { messagesSent, dropped, droppedByPeer } = stats.channels.find((one) => one.channel === channel) ?? {};
    return {
      open_calls: stats.openCalls,
      calls_served: stats.callsServed,
      open_served: stats.openServed,
      calls_cancelled: stats.callsCancelled,
      sent: messagesSent,
      dropped,
      dropped_by_peer: droppedByPeer,
    };
  }

  refusals() {
    return { refused: (this.listener?.takeRefusals() ?? []).map(({ error }) => error.kind) };
  }

  async ping(asked) {
    await (await this.peer()).ping(wait(asked));
    return {};
  }

  async drain(asked) {
    await (await this.peer()).drain(wait(asked));
    return {};
  }

  async close() {
    await (await this.peer()).close();
    return {};
  }

  async reset() {
    await this.listener?.close();
    // Of a listener that nobody came to there is none.
    await (await Promise.resolve(this.connected).catch(() => undefined))?.close();
    return {};
  }
}

function described(error) {
  if (error.name === 'AbortError') return { name: 'cancelled' };
  if (!(error instanceof HostlaneError)) throw error;
  const { kind: name, sent, status, data } = error;
  return { name, sent, status, data: data?.toString() };
}

const ends = new Map();
for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  let end = ends.get(asked.end);
  if (end === undefined) ends.set(asked.end, (end = new End()));
  const start = performance.now();
  let told;
  try {
    told = { ok: await end[asked.op](asked) };
  } catch (error) {
    told = { error: described(error) };
  }
  told.ms = performance.now() - start;
  if (asked.op === 'reset') ends.delete(asked.end);
  process.stdout.write(`${JSON.stringify(told)}\n`);
}
process.exit();
