import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Channel, connect } from 'hostlane';
import { Raw, SOON, address, frame, hello, listening, rawPair, rawServer, rejects, socketOf, welcome } from './helpers.mjs';

const wait = { timeoutMs: SOON };

/** A frame header alone, declaring `length` bytes. */
function header(channel, length) {
  const bytes = frame(channel, '');
  bytes.writeUInt32LE(length, 2);
  return bytes;
}

const bad = {
  'bad magic': { bytes: Buffer.from('HTTP/1.1 200 OK\r\n'), kind: 'bad_magic' },
  'a length over the limit, told by the header alone': { bytes: header(2, 16 * 1024 * 1024 + 1), kind: 'frame_too_large' },
  'the largest length there is': { bytes: header(2, 0xffff_ffff), kind: 'frame_too_large' },
  'a channel nobody agreed on': { bytes: frame(300, 'x'), kind: 'unknown_channel' },
  'a reserved channel': { bytes: frame(77, 'x'), kind: 'unknown_channel' },
  'an unknown control type': { bytes: frame(0, '{"type":"reboot"}'), kind: 'unknown_control' },
  'control that is no JSON': { bytes: frame(0, '{'), kind: 'bad_control' },
  'control without a type': { bytes: frame(0, '{}'), kind: 'bad_control' },
  'an end inside a header': { bytes: frame(2, 'x').subarray(0, 5), end: true, kind: 'truncated' },
  'an end inside a payload': { bytes: frame(2, 'xyz').subarray(0, 9), end: true, kind: 'truncated' },
  'an end between frames': { bytes: Buffer.alloc(0), end: true, kind: 'peer_closed' },
};

for (const [name, { bytes, end, kind }] of Object.entries(bad)) {
  test(`${name}: ${kind}, after the messages before it`, async (t) => {
    const { raw, peer } = await rawPair(t);
    raw.write(frame(Channel.DATA, 'good'), bytes);
    if (end) {
      raw.end();
    }
    assert.equal((await peer.recv(wait)).data.toString(), 'good');
    await rejects(peer.recv(wait), kind);
  });
}

test('a flood of control messages ends the connection', async (t) => {
  const { raw, peer } = await rawPair(t);
  const ping = frame(0, '{"type":"ping"}');
  raw.write(Buffer.concat(Array.from({ length: 5000 }, () => ping)));
  raw.socket.resume();
  await rejects(peer.recv(wait), 'control_flood');
});

