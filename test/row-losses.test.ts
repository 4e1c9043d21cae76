import { clipSync, infoNCESync, ntXentSync, supConSync } from 'infonce';
import { describe, expect, it } from 'vitest';
import { expectSame } from './support/compare.js';
import { near, normal, randomLabels, viewsOf } from './support/random.js';

/** Two unit vectors at these angles, in degrees. */
const unit = (...degrees: number[]) => ({
  data: Float32Array.from(degrees.flatMap(angle => [Math.cos, Math.sin].map(f => f((angle * Math.PI) / 180)))),
  shape: [degrees.length, 2],
});

describe("denominator 'positiveAndNegatives'", () => {
  const features = viewsOf(40, 2, 6, 0.7, 1);

  it("gives optax's published numbers", () => {
    const data = Float32Array.of(-1.954, 1.078, 0.238, -0.5703, 1.8745, -0.0195, -0.6719, -1.921);
    const problem = {
      features: { data, shape: [4, 2] },
      temperature: 0.07,
      denominator: 'positiveAndNegatives',
    } as const;
    expect(supConSync({ ...problem, labels: Int32Array.of(0, 0, 1, 1) }).loss).toBeCloseTo(14.01032, 4);
    // optax's mean leaves out rows without positives.
    const { loss } = supConSync({ ...problem, labels: Int32Array.of(0, 0, 0, 1), reduction: 'sum' });
    expect(loss / 3).toBeCloseTo(8.968544, 5);
    const all = supConSync({ ...problem, labels: Int32Array.of(0, 0, 0, 1), denominator: 'all' });
    expect(all.loss).toBeCloseTo(8.004078, 5);
  });

  it('is cross-entropy where rows have one positive', () => {
    const one = ntXentSync({ features, denominator: 'positiveAndNegatives' });
    const plain = ntXentSync({ features });
    expectSame(one.loss, plain.loss, 'loss');
    expectSame(one.gradFeatures, plain.gradFeatures, 'gradFeatures');
  });

  it('has the loss of each positive alone, averaged', () => {
    // Row 0 with positives 1 and 2 and negative 3: two rows of a problem with one positive each.
    const rows = unit(0, 20, 50, 160);
    const labels = Int32Array.of(0, 0, 0, 1);
    const { loss } = supConSync({ features: rows, labels, denominator: 'positiveAndNegatives', reduction: 'none' });
    const alone = [20, 50].map(angle => {
      const problem = { query: unit(0), positiveKey: unit(angle), negativeKeys: unit(160), temperature: 0.07 };
      return infoNCESync(problem).loss;
    });
    expectSame(loss[0]!, (alone[0]! + alone[1]!) / 2, 'loss');
  });

  it('is 0 in a row without negatives', () => {
    const labels = new Int32Array(80);
    const { loss, gradFeatures } = supConSync({ features, labels, denominator: 'positiveAndNegatives' });
    expect(loss).toBe(0);
    expect(gradFeatures.every(value => value === 0)).toBe(true);
  });
});

it("supCon's decoupled loss is ntXent's with a class for each sample", () => {
  const features = viewsOf(40, 3, 6, 0.7, 2);
  const labels = Int32Array.from({ length: 120 }, (_, row) => row % 40);
  const options = { denominator: 'negatives', temperature: 0.2 } as const;
  const views = ntXentSync({ features, nViews: 3, positives: 'all', ...options });
  const classes = supConSync({ features, labels, ...options });
  expectSame(classes.loss, views.loss, 'loss');
  expectSame(classes.gradFeatures, views.gradFeatures, 'gradFeatures');
});

it('large classes have the same loss as the mean over their positives', () => {
  const features = normal([150, 8], 3);
  const labels = randomLabels(150, 3, 3);
  const rows = supConSync({ features, labels, denominator: 'positiveAndNegatives', reduction: 'none' }).loss;
  const logit = (i: number, j: number) => {
    const row = (r: number) => features.data.subarray(8 * r, 8 * r + 8);
    const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, value, d) => sum + value * b[d]!, 0);
    return dot(row(i), row(j)) / Math.sqrt(dot(row(i), row(i)) * dot(row(j), row(j))) / 0.07;
  };
  const others = Array.from({ length: 149 }, (_, j) => j + 1);
  const isPositive = (j: number) => labels[j] === labels[0];
  const negatives = others.filter(j => !isPositive(j)).reduce((sum, j) => sum + Math.exp(logit(0, j)), 0);
  const terms = others.filter(isPositive).map(j => Math.log1p(negatives / Math.exp(logit(0, j))));
  expectSame(rows[0]!, terms.reduce((sum, term) => sum + term, 0) / terms.length, 'loss of row 0');
});

