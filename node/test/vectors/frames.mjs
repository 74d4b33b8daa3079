// The vectors of frames: of level 0, of level 1, and what control frames and extensions say.

import assert from 'node:assert/strict';
import { SOON, frame } from '../helpers.mjs';
import { bytesOf } from './reader.mjs';
import { BY_NUMBER, Subject } from './subject.mjs';
import { EXT, FIRST, KINDS, LAST, READY, frame1, reserved } from './wire.mjs';

export const unfitFrames = ({ expect }) =>
  expect.frames.some(({ channel }) => reserved(channel)) ? "a frame on a channel that is no program's" : undefined;

export async function playFrames(t, { limit, chunks, eof, expect }) {
  const messages = expect.frames.map(({ channel, payload }) => [channel, bytesOf(payload)]);
  const channels = [...new Set([1, 2, 3, 4, ...messages.map(([channel]) => channel)])];
  const subject = await Subject.of(t, 'server', { channels, maxMessage: limit });
  subject.write(frame(0, JSON.stringify({ protocol: 'ipcprims', version: '1.0', channels })));
  await subject.handshake();
  await subject.peer();
  await subject.feed(chunks.map(bytesOf), eof, messages, expect.end);
}

export async function playControl(t, { payload, expect }) {
  const subject = await Subject.of(t, 'server');
  subject.write(frame(0, JSON.stringify({ protocol: 'ipcprims', version: '1.0', channels: [1, 2, 3, 4] })));
  await subject.handshake();
  await subject.peer();
  subject.write(frame(0, bytesOf(payload)));
  if (expect.error !== undefined || expect.type === 'shutdown_force') {
    assert.ok((expect.error ?? ['peer_closed']).includes(await subject.end()));
    return;
  }
  const answer = { ping: 'pong', shutdown_request: 'shutdown_ack' }[expect.type];
  if (answer === undefined) {
    // What comes next is the answer to the ping behind it.
    subject.write(frame(0, '{"type":"ping"}'));
  }
  assert.deepEqual(JSON.parse(await subject.handshake()), { type: answer ?? 'pong' });
}

const SHOWN = ['MESSAGE', 'PING', 'READY', 'CREDIT'];

export const unfitFrames1 = ({ expect }) =>
  expect.items.every(({ type }) => SHOWN.includes(type)) ? undefined : 'a frame that takes a call, a secret or another ending to be right';

export async function playFrames1(t, vector) {
  const items = vector.expect.items.filter(({ type }) => type === 'MESSAGE');
  const subject = await Subject.of(t, 'server', { maxMessage: vector.max_message });
  await subject.level1();
  if (vector.ready) {
    subject.write(READY);
    await subject.peer();
  }
  const messages = items.map(({ channel, payload }) => [channel, bytesOf(payload)]);
  await subject.feed(vector.chunks.map(bytesOf), vector.eof, messages, vector.expect.end);
}

export const unfitExtensions = ({ expect }) =>
  (expect.extensions?.deadline_us ?? Infinity) < 1e6 ? 'a deadline that may pass before a program takes the call' : undefined;

export async function playExtensions(t, { form, payload, expect }) {
  const subject = await Subject.of(t, 'server');
  await subject.level1();
  const end = expect.error ?? 'more';
  if (form === 'ready') {
    await subject.feed([frame1(KINDS.get('READY'), 0, 0, 0, bytesOf(payload))], false, [], end);
    return;
  }
  subject.write(READY);
  const chunk = frame1(KINDS.get('REQUEST'), FIRST | LAST | EXT, 1, 1, bytesOf(payload));
  const messages = expect.error === undefined ? [[1, bytesOf(expect.rest)]] : [];
  const [message] = await subject.feed([chunk], false, messages, end);
  if (message !== undefined) {
    assert.equal(message.idempotencyKey?.toString('hex'), expect.extensions.idempotency);
    assert.equal(message.trace?.toString('hex'), expect.extensions.trace);
    assert.equal(message.deadline !== undefined, 'deadline_us' in expect.extensions);
  }
}

export const unfitControl1 = ({ type, expect }) =>
  expect.error !== undefined || ['PING', 'PONG', 'CLOSE'].includes(type)
    ? undefined
    : 'a frame that takes a call or a handshake to be right';

export async function playControl1(t, { type, payload, expect }) {
  const subject = await Subject.of(t, 'server');
  await subject.level1();
  subject.write(READY);
  await subject.peer();
  let end = expect.error ?? 'more';
  if (type === 'CLOSE' && expect.error === undefined) {
    const name = BY_NUMBER.get(expect.fields.code) ?? 'connection_lost';
    end = [name === 'closed' ? 'peer_closed' : name];
  }
  await subject.feed([frame1(KINDS.get(type), 0, 0, 0, bytesOf(payload))], false, [], end);
  if (type === 'PING' && end === 'more') {
    let out;
    do {
      out = await subject.raw.frame1(SOON);
    } while (out.kind !== KINDS.get('PONG'));
    assert.equal(out.payload.toString('hex'), expect.fields.token);
  }
}
