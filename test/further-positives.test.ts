/** `duplicates: 'positive'`: candidates of an anchor's own id are further positives. */
import { clipSync, type InfoNCEProblem, infoNCESync, type Tensor } from 'infonce';
import { describe, expect, it } from 'vitest';
import { expectClose, expectResult, expectResultAndRanks, HIGHEST } from './support/compare.js';
import { effort } from './support/contexts.js';
import { type Case, clipCase, infoNCECase, type Named } from './support/problems.js';
import { near, normal, randomLabels } from './support/random.js';

const DIM = 6;
const ROWS = effort([1, 7, 130], [7, 70]);
const POSITIVE = { duplicates: 'positive' } as const;

const upTo = (count: number, first = 0) => Int32Array.from({ length: count }, (_, i) => first + i);
const with0 = (count: number) => new Int32Array(count);

describe.each(ROWS)('with %i queries', rows => {
  const query = normal([rows, DIM], 1);
  const positiveKey = near(query, 0.7, 2);
  const negativeKeys = normal([2 * rows, DIM], 3);
  const problem = { query, positiveKey, negativeKeys, inBatch: true } as const;

  it('ids that are all different change nothing', () => {
    const ids = { queryIds: upTo(rows), keyIds: upTo(rows, rows), negativeIds: upTo(2 * rows, 2 * rows) };
    const plain = infoNCESync(problem);
    const result = infoNCESync({ ...problem, ...ids, ...POSITIVE });
    expectClose(result.loss, [plain.loss], 2e-6, 0, 'loss');
    for (const name of ['gradQuery', 'gradPositiveKey', 'gradNegativeKeys'] as const) {
      expectClose(result[name], plain[name], HIGHEST.tolerance, 1e-7, name);
    }
  });

  it('all of one id: the mean over every candidate as the only positive', () => {
    const ids = { queryIds: with0(rows), keyIds: with0(rows), negativeIds: with0(2 * rows) };
    const { loss, top1 } = infoNCESync({ ...problem, ...ids, ...POSITIVE });
    const all: Tensor = { data: Float32Array.of(...positiveKey.data, ...negativeKeys.data), shape: [3 * rows, DIM] };
    const each = Array.from({ length: 3 * rows }, (_, key) => {
      const targets = with0(rows).fill(key);
      return infoNCESync({ query, positiveKey: all, targets, gradient: false }).loss;
    });
    expectClose(loss, [each.reduce((sum, value) => sum + value, 0) / each.length], 2e-6, 0, 'loss');
    expect(top1).toBe(1);
  });

  it('agrees with the reference where few are of an id, and where many are', () => {
    for (const items of [3, rows]) {
      const [queryIds, keyIds] = [randomLabels(rows, items, 4), randomLabels(rows, items, 5)];
      const negativeIds = randomLabels(2 * rows, items, 6);
      expectReference(infoNCECase, { ...problem, queryIds, keyIds, negativeIds, ...POSITIVE });
      const pairs = { imageFeatures: query, textFeatures: positiveKey, imageIds: queryIds, textIds: keyIds };
      expectReference(clipCase, { ...pairs, ...POSITIVE });
    }
  });
});

function expectReference(make: (problem: never) => Case, given: Named): void {
  const { run, reference } = make(given as never);
  expectResultAndRanks(run(), reference(), HIGHEST);
}

describe('combinations agree with the reference', () => {
  const query = normal([6, DIM], 1);
  const positiveKey = near(query, 0.7, 2);
  const negativeKeys = normal([8, DIM], 3);
  const queryIds = Int32Array.of(0, 1, 2, 0, 1, 2);
  const keyIds = Int32Array.of(0, 1, 2, 0, 1, 2, 0, 1, 2, 3, 4);
  const negativeIds = Int32Array.of(0, 0, 1, 3, 4, 5, 1, 1);
  const targeted = { positiveKey: normal([11, DIM], 4), targets: Int32Array.of(3, 3, 10, 0, 7, 3), keyIds };
  const negativeBias = Float32Array.of(1, Number.NEGATIVE_INFINITY, 0, -1, 2, 30, Number.NEGATIVE_INFINITY, -3);
  const keyBias = Float32Array.of(1, -2, Number.NEGATIVE_INFINITY, 0, 3, 0, 1, -1, 0.5, Number.NEGATIVE_INFINITY, 2);
  const shared = { query, queryIds, ...POSITIVE };

  it.each<readonly [string, Named]>([
    ['targets, of more keys than queries', { ...shared, ...targeted }],
    [
      'targets, negatives and biases',
      { ...shared, ...targeted, negativeKeys, negativeIds, inBatch: true, keyBias, negativeBias },
    ],
    ['negatives alone', { ...shared, positiveKey, negativeKeys, negativeIds }],
    ['dot products, the sum', { ...shared, ...targeted, normalize: false, temperature: 1, reduction: 'sum' }],
    ['a low temperature', { ...shared, ...targeted, temperature: 0.005 }],
    ['a loss of each row', { ...shared, ...targeted, reduction: 'none', gradOutput: normal([6], 6).data }],
  ])('%s', (_what, given) => {
    expectReference(infoNCECase, given);
  });
});

describe("a duplicate of a query's positive", () => {
  const query = normal([40, DIM], 1);
  const positiveKey = near(query, 0.5, 2);
  // The query itself: nearer than any key.
  const problem: InfoNCEProblem = { query, positiveKey, negativeKeys: query, inBatch: true };
  const ids = { queryIds: upTo(40), negativeIds: upTo(40) };

  it('does not change its rank', () => {
    const { top1, top5 } = infoNCESync({ ...problem, ...ids, ...POSITIVE });
    const { top1: without, top5: five } = infoNCESync({ ...problem, ...ids, duplicates: 'exclude' });
    expect([top1, top5]).toEqual([without, five]);
    expect(infoNCESync(problem).top1).toBe(0);
  });

  it('keeps the digits of a gradient that is all but zero', () => {
    // Each query and its two positives are one row, far from the others.
    const far: InfoNCEProblem = { query, positiveKey: query, negativeKeys: query, inBatch: true, temperature: 0.05 };
    const { run, reference } = infoNCECase({ ...far, ...ids, keyIds: upTo(40), ...POSITIVE } as never);
    expectResult(run(), reference(), HIGHEST);
  });
});

it('of texts among each other is none: clip compares images with texts', () => {
  const imageFeatures = normal([9, DIM], 1);
  const textFeatures = near(imageFeatures, 0.5, 2);
  const twice = { imageIds: upTo(9), textIds: with0(9).fill(-1) };
  const plain = clipSync({ imageFeatures, textFeatures });
  expectClose(clipSync({ imageFeatures, textFeatures, ...twice, ...POSITIVE }).loss, [plain.loss], 2e-6, 0, 'loss');
});