describe('margin', () => {
  const query = unit(0, 90);
  const positiveKey = unit(60, 150);

  it('is subtracted from the cosine of the positive', () => {
    // Cosines 0.5 with the own key, -0.866 and 0.866 with the other one.
    const { loss, gradTemperature } = infoNCESync({
      query,
      positiveKey,
      temperature: 0.5,
      margin: 0.2,
      reduction: 'none',
    });
    const others = [Math.cos((150 * Math.PI) / 180), Math.cos((30 * Math.PI) / 180)];
    expectSame(
      loss,
      others.map(cosine => Math.log1p(Math.exp((cosine - 0.3) / 0.5))),
      'loss',
    );
    const slopes = others.map(cosine => (-2 * 2 * (cosine - 0.3)) / (1 + Math.exp(-(cosine - 0.3) / 0.5)));
    expectSame(gradTemperature, slopes[0]! + slopes[1]!, 'gradTemperature');
  });

  it('counts in the ranks', () => {
    const key = unit(60, 95);
    const ranks = (margin: number) => infoNCESync({ query, positiveKey: key, margin, reduction: 'none' }).top1;
    expect(ranks(0)).toBe(1);
    expect(ranks(0.1)).toBe(1);
    expect(ranks(0.2)).toBe(0.5);
    expect(ranks(0.7)).toBe(0);
  });

  it('moves no bit when it is 0', () => {
    expect(infoNCESync({ query, positiveKey, margin: 0 })).toEqual(infoNCESync({ query, positiveKey }));
  });

  it('is that of a bias of the positive with own negatives, too', () => {
    const own = normal([2, 3, 2], 4);
    const paired = infoNCESync({ query, positiveKey, negativeKeys: own, negativeMode: 'paired', margin: 0.3 });
    const rows = [0, 1].map(i => {
      const slice = (data: Float32Array, size: number) => data.slice(size * i, size * i + size);
      return infoNCESync({
        query: { data: slice(query.data, 2), shape: [1, 2] },
        positiveKey: { data: slice(positiveKey.data, 2), shape: [1, 2] },
        negativeKeys: { data: slice(own.data, 6), shape: [3, 2] },
        margin: 0.3,
      });
    });
    expectSame(paired.loss, (rows[0]!.loss + rows[1]!.loss) / 2, 'loss');
    expectSame(paired.gradTemperature, (rows[0]!.gradTemperature + rows[1]!.gradTemperature) / 2, 'gradTemperature');
  });
});

describe('labelSmoothing', () => {
  const query = normal([9, 6], 5);
  const positiveKey = near(query, 0.7, 6);
  const negativeKeys = normal([7, 6], 7);
  const features = viewsOf(12, 2, 6, 0.7, 8);

  it('moves no bit when it is 0', () => {
    expect(infoNCESync({ query, positiveKey, labelSmoothing: 0 })).toEqual(infoNCESync({ query, positiveKey }));
    expect(ntXentSync({ features, labelSmoothing: 0 })).toEqual(ntXentSync({ features }));
  });

  it('is the mean of the cross-entropies with each candidate as the positive', () => {
    // Of query 0, alone.
    const first = { data: query.data.slice(0, 6), shape: [1, 6] };
    const rows = [positiveKey.data.slice(0, 6), ...[0, 1, 2].map(j => negativeKeys.data.slice(6 * j, 6 * j + 6))];
    const lossOf = (positive: number, labelSmoothing: number) => {
      const others = Float32Array.from(rows.filter((_, j) => j !== positive).flatMap(row => [...row]));
      return infoNCESync({
        query: first,
        positiveKey: { data: rows[positive]!, shape: [1, 6] },
        negativeKeys: { data: others, shape: [3, 6] },
        labelSmoothing,
      }).loss;
    };
    const mean = rows.reduce((sum, _, j) => sum + lossOf(j, 0), 0) / 4;
    expectSame(lossOf(0, 0.3), 0.7 * lossOf(0, 0) + 0.3 * mean, 'loss');
  });

  it('of clip is the mean of both ways', () => {
    const options = { labelSmoothing: 0.2 };
    const there = infoNCESync({ query, positiveKey, temperature: 0.2, ...options });
    const back = infoNCESync({ query: positiveKey, positiveKey: query, temperature: 0.2, ...options });
    const clip = clipSync({ imageFeatures: query, textFeatures: positiveKey, logitScale: 5, ...options });
    expectSame(clip.loss, (there.loss + back.loss) / 2, 'loss');
    expectSame(
      clip.gradImageFeatures,
      there.gradQuery.map((value, i) => (value + back.gradPositiveKey[i]!) / 2),
      'gradImageFeatures',
    );
  });
});

