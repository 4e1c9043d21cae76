import { type FalseNegatives, infoNCE, infoNCESync, NegativeQueue, type Tensor } from 'infonce';
import { describe, expect, it } from 'vitest';
import { expectResult, HIGHEST } from './support/compare.js';
import { effort, sharedContext, TARGETS } from './support/contexts.js';
import { infoNCECase } from './support/problems.js';
import { type QueriesWith, randomQueries } from './support/queries.js';
import { near, normal } from './support/random.js';
import { thrownBy } from './support/thrown.js';

const DIM = 7;
const GUIDE_DIM = 5;
/** Few products, one block of rows, and several. */
const ROWS = effort([1, 5, 70, 150], [1, 40]);

type Given = QueriesWith<Tensor>;

function problemOf(rows: number, changes: Partial<Given> = {}): Given {
  const { query, positiveKey, negatives } = randomQueries(rows, DIM, changes.normalize);
  return {
    query,
    positiveKey,
    negativeKeys: negatives([rows + 2, DIM]),
    inBatch: true,
    temperature: 0.2,
    ...changes,
  };
}

function guideOf(rows: number, keys = rows) {
  const query = normal([rows, GUIDE_DIM], 11);
  return {
    query,
    positiveKey: keys === rows ? near(query, 0.9, 12) : normal([keys, GUIDE_DIM], 12),
    negativeKeys: normal([rows + 2, GUIDE_DIM], 13),
  };
}

/** By own cosines and by a guide's. */
function optionsOf(rows: number, keys = rows): readonly FalseNegatives[] {
  const all: readonly FalseNegatives[] = [
    { margin: 0.1 },
    { margin: -0.1, strategy: 'absolute' },
    { margin: 0.3, strategy: 'relative' },
    { margin: 0, guide: guideOf(rows, keys) },
    { margin: 0.2, strategy: 'relative', guide: guideOf(rows, keys) },
  ];
  return effort(all, [all[0]!, all[4]!]);
}

const repeated = (row: readonly number[], rows: number): Tensor => ({
  data: Float32Array.from({ length: rows * row.length }, (_, k) => row[k % row.length]!),
  shape: [rows, row.length],
});

