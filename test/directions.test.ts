import { type InfoNCEProblem, infoNCE, infoNCESync, NegativeQueue, type Tensor, type WithoutUpstream } from 'infonce';
import { describe, expect, it } from 'vitest';
import { expectResult, HIGHEST } from './support/compare.js';
import { effort, sharedContext, TARGETS } from './support/contexts.js';
import { infoNCECase } from './support/problems.js';
import { type QueriesWith, randomQueries } from './support/queries.js';
import { normal } from './support/random.js';

const DIM = 7;
/** Few products, one block of rows, and several. */
const ROWS = effort([1, 5, 70], [7]);

const OTHERS = ['keyToQuery', 'queryToQuery', 'keyToKey'] as const;
/** Every set of directions. */
const DIRECTIONS = Array.from(
  { length: 2 ** OTHERS.length },
  (_, bits) => ['queryToKey', ...OTHERS.filter((_, k) => bits & (1 << k))] as const,
);
const ALL = DIRECTIONS.at(-1)!;

type Given = QueriesWith<readonly Tensor[] | undefined>;

function problemOf(rows: number, changes: Partial<Given> = {}): Given {
  const { query, positiveKey, negatives } = randomQueries(rows, DIM, changes.normalize);
  return {
    query,
    positiveKey,
    negativeKeys: [3, 4].map(seed => negatives([rows, DIM], seed)),
    inBatch: true,
    temperature: 0.2,
    ...changes,
  };
}

/** Few, so that some rows are the same item. */
function idsOf(rows: number, seed: number): Int32Array {
  const items = Math.ceil(rows / 2) + 1;
  return Int32Array.from({ length: rows }, (_, row) => (row * 7 + seed) % items);
}

describe.each(TARGETS)('%s', target => {
  const context = sharedContext(target, { threads: 2 });
  const run = (problem: object) => infoNCESync(problem as InfoNCEProblem, { context });

  /** A list's gradients one after the other, as the reference has them. */
  function flat(result: object): object {
    const { gradNegativeKeys, ...rest } = result as { readonly gradNegativeKeys?: readonly Float32Array[] };
    if (gradNegativeKeys === undefined) return rest;
    return { ...rest, gradNegativeKeys: Float32Array.from(gradNegativeKeys.flatMap(part => [...part])) };
  }
  function expectReference(given: Given, what: string) {
    const { problem, functions } = infoNCECase(given);
    expectResult(flat(run(given)), functions.reference(problem), HIGHEST, what);
  }

  it.each(DIRECTIONS.map(directions => ({ directions, name: directions.join(', ') })))('$name', ({ directions }) => {
    for (const rows of ROWS) {
      for (const normalize of effort([true, false], [true])) {
        const of = { directions, normalize };
        expectReference(problemOf(rows, { ...of, temperature: 0.01 }), `${rows}`);
        expectReference(problemOf(rows, { ...of, negativeKeys: undefined, margin: 0.3 }), `${rows}, margin`);
        const hardness = { mode: 'inBatch', strength: 6 } as const;
        expectReference(problemOf(rows, { ...of, hardness }), `${rows}, hardness`);
      }
    }
  });

  it('each by itself, with a margin, hardness and own negatives', () => {
    for (const rows of ROWS) {
      for (const negativeKeys of [undefined, problemOf(rows).negativeKeys]) {
        const given = { directions: ['queryToKey', 'keyToQuery'], partition: 'perDirection', negativeKeys } as const;
        expectReference(problemOf(rows, { ...given, margin: -0.2 }), `${rows}`);
        expectReference(problemOf(rows, { ...given, hardness: { mode: 'all', strength: 4 } }), `${rows}, hardness`);
      }
    }
  });

  it('leave out rows of equal id on any side', () => {
    for (const rows of ROWS) {
      const ids = { queryIds: idsOf(rows, 0), keyIds: idsOf(rows, 1), negativeIds: idsOf(2 * rows, 2) };
      const without = { queryIds: ids.queryIds, negativeIds: ids.negativeIds };
      for (const directions of DIRECTIONS) {
        expectReference(problemOf(rows, { ...ids, directions }), directions.join());
        expectReference(problemOf(rows, { ...without, directions }), `${directions.join()}, no ids of keys`);
      }
      expectReference(problemOf(rows, { ...ids, directions: ALL, duplicates: 'negative' }), 'duplicates');
      const each = { directions: ['queryToKey', 'keyToQuery'], partition: 'perDirection' } as const;
      expectReference(problemOf(rows, { ...ids, ...each }), 'each by itself');
    }
  });

  it('go with negatives that no other query sees, except keys among themselves', () => {
    for (const rows of ROWS) {
      const negativeKeys = normal([rows, 3, DIM], 6);
      const negativeCounts = Int32Array.from({ length: rows }, (_, row) => row % 4);
      const directions = ['queryToKey', 'keyToQuery', 'queryToQuery'] as const;
      for (const more of [{ directions }, { directions: directions.slice(0, 2), partition: 'perDirection' as const }]) {
        const given = {
          ...problemOf(rows, { ...more, negativeCounts }),
          negativeKeys,
          negativeMode: 'paired',
        } as const;
        for (const hardness of [undefined, { mode: 'all', strength: 3 } as const]) {
          const { problem, functions } = infoNCECase({ ...given, hardness });
          expectResult(run({ ...given, hardness }), functions.reference(problem), HIGHEST, `${rows}`);
        }
      }
    }
  });

  it('have a loss of log 2 and no gradient where only the positive is left', () => {
    const rows = 6;
    const same = new Int32Array(rows);
    const negativeIds = new Int32Array(2 * rows);
    for (const temperature of [0.2, 0.002]) {
      const ids = { queryIds: same, keyIds: same, negativeIds };
      const joint = problemOf(rows, { directions: ALL, temperature, ...ids, reduction: 'none' });
      const { loss, top1, ...gradients } = flat(run(joint)) as Record<string, unknown>;
      for (const value of loss as Float32Array) expect(value).toBeCloseTo(Math.LN2, 6);
      expect(top1).toBe(1);
      for (const name of ['gradQuery', 'gradPositiveKey', 'gradNegativeKeys']) {
        expect((gradients[name] as Float32Array).every(value => value === 0)).toBe(true);
      }
      expect(gradients.gradTemperature).toBeCloseTo(0, 12);
      const oneSided = problemOf(rows, { directions: ['queryToKey', 'keyToKey'], temperature, ...ids });
      expect(run(oneSided).loss).toBe(0);
    }
  });

  it('leave no trace where they are not asked for', () => {
    for (const rows of ROWS) {
      const plain = run(problemOf(rows));
      for (const partition of ['joint', 'perDirection'] as const) {
        expect(run(problemOf(rows, { directions: ['queryToKey'], partition }))).toEqual(plain);
      }
    }
  });

  it('count the same whatever their order, and twice as once', () => {
    for (const rows of ROWS) {
      const expected = run(problemOf(rows, { directions: ALL }));
      const again = [...ALL, ...ALL].reverse();
      expect(run(problemOf(rows, { directions: again }))).toEqual(expected);
    }
  });

  it('give the same gradients without those of the negatives, and of a queue', () => {
    for (const rows of ROWS) {
      const given = problemOf(rows, { directions: ALL, negativeKeys: undefined });
      const negativeKeys = normal([9, DIM], 5);
      const { gradNegativeKeys: _, ...expected } = run({ ...given, negativeKeys });
      expect(run({ ...given, negativeKeys, detach: ['negativeKeys'] })).toEqual(expected);
      const queue = new NegativeQueue({ capacity: 9, dim: DIM, context });
      queue.enqueue(negativeKeys);
      const { problem, functions } = infoNCECase({ ...given, negativeKeys });
      const { gradNegativeKeys: __, ...gradients } = functions.reference(problem).gradients;
      expectResult(run({ ...given, negativeKeys: queue }), { ...functions.reference(problem), gradients }, HIGHEST);
      queue.dispose();
    }
  });

  it('are the same in two passes and asynchronously', async () => {
    for (const rows of ROWS) {
      const given = problemOf(rows, { directions: ALL, hardness: { mode: 'hard', strength: 3 } }) as InfoNCEProblem;
      const expected = run(given);
      expect(await infoNCE(given, { context })).toEqual(expected);
      const pass = infoNCE.forwardSync(given as WithoutUpstream<InfoNCEProblem>, { context });
      expect({ ...expected, ...pass.backwardSync() }).toEqual(expected);
      expect({ ...expected, ...pass.backwardSync() }).toEqual(expected);
      pass.dispose();
    }
  });
});

