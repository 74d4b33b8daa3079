// The shared vectors of tests/vectors, played against a real listener or a real connection: the test is the other side, at a raw
// socket. What the steps mean stands in tests/vectors/README.md.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ERRORS } from 'hostlane';
import * as conversations from './vectors/conversations.mjs';
import * as frames from './vectors/frames.mjs';
import * as handshakes from './vectors/handshakes.mjs';
import { cases, each } from './vectors/reader.mjs';

test('vectors: the error table', () => {
  const table = ERRORS.map(({ number, name, meaning, retryable }) => ({ number, name, doc: meaning, retryable }));
  assert.deepEqual(table, cases('errors.json').map(({ number, name, doc, retryable }) => ({ number, name, doc, retryable })));
});

// Handshakes

each('requests', 'framing/requests.json', handshakes.playRequest, handshakes.unfitRequest);
each('responses', 'framing/responses.json', handshakes.playResponse);
each('offers', 'level1/offers.json', handshakes.playOffer, handshakes.unfitOffer);
each('grants', 'level1/grants.json', handshakes.playGrant, handshakes.unfitGrant);
each('proofs of the raw side', 'level1/proofs.json', handshakes.playProof);

// Frames

each('frames', 'framing/frames.json', frames.playFrames, frames.unfitFrames);
each('control', 'framing/control.json', frames.playControl);
each('frames of level 1', 'level1/frames.json', frames.playFrames1, frames.unfitFrames1);
each('extensions', 'level1/extensions.json', frames.playExtensions, frames.unfitExtensions);
each('control frames of level 1', 'level1/control.json', frames.playControl1, frames.unfitControl1);

// Conversations

each('transcripts of framing', 'framing/transcripts.json', conversations.playTranscript, conversations.unfitTranscript);
each('transcripts of level1', 'level1/transcripts.json', conversations.playTranscript, conversations.unfitTranscript);
