import { ntXentLogits, ntXentSync } from 'infonce';
import { describe, expect, it } from 'vitest';
import { norm2 } from '../lib/reference/tower.js';
import { sharedContext, TARGETS } from './support/contexts.js';
import { viewsOf } from './support/random.js';

describe.each(TARGETS)('ntXentLogits on %s', target => {
  const context = sharedContext(target, { threads: 2 });

  it.each([
    [1, 2, 1],
    [5, 2, 7],
    [4, 3, 16],
    [40, 4, 33],
  ])('orders the cosines of %i samples in %i views of dimension %i', (samples, nViews, dim) => {
    const features = viewsOf(samples, nViews, dim, 0.5, 3);
    const rows = samples * nViews;
    const row = (i: number) => features.data.subarray(i * dim, (i + 1) * dim);
    const { logits, labels } = ntXentLogits({ features, nViews, temperature: 0.2 }, { context });
    expect(logits.shape).toEqual([rows, rows - 1]);
    expect(labels).toEqual(new Int32Array(rows));
    for (let i = 0; i < rows; i++) {
      const others = Array.from({ length: rows }, (_, j) => j).filter(j => j !== i);
      const isPositive = (j: number) => j % samples === i % samples;
      const order = [...others.filter(isPositive), ...others.filter(j => !isPositive(j))];
      order.forEach((j, column) => {
        const cosine = row(i).reduce((sum, value, k) => sum + value * row(j)[k]!, 0) / (norm2(row(i)) * norm2(row(j)));
        expect(Math.abs(logits.data[i * (rows - 1) + column]! - cosine / 0.2)).toBeLessThan(5e-6);
      });
    }
  });

  it('has the cross-entropy that is the loss', () => {
    const features = viewsOf(9, 3, 12, 0.5, 4);
    const { logits } = ntXentLogits({ features, nViews: 3 }, { context });
    let loss = 0;
    for (let i = 0; i < 27; i++) {
      const row = logits.data.subarray(i * 26, (i + 1) * 26);
      loss += (Math.log(row.reduce((sum, logit) => sum + Math.exp(logit), 0)) - row[0]!) / 27;
    }
    expect(ntXentSync({ features, nViews: 3 }, { context }).loss).toBeCloseTo(loss, 5);
  });
});
