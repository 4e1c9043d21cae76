/** `form: 'in'`: the mean over a row's positives is inside of the logarithm. */
import { type NTXentProblem, ntXentSync, type SupConProblem, supConSync } from 'infonce';
import { describe, expect, it } from 'vitest';
import { expectResult, HIGHEST } from './support/compare.js';
import { effort } from './support/contexts.js';
import { ntXentCase, supConCase } from './support/problems.js';
import { near, normal, randomLabels } from './support/random.js';
import { thrownBy } from './support/thrown.js';

const DIM = 7;
const IN = { form: 'in' } as const;

/** −log of the mean of the positives' probabilities, straight from the formula. */
function fromTheFormula(rows: number[][], labels: Int32Array, temperature: number): number {
  const unit = rows.map(row => row.map(value => value / Math.hypot(...row)));
  const losses = unit.map((u, i) => {
    const exponentials = unit.map(v => Math.exp(u.reduce((dot, value, d) => dot + value * v[d]!, 0) / temperature));
    const isPositive = (j: number) => j !== i && labels[j] === labels[i];
    const total = exponentials.reduce((sum, value, j) => sum + (j === i ? 0 : value), 0);
    const positives = exponentials.filter((_, j) => isPositive(j));
    if (positives.length === 0) return 0;
    return -Math.log(positives.reduce((sum, value) => sum + value / total, 0) / positives.length);
  });
  return losses.reduce((sum, value) => sum + value, 0) / losses.length;
}

it('is minus the logarithm of the mean probability of the positives', () => {
  const features = normal([24, DIM], 1);
  const labels = randomLabels(24, 5, 2);
  const rows = Array.from({ length: 24 }, (_, i) => [...features.data.slice(i * DIM, (i + 1) * DIM)]);
  const { loss } = supConSync({ features, labels, temperature: 0.3, ...IN });
  expect(loss).toBeCloseTo(fromTheFormula(rows, labels, 0.3), 6);
});

describe('with one positive', () => {
  const features = normal([2 * 9, DIM], 1);

  it('ntXent has the bits of the mean outside', () => {
    for (const options of [{}, { positives: 'all' }] as const) {
      expect(ntXentSync({ features, ...options, ...IN })).toEqual(ntXentSync({ features, ...options }));
    }
    const three = { features, nViews: 3, positives: 'first' } as const;
    expect(ntXentSync({ ...three, ...IN })).toEqual(ntXentSync(three));
  });

  it('supCon agrees with it', () => {
    const labels = Int32Array.from({ length: 18 }, (_, i) => i % 9);
    const inside = supConSync({ features, labels, ...IN });
    const outside = supConSync({ features, labels });
    expect(inside.loss).toBeCloseTo(outside.loss, 6);
    expect(inside).toMatchObject({ top1: outside.top1, top5: outside.top5 });
  });
});

it('is at most the mean outside, and has its ranks', () => {
  const problem: SupConProblem = { features: normal([40, DIM], 1), labels: randomLabels(40, 4, 2) };
  const inside = supConSync({ ...problem, ...IN });
  const outside = supConSync(problem);
  expect(inside.loss < outside.loss).toBe(true);
  expect(inside).toMatchObject({ top1: outside.top1, top5: outside.top5 });
});

describe.each(effort([2, 40, 150], [2, 40]))('agrees with the reference with %i rows', rows => {
  it.each([
    ['a few positives', {}],
    ['a low temperature', { temperature: 0.003 }],
    ['dot products', { normalize: false, temperature: 2 }],
    ['a loss of each row', { reduction: 'none', gradOutput: normal([rows], 3).data }],
  ] as const)('%s', (_what, options) => {
    const features = normal([rows, DIM], 1);
    const labels = randomLabels(rows, Math.ceil(rows / 4), 2);
    const { run, reference } = supConCase({ features, labels, ...options, ...IN });
    expectResult(run(), reference(), HIGHEST);
  });

  it('one class alone, and classes that lie close together', () => {
    const features = near(normal([1, DIM], 1), 1, 2);
    const close = Float32Array.from({ length: rows * DIM }, (_, k) => features.data[k % DIM]! + 1e-3 * Math.sin(k));
    const tight = { features: { data: close, shape: [rows, DIM] }, temperature: 0.1, ...IN };
    for (const labels of [new Int32Array(rows), Int32Array.from({ length: rows }, (_, i) => i % 2)]) {
      const { run, reference } = supConCase({ ...tight, labels });
      expectResult(run(), reference(), HIGHEST);
    }
  });
});

it('views of a sample are its positives', () => {
  for (const nViews of [3, 5, 20]) {
    const features = normal([nViews * 6, DIM], nViews);
    const { run, reference } = ntXentCase({ features, nViews, positives: 'all', ...IN });
    expectResult(run(), reference(), HIGHEST);
  }
});

describe('is refused', () => {
  const features = normal([12, DIM], 1);
  it.each<readonly [string, RegExp, Partial<NTXentProblem>]>([
    [
      'with a decoupled loss',
      /form: expected none with denominator 'negatives', got 'in'/,
      { denominator: 'negatives' },
    ],
    [
      'with a logarithm for each positive',
      /form: expected none with denominator 'positiveAndNegatives', got 'in'.*L_in/,
      { denominator: 'positiveAndNegatives' },
    ],
    ['with smoothing', /labelSmoothing: expected none with form 'in', got 0\.1/, { labelSmoothing: 0.1 }],
    ['with debiasing', /debias: expected none with form 'in', got one.*one positive/, { debias: { tauPlus: 0.1 } }],
  ])('%s', (_what, message, options) => {
    const error = thrownBy(() => ntXentSync({ features, ...options, ...IN }));
    expect(error).toMatchObject({ code: 'ERR_INFONCE_RANGE', message: expect.stringMatching(message) });
  });

  it('supCon: with another denominator, or of another name', () => {
    const labels = new Int32Array(12);
    const problem = { features, labels, denominator: 'negatives', ...IN } as const;
    expect(thrownBy(() => supConSync(problem)).message).toMatch(/form: expected none with denominator 'negatives'/);
    const named = thrownBy(() => supConSync({ features, labels, form: 'inside' as never }));
    expect(named).toMatchObject({ code: 'ERR_INFONCE_RANGE', message: expect.stringMatching(/form: .*'out', 'in'/) });
  });
});
