// The vectors of handshakes: requests and responses, offers and grants, proofs.

import assert from 'node:assert/strict';
import { frame } from '../helpers.mjs';
import { bytesOf } from './reader.mjs';
import { BY_NUMBER, Subject, optionsOf } from './subject.mjs';
import { KINDS, READY, frame1, proof, reserved } from './wire.mjs';

export function refuses(payload, names) {
  const { error } = JSON.parse(payload);
  assert.ok(names.includes(error.name), error.name);
  assert.equal(BY_NUMBER.get(error.code), error.name);
}

export const unfitRequest = ({ server }) =>
  server.channels.some(reserved) ? 'a program cannot ask for a reserved channel to be served' : undefined;

export async function playRequest(t, { server, payload, expect }) {
  const token = server.auth_token === null ? {} : { authToken: server.auth_token };
  const subject = await Subject.of(t, 'server', { channels: server.channels, ...token });
  subject.write(frame(0, bytesOf(payload)));
  const answer = await subject.handshake();
  if (expect.refused !== undefined) {
    refuses(answer, expect.refused);
    assert.ok(expect.refused.includes(await subject.end()));
    return;
  }
  assert.deepEqual(JSON.parse(answer).channels, expect.channels);
  assert.deepEqual((await subject.peer()).info().channels, expect.channels);
}

export async function playResponse(t, { asked, payload, expect }) {
  const subject = await Subject.of(t, 'client', { channels: asked });
  assert.deepEqual(JSON.parse(await subject.handshake()).channels, asked);
  subject.write(frame(0, bytesOf(payload)));
  if (expect.error !== undefined) {
    const outcome = await subject.outcome();
    assert.ok(expect.error.includes(outcome), String(outcome));
    return;
  }
  const { channels, peerId } = (await subject.peer()).info();
  assert.deepEqual({ channels, peer_id: peerId }, expect);
}

const unfitFeatures = ({ features }) =>
  features.some((name) => name !== 'fds') ? 'a feature that this language does not have' : undefined;

export const unfitOffer = ({ server }) => unfitFeatures(server);

export const unfitGrant = ({ client }) => unfitFeatures(client);

const features = (names = []) => names.filter((name) => !name.startsWith('grease')).sort();

export async function playOffer(t, { server, payload, expect }) {
  const subject = await Subject.of(t, 'server', { channels: [1, 2], ...optionsOf(server) });
  subject.write(frame(0, bytesOf(payload)));
  const answer = await subject.handshake();
  if (expect.refused !== undefined) {
    refuses(answer, expect.refused);
    return;
  }
  const member = JSON.parse(answer).hostlane;
  if (expect.level === 0) {
    assert.equal(member, undefined);
    assert.equal((await subject.peer()).info().level, 0);
    return;
  }
  assert.deepEqual(features(member.features), features(expect.features));
  assert.equal('auth' in member, expect.auth);
}

export async function playGrant(t, { client, payload, expect }) {
  const subject = await Subject.of(t, 'client', { channels: [1, 2], ...optionsOf(client) });
  const request = await subject.handshake();
  subject.write(frame(0, bytesOf(payload)));
  if (expect.error !== undefined) {
    const outcome = await subject.outcome();
    assert.ok(expect.error.includes(outcome), String(outcome));
    return;
  }
  if (expect.level === 1) {
    if (expect.auth) {
      subject.write(frame1(KINDS.get('AUTH'), 0, 0, 0, proof(client.secret, false, request, bytesOf(payload))));
    }
    subject.write(READY);
  }
  const info = (await subject.peer()).info();
  assert.equal(info.level, expect.level);
  assert.deepEqual(features([...info.features]), features(expect.features));
}

export function playProof(t, { secret, request, response, expect }) {
  for (const [side, connector] of [['connector', true], ['acceptor', false]]) {
    assert.equal(proof(bytesOf(secret), connector, bytesOf(request), bytesOf(response)).toString('hex'), expect[side]);
  }
}
