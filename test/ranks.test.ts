import { accumulate, Clip, InfoNCE, NTXent, ntXent, ntXentSync, SigLip, SupCon, sigLipSync } from 'infonce';
import { describe, expect, it } from 'vitest';
import { effort, sharedContext, TARGETS } from './support/contexts.js';
import { isRanked, type Named, randomCase, SAMPLE_OF_LOSSES } from './support/problems.js';
import { normal, randomLabels } from './support/random.js';

const REDUCTIONS = ['mean', 'none'] as const;
/** Few candidates, one block of rows, and several. */
const SAMPLES = effort([5, 70, 320], [5, 70]);

/** The result without its ranks. */
function unranked({ top1, top5, ...rest }: Named): Named {
  expect([top1, top5].every(share => typeof share === 'number' && share >= 0 && share <= 1)).toBe(true);
  return rest;
}

describe.each(TARGETS)('%s', target => {
  const context = sharedContext(target, { threads: 2 });

  describe.each(SAMPLE_OF_LOSSES.filter(isRanked))('%s without ranks', loss => {
    // With a constant shift, and with a running maximum.
    it.each([0.1, 0.002])('has the same bits in all else at temperature %d', async temperature => {
      for (const samples of SAMPLES) {
        for (const reduction of REDUCTIONS) {
          const sizes = { samples, dim: 9, views: 3, negatives: 6, temperature, noise: 1, seed: samples };
          for (const gradient of [true, false]) {
            const { problem, functions } = randomCase(loss, sizes, { reduction, gradient });
            const expected = unranked(functions.runSync(problem, { context }));
            const without = { ...problem, ranks: false };
            expect(functions.runSync(without, { context })).toStrictEqual(expected);
            // A simulator is asked once whether it matters who waits.
            if (effort(true, samples === SAMPLES[0])) {
              expect(await functions.run(without, { context })).toStrictEqual(expected);
            }
          }
        }
      }
    });

    it('has the same two halves', async () => {
      const sizes = { samples: 20, dim: 9, views: 3, negatives: 6, temperature: 0.1, noise: 1, seed: 1 };
      const { problem, functions } = randomCase(loss, sizes);
      const ranked = functions.forwardSync(problem, { context });
      const passes = [
        functions.forwardSync({ ...problem, ranks: false }, { context }),
        await functions.forward({ ...problem, ranks: false }, { context }),
      ];
      for (const pass of passes) {
        expect(pass).not.toHaveProperty('top1');
        expect(pass).not.toHaveProperty('top5');
        expect(pass.loss).toBe(ranked.loss);
        expect(pass.backwardSync(2)).toStrictEqual(ranked.backwardSync(2));
        pass.dispose();
      }
      ranked.dispose();
    });
  });
});

it('modules pass the option on', () => {
  const rows = normal([6, 4], 1);
  const results = [
    new NTXent({ ranks: false }).forwardSync(rows),
    new SupCon({ ranks: false }).forwardSync(rows, randomLabels(6, 2, 2)),
    new InfoNCE({ ranks: false }).forwardSync(rows, rows),
    new Clip({ ranks: false }).forwardSync(rows, rows),
    new SigLip({ ranks: false }).forwardSync(rows, rows),
  ];
  for (const result of results) {
    expect(result.loss).toBeGreaterThan(0);
    expect(Object.keys(result).filter(name => name.startsWith('top'))).toEqual([]);
  }
});

it('so does accumulate', async () => {
  const chunks = [{ features: normal([4, 3], 1) }, { features: normal([6, 3], 2) }];
  const ranked = await accumulate(ntXent, chunks);
  expect(await accumulate(ntXent, chunks, { ranks: false })).toStrictEqual(unranked({ ...ranked }));
});

it('NaN in the input leaves no ranks either', () => {
  const features = { data: new Float32Array(8).fill(Number.NaN), shape: [4, 2] };
  const result = ntXentSync({ features, nonFinite: 'propagate', ranks: false });
  expect(result.loss).toBeNaN();
  expect(result).not.toHaveProperty('top1');
});

it('sigLip ranks the text of the same index, also where it is no positive', () => {
  const rows = normal([3, 4], 1);
  const imageIds = Int32Array.of(0, 1, 2);
  const problem = { imageFeatures: rows, textFeatures: rows, imageIds };
  expect(sigLipSync({ ...problem, textIds: Int32Array.of(7, 8, 9) })).toMatchObject({ top1: 1, top5: 1 });
  const opposite = { data: rows.data.map(value => -value), shape: rows.shape };
  const worst = { ...problem, textFeatures: opposite };
  expect(sigLipSync({ ...worst, textIds: imageIds })).toMatchObject({ top1: 0, top5: 1 });
  // Texts of the image's own id are positives, which beat nobody.
  expect(sigLipSync({ ...worst, imageIds: new Int32Array(3), textIds: new Int32Array(3) })).toMatchObject({ top1: 1 });
});

it('sigLip without positives has no ranks', () => {
  const rows = normal([6, 4], 1);
  const result = sigLipSync({ imageFeatures: rows, textFeatures: rows, positives: 'none' });
  expect(Object.keys(result).filter(name => name.startsWith('top'))).toEqual([]);
});
