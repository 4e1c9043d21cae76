import {
  Clip,
  clipSync,
  InfoNCE,
  infoNCESync,
  NegativeQueue,
  NTXent,
  ntXentSync,
  SigLip,
  SupCon,
  sigLipSync,
  supConSync,
} from 'infonce';
import { describe, expect, it } from 'vitest';
import { newContext } from './support/contexts.js';
import { normal, randomLabels, viewsOf } from './support/random.js';

const query = normal([6, 5], 1);
const positiveKey = normal([6, 5], 2);
const unpaired = normal([9, 5], 3);
const paired = normal([6, 2, 5], 4);

describe('InfoNCE', () => {
  it('is infoNCE with its options fixed', async () => {
    const loss = new InfoNCE({ temperature: 0.2, reduction: 'sum' });
    const inBatch = infoNCESync({ query, positiveKey, temperature: 0.2, reduction: 'sum' });
    expect(loss.forwardSync(query, positiveKey)).toEqual(inBatch);
    expect(await loss.forward(query, positiveKey)).toEqual(inBatch);
    const withNegatives = infoNCESync({
      query,
      positiveKey,
      negativeKeys: unpaired,
      temperature: 0.2,
      reduction: 'sum',
    });
    expect(await loss.forward(query, positiveKey, unpaired)).toEqual(withNegatives);
    const own = new InfoNCE({ negativeMode: 'paired' });
    const expected = infoNCESync({ query, positiveKey, negativeKeys: paired, negativeMode: 'paired' });
    expect(own.forwardSync(query, positiveKey, paired)).toEqual(expected);
  });

  it('runs in the context that it is given', async () => {
    const context = newContext({ threads: 1 });
    const loss = new InfoNCE();
    expect(await loss.forward(query, positiveKey, undefined, { context })).toEqual(
      loss.forwardSync(query, positiveKey),
    );
    context.dispose();
    await expect(loss.forward(query, positiveKey, undefined, { context })).rejects.toMatchObject({
      code: 'ERR_INFONCE_DISPOSED',
    });
  });
});

describe('NTXent', () => {
  it('is ntXent with its options fixed', async () => {
    const features = viewsOf(4, 3, 5, 0.5, 5);
    const options = { nViews: 3, positives: 'all', temperature: 0.3, gradient: false } as const;
    const expected = ntXentSync({ features, ...options });
    const loss = new NTXent(options);
    expect(loss.forwardSync(features)).toEqual(expected);
    expect(await loss.forward(features)).toEqual(expected);
  });
});

describe('SupCon', () => {
  it('is supCon with its options fixed', async () => {
    const labels = randomLabels(6, 2, 6);
    const expected = supConSync({ features: query, labels, temperature: 0.3, reduction: 'none' });
    const loss = new SupCon({ temperature: 0.3, reduction: 'none' });
    expect(loss.forwardSync(query, labels)).toEqual(expected);
    expect(await loss.forward(query, labels)).toEqual(expected);
  });
});

describe('all of them', () => {
  it('take device tensors, queues and places for their results', async () => {
    const context = newContext({ threads: 1 });
    const tensor = context.tensor(query.data, query.shape);
    const labels = randomLabels(6, 2, 6);
    const queue = new NegativeQueue({ capacity: 8, dim: 5, labels: true, context });
    queue.enqueueSync(unpaired, randomLabels(9, 2, 7));

    const expected = ntXentSync({ features: query }, { context }).gradFeatures;
    const { gradFeatures } = await new NTXent().forward(tensor, { output: 'device' });
    expect(gradFeatures.toArraySync()).toEqual(expected);
    const out = { gradFeatures: new Float32Array(30) };
    expect(new NTXent().forwardSync(tensor, { out }).gradFeatures).toBe(out.gradFeatures);
    expect(out.gradFeatures).toEqual(expected);

    expect(await new InfoNCE().forward(tensor, positiveKey, queue)).toEqual(
      infoNCESync({ query, positiveKey, negativeKeys: queue }),
    );
    expect(await new SupCon({ memory: queue }).forward(tensor, labels)).toEqual(
      supConSync({ features: query, labels, memory: queue }),
    );
    const gradTextFeatures = new Float32Array(30);
    const result = new Clip().forwardSync(tensor, positiveKey, 7, { out: { gradTextFeatures } });
    expect(result.gradTextFeatures).toBe(gradTextFeatures);
    expect(result).toEqual(clipSync({ imageFeatures: query, textFeatures: positiveKey, logitScale: 7 }, { context }));
    context.dispose();
  });
});

describe('Clip', () => {
  it('is clip with its options fixed', async () => {
    const expected = clipSync({ imageFeatures: query, textFeatures: positiveKey, logitScale: 5 });
    const loss = new Clip({ logitScale: 5 });
    expect(loss.forwardSync(query, positiveKey)).toEqual(expected);
    expect(await loss.forward(query, positiveKey)).toEqual(expected);
  });

  it('takes a logit scale that changes with every step', async () => {
    const expected = clipSync({ imageFeatures: query, textFeatures: positiveKey, logitScale: 7 });
    const loss = new Clip({ logitScale: 5 });
    expect(loss.forwardSync(query, positiveKey, 7)).toEqual(expected);
    expect(await loss.forward(query, positiveKey, 7)).toEqual(expected);
  });
});

describe('SigLip', () => {
  const towers = { imageFeatures: query, textFeatures: positiveKey };

  it('is sigLip with its options fixed', async () => {
    const options = { logitScale: 5, logitBias: -3, reduction: 'none' } as const;
    const expected = sigLipSync({ ...towers, ...options });
    const loss = new SigLip(options);
    expect(loss.forwardSync(query, positiveKey)).toEqual(expected);
    expect(await loss.forward(query, positiveKey)).toEqual(expected);
    const none = new SigLip({ positives: 'none' });
    const negatives = sigLipSync({ imageFeatures: query, textFeatures: unpaired, positives: 'none' });
    expect(none.forwardSync(query, unpaired)).toEqual(negatives);
  });

  it('takes a logit scale and bias that change with every step', async () => {
    const loss = new SigLip({ logitScale: 5, logitBias: -3 });
    const expected = sigLipSync({ ...towers, logitScale: 7, logitBias: -4 });
    expect(loss.forwardSync(query, positiveKey, 7, -4)).toEqual(expected);
    expect(await loss.forward(query, positiveKey, 7, -4)).toEqual(expected);
    expect(loss.forwardSync(query, positiveKey, undefined, -4)).toEqual(
      sigLipSync({ ...towers, logitScale: 5, logitBias: -4 }),
    );
  });
});
