/** `labelSmoothing` where rows have several positives, or none. */
import { NegativeQueue, ntXentSync, supConSync } from 'infonce';
import { describe, expect, it } from 'vitest';
import { referenceSupCon } from '../lib/reference/losses.js';
import { expectClose, expectResult, expectResultAndRanks, HIGHEST } from './support/compare.js';
import { effort, newContext } from './support/contexts.js';
import { ntXentCase, supConCase } from './support/problems.js';
import { normal, randomLabels } from './support/random.js';
import { thrownBy } from './support/thrown.js';

const DIM = 7;
const SMOOTHED = { labelSmoothing: 0.2 } as const;

describe.each(effort([1, 2, 40, 150], [1, 2, 40]))('with %i rows', rows => {
  const features = normal([rows, DIM], 1);

  it.each([
    ['rows alone in their class', rows],
    ['classes of a few', Math.ceil(rows / 4)],
    ['large classes', 2],
  ] as const)('%s agree with the reference', (_what, classes) => {
    const labels = randomLabels(rows, classes, 2);
    for (const options of [
      {},
      { reduction: 'none', gradOutput: normal([rows], 3).data },
      { normalize: false, temperature: 2 },
    ]) {
      const { run, reference } = supConCase({ features, labels, ...SMOOTHED, ...options } as never);
      expectResultAndRanks(run(), reference(), HIGHEST);
    }
  });
});

it('is linear: between the loss and the mean of the losses with each other row as the positive', () => {
  const features = normal([6, DIM], 1);
  const labels = Int32Array.of(0, 0, 0, 1, 1, 1);
  const problem = { features, labels, temperature: 0.5 };
  const plain = supConSync(problem).loss;
  // All rows of one class: every other row is a positive.
  const spread = supConSync({ ...problem, labels: new Int32Array(6) }).loss;
  const { loss } = supConSync({ ...problem, ...SMOOTHED });
  expectClose(loss, [0.8 * plain + 0.2 * spread], 2e-6, 0, 'loss');
});

it('views of a sample are its positives', () => {
  for (const nViews of [3, 20]) {
    const features = normal([nViews * 6, DIM], nViews);
    const { run, reference } = ntXentCase({ features, nViews, positives: 'all', ...SMOOTHED });
    expectResult(run(), reference(), HIGHEST);
  }
});

it('rows of a memory are candidates, too', () => {
  const context = newContext();
  const [features, remembered] = [normal([8, DIM], 1), normal([5, DIM], 2)];
  const [labels, ofMemory] = [randomLabels(8, 3, 3), randomLabels(5, 3, 4)];
  const memory = new NegativeQueue({ capacity: 5, dim: DIM, labels: true, context });
  memory.enqueue(remembered, ofMemory);
  for (const options of [SMOOTHED, { form: 'in' }] as const) {
    const result = supConSync({ features, labels, memory, ...options }, { context });
    const expected = referenceSupCon({ features, labels, ...options }, 'exact', {
      features: remembered,
      labels: ofMemory,
    });
    expectResult(result, expected, HIGHEST);
  }
});

it('moves no bit when it is 0, and goes with no other denominator', () => {
  const features = normal([12, DIM], 1);
  const labels = randomLabels(12, 3, 2);
  expect(supConSync({ features, labels, labelSmoothing: 0 })).toEqual(supConSync({ features, labels }));
  const three = { features, nViews: 3, positives: 'all' } as const;
  expect(ntXentSync({ ...three, labelSmoothing: 0 })).toEqual(ntXentSync(three));
  for (const options of [{ denominator: 'negatives' }, { form: 'in' }] as const) {
    const [[name, value]] = Object.entries(options) as [[string, string]];
    expect(thrownBy(() => supConSync({ features, labels, ...SMOOTHED, ...options }))).toMatchObject({
      code: 'ERR_INFONCE_RANGE',
      message: expect.stringMatching(new RegExp(`labelSmoothing: expected none with ${name} '${value}', got 0\\.2`)),
    });
  }
});
