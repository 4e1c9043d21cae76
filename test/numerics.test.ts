import { clipSync, infoNCESync, ntXentSync, supConSync, type Tensor } from 'infonce';
import { describe, expect, it } from 'vitest';
import { expectClose, expectResult, HIGHEST } from './support/compare.js';
import { effort, SIMULATED, sharedContext, TARGETS } from './support/contexts.js';
import {
  clipCase,
  infoNCECase,
  ntXentCase,
  randomCase,
  SAMPLE_OF_LOSSES,
  sigLipCase,
  supConCase,
} from './support/problems.js';
import { near, normal, randomLabels, randomSource, scaled, viewsOf } from './support/random.js';

function tensor(rows: readonly (readonly number[])[]): Tensor {
  return { data: Float32Array.from(rows.flat()), shape: [rows.length, rows[0]!.length] };
}

function repeat(row: Tensor, rows: number): Tensor {
  return tensor(Array.from({ length: rows }, () => [...row.data]));
}

function expectFinite(result: object): void {
  for (const [name, value] of Object.entries(result as Record<string, number | Float32Array>)) {
    const finite = typeof value === 'number' ? Number.isFinite(value) : value.every(Number.isFinite);
    expect(finite, `${name} is finite`).toBe(true);
  }
}

const TEMPERATURES = effort([0.001, 0.003, 0.012, 0.02, 0.03, 1, 100], [0.001, 0.012, 0.03, 100]);
const NOISES = effort([0.5, 3], [0.5]);
const DIMS = effort([2, 31, 96, 512, 1537], [2, 96, 1537]);
const COLD_AND_WARM = effort([0.01, 0.07, 1], [0.01]);
const LONG_ROWS = { samples: 10, views: 2, negatives: 7, noise: 1, seed: 12 };

/** Of identical rows: they round alike, and in a sum their errors add up instead of averaging out. */
const ROUNDING_ALIKE = { ...HIGHEST, rounding: 2 * HIGHEST.rounding };