describe.each(TARGETS)('hardness of a list of negatives on %s', target => {
  const context = sharedContext(target, { threads: 2 });
  const MODES = ['hard', 'inBatch', 'all'] as const;

  it.each(MODES)("mode '%s' is that of the formulas, with and without the other keys", mode => {
    for (const rows of ROWS) {
      for (const inBatch of [true, false]) {
        for (const temperature of effort([0.2, 0.01, 0.004], [0.2])) {
          const given = problemOf(rows, { inBatch, temperature, hardness: { mode, strength: 6 }, margin: 0.1 });
          const { problem, functions } = infoNCECase(given);
          const { gradNegativeKeys, ...rest } = infoNCESync(given as InfoNCEProblem, { context });
          const parts = gradNegativeKeys as unknown as readonly Float32Array[];
          const joined = Float32Array.from(parts.flatMap(part => [...part]));
          expectResult({ ...rest, gradNegativeKeys: joined }, functions.reference(problem), HIGHEST, `${mode} ${rows}`);
        }
      }
    }
  });

  it('is that of the same negatives as each own, where no query sees those of others', () => {
    const { negativeKeys, ...given } = problemOf(1, { inBatch: true });
    const data = Float32Array.from(negativeKeys!.flatMap(part => [...part.data]));
    const own = { data, shape: [1, 2, DIM] };
    for (const mode of MODES) {
      const hardness = { mode, strength: 6 };
      const paired = { ...given, hardness, negativeKeys: own, negativeMode: 'paired' } as InfoNCEProblem;
      const listed = { ...given, hardness, negativeKeys } as InfoNCEProblem;
      const expected = infoNCESync(paired, { context }).loss as number;
      expect(infoNCESync(listed, { context }).loss).toBeCloseTo(expected, 5);
    }
  });

  it('of strength 0 has the bits of none', () => {
    for (const rows of ROWS) {
      const plain = infoNCESync(problemOf(rows) as InfoNCEProblem, { context });
      for (const mode of MODES) {
        const given = problemOf(rows, { hardness: { mode, strength: 0 } }) as InfoNCEProblem;
        expect(infoNCESync(given, { context })).toEqual(plain);
      }
    }
  });
});
