import path from 'node:path';
import { infoNCE } from 'infonce';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { TO_MISS } from '../../lib/distributed/missed-ranks.js';
import type { NativeBinding, NativeGroup } from '../../lib/runtime/binding.js';
import { normal } from '../support/random.js';
import { leave, newRanks, type Rank } from '../support/ranks.js';

const built = <Module>(name: string): Promise<Module> =>
  import(path.resolve(import.meta.dirname, '../../dist/esm', name));

interface Warning extends Error {
  readonly code?: string;
}

const warnings: string[] = [];
let told: (() => void) | undefined;
/** Only what is said about it counts: the last of one before may come late. */
let step = 0;

function listen(warning: Warning): void {
  if (warning.code !== 'INFONCE_RANKS_MISSING' || !warning.message.includes(`to step ${step} `)) return;
  warnings.push(`${warning.name}: ${warning.message}`);
  told?.();
}

beforeAll(() => process.on('warning', listen));
afterAll(() => process.off('warning', listen));

/** What is said while ranks wait in a step: the others come once it has been. */
async function saidOf(
  which: number,
  waiting: () => Promise<unknown>,
  others: () => Promise<unknown>[],
): Promise<string[]> {
  warnings.length = 0;
  step = which;
  const waited = waiting();
  await new Promise<void>(resolve => {
    told = resolve;
  });
  await Promise.all([waited, ...others()]);
  return [...warnings];
}

/** Which ranks have said something. */
const speakers = (said: readonly string[]) => said.map(warning => /which rank (\d) of 3 has waited/.exec(warning)![1]);

/** Ranks that are missed after 50 ms. */
async function impatientRanks(size: number): Promise<Rank[]> {
  const { TO_MISS: limit } = await built<{ readonly TO_MISS: typeof TO_MISS }>('distributed/missed-ranks.js');
  const { seconds } = limit;
  expect(seconds).toBe(60);
  limit.seconds = 0.05;
  try {
    return await newRanks(size);
  } finally {
    limit.seconds = seconds;
  }
}

it('ranks that a step waits for are named, once a step', async () => {
  const ranks = await impatientRanks(3);
  const [first, second, third] = ranks as [Rank, Rank, Rank];
  const barrier = ({ group }: Rank) => group.barrier();
  const [of, ...more] = await saidOf(
    1,
    () => barrier(first),
    () => [barrier(second), barrier(third)],
  );
  expect(of).toBe(
    'InfoNCEWarning: ranks 1, 2 have not come to step 1 of the process group, for which rank 0 of 3 has waited 0.05 ' +
      'seconds. Every rank makes the same steps in the same order; one that computes or writes for longer than the ' +
      'timeout of the group is lost.',
  );
  // Those that came then may have waited for each other; of rank 0 there is no other word.
  expect(speakers(more)).not.toContain('0');
  expect(new Set(speakers(more)).size).toBe(more.length);
  const loss = ({ rank, group, context }: Rank) =>
    infoNCE({ query: normal([2, 3], rank), positiveKey: normal([2, 3], rank + 5) }, { group, context });
  const said = await saidOf(
    2,
    () => Promise.all([loss(first), loss(third)]),
    () => [loss(second)],
  );
  // Of either rank that waits, if both did so for long enough; one may have come before the other.
  const missing =
    /(rank 1 has|ranks 1, 2 have) not come to step 2 .* rank 0 of|(rank 1 has|ranks 0, 1 have) .* rank 2 of/;
  expect(said[0]).toMatch(missing);
  expect(new Set(speakers(said)).size).toBe(said.length);
  await leave(ranks);
});

it('an error of ranks of different versions names both', async () => {
  const { nativeBinding } = await built<{ nativeBinding(): NativeBinding }>('runtime/native.js');
  const settled = (call: (done: (failure: Error | null) => void) => void) =>
    new Promise<string | undefined>(resolve => call(failure => resolve(failure?.message)));
  const groups = await Promise.all(
    ['0.3.1', '0.4.0'].map(async (version, rank) => {
      const group: NativeGroup = new (nativeBinding().Group)();
      const options = {
        engine: 'local',
        key: 'versions',
        rank,
        size: 2,
        library: '',
        patience: 60,
        toMiss: 60,
        version,
      } as const;
      expect(await settled(done => group.open(options, done))).toBe(undefined);
      return group;
    }),
  );
  const [mine, theirs] = await Promise.all(groups.map(group => settled(done => group.barrier(done))));
  expect(mine).toMatch(
    /^rank 1 of 2 has version 0\.4\.0 \(interface \d+\) of this package, this rank 0\.3\.1 \(interface \d+\): /,
  );
  expect(theirs).toMatch(/^rank 0 of 2 has version 0\.3\.1 .* this rank 0\.4\.0 /);
  await Promise.all(groups.map(group => settled(done => group.leave(done))));
});
