import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** The files that take longest, in processor time: begun last, one of them would leave a processor without work. */
const LONGEST = [
  'property',
  'command/bench',
  'command/demo-simclr',
  'examples',
  'command/doctor-cuda-backend',
  'command/eval',
  'command/demo-words',
  'command/demo-pairs',
  'determinism',
  'command/demo-temperatures',
  'tfjs/gradients',
  'ranks',
  'teardown',
  'types',
  'command/eval-refuses',
  'command/demo',
  'environment',
  'cuda-plugin',
  'cuda-install',
];

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification): number => {
      const at = LONGEST.indexOf(/\/test\/([\w/-]+)\.test(-d)?\.ts$/.exec(moduleId)?.[1] ?? '');
      return at < 0 ? LONGEST.length : at;
    };
    return (await super.sort(files)).sort((a, b) => place(a) - place(b));
  }
}

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    setupFiles: ['test/support/typed-arrays.ts'],
    pool: 'forks',
    maxWorkers: 2,
    sequence: { sequencer: LongestFirst },
    testTimeout: 30_000,
    // The tests import the built package by its own name, as its users do.
    server: { deps: { external: [/\/dist\//] } },
  },
});
