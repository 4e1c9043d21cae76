import { infoNCESync, ntXentSync, type Tensor } from 'infonce';
import { describe, expect, it } from 'vitest';
import { expectResult, HIGHEST } from './support/compare.js';
import { effort, SIMULATED, sharedContext, TARGETS } from './support/contexts.js';
import { ntXentCase, supConCase } from './support/problems.js';
import { normal } from './support/random.js';

/** Classes of `size` rows around a random centre each; the larger `noise`, the wider. */
function clusters(rows: number, size: number, dim: number, noise: number): { features: Tensor; labels: Int32Array } {
  const centres = normal([Math.ceil(rows / size), dim], 1).data;
  const features = normal([rows, dim], 2);
  const labels = Int32Array.from({ length: rows }, (_, row) => Math.floor(row / size));
  for (let i = 0; i < features.data.length; i++) {
    const row = Math.floor(i / dim);
    features.data[i] = centres[labels[row]! * dim + (i % dim)]! + noise * features.data[i]!;
  }
  return { features, labels };
}

describe.each(TARGETS)('on %s', target => {
  const context = sharedContext(target, { threads: 2 });

  const rows = effort(400, 90);

  describe.each(effort([1, 0.3, 0.1, 0.03, 0.01], [1, 0.1, 0.01]))('supCon with classes of noise %d', noise => {
    it.each(effort([3, 10, 40, 200], [10, 40]))('and %i rows keeps its digits', size => {
      const { run, reference } = supConCase({ ...clusters(rows, size, 48, noise), temperature: 0.07 });
      expectResult(run({ context }), reference(), HIGHEST);
    });
  });

  it("supCon with denominator 'negatives' leaves out large classes, wherever their rows are", () => {
    const features = normal([rows, 16], 1);
    const labels = Int32Array.from({ length: rows }, (_, row) => ((row * row) % 7919) % 3);
    const { run, reference } = supConCase({ features, labels, denominator: 'negatives' });
    expectResult(run({ context }), reference(), HIGHEST);
  });

  it('supCon with one class only, at a temperature at which all rows weigh the same', () => {
    const { features } = clusters(111, 111, 40, 1);
    const { run, reference } = supConCase({ features, labels: new Int32Array(111), temperature: 100 });
    expectResult(run({ context }), reference(), HIGHEST);
  });

  it('supCon with rows of a label of their own is finite at temperature 0.001', () => {
    const { features } = clusters(64, 4, 64, 0.3);
    const labels = Int32Array.from({ length: 64 }, (_, row) => (row < 48 ? Math.floor(row / 4) : 100 + row));
    const { run, reference } = supConCase({ features, labels, temperature: 0.001 });
    expectResult(run({ context }), reference(), HIGHEST);
  });

  it('ntXent with many views of few samples', () => {
    const { run, reference } = ntXentCase({ features: normal([120, 20], 3), nViews: 40 });
    expectResult(run({ context }), reference(), HIGHEST);
  });

  it.each([1e3, 1e6, 1e8])('identical rows of length %d that are not normalised have the loss log 11', length => {
    const features = { data: new Float32Array(12 * 4).fill(length / 2), shape: [12, 4] };
    expect(ntXentSync({ features, normalize: false }, { context }).loss).toBeCloseTo(Math.log(11), 6);
  });
});

it.skipIf(SIMULATED)('takes memory by rows and columns, not by the square of the longer side', () => {
  const before = process.memoryUsage().rss;
  const query = normal([64, 8], 1);
  infoNCESync({ query, positiveKey: normal([64, 8], 2), negativeKeys: normal([250_000, 8], 3) });
  expect((process.memoryUsage().rss - before) / 2 ** 20).toBeLessThan(600);
});
