import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** The files that take longest, in processor time: begun last, one of them would leave a processor without work. */
const LONGEST = [
  'property',
  'command/demo-simclr',
  'command/doctor-cuda-backend',
  'command/demo-words',
  'examples',
  'command/demo-temperatures',
  'command/bench',
  'cuda-plugin',
  'command/demo-pairs',
  'command/demo',
  'tfjs/gradients',
  'determinism',
  'command/doctor',
  'memory',
  'ranks',
  'cuda-install',
  'numerics',
  'teardown',
  'command/usage',
  'types',
];

/** Files that ask nothing of the process they run in, and leave it as it was: a process runs many, and starts once. */
const TOGETHER = [
  'accumulate',
  'advice',
  'bad-*',
  'bundlers',
  'command/bench-comparison',
  'command/demo-memory',
  'command/demo-pairs',
  'command/demo-simclr',
  'command/demo-temperatures',
  'command/demo-words',
  'command/doctor-cuda-backend',
  'command/doctor-nvidia-smi',
  'command/doctor-package',
  'command/eval',
  'command/eval-*',
  'cuda-install',
  'cuda-plugin',
  'determinism',
  'directions',
  'distributed/example',
  'distributed/mpi',
  'documents',
  'documents-compile',
  'every-*',
  'examples',
  'exported-types',
  'false-negatives',
  'file-tracing',
  'files/*',
  'finite-differences',
  'first-minutes',
  'foreign-tensors',
  'forward-backward',
  'further-positives',
  'golden',
  'gpu-scripts',
  'inputs',
  'lists-of-negatives',
  'load-errors',
  'logits',
  'loss-cases',
  'matryoshka',
  'mean-inside',
  'memory-required',
  'modules',
  'multiple-negatives-ranking-loss',
  'negative-*',
  'no-import-circles',
  'numerics',
  'outputs',
  'own-negatives',
  'plug-ins-from-common-js',
  'property',
  'ranks',
  'relations',
  'row-arrays',
  'row-losses',
  'smoothed-classes',
  'teardown',
  'tfjs/bad-inputs',
  'tfjs/derivatives',
  'tfjs/gradients',
  'tfjs/layers-model',
  'types',
  'unusual-problems',
  'view-layout',
  'which-loss',
].map(name => `test/${name}.test.ts`);

/** Those of a process of their own come first, so that the processes that run many go on to the end. */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId, project }: TestSpecification): number => {
      const at = LONGEST.indexOf(/\/test\/([\w/-]+)\.test(-d)?\.ts$/.exec(moduleId)?.[1] ?? '');
      return (at < 0 ? LONGEST.length : at) + (project.name === 'together' ? 1000 : 0);
    };
    return (await super.sort(files)).sort((a, b) => place(a) - place(b));
  }
}

export default defineConfig({
  test: {
    setupFiles: ['test/support/typed-arrays.ts'],
    pool: 'forks',
    // One more than there are processors where the tests are timed: children, pages and other ranks are waited for.
    maxWorkers: 3,
    sequence: { sequencer: LongestFirst },
    // Not to measure anything: a machine may be busy with other things.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // The tests import the built package by its own name, as its users do.
    server: { deps: { external: [/\/dist\//] } },
    projects: [
      { extends: true, test: { name: 'alone', include: ['test/**/*.test.ts'], exclude: TOGETHER } },
      { extends: true, test: { name: 'together', include: TOGETHER, isolate: false } },
    ],
  },
});
