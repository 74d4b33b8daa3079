// Builds the native addon with cargo and puts it where node/dist/native.js looks for it: node/native/hostlane.<target>.node.
// `--release` builds the release profile. Run it after the TypeScript build, which provides the name of the target.

import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, renameSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const node = dirname(dirname(fileURLToPath(import.meta.url)));
const { target } = createRequire(import.meta.url)('../dist/target.js');

const profile = process.argv.includes('--release') ? ['--release'] : [];
const cargo = spawnSync('cargo', ['build', '-p', 'hostlane-node', '--message-format=json-render-diagnostics', ...profile], {
  cwd: dirname(node),
  encoding: 'utf8',
  maxBuffer: 64 * 1024 * 1024,
  stdio: ['ignore', 'pipe', 'inherit'],
});
if (cargo.error !== undefined) {
  console.error(`cannot run cargo: ${cargo.error.message}`);
  process.exit(1);
}
if (cargo.status !== 0) {
  process.exit(cargo.status ?? 1);
}

// The library is where cargo says it is, whatever target directory is configured.
const library = cargo.stdout
  .split('\n')
  .filter((line) => line.startsWith('{'))
  .map((line) => JSON.parse(line))
  .filter((message) => message.reason === 'compiler-artifact' && message.target.name === 'hostlane_node')
  .at(-1)?.filenames[0];
if (library === undefined) {
  console.error('cargo built no library called hostlane_node');
  process.exit(1);
}

const native = join(node, 'native');
const addon = join(native, `hostlane.${target()}.node`);
mkdirSync(native, { recursive: true });
// By a rename: a running process may have the old file mapped.
copyFileSync(library, `${addon}.new`);
renameSync(`${addon}.new`, addon);
console.log(addon);
