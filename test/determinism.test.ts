import { describe, expect, it } from 'vitest';
import { effort, SIMULATED, sharedContext, TARGETS, THREADS } from './support/contexts.js';
import { LOSSES, type LossName, randomCase, SAMPLE_OF_LOSSES } from './support/problems.js';

/** In float64; on one thread; on several, of which two views of 520 samples are more rows than a tile of 1024. */
const SAMPLES = effort([24, 147, 520], [24, 147]);

function caseOf(loss: LossName, samples: number, dim: number) {
  return randomCase(loss, { samples, dim, views: 2, negatives: 31, temperature: 0.1, noise: 1, seed: 11 });
}

/** Bits, so that NaN equals itself and -0 differs from 0. */
function bits(result: object): Record<string, string> {
  return Object.fromEntries(
    Object.entries(result as Record<string, number | Float32Array>).map(([name, value]) => {
      const array = typeof value === 'number' ? Float64Array.of(value) : value;
      return [name, Buffer.from(array.buffer, array.byteOffset, array.byteLength).toString('base64')];
    }),
  );
}

describe.each(TARGETS)('on %s', target => {
  describe.each(SAMPLE_OF_LOSSES)('%s', loss => {
    it.each(SAMPLES)('gives the same bits every time, at any number of threads (%i samples)', samples => {
      const { run } = caseOf(loss, samples, 33);
      const expected = bits(run({ context: sharedContext(target, { threads: 1 }) }));
      for (const threads of THREADS) {
        const context = sharedContext(target, { threads });
        expect(bits(run({ context })), `${threads} threads`).toEqual(expected);
        // On one, that was again.
        if (threads !== 1) expect(bits(run({ context })), `${threads} threads, again`).toEqual(expected);
      }
    });
  });
});

it.skipIf(SIMULATED).each(LOSSES)('%s gives the same bits in batches beyond the cache', loss => {
  const { run } = caseOf(loss, 2600, 8);
  const [best] = TARGETS;
  const expected = bits(run({ context: sharedContext(best!, { threads: 1 }) }));
  for (const threads of THREADS) {
    expect(bits(run({ context: sharedContext(best!, { threads }) })), `${threads} threads`).toEqual(expected);
  }
});