describe.each(TARGETS)('%s', target => {
  const context = sharedContext(target, { threads: 2 });
  const run = (problem: Given) => infoNCESync(problem, { context });
  const expectReference = (given: Given, what: string) => {
    const { problem, functions } = infoNCECase(given);
    const reference = functions.reference(problem);
    const result = run(given);
    expectResult(result, reference, HIGHEST, what);
    expect({ top1: result.top1, top5: result.top5 }, what).toEqual({ top1: reference.top1, top5: reference.top5 });
  };

  it.each(ROWS)('candidates above the threshold are left out, %i rows', rows => {
    for (const normalize of [true, false]) {
      for (const temperature of effort([0.2, 0.012, 0.004], [0.2])) {
        for (const falseNegatives of optionsOf(rows)) {
          const given = problemOf(rows, { normalize, temperature, falseNegatives });
          expectReference(given, `${JSON.stringify(falseNegatives).slice(0, 40)} ${temperature} ${normalize}`);
        }
      }
    }
  });

  it('with ids, biases, targets, a margin and hardness, which the comparison ignores', () => {
    const rows = 70;
    const keys = rows + 3;
    const ids = (count: number, step: number) => Int32Array.from({ length: count }, (_, j) => (j * step) % 50);
    const bias = (count: number) => Float32Array.from({ length: count }, (_, j) => Math.sin(j) * 2);
    const withTargets = {
      positiveKey: normal([keys, DIM], 2),
      targets: Int32Array.from({ length: rows }, (_, j) => (j * 5) % keys),
    };
    const ids3 = { queryIds: ids(rows, 3), keyIds: ids(rows, 7), negativeIds: ids(rows + 2, 11) };
    const biases = { keyBias: bias(rows), negativeBias: bias(rows + 2).fill(Number.NEGATIVE_INFINITY, 3, 9) };
    const others = [
      ids3,
      biases,
      { ...ids3, ...biases, margin: 0.3 },
      { hardness: { mode: 'all', strength: 5 } } as const,
      { inBatch: false },
      { margin: 0.3 },
    ];
    for (const other of others) {
      for (const falseNegatives of optionsOf(rows)) {
        expectReference(problemOf(rows, { ...other, falseNegatives }), Object.keys(other).join());
      }
    }
    for (const falseNegatives of optionsOf(rows, keys)) {
      expectReference(problemOf(rows, { ...withTargets, falseNegatives }), 'targets');
    }
  });

  it('two halves and asynchronous calls give the same bits', async () => {
    for (const rows of ROWS) {
      for (const falseNegatives of optionsOf(rows)) {
        const problem = problemOf(rows, { falseNegatives });
        const expected = run(problem);
        expect(await infoNCE(problem, { context })).toEqual(expected);
        const { query, positiveKey, negativeKeys } = problem;
        const copies = [query, positiveKey, negativeKeys].map(({ data, shape }) => ({ data: data.slice(), shape }));
        const [ofQuery, ofKeys, ofNegatives] = copies as [Tensor, Tensor, Tensor];
        const given = { ...problem, query: ofQuery, positiveKey: ofKeys, negativeKeys: ofNegatives };
        const pass = infoNCE.forwardSync(given, { context });
        for (const { data } of copies) data.fill(0);
        expect({ ...expected, ...pass.backwardSync() }).toEqual(expected);
        pass.dispose();
      }
    }
  });

  it('no candidate but the positive: loss and gradient are 0', () => {
    const problem = problemOf(40, { falseNegatives: { margin: 3 }, reduction: 'none' });
    const { loss, ...gradients } = run(problem);
    expect([...(loss as unknown as Float32Array)]).toEqual(new Array(40).fill(0));
    for (const name of ['gradQuery', 'gradPositiveKey', 'gradNegativeKeys'] as const) {
      expect(gradients[name].every(value => value === 0)).toBe(true);
    }
    expect(gradients.gradTemperature === 0).toBe(true);
    expect(gradients.top1).toBe(1);
  });

  it('candidates as close as the positive are kept, with margin 0, however near all are', () => {
    for (const rows of effort([3, 200], [3, 40])) {
      const row = [0.3, -1.7, 0.2, 0.9, 1 / 3];
      const all = repeated(row, rows);
      const options = { negativeKeys: undefined, inBatch: true, temperature: 0.1 } as const;
      for (const guide of [undefined, { query: all, positiveKey: all }]) {
        const given = { query: all, positiveKey: all, ...options };
        const { loss } = infoNCESync({ ...given, falseNegatives: { margin: 0, guide } }, { context });
        expect(loss).toBeCloseTo(Math.log(rows), 6);
        const barely = { margin: 1e-12, guide };
        expect(infoNCESync({ ...given, falseNegatives: barely }, { context }).loss).toBe(0);
      }
    }
  });

  it('what is nearer to the threshold than float32 tells is decided as in float64', () => {
    const rows = effort([150], [40])[0]!;
    // Two rows each side of every positive, closer to it than the digits of float32.
    const query = repeated([1, 0, 0, 0], rows);
    const data = Float32Array.from({ length: rows * 4 }, () => 0);
    for (let j = 0; j < rows; j++) {
      data[4 * j] = 1;
      data[4 * j + 1] = Math.fround(1 + (((j * 37) % rows) - rows / 2) * 2 ** -23);
      data[4 * j + 2] = 0.5;
    }
    const positiveKey = { data, shape: [rows, 4] };
    const given = { query, positiveKey, temperature: 0.5, reduction: 'none' } as const;
    for (const margin of [0, 1e-8, -1e-8]) {
      for (const guide of [undefined, { query, positiveKey }]) {
        const problem = { ...given, falseNegatives: { margin, guide } };
        const { functions } = infoNCECase(problem);
        expectResult(infoNCESync(problem, { context }), functions.reference(problem), HIGHEST, `margin ${margin}`);
      }
    }
    // Rows are told apart at all.
    const { loss } = infoNCESync({ ...given, falseNegatives: { margin: 0 } }, { context });
    expect(new Set(loss).size).toBeGreaterThan(rows / 4);
  });

  it('have no gradient of the guide, whose lists are as those of the negatives', () => {
    const rows = 40;
    const list = [normal([rows, DIM], 21), normal([rows, DIM], 22)];
    const guides = [normal([rows, GUIDE_DIM], 23), normal([rows, GUIDE_DIM], 24)];
    const join = (tensors: readonly Tensor[], dim: number): Tensor => ({
      data: Float32Array.from(tensors.flatMap(({ data }) => [...data])),
      shape: [tensors.length * rows, dim],
    });
    const { query, positiveKey } = problemOf(rows);
    const guide = guideOf(rows);
    const inOne = infoNCESync(
      {
        query,
        positiveKey,
        negativeKeys: join(list, DIM),
        falseNegatives: { margin: 0.1, guide: { ...guide, negativeKeys: join(guides, GUIDE_DIM) } },
      },
      { context },
    );
    const inList = infoNCESync(
      {
        query,
        positiveKey,
        negativeKeys: list,
        falseNegatives: { margin: 0.1, guide: { ...guide, negativeKeys: guides } },
      },
      { context },
    );
    expect(inList.loss).toBe(inOne.loss);
    expect([...inList.gradNegativeKeys].flatMap(gradient => [...gradient])).toEqual([...inOne.gradNegativeKeys]);
    expect(Object.keys(inOne).sort()).toEqual(
      ['gradNegativeKeys', 'gradPositiveKey', 'gradQuery', 'gradTemperature', 'loss', 'top1', 'top5'].sort(),
    );
  });

  it('NaN in a guide is reported with its name', () => {
    const guide = guideOf(6);
    const data = guide.positiveKey.data.slice().fill(Number.NaN, 2 * GUIDE_DIM, 3 * GUIDE_DIM);
    const falseNegatives = { margin: 0, guide: { ...guide, positiveKey: { data, shape: [6, GUIDE_DIM] } } };
    const problem = problemOf(6, { falseNegatives });
    expect(thrownBy(() => run(problem))).toMatchObject({
      code: 'ERR_INFONCE_NON_FINITE',
      message: expect.stringMatching(/falseNegatives\.guide\.positiveKey: .*row 2/),
    });
    expect(run({ ...problem, nonFinite: 'propagate' }).loss).toBeNaN();
  });

  it('a guide may be of 16 bits', () => {
    const rows = 40;
    const guide = guideOf(rows);
    // Numbers that bfloat16 has.
    const round = ({ data, shape }: Tensor) => {
      const bits = Uint16Array.from(new Uint32Array(data.buffer), word => word >>> 16);
      const back = new Float32Array(Uint32Array.from(bits, half => half << 16).buffer);
      return { half: { data: bits, shape, dtype: 'bfloat16' as const }, full: { data: back, shape } };
    };
    const query = round(guide.query);
    const positiveKey = round(guide.positiveKey);
    const ask = (of: 'half' | 'full') =>
      run(
        problemOf(rows, {
          falseNegatives: { margin: 0, guide: { ...guide, query: query[of], positiveKey: positiveKey[of] } },
        }),
      );
    expect(ask('half')).toEqual(ask('full'));
  });
});