describe.each(TARGETS)('on %s', target => {
  const context = sharedContext(target);

  describe.each(SAMPLE_OF_LOSSES)('%s', loss => {
    const sizes = { samples: 21, dim: 19, views: 2, negatives: 9, temperature: 0.1, noise: 0.5, seed: 3 };

    it.each(TEMPERATURES)('at temperature %d', temperature => {
      for (const noise of NOISES) {
        const { run, reference } = randomCase(loss, { ...sizes, temperature, noise });
        const result = run({ context });
        expectFinite(result);
        expectResult(result, reference(), HIGHEST, `noise ${noise}`);
      }
    });

    it.each([0.001, 0.1])('with one sample and dimension 1 at temperature %d', temperature => {
      const { run, reference } = randomCase(loss, { ...sizes, samples: 1, dim: 1, negatives: 1, temperature });
      const result = run({ context });
      expectFinite(result);
      expectResult(result, reference(), HIGHEST);
    });
  });

  it.each(DIMS)('rows of %i numbers, at temperatures down to 0.01', dim => {
    for (const loss of SAMPLE_OF_LOSSES) {
      for (const temperature of COLD_AND_WARM) {
        const { run, reference } = randomCase(loss, { ...LONG_ROWS, dim, temperature });
        expectResult(run({ context }), reference(), HIGHEST, `${loss} at ${temperature}`);
      }
    }
  });

  it.each([1e15, 1e-5, 1e-15])('embeddings scaled by %d', factor => {
    const features = scaled(viewsOf(20, 2, 24, 0.5, 1), factor);
    const cases = [
      ntXentCase({ features }),
      infoNCECase({ query: features, positiveKey: scaled(features, -0.5) }),
      clipCase({ imageFeatures: features, textFeatures: normal([40, 24], 4) }),
    ];
    for (const { run, reference } of cases) expectResult(run({ context }), reference(), HIGHEST);
  });

  // Up to 32,768 products the CPU backend computes in float64: 20 rows and 200 take different ways.
  const BOTH_WAYS = effort([20, 200], [140]);
  const ALIKE = effort([0.001, 0.05, 0.1, 1], [0.001, 0.1]);

  it.each(BOTH_WAYS.flatMap(rows => ALIKE.map(temperature => [rows, temperature] as const)))(
    '%i identical rows at temperature %d',
    (rows, temperature) => {
      const features = repeat(normal([1, 24], 1), rows);
      const labels = new Int32Array(rows);
      for (const { run, reference } of [
        ntXentCase({ features, temperature }),
        ntXentCase({ features, nViews: 4, positives: 'all', temperature }),
        supConCase({ features, labels, temperature }),
        infoNCECase({ query: features, positiveKey: features, temperature }),
        clipCase({ imageFeatures: features, textFeatures: features, logitScale: 1 / temperature }),
      ]) {
        const result = run({ context });
        expectResult(result, reference(), rows > 100 ? ROUNDING_ALIKE : HIGHEST);
        expect(result).toMatchObject({ top1: 1, top5: 1 });
      }
    },
  );

  it.each([0.001, 0.0122, 0.1])('opposite rows at temperature %d', temperature => {
    const row = normal([1, 16], 2);
    const features = tensor(Array.from({ length: 16 }, (_, i) => [...row.data].map(x => (i % 2 ? -x : x))));
    for (const { run, reference } of [
      ntXentCase({ features, temperature }),
      ntXentCase({ features: { ...features, shape: [16, 16] }, nViews: 4, positives: 'all', temperature }),
      infoNCECase({ query: features, positiveKey: scaled(features, -1), temperature }),
    ]) {
      const result = run({ context });
      expectFinite(result);
      expectResult(result, reference(), HIGHEST);
    }
  });

  it.each([0.001, 0.005, 0.0122, 0.1])('rows opposite to their positive, or to all, at temperature %d', temperature => {
    const row = normal([1, 16], 2);
    const opposite = scaled(row, -1);
    for (const negative of [row, opposite]) {
      const { run, reference } = infoNCECase({
        query: repeat(row, 16),
        positiveKey: repeat(opposite, 16),
        negativeKeys: repeat(negative, 9),
        temperature,
      });
      expectResult(run({ context }), reference(), ROUNDING_ALIKE);
      for (const precision of ['high', 'medium'] as const) {
        expectFinite(run({ context: sharedContext(target, { precision }) }));
      }
    }
  });

  it('rows of zeros have gradient 0', () => {
    const features = viewsOf(8, 2, 6, 0.5, 9);
    features.data.fill(0, 3 * 6, 4 * 6);
    const { run, reference } = ntXentCase({ features });
    const result = run({ context }) as { gradFeatures: Float32Array };
    expectResult(result, reference(), HIGHEST);
    expect(result.gradFeatures.subarray(18, 24).every(value => value === 0)).toBe(true);
    const zeros = { data: new Float32Array(12), shape: [4, 3] };
    const { loss, gradFeatures } = ntXentSync({ features: zeros }, { context });
    expect(gradFeatures.every(value => value === 0)).toBe(true);
    expect(loss).toBeCloseTo(Math.log(3), 6);
  });

  it('one row of a class of its own has loss 0', () => {
    const features = normal([1, 5], 1);
    const result = supConSync({ features, labels: Int32Array.of(3) }, { context });
    expect(result).toEqual({
      loss: 0,
      top1: 0,
      top5: 0,
      gradFeatures: new Float32Array(5),
      gradTemperature: expect.closeTo(0),
    });
  });

  it('one pair has loss 0', () => {
    const features = normal([2, 5], 1);
    expect(ntXentSync({ features }, { context })).toMatchObject({ loss: 0, top1: 1, top5: 1 });
    const row = normal([1, 5], 2);
    const other = normal([1, 5], 3);
    expect(infoNCESync({ query: row, positiveKey: other }, { context })).toMatchObject({ loss: 0, top1: 1 });
    expect(clipSync({ imageFeatures: row, textFeatures: other }, { context })).toMatchObject({ loss: 0, top1: 1 });
  });

  it('classes without company stay in the mean', () => {
    const features = normal([6, 5], 1);
    const { run, reference } = supConCase({ features, labels: Int32Array.of(0, 0, 1, 2, 3, -4) });
    expectResult(run({ context }), reference(), HIGHEST);
  });

  it.each(BOTH_WAYS)('planted duplicates of the positive among %i rows', rows => {
    const query = normal([rows, 12], 5);
    const positiveKey = near(query, 0.05, 6);
    const negativeKeys = { data: positiveKey.data.slice(0, (rows / 2) * 12), shape: [rows / 2, 12] };
    const { run, reference } = infoNCECase({ query, positiveKey, negativeKeys, temperature: 0.05 });
    expectResult(run({ context }), reference(), HIGHEST);
    // A logit equal to the positive's does not beat it.
    expect(run({ context })).toMatchObject({ top1: 1 });
  });

  // Below -16 a float32 1 + exp(logit) is 1.
  it.each([-10, -30, -80, -200, -1e30, 90, 500, 1e4])('a bias of %d', bias => {
    for (const rows of BOTH_WAYS) {
      const imageFeatures = normal([rows, 24], 3);
      const textFeatures = near(imageFeatures, 0.5, 4);
      const ids = { imageIds: randomLabels(rows, rows / 2, 5), textIds: randomLabels(rows, rows / 2, 6) };
      for (const options of [{}, { positives: 'none' }, ids] as const) {
        const { run, reference } = sigLipCase({ imageFeatures, textFeatures, logitBias: bias, ...options });
        const result = run({ context }) as { loss: number };
        expectFinite(result);
        // A sum of numbers that float32 cannot hold.
        if (bias < -80 && 'positives' in options) expect(result.loss).toBeLessThan(1e-35);
        else expectResult(result, reference(), HIGHEST);
      }
    }
  });

  it.each([100, 101, 1e4, 1e30])('a logit scale of %d with a bias', logitScale => {
    const features = normal([20, 24], 3);
    const { run, reference } = sigLipCase({
      imageFeatures: features,
      textFeatures: near(features, 0.5, 4),
      logitScale,
    });
    const result = run({ context });
    expectFinite(result);
    expectResult(result, reference(), HIGHEST);
  });

  it.each([1e-3, 1, 30])('rows of length %d that are not normalised', length => {
    const features = scaled(viewsOf(30, 2, 16, 0.2, 7), length / 4);
    const { run, reference } = ntXentCase({ features, normalize: false, temperature: length });
    const result = run({ context });
    expectFinite(result);
    expectResult(result, reference(), HIGHEST);
  });
});

