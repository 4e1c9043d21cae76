import { clipSync, infoNCESync, ntXentSync, sigLipSync, supConSync, type Tensor } from 'infonce';
import { describe, expect, it } from 'vitest';
import { expectSame } from './support/compare.js';
import { DEVICE, effort } from './support/contexts.js';
import { near, normal, scaled, viewsOf } from './support/random.js';

/** Below a block, above a few, and beyond what is kept between the passes. */
const SIZES = effort([7, 300, 4700], [7, 150]);

function meanOf(a: Float32Array, b: Float32Array): Float32Array {
  return a.map((value, i) => (value + b[i]!) / 2);
}

describe.each(SIZES)('with %i samples', samples => {
  const query = normal([samples, 6], 1);
  const positiveKey = near(query, 0.7, 2);

  it('clip is the mean of infoNCE both ways', () => {
    const there = infoNCESync({ query, positiveKey, temperature: 0.2 });
    const back = infoNCESync({ query: positiveKey, positiveKey: query, temperature: 0.2 });
    const clip = clipSync({ imageFeatures: query, textFeatures: positiveKey, logitScale: 5 });
    expectSame(clip.loss, (there.loss + back.loss) / 2, 'loss');
    expectSame(clip.gradImageFeatures, meanOf(there.gradQuery, back.gradPositiveKey), 'gradImageFeatures');
    expectSame(clip.gradTextFeatures, meanOf(there.gradPositiveKey, back.gradQuery), 'gradTextFeatures');
    expect(clip.top1).toBeCloseTo((there.top1 + back.top1) / 2, 9);
    expect(clip.top5).toBeCloseTo((there.top5 + back.top5) / 2, 9);
  });

  it("ntXent over two views is the same with positives 'first' and 'all'", () => {
    const features = viewsOf(samples, 2, 6, 0.7, 3);
    const first = ntXentSync({ features });
    const all = ntXentSync({ features, positives: 'all' });
    expectSame(all.loss, first.loss, 'loss');
    expectSame(all.gradFeatures, first.gradFeatures, 'gradFeatures');
    expectSame(all.gradTemperature, first.gradTemperature, 'gradTemperature');
  });

  it("ntXent with positives 'all' is supCon with a class for each sample", () => {
    const features = viewsOf(samples, 3, 6, 0.7, 4);
    const labels = Int32Array.from({ length: 3 * samples }, (_, row) => row % samples);
    const views = ntXentSync({ features, nViews: 3, positives: 'all', temperature: 0.2 });
    const classes = supConSync({ features, labels, temperature: 0.2 });
    expectSame(classes.loss, views.loss, 'loss');
    expectSame(classes.gradFeatures, views.gradFeatures, 'gradFeatures');
  });
});

/** Rows `from` to `to`. */
function rowsOf({ data, shape }: Tensor, from: number, to: number): Tensor {
  const dim = shape[1]!;
  return { data: data.slice(from * dim, to * dim), shape: [to - from, dim] };
}

describe.each(SIZES.filter(samples => samples < 4000))('sigLip with %i samples', samples => {
  const imageFeatures = normal([samples, 6], 1);
  const textFeatures = near(imageFeatures, 0.7, 2);
  const towers = { imageFeatures, textFeatures, logitBias: -3, reduction: 'sum' } as const;

  it('has the positives of the same index by ids that say so', () => {
    const ids = Int32Array.from({ length: samples }, (_, row) => 7 - 3 * row);
    for (const reduction of ['mean', 'none'] as const) {
      const byIndex = sigLipSync({ ...towers, reduction });
      const byId = sigLipSync({ ...towers, reduction, imageIds: ids, textIds: ids });
      // The CPU computes both alike, bit for bit; on CUDA ids take the kernels in float64.
      if (DEVICE === 'cpu') expect(byId).toEqual(byIndex);
      expect(Object.keys(byId)).toEqual(Object.keys(byIndex));
      for (const name of ['loss', 'gradImageFeatures', 'gradTextFeatures', 'gradLogitScale', 'gradLogitBias'] as const)
        expectSame(byId[name], byIndex[name], name);
      expect([byId.top1, byId.top5]).toEqual([byIndex.top1, byIndex.top5]);
    }
  });

  it('is the sum of its blocks, those off the diagonal without positives', () => {
    const cut = Math.floor(samples / 3);
    const parts = [0, cut, samples];
    const whole = sigLipSync(towers);
    const total = { loss: 0, gradLogitScale: 0, gradLogitBias: 0 };
    const gradImageFeatures = new Float64Array(samples * 6);
    const gradTextFeatures = new Float64Array(samples * 6);
    for (const i of [0, 1]) {
      for (const j of [0, 1]) {
        const block = sigLipSync({
          ...towers,
          imageFeatures: rowsOf(imageFeatures, parts[i]!, parts[i + 1]!),
          textFeatures: rowsOf(textFeatures, parts[j]!, parts[j + 1]!),
          positives: i === j ? 'sameIndex' : 'none',
        });
        for (const name of ['loss', 'gradLogitScale', 'gradLogitBias'] as const) total[name] += block[name];
        block.gradImageFeatures.forEach((value, k) => {
          gradImageFeatures[6 * parts[i]! + k]! += value;
        });
        block.gradTextFeatures.forEach((value, k) => {
          gradTextFeatures[6 * parts[j]! + k]! += value;
        });
      }
    }
    for (const name of ['loss', 'gradLogitScale', 'gradLogitBias'] as const) expectSame(total[name], whole[name], name);
    expectSame(whole.gradImageFeatures, gradImageFeatures, 'gradImageFeatures');
    expectSame(whole.gradTextFeatures, gradTextFeatures, 'gradTextFeatures');
  });

  it('is a sum over all pairs, its mean that over the images', () => {
    const { loss: rows } = sigLipSync({ ...towers, reduction: 'none' });
    const total = rows.reduce((sum, value) => sum + value, 0);
    expectSame(sigLipSync(towers).loss, total, 'sum');
    expectSame(sigLipSync({ ...towers, reduction: 'mean' }).loss * samples, total, 'mean');
  });

  it('is the same of texts and images', () => {
    const back = sigLipSync({ ...towers, imageFeatures: textFeatures, textFeatures: imageFeatures });
    const there = sigLipSync(towers);
    expectSame(back.loss, there.loss, 'loss');
    expectSame(back.gradImageFeatures, there.gradTextFeatures, 'gradTextFeatures');
    expectSame(back.gradLogitBias, there.gradLogitBias, 'gradLogitBias');
  });
});