describe('refused', () => {
  const base = problemOf(6);
  const guide = guideOf(6);
  const cases: readonly [what: string, code: string, message: RegExp, changes: object][] = [
    ['a number', 'TYPE', /falseNegatives: expected an object of options/, { falseNegatives: 0.1 }],
    ['no margin', 'TYPE', /falseNegatives\.margin: .*got undefined/, { falseNegatives: {} }],
    ['a margin of NaN', 'RANGE', /falseNegatives\.margin: .*got NaN/, { falseNegatives: { margin: Number.NaN } }],
    [
      'an unknown strategy',
      'RANGE',
      /falseNegatives\.strategy: expected one of 'absolute', 'relative'/,
      { falseNegatives: { margin: 0, strategy: 'percentage' } },
    ],
    ['an unknown key', 'TYPE', /falseNegatives: .*'threshold'/, { falseNegatives: { margin: 0, threshold: 1 } }],
    [
      'own negatives',
      'RANGE',
      /falseNegatives: expected none with negativeMode 'paired'/,
      { falseNegatives: { margin: 0 }, negativeMode: 'paired', negativeKeys: normal([6, 2, DIM], 1) },
    ],
    [
      'label smoothing',
      'RANGE',
      /falseNegatives: expected none with labelSmoothing/,
      { falseNegatives: { margin: 0 }, labelSmoothing: 0.1 },
    ],
    [
      'a guide without its negatives',
      'TYPE',
      /falseNegatives\.guide\.negativeKeys: expected a tensor \[M, G\].*got undefined/,
      { falseNegatives: { margin: 0, guide: { ...guide, negativeKeys: undefined } } },
    ],
    [
      'negatives of a guide alone',
      'TYPE',
      /falseNegatives\.guide\.negativeKeys: expected nothing without negativeKeys/,
      { falseNegatives: { margin: 0, guide }, negativeKeys: undefined },
    ],
    [
      'a guide of other rows',
      'SHAPE',
      /falseNegatives\.guide\.positiveKey\.shape: expected \[6, 5\] to go with positiveKey.*got \[7, 5\]/,
      { falseNegatives: { margin: 0, guide: { ...guide, positiveKey: normal([7, GUIDE_DIM], 1) } } },
    ],
    [
      'a guide of two dimensions',
      'SHAPE',
      /falseNegatives\.guide\.negativeKeys\.shape: expected \[8, 5\].*got \[8, 6\]/,
      { falseNegatives: { margin: 0, guide: { ...guide, negativeKeys: normal([8, 6], 1) } } },
    ],
    [
      'a guide without queries',
      'TYPE',
      /falseNegatives\.guide\.query: expected a tensor/,
      { falseNegatives: { margin: 0, guide: { positiveKey: guide.positiveKey } } },
    ],
    [
      'a tensor of a guide where negatives are a list',
      'TYPE',
      /falseNegatives\.guide\.negativeKeys: expected a list of 1 tensors/,
      { falseNegatives: { margin: 0, guide }, negativeKeys: [normal([6, DIM], 1)] },
    ],
  ];
  it.each(cases)('%s', (_, code, message, changes) => {
    const error = thrownBy(() => infoNCESync({ ...base, ...changes } as never));
    expect(error).toMatchObject({ name: 'InfoNCEError', code: `ERR_INFONCE_${code}` });
    expect((error as Error).message).toMatch(message);
  });

  it('a guide with a queue', () => {
    const queue = new NegativeQueue({ capacity: 8, dim: DIM });
    queue.enqueueSync(normal([8, DIM], 1));
    const problem = { ...base, negativeKeys: queue, falseNegatives: { margin: 0, guide } };
    expect(thrownBy(() => infoNCESync(problem))).toMatchObject({
      message: expect.stringMatching(/falseNegatives\.guide: expected none with a NegativeQueue/),
    });
    expect(infoNCESync({ ...problem, falseNegatives: { margin: 0.1 } }).loss).toBeGreaterThan(0);
    queue.dispose();
  });
});
