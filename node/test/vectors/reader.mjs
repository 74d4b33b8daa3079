// The reader of the vectors: files to cases, and which of them are played.

import { readFileSync } from 'node:fs';
import { test } from 'node:test';

/** The cases of a file. Numbers that a double cannot hold are strings. */
export function cases(file) {
  const text = readFileSync(new URL(`../../../tests/vectors/${file}`, import.meta.url), 'utf8');
  return JSON.parse(text.replaceAll(/(?<=[^\\]": )\d{16,}(?=[,}\]])/g, '"$&"')).cases;
}

/** A test of each case of a file; what `unfit` has a reason against is skipped with it. */
export function each(name, file, play, unfit = () => undefined) {
  test(`vectors: ${name}`, async (t) => {
    for (const vector of cases(file)) {
      const skip = unfit(vector);
      await t.test(vector.id, skip === undefined ? {} : { skip }, (inner) => play(inner, vector));
    }
  });
}

/** A byte value of tests/vectors/README.md. */
export function bytesOf(value) {
  if (typeof value === 'string') {
    return Buffer.from(value, 'hex');
  }
  if (Array.isArray(value)) {
    return Buffer.concat(value.map(bytesOf));
  }
  return value.text === undefined ? Buffer.concat(Array(value.times).fill(bytesOf(value.hex))) : Buffer.from(value.text);
}
