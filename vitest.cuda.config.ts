import { defineConfig } from 'vitest/config';

/** The suites that hold for any device, on CUDA; the library is found as it is by users (INFONCE_CUDA_LIBRARY). */
const SUITES = [
  'accumulate',
  'async',
  'captured-calls',
  'classes',
  'determinism',
  'device-tensors',
  'directions',
  'distributed/losses',
  'false-negatives',
  'finite-differences',
  'forward-backward',
  'further-positives',
  'golden',
  'inputs',
  'jax-js/gradients',
  'lists-of-negatives',
  'logits',
  'loss-cases',
  'mean-inside',
  'memory',
  'memory-required',
  'modules',
  'negative-queue',
  'negative-texts',
  'numerics',
  'outputs',
  'own-negatives',
  'pinned',
  'property',
  'queue',
  'ranks',
  'relations',
  'row-arrays',
  'smoothed-classes',
  'teardown',
  'tfjs/derivatives',
  'trim',
  'worker-threads',
  'wrapped-memory',
];

const simulated = process.env.INFONCE_TEST_EFFORT === 'simulator';

export default defineConfig({
  test: {
    include: SUITES.map(suite => `test/${suite}.test.ts`),
    setupFiles: ['test/support/typed-arrays.ts'],
    // What a GPU's memory tells is not what a process of a simulator takes.
    exclude: simulated ? ['test/memory.test.ts'] : [],
    env: { INFONCE_TEST_DEVICE: 'cuda' },
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: simulated ? 600_000 : 60_000,
    server: { deps: { external: [/\/dist\//] } },
  },
});
