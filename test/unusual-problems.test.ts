import { createContext, infoNCESync, ntXent, ntXentSync, supConSync } from 'infonce';
import { describe, expect, it } from 'vitest';
import { normal } from './support/random.js';
import { thrownBy } from './support/thrown.js';

const features = normal([4, 2], 1);
const { data } = features;
const labels = Int32Array.of(0, 1, 0, 1);

describe('a failed call', () => {
  const bad = { ...features, data: Float32Array.of(1, 2, 3, 4, 5, 6, Number.NaN, 8) };

  it('leaves its inputs as they were', () => {
    const before = bad.data.slice();
    thrownBy(() => ntXentSync({ features: bad }));
    expect(bad.data).toEqual(before);
  });

  it('leaves the context usable', async () => {
    const context = createContext({ threads: 2 });
    const expected = ntXentSync({ features }, { context });
    thrownBy(() => ntXentSync({ features: bad }, { context }));
    await expect(ntXent({ features: bad }, { context })).rejects.toMatchObject({ code: 'ERR_INFONCE_NON_FINITE' });
    expect(ntXentSync({ features }, { context })).toEqual(expected);
    expect(await ntXent({ features }, { context })).toEqual(expected);
    context.dispose();
  });
});

describe("nonFinite: 'propagate'", () => {
  it.each([Number.NaN, Number.POSITIVE_INFINITY])('makes every result NaN for %s', value => {
    const bad = { data: Float32Array.from(data, (x, i) => (i === 3 ? value : x)), shape: [4, 2] };
    const { loss, gradFeatures, gradTemperature } = ntXentSync({ features: bad, nonFinite: 'propagate' });
    expect([loss, gradTemperature, ...gradFeatures]).toEqual(new Array(10).fill(Number.NaN));
    const rows = infoNCESync({ query: bad, positiveKey: features, reduction: 'none', nonFinite: 'propagate' });
    expect([...rows.loss, ...rows.gradQuery, ...rows.gradPositiveKey]).toEqual(new Array(20).fill(Number.NaN));
  });
});

describe('inputs that are welcome', () => {
  const expected = ntXentSync({ features });

  it('a subarray with an offset', () => {
    const larger = new Float32Array(11);
    larger.set(data, 3);
    expect(ntXentSync({ features: { data: larger.subarray(3), shape: [4, 2] } })).toEqual(expected);
  });

  it('a view of a SharedArrayBuffer', async () => {
    const shared = new Float32Array(new SharedArrayBuffer(40), 4, 8);
    shared.set(data);
    expect(ntXentSync({ features: { data: shared, shape: [4, 2] } })).toEqual(expected);
    expect(await ntXent({ features: { data: shared, shape: [4, 2] } })).toEqual(expected);
    const shared32 = new Int32Array(new SharedArrayBuffer(16));
    shared32.set(labels);
    expect(supConSync({ features, labels: shared32 })).toEqual(supConSync({ features, labels }));
  });

  it('a tensor whose values are made when asked for', () => {
    let asked = 0;
    const made = {
      get data() {
        return asked++ === 0 ? data : new Float32Array(1);
      },
      shape: [4, 2],
    };
    expect(ntXentSync({ features: made })).toEqual(expected);
    expect(asked).toBe(1);
  });

  it('the least temperature', () => {
    expect(ntXentSync({ features, temperature: 1e-30 }).loss).toBeGreaterThanOrEqual(0);
  });

  it('options that are undefined', () => {
    const problem = {
      features,
      nViews: undefined,
      temperature: undefined,
      gradOutput: undefined,
      reduction: undefined,
    };
    expect(ntXentSync(problem, { context: undefined })).toEqual(expected);
  });
});
