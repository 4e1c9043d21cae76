import { describe, expect, it } from 'vitest';
import { INSTRUCTION_SETS, sharedContext } from './support/contexts.js';
import { LOSSES, type LossName, randomCase } from './support/problems.js';

/** Sizes on both sides of what is kept in a panel and what is recomputed. */
const SAMPLES: Readonly<Record<'small' | 'ragged' | 'blocks', number>> = { small: 24, ragged: 147, blocks: 700 };

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

describe.each(INSTRUCTION_SETS)('on %s', instructionSet => {
  describe.each(LOSSES)('%s', loss => {
    it.each(Object.entries(SAMPLES))('gives the same bits every time, at 1 to 4 threads (%s)', (_name, samples) => {
      const { run } = caseOf(loss, samples, 33);
      const expected = bits(run({ context: sharedContext(instructionSet, { threads: 1 }) }));
      for (const threads of [1, 2, 3, 4]) {
        const context = sharedContext(instructionSet, { threads });
        expect(bits(run({ context })), `${threads} threads`).toEqual(expected);
        expect(bits(run({ context })), `${threads} threads, again`).toEqual(expected);
      }
    });
  });
});

it.each(LOSSES)('%s gives the same bits in batches beyond the cache', loss => {
  const { run } = caseOf(loss, 2600, 8);
  const [best] = INSTRUCTION_SETS;
  const expected = bits(run({ context: sharedContext(best!, { threads: 1 }) }));
  for (const threads of [2, 4]) {
    expect(bits(run({ context: sharedContext(best!, { threads }) })), `${threads} threads`).toEqual(expected);
  }
});
