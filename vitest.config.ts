import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    setupFiles: ['test/support/typed-arrays.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 30_000,
    // The tests import the built package by its own name, as its users do.
    server: { deps: { external: [/\/dist\//] } },
    typecheck: { enabled: true, include: ['test/**/*.test-d.ts'], tsconfig: './tsconfig.json' },
  },
});