it('infoNCE takes keys and negatives together as it takes them one behind the other', () => {
  const query = normal([20, 6], 5);
  const positiveKey = near(query, 0.7, 6);
  const negativeKeys = normal([9, 6], 7);
  const together = infoNCESync({ query, positiveKey, negativeKeys, inBatch: true, reduction: 'none' });
  for (let i = 0; i < 20; i++) {
    const row = { data: query.data.slice(6 * i, 6 * i + 6), shape: [1, 6] };
    const own = { data: positiveKey.data.slice(6 * i, 6 * i + 6), shape: [1, 6] };
    const others = Float32Array.of(...positiveKey.data.filter((_, k) => Math.floor(k / 6) !== i), ...negativeKeys.data);
    const all = { data: others, shape: [28, 6] };
    const one = infoNCESync({ query: row, positiveKey: own, negativeKeys: all, reduction: 'none' });
    expectSame(together.loss.subarray(i, i + 1), one.loss, 'loss');
    expectSame(together.gradQuery.subarray(6 * i, 6 * i + 6), one.gradQuery, 'gradQuery');
  }
});

it('infoNCE gives every query the same own negatives as it shares them', () => {
  const query = normal([20, 6], 5);
  const positiveKey = near(query, 0.7, 6);
  const shared = normal([9, 6], 7);
  const own: Tensor = { data: new Float32Array(20 * 9 * 6), shape: [20, 9, 6] };
  for (let i = 0; i < 20; i++) own.data.set(shared.data, i * 9 * 6);
  const unpaired = infoNCESync({ query, positiveKey, negativeKeys: shared });
  const paired = infoNCESync({ query, positiveKey, negativeKeys: own, negativeMode: 'paired' });
  expectSame(paired.loss, unpaired.loss, 'loss');
  expectSame(paired.gradQuery, unpaired.gradQuery, 'gradQuery');
  const summed = Float64Array.from(shared.data, (_, k) => {
    let sum = 0;
    for (let i = 0; i < 20; i++) sum += paired.gradNegativeKeys[i * 54 + k]!;
    return sum;
  });
  expectSame(unpaired.gradNegativeKeys, summed, 'gradNegativeKeys');
});

it('a loss does not depend on the length of its rows, and its gradient is inverse to it', () => {
  const features = viewsOf(30, 2, 6, 0.7, 8);
  const once = ntXentSync({ features });
  const fourfold = ntXentSync({ features: scaled(features, 4) });
  expect(fourfold.loss).toBe(once.loss);
  expect(fourfold.gradFeatures.map(value => value * 4)).toEqual(once.gradFeatures);
});

it('the sum is the rows added up, and the mean that over their number', () => {
  const features = viewsOf(31, 2, 6, 0.7, 9);
  const { loss: rows } = ntXentSync({ features, reduction: 'none' });
  const total = rows.reduce((sum, value) => sum + value, 0);
  expectSame(ntXentSync({ features, reduction: 'sum' }).loss, total, 'sum');
  expectSame(ntXentSync({ features, reduction: 'mean' }).loss, total / 62, 'mean');
});

it('gradOutput multiplies the gradients and leaves the loss', () => {
  const features = viewsOf(10, 2, 6, 0.7, 10);
  const plain = ntXentSync({ features });
  const twofold = ntXentSync({ features, gradOutput: -2 });
  expect(twofold.loss).toBe(plain.loss);
  expectSame(
    twofold.gradFeatures,
    plain.gradFeatures.map(value => value * -2),
    'gradFeatures',
  );
  expectSame(twofold.gradTemperature, plain.gradTemperature * -2, 'gradTemperature');
  expect(ntXentSync({ features, gradOutput: Float32Array.of(-2) })).toEqual(twofold);
  const rows = { features, reduction: 'none' } as const;
  expect(ntXentSync({ ...rows, gradOutput: new Float32Array(20).fill(3) })).toEqual(
    ntXentSync({ ...rows, gradOutput: 3 }),
  );
});