describe('weighting', () => {
  const weighting = { kind: 'vonMisesFisher' } as const;
  const decoupled = { denominator: 'negatives', temperature: 0.2 } as const;

  it('multiplies the logit of each positive by 2 − N · softmax of the cosines over sigma', () => {
    // The views of the samples are 60 and 90 degrees apart: cosines 0.5 and 0.
    const features = unit(0, 90, 60, 180);
    for (const [sigma, given] of [
      [0.5, weighting],
      [2, { ...weighting, sigma: 2 }],
    ] as const) {
      const problem = { features, ...decoupled, reduction: 'none' } as const;
      const plain = ntXentSync(problem).loss;
      const weighted = ntXentSync({ ...problem, weighting: given }).loss;
      const share = 1 / (1 + Math.exp(-0.5 / sigma));
      // Of sample 0 the weight 2 − 2 share; the positive of sample 1 has the logit 0.
      const more = (2 * share - 1) * (0.5 / 0.2);
      expectSame(weighted, [plain[0]! + more, plain[1]!, plain[2]! + more, plain[3]!], 'loss');
    }
  });

  it('has the weights of one view in both, which add up to the rows', () => {
    const features = viewsOf(30, 2, 6, 0.7, 10);
    const problem = { features, ...decoupled, reduction: 'none' } as const;
    const plain = ntXentSync({ ...problem, denominator: 'positiveAndNegatives' });
    const [whole, weighted] = [undefined, weighting].map(given => ntXentSync({ ...problem, weighting: given }));
    const row = (i: number) => features.data.subarray(6 * i, 6 * i + 6);
    const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, value, d) => sum + value * b[d]!, 0);
    const logits = plain.loss.map((_, i) => {
      const [a, b] = [row(i), row((i + 30) % 60)];
      return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b)) / 0.2;
    });
    const weights = weighted!.loss.map((loss, i) => 1 - (loss - whole!.loss[i]!) / logits[i]!);
    expectSame(weights.subarray(0, 30), weights.subarray(30), 'weights');
    expect(weights.reduce((sum, value) => sum + value, 0)).toBeCloseTo(60, 2);
    expect(Math.max(...weights) - Math.min(...weights)).toBeGreaterThan(0.5);
  });

  it('of pairs that are all alike, or of a large sigma, changes nothing', () => {
    const features = viewsOf(30, 2, 6, 0, 11);
    const plain = ntXentSync({ features, ...decoupled });
    for (const result of [
      ntXentSync({ features, ...decoupled, weighting }),
      ntXentSync({ features, ...decoupled, weighting: { ...weighting, sigma: 1e30 } }),
    ]) {
      expectSame(result.loss, plain.loss, 'loss');
      expectSame(result.gradFeatures, plain.gradFeatures, 'gradFeatures');
    }
  });
});

describe('debias', () => {
  const features = viewsOf(30, 2, 6, 0.7, 9);

  it('with tauPlus 0 is the loss of the positive and its negatives', () => {
    const plain = ntXentSync({ features });
    for (const debias of [{}, { tauPlus: 0 }, { tauPlus: 0, beta: 0 }]) {
      const result = ntXentSync({ features, debias });
      expectSame(result.loss, plain.loss, 'loss');
      expectSame(result.gradFeatures, plain.gradFeatures, 'gradFeatures');
      expectSame(result.gradTemperature, plain.gradTemperature, 'gradTemperature');
    }
  });

  it('does not move with its negatives where the estimate is clamped', () => {
    // Both views equal, and the other sample opposite: the estimate is below what M negatives come to at least.
    const [a, b] = [0, 180];
    const { loss, gradFeatures } = ntXentSync({
      features: unit(a, b, a, b),
      debias: { tauPlus: 0.5 },
      temperature: 0.5,
    });
    expectSame(loss, Math.log1p((2 * Math.exp(-2)) / Math.exp(2)), 'loss');
    expect(Math.max(...gradFeatures.map(Math.abs))).toBeLessThan(1e-6);
  });
});
