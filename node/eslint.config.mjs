// Run from the root of the checkout, as `npm run lint` does: the patterns start there.

import tseslint from 'typescript-eslint';

const onlyNative = 'only node/src/native.ts loads the addon';

export default tseslint.config(
  { ignores: ['node/dist/**', 'node/native/**', 'target/**'] },
  {
    files: ['node/**/*.mjs', 'examples/node/**/*.mjs', 'tests/agents/node/**/*.mjs', 'tests/conformance/agents/node/**/*.mjs'],
    extends: [tseslint.configs.recommended],
    rules: { 'prefer-const': ['error', { ignoreReadBeforeAssign: true }] },
  },
  {
    files: ['node/src/**/*.ts', 'node/src/**/*.mts'],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
    },
  },
  {
    files: ['node/src/**/*.ts', 'node/src/**/*.mts'],
    ignores: ['node/src/native.ts'],
    rules: {
      'no-restricted-globals': ['error', { name: 'require', message: onlyNative }],
      'no-restricted-properties': ['error', { object: 'process', property: 'dlopen', message: onlyNative }],
      'no-restricted-imports': ['error', { patterns: [{ group: ['**/*.node'], message: onlyNative }] }],
    },
  },
  {
    // Programs that use hostlane, and the tests: the published package, never its insides.
    files: ['examples/node/**', 'tests/agents/node/**', 'tests/conformance/agents/node/**', 'node/test/**'],
    rules: {
      'no-restricted-imports': ['error', { patterns: [{ group: ['**/dist/**', '**/src/**', '**/*.node'], message: 'import "hostlane"' }] }],
    },
  },
);
