import * as tf from '@tensorflow/tfjs';
import { clip, infoNCE, ntXent, ntXentLoss, ntXentTop1, supCon, viewBatches } from 'infonce/tfjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { normal, randomLabels } from '../support/random.js';
import { collect, growth, LITTLE } from '../support/resident.js';
import { BACKENDS, toTf } from '../support/tfjs.js';

const matrix = (rows: number, columns: number, seed: number) => toTf(normal([rows, columns], seed)) as tf.Tensor2D;

/** How many tensors `work` leaves. */
async function left(work: () => unknown): Promise<number> {
  const before = tf.memory().numTensors;
  await work();
  return tf.memory().numTensors - before;
}

describe.each(BACKENDS)('backend %s', backend => {
  let z: tf.Variable<tf.Rank.R2>;
  let other: tf.Variable<tf.Rank.R2>;
  let negatives: tf.Tensor3D;
  let temperature: tf.Variable<tf.Rank.R0>;
  const labels = randomLabels(12, 4, 1);

  beforeAll(async () => {
    await tf.setBackend(backend);
    z = tf.variable(matrix(12, 8, 1));
    other = tf.variable(matrix(12, 8, 2));
    negatives = toTf(normal([12, 5, 8], 3)) as tf.Tensor3D;
    temperature = tf.scalar(0.2).variable();
  });

  afterAll(() => tf.disposeVariables());

  const losses: Record<string, (reduction: 'mean' | 'none') => tf.Tensor> = {
    ntXent: reduction => ntXent(z, { temperature, reduction }),
    supCon: reduction => supCon(z, labels, { temperature, reduction }),
    clip: reduction => clip(z, other, { logitScale: temperature, reduction }),
    infoNCE: reduction =>
      infoNCE(z, other, { negativeKeys: negatives, negativeMode: 'paired', temperature, reduction }),
  };

  describe.each(Object.entries(losses))('%s', (_, loss) => {
    it('leaves its result and nothing else', async () => {
      expect(await left(() => loss('mean'))).toBe(1);
      expect(await left(() => loss('none'))).toBe(1);
      expect(await left(() => loss('mean').dispose())).toBe(0);
    });

    it.each(['mean', 'none'] as const)(
      "leaves nothing after a step of an optimizer, reduction '%s'",
      async reduction => {
        const optimizer = tf.train.sgd(0.01);
        const step = () => optimizer.minimize(() => loss(reduction).mean());
        expect(await left(step)).toBe(0);
        expect(await left(() => optimizer.minimize(() => loss(reduction).mean().mul(3), true)!.dispose())).toBe(0);
        optimizer.dispose();
      },
    );

    it('leaves the value and the gradients after variableGrads', async () => {
      const variables = await left(() => {
        const { value, grads } = tf.variableGrads(() => loss('mean').asScalar());
        tf.dispose([value, grads]);
      });
      expect(variables).toBe(0);
    });
  });

  it('leaves nothing where it fails', async () => {
    const failing = () => tf.grad(x => ntXent(x as tf.Tensor2D, { nViews: 5 }))(z);
    expect(await left(() => expect(failing).toThrow('nViews'))).toBe(0);
  });

  it('leaves nothing after fit and fitDataset but what the model has', async () => {
    const model = tf.sequential({ layers: [tf.layers.dense({ units: 6, inputShape: [8] })] });
    model.compile({ optimizer: tf.train.sgd(0.01), loss: ntXentLoss(), metrics: [ntXentTop1()] });
    const views = [matrix(20, 8, 5), matrix(20, 8, 6)];
    const train = () => model.fitDataset(viewBatches(views, { batchSize: 8 }), { epochs: 2, verbose: 0 });
    await train();
    expect(await left(train)).toBe(0);
    const evaluate = async () => tf.dispose(await model.evaluateDataset(viewBatches(views), {}));
    expect(await left(evaluate)).toBe(0);
    const y = tf.zeros([12, 6]);
    const trainAgain = () => model.fit(z, y, { epochs: 2, batchSize: 6, shuffle: false, verbose: 0 });
    await trainAgain();
    expect(await left(trainAgain)).toBe(0);
    model.dispose();
    tf.dispose([views, y]);
  });
});

it('keeps no native memory of forward halves, whether or not they were differentiated', async () => {
  await tf.setBackend('cpu');
  // A megabyte, in rows so long that there is little to compute.
  const z = tf.variable(matrix(256, 1024, 1));
  const optimizer = tf.train.sgd(1e-9);
  const work = async () => {
    for (let i = 0; i < 30; i++) {
      optimizer.minimize(() => ntXent(z, { reduction: 'none' }).mean().asScalar());
      // On a tape, and not on the way to what is differentiated.
      optimizer.minimize(() => {
        ntXent(z, { reduction: 'none' });
        return z.sum().asScalar();
      });
      if (i % 10 === 0) await collect();
    }
  };
  // Each half keeps the rows: 60 of 1 MB.
  expect(await growth(work)).toBeLessThan(LITTLE);
  z.dispose();
}, 120_000);