test('one byte at a time is slow, and right', async (t) => {
  const { raw, peer } = await rawPair(t);
  const received = peer.recv(wait);
  for (const byte of frame(Channel.DATA, 'slowly')) {
    raw.write(Buffer.of(byte));
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.equal((await received).data.toString(), 'slowly');
});

test('a thousand frames in one write all arrive', async (t) => {
  const { raw, peer } = await rawPair(t);
  raw.write(...Array.from({ length: 1000 }, (_, n) => frame(Channel.DATA, String(n))));
  raw.end();
  let next = 0;
  for await (const { data } of peer) {
    assert.equal(data.toString(), String(next));
    next += 1;
  }
  assert.equal(next, 1000);
});

test('pings are answered, and level 0 sees the stock frames', async (t) => {
  const { raw, frames, peer } = await rawPair(t);
  const receiving = rejects(peer.recv(wait), 'peer_closed');
  raw.write(frame(0, '{"type":"ping"}'));
  assert.deepEqual((await frames.next()).value, [0, Buffer.from('{"type":"pong"}')]);
  await peer.send('payload', { channel: Channel.ERROR });
  assert.deepEqual((await frames.next()).value, [4, Buffer.from('payload')]);
  raw.end();
  await receiving;
});

const refused = {
  'a request that is no JSON': { bytes: frame(0, 'hello'), kind: 'bad_handshake' },
  'a request without channels': { bytes: frame(0, '{"protocol":"ipcprims","version":"1.0"}'), kind: 'bad_handshake' },
  'another protocol': { bytes: hello({ protocol: 'other' }), kind: 'protocol_mismatch' },
  'another version': { bytes: hello({ version: '2.0' }), kind: 'version_mismatch' },
  'a version that is none': { bytes: hello({ version: 'one' }), kind: 'bad_handshake' },
  'channel 0': { bytes: hello({ channels: [0, 1] }), kind: 'bad_handshake' },
  'no channel in common': { bytes: hello({ channels: [300] }), kind: 'no_common_channel' },
  'a request on another channel': { bytes: frame(1, '{}'), kind: 'bad_handshake' },
  'no frame at all': { bytes: Buffer.from('GET / HTTP/1.1\r\n\r\n'), kind: 'bad_magic' },
  'a request over 16 KiB': { bytes: header(0, 16 * 1024 + 1), kind: 'frame_too_large' },
};

for (const [name, { bytes, kind }] of Object.entries(refused)) {
  test(`a client with ${name} is refused with ${kind}, and told so`, async (t) => {
    const listener = await listening(t);
    const accepting = rejects(listener.accept({ timeoutMs: SOON }), 'closed');
    const raw = await Raw.connect(t, socketOf(listener));
    raw.write(bytes);
    const answers = [];
    for await (const [channel, payload] of raw.frames()) {
      answers.push([channel, JSON.parse(payload).error.name]);
    }
    assert.deepEqual(answers, [[0, kind]]);
    const [refusal, ...others] = listener.takeRefusals();
    assert.equal(refusal.error.kind, kind);
    assert.equal(refusal.credentials.pid, process.pid);
    assert.deepEqual(others, []);
    assert.deepEqual(listener.takeRefusals(), []);
    assert.deepEqual(listener.stats().refused, { [kind]: 1 });
    await listener.close();
    await accepting;
  });
}

test('a client that stays silent is cut off at the handshake deadline', async (t) => {
  const listener = await listening(t, { handshakeTimeoutMs: 60 });
  const accepting = rejects(listener.accept(), 'closed');
  const raw = await Raw.connect(t, socketOf(listener));
  const start = performance.now();
  for await (const [, payload] of raw.frames()) {
    assert.equal(JSON.parse(payload).error.name, 'timeout');
  }
  const took = performance.now() - start;
  assert.ok(took > 30 && took < 1000, `${took} ms`);
  assert.equal(listener.takeRefusals()[0].error.kind, 'timeout');
  await listener.close();
  await accepting;
});

test('a wrong secret is refused, the right one is not, and neither is shown', async (t) => {
  const listener = await listening(t, { authToken: 'right' });
  const accepting = listener.accept(wait);
  for (const authToken of ['wrong', undefined]) {
    const error = await rejects(connect(listener.address, { ...wait, authToken }), 'authentication_failed');
    assert.ok(!error.message.includes('right'));
  }
  const client = await connect(listener.address, { ...wait, authToken: 'right' });
  await Promise.all([client.close(), (await accepting).close()]);
});

test('a client of another user is refused', async (t) => {
  const listener = await listening(t, { allowUids: [process.getuid() + 1] });
  const accepting = rejects(listener.accept(), 'closed');
  await rejects(connect(listener.address, wait), 'permission_denied');
  await listener.close();
  await accepting;
});

const servers = {
  'an answer that is no JSON': { bytes: frame(0, 'hello'), kind: 'bad_handshake' },
  'another protocol': { bytes: welcome({ protocol: 'other' }), kind: 'protocol_mismatch' },
  'another version': { bytes: welcome({ version: '3.1' }), kind: 'version_mismatch' },
  'a channel nobody asked for': { bytes: welcome({ channels: [1, 300] }), kind: 'bad_handshake' },
  'no channel': { bytes: welcome({ channels: [] }), kind: 'no_common_channel' },
  'no peer id': { bytes: welcome({ peer_id: '' }), kind: 'bad_handshake' },
  'no frame at all': { bytes: Buffer.from('220 mail.example ESMTP\r\n'), kind: 'bad_magic' },
  'an answer over 16 KiB': { bytes: header(0, 16 * 1024 + 1), kind: 'frame_too_large' },
  'half an answer': { bytes: welcome().subarray(0, 20), end: true, kind: 'truncated' },
  'no answer': { bytes: Buffer.alloc(0), end: true, kind: 'refused' },
  'a reason': { bytes: frame(0, '{"protocol":"ipcprims","version":"1.0","error":{"code":204}}'), kind: 'permission_denied' },
};

for (const [name, { bytes, end, kind }] of Object.entries(servers)) {
  test(`connecting to a server with ${name} fails with ${kind}`, async (t) => {
    const path = address(t);
    await rawServer(t, path, (raw) => {
      raw.socket.once('data', () => {
        raw.write(bytes);
        if (end) {
          raw.end();
        }
      });
    });
    await rejects(connect(path, wait), kind);
  });
}
