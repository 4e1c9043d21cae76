import { infoNCE, infoNCESync, type Reduction, type Tensor } from 'infonce';
import { describe, expect, it } from 'vitest';
import { expectResult, HIGHEST } from './support/compare.js';
import { effort, sharedContext, TARGETS } from './support/contexts.js';
import { infoNCECase } from './support/problems.js';
import { type QueriesWith, randomQueries } from './support/queries.js';

const DIM = 7;
const EACH = 3;
/** Few products, one block of rows, and several. */
const ROWS = effort([1, 5, 70, 300], [1, 40]);

type Given = QueriesWith<Tensor>;

function problemOf(rows: number, changes: Partial<Given> = {}): Given {
  const { query, positiveKey, negatives } = randomQueries(rows, DIM, changes.normalize);
  return {
    query,
    positiveKey,
    negativeKeys: negatives([rows, EACH, DIM]),
    negativeMode: 'paired',
    temperature: 0.2,
    ...changes,
  };
}

/** 0 to EACH of each query. */
function countsOf(rows: number): Int32Array {
  return Int32Array.from({ length: rows }, (_, row) => (row + 1) % (EACH + 1));
}

/** The tensor with another number in the rows beyond the counts. */
function withRest(negativeKeys: Tensor, counts: Int32Array, value: number): Tensor {
  const isThere = (row: number) => row % EACH < counts[Math.floor(row / EACH)]!;
  const data = negativeKeys.data.map((number, k) => (isThere(Math.floor(k / DIM)) ? number : value));
  return { ...negativeKeys, data };
}

describe.each(TARGETS)('%s', target => {
  const context = sharedContext(target, { threads: 2 });
  const run = (problem: Given) => infoNCESync(problem, { context });

  describe.each([true, false])('own negatives, inBatch %s', inBatch => {
    const modes = inBatch ? (['inBatch', 'hard', 'all'] as const) : (['hard', 'all'] as const);

    it.each(ROWS)('match the reference with counts and hardness, %i rows', rows => {
      for (const normalize of [true, false]) {
        for (const temperature of [0.2, 0.01, 0.004]) {
          for (const mode of modes) {
            const negativeCounts = countsOf(rows);
            const hardness = { mode, strength: 6 };
            const given = problemOf(rows, { inBatch, normalize, temperature, negativeCounts, hardness });
            const { problem, functions } = infoNCECase(given);
            expectResult(run(given), functions.reference(problem), HIGHEST, `${mode} ${temperature}`);
          }
        }
      }
    });

    it('with all counts have the bits of no counts', () => {
      for (const rows of ROWS) {
        const negativeCounts = new Int32Array(rows).fill(EACH);
        expect(run(problemOf(rows, { inBatch, negativeCounts }))).toEqual(run(problemOf(rows, { inBatch })));
      }
    });

    it('with hardness of strength 0 have the bits of no hardness', () => {
      for (const rows of ROWS) {
        for (const mode of modes) {
          const hardness = { mode, strength: 0 };
          expect(run(problemOf(rows, { inBatch, hardness }))).toEqual(run(problemOf(rows, { inBatch })));
        }
      }
    });

    it('may hold NaN beyond the counts, in one call, in two passes, and asynchronously', async () => {
      for (const rows of ROWS) {
        const negativeCounts = countsOf(rows);
        const clean = problemOf(rows, { inBatch, negativeCounts });
        const spoiled = { ...clean, negativeKeys: withRest(clean.negativeKeys, negativeCounts, Number.NaN) };
        const expected = run({ ...clean, negativeKeys: withRest(clean.negativeKeys, negativeCounts, 1e30) });
        expect(run(spoiled)).toEqual(expected);
        expect(await infoNCE(spoiled, { context })).toEqual(expected);
        const pass = infoNCE.forwardSync(spoiled, { context });
        expect({ ...expected, ...pass.backwardSync() }).toEqual(expected);
        pass.dispose();
        const { gradNegativeKeys } = expected;
        const rest = withRest({ data: gradNegativeKeys, shape: [rows, EACH, DIM] }, negativeCounts, 0);
        expect(gradNegativeKeys).toEqual(rest.data);
      }
    });

    it('have no say in ranks through hardness', () => {
      for (const rows of ROWS) {
        for (const mode of modes) {
          const { top1, top5 } = run(problemOf(rows, { inBatch, hardness: { mode, strength: 50 } }));
          expect({ top1, top5 }).toEqual(pick(run(problemOf(rows, { inBatch }))));
        }
      }
    });
  });

  it('a query without negatives has loss and gradient 0', () => {
    const rows = 6;
    const reduction: Reduction = 'none';
    const problem = problemOf(rows, { reduction, negativeCounts: Int32Array.of(0, 3, 0, 1, 2, 3) });
    const result = run(problem);
    const isZero = (of: Float32Array, row: number, size: number) =>
      of.subarray(row * size, (row + 1) * size).every(value => value === 0);
    for (let row = 0; row < rows; row++) {
      const isAlone = problem.negativeCounts![row] === 0;
      expect((result.loss as unknown as Float32Array)[row] === 0).toBe(isAlone);
      expect(isZero(result.gradQuery, row, DIM)).toBe(isAlone);
      expect(isZero(result.gradPositiveKey, row, DIM)).toBe(isAlone);
      expect(isZero(result.gradNegativeKeys, row, EACH * DIM)).toBe(isAlone);
    }
  });

  it('a duplicate of the positive does not outrank it', () => {
    const problem = problemOf(40, { inBatch: true });
    const { data } = problem.positiveKey;
    const before = run({ ...problem, negativeCounts: new Int32Array(40) });
    expect(pick(run({ ...problem, negativeKeys: { data, shape: [40, 1, DIM] } }))).toEqual(pick(before));
  });
});

function pick({ top1, top5 }: { readonly top1: number; readonly top5: number }) {
  return { top1, top5 };
}