/** NT-Xent of the first view, plainly, in float64, one row at a time: for sizes the reference is too slow for. */
function plainNTXent({ data, shape }: Tensor, temperature: number): { loss: number; gradFirstRow: Float64Array } {
  const [rows, dim] = shape as readonly [number, number];
  const unit = Float64Array.from(data);
  for (let i = 0; i < rows; i++) {
    const row = unit.subarray(i * dim, (i + 1) * dim);
    const norm = Math.hypot(...row);
    row.set(row.map(value => value / norm));
  }
  const logit = (i: number, j: number) => {
    let sum = 0;
    for (let k = 0; k < dim; k++) sum += unit[i * dim + k]! * unit[j * dim + k]!;
    return sum / temperature;
  };
  const positiveOf = (i: number) => (i + rows / 2) % rows;
  const logSums = new Float64Array(rows);
  let loss = 0;
  const sums = new Float64Array(rows);
  for (let i = 0; i < rows; i++) {
    for (let j = i + 1; j < rows; j++) {
      const exponential = Math.exp(logit(i, j));
      sums[i]! += exponential;
      sums[j]! += exponential;
    }
  }
  for (let i = 0; i < rows; i++) {
    logSums[i] = Math.log(sums[i]!);
    loss += logSums[i]! - logit(i, positiveOf(i));
  }
  const grad = new Float64Array(dim);
  for (let j = 1; j < rows; j++) {
    const s = logit(0, j);
    const weight = Math.exp(s - logSums[0]!) + Math.exp(s - logSums[j]!) - (j === positiveOf(0) ? 2 : 0);
    for (let k = 0; k < dim; k++) grad[k]! += (weight * unit[j * dim + k]!) / (temperature * rows);
  }
  const radial = grad.reduce((sum, value, k) => sum + value * unit[k]!, 0);
  const norm = Math.hypot(...data.subarray(0, dim));
  return { loss: loss / rows, gradFirstRow: grad.map((value, k) => (value - radial * unit[k]!) / norm) };
}

describe.skipIf(SIMULATED)('many rows', () => {
  it('keep their digits at 9,002, beyond what a panel keeps', () => {
    const features = viewsOf(4501, 2, 5, 0.3, 8);
    const result = ntXentSync({ features });
    const expected = plainNTXent(features, 0.1);
    expectClose(result.loss, [expected.loss], HIGHEST.tolerance, 0, 'loss');
    expectClose(result.gradFeatures.subarray(0, 5), expected.gradFirstRow, HIGHEST.tolerance, 0, 'gradient');
  });

  it('give log(N - 1) to six digits where every row is the same, up to 40,000', () => {
    const random = randomSource(4);
    const row = [random(), random(), random()];
    const rows = 40_000;
    const features = { data: Float32Array.from({ length: rows * 3 }, (_, i) => row[i % 3]!), shape: [rows, 3] };
    const { loss } = ntXentSync({ features, gradient: false });
    expect(Math.abs(loss - Math.log(rows - 1))).toBeLessThan(1e-6 * loss);
  });
});
