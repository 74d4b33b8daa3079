// Runs the whole test suite once for each way of waiting: on the event loop, and on the reader thread of the fallback.

import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const tests = join(dirname(dirname(fileURLToPath(import.meta.url))), 'test');
const files = readdirSync(tests)
  .filter((name) => name.endsWith('.test.mjs'))
  .sort()
  .map((name) => join(tests, name));

let failed = false;
for (const mode of ['poll', 'threadsafe']) {
  console.log(`\nHOSTLANE_NODE_WAIT=${mode}`);
  const { status } = spawnSync(process.execPath, ['--expose-gc', '--test', '--test-reporter=spec', ...process.argv.slice(2), ...files], {
    env: { ...process.env, HOSTLANE_NODE_WAIT: mode },
    stdio: 'inherit',
  });
  failed ||= status !== 0;
}
process.exit(failed ? 1 : 0);
