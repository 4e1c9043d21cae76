/** `negativeTexts` of clip: further texts that images alone are compared with. */
import { Clip, clip, clipSync, infoNCESync } from 'infonce';
import { describe, expect, it } from 'vitest';
import { expectClose, HIGHEST } from './support/compare.js';
import { effort } from './support/contexts.js';
import { near, normal, randomLabels } from './support/random.js';
import { thrownBy } from './support/thrown.js';

const DIM = 6;
const imagesOf = (rows: number) => normal([rows, DIM], 1);
const half = (a: Float32Array, b?: Float32Array) => Float64Array.from(a, (value, i) => (value + (b?.[i] ?? 0)) / 2);

describe.each(effort([1, 7, 130], [7, 70]))('with %i pairs', rows => {
  const imageFeatures = imagesOf(rows);
  const textFeatures = near(imageFeatures, 0.6, 2);
  const negativeTexts = near(normal([rows + 3, DIM], 3), 1, 4);
  const [imageIds, textIds] = [randomLabels(rows, 3, 5), randomLabels(rows, 3, 6)];

  it.each([
    ['plain', {}, {}, {}],
    ['smoothed', { labelSmoothing: 0.1 }, {}, {}],
    [
      'with ids',
      { duplicates: 'positive' },
      { imageIds, textIds },
      { there: { queryIds: imageIds, keyIds: textIds }, back: { queryIds: textIds, keyIds: imageIds } },
    ],
  ] as const)('%s: the mean of two infoNCE, of which one has the negatives', (_what, options, ids, rowArrays) => {
    const both = clipSync({ imageFeatures, textFeatures, negativeTexts, logitScale: 5, ...options, ...ids });
    const { there = {}, back = {} } = rowArrays as { there?: object; back?: object };
    const shared = { temperature: 0.2, ...options };
    const images = {
      query: imageFeatures,
      positiveKey: textFeatures,
      negativeKeys: negativeTexts,
      inBatch: true,
    } as const;
    const toTexts = infoNCESync({ ...images, ...shared, ...there });
    const toImages = infoNCESync({ query: textFeatures, positiveKey: imageFeatures, ...shared, ...back });
    expectClose(both.loss, [(toTexts.loss + toImages.loss) / 2], 2e-6, 1e-9, 'loss');
    expect(both.top1).toBeCloseTo((toTexts.top1 + toImages.top1) / 2, 9);
    const { tolerance } = HIGHEST;
    const ofImages = half(toTexts.gradQuery, toImages.gradPositiveKey);
    expectClose(both.gradImageFeatures, ofImages, tolerance, 1e-7, 'gradImageFeatures');
    expectClose(
      both.gradTextFeatures,
      half(toTexts.gradPositiveKey, toImages.gradQuery),
      tolerance,
      1e-7,
      'gradTextFeatures',
    );
    expectClose(both.gradNegativeTexts, half(toTexts.gradNegativeKeys), tolerance, 1e-7, 'gradNegativeTexts');
  });
});

const imageFeatures = imagesOf(5);
const textFeatures = near(imageFeatures, 0.6, 2);
const negativeTexts = normal([3, DIM], 3);

it('the class and both halves give the bits of the function', async () => {
  const expected = clipSync({ imageFeatures, textFeatures, negativeTexts });
  const given = [imageFeatures, textFeatures, undefined, undefined, undefined, negativeTexts] as const;
  expect(await new Clip().forward(...given)).toEqual(expected);
  const pass = await clip.forward({ imageFeatures, textFeatures, negativeTexts });
  expect(pass.backwardSync().gradNegativeTexts).toEqual(expected.gradNegativeTexts);
});

it('without them there is no gradient of them', () => {
  expect(clipSync({ imageFeatures, textFeatures })).not.toHaveProperty('gradNegativeTexts');
});

it('texts of another dimension are refused', () => {
  const error = thrownBy(() => clipSync({ imageFeatures, textFeatures, negativeTexts: normal([3, DIM + 1], 3) }));
  expect(error).toMatchObject({
    code: 'ERR_INFONCE_SHAPE',
    message: expect.stringMatching(/negativeTexts\.shape: expected \[M, 6\], .*got \[3, 7\]/),
  });
});
