import * as tf from '@tensorflow/tfjs';
import { clipSync, ntXentSync, supConSync } from 'infonce';
import {
  clipLoss,
  clipTop1,
  type LayersFunction,
  ntXentLoss,
  ntXentTop1,
  supConLoss,
  supConTop1,
  viewBatches,
} from 'infonce/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { near, normal, randomLabels, viewsOf } from '../support/random.js';
import { BACKENDS, toTf } from '../support/tfjs.js';
import { wrong } from '../support/thrown.js';

const SAMPLES = 20;
const IN = 12;
const OUT = 6;

const first = normal([SAMPLES, IN], 1);
const second = near(first, 0.4, 2);
const labels = randomLabels(SAMPLES, 4, 3);

function encoder(): tf.Sequential {
  const layers = [
    tf.layers.dense({ units: 16, activation: 'tanh', inputShape: [IN], kernelInitializer: seeded(1) }),
    tf.layers.dense({ units: OUT, kernelInitializer: seeded(2) }),
  ];
  return tf.sequential({ layers });
}

function seeded(seed: number) {
  return tf.initializers.glorotUniform({ seed });
}

/** A model with an input for each of two views, whose embeddings stand side by side. */
function twoInputs(towers: readonly [tf.LayersModel, tf.LayersModel]): tf.LayersModel {
  const inputs = [tf.input({ shape: [IN] }), tf.input({ shape: [IN] })];
  const outputs = towers.map((tower, i) => tower.apply(inputs[i]!) as tf.SymbolicTensor);
  return tf.model({ inputs, outputs: tf.layers.concatenate().apply(outputs) as tf.SymbolicTensor });
}

/** What the model finds for some rows, as the library takes it. */
function predicted(model: tf.LayersModel, x: tf.Tensor | tf.Tensor[]) {
  const output = model.predict(x) as tf.Tensor;
  return { data: output.dataSync() as Float32Array, shape: output.shape };
}

function compile(model: tf.LayersModel, loss: LayersFunction, metric: LayersFunction): void {
  model.compile({ optimizer: tf.train.adam(0.02), loss, metrics: [metric] });
}

function numbers(values: unknown): number[] {
  return values as number[];
}

const SILENT = { verbose: 0 } as const;

describe.each(BACKENDS)('backend %s', backend => {
  beforeAll(() => tf.setBackend(backend));

  it('trains with fitDataset on batches that keep views together, the last one smaller', async () => {
    const model = encoder();
    compile(model, ntXentLoss({ temperature: 0.2 }), ntXentTop1({ temperature: 0.2 }));
    const views = [toTf(first), toTf(second)];
    const batches = viewBatches(views, { batchSize: 8, seed: 1 });
    const validationData = viewBatches(views, { batchSize: SAMPLES, shuffle: false });
    const { history } = await model.fitDataset(batches, { epochs: 40, validationData, ...SILENT });
    const losses = numbers(history.loss);
    expect(losses.at(-1)).toBeLessThan(0.5 * losses[0]!);
    expect(numbers(history.ntXentTop1).at(-1)).toBeGreaterThan(numbers(history.ntXentTop1)[0]!);
    const both = tf.concat(views);
    const expected = ntXentSync({ features: predicted(model, both), temperature: 0.2 });
    expect(numbers(history.val_loss).at(-1)).toBeCloseTo(expected.loss, 4);
    expect(numbers(history.val_ntXentTop1).at(-1)).toBeCloseTo(expected.top1, 6);
  });

  it('trains with fit, which shuffles, where the views of a sample stand in one row', async () => {
    const tower = encoder();
    const model = twoInputs([tower, tower]);
    const options = { temperature: 0.2, views: 'columns' } as const;
    compile(model, ntXentLoss(options), ntXentTop1(options));
    const x = [toTf(first), toTf(second)];
    const y = tf.zeros([SAMPLES, 2 * OUT]);
    const { history } = await model.fit(x, y, { epochs: 40, batchSize: 8, ...SILENT });
    expect(numbers(history.loss).at(-1)).toBeLessThan(0.5 * numbers(history.loss)[0]!);
    const [loss, top1] = model.evaluate(x, y, { batchSize: SAMPLES }) as tf.Scalar[];
    const expected = ntXentSync({ features: predicted(tower, tf.concat(x)), temperature: 0.2 });
    expect(loss!.dataSync()[0]).toBeCloseTo(expected.loss, 4);
    expect(top1!.dataSync()[0]).toBeCloseTo(expected.top1, 6);
  });

  it('trains two towers with the CLIP loss', async () => {
    const model = twoInputs([encoder(), encoder()]);
    compile(model, clipLoss({ logitScale: 5 }), clipTop1({ logitScale: 5 }));
    const x = [toTf(first), toTf(second)];
    const y = tf.zeros([SAMPLES, 2 * OUT]);
    const { history } = await model.fit(x, y, { epochs: 40, batchSize: 8, ...SILENT });
    expect(numbers(history.loss).at(-1)).toBeLessThan(0.7 * numbers(history.loss)[0]!);
    const [loss, top1] = model.evaluate(x, y, { batchSize: SAMPLES }) as tf.Scalar[];
    const [imageFeatures, textFeatures] = tf
      .split(model.predict(x) as tf.Tensor, 2, 1)
      .map(half => ({ data: half.dataSync() as Float32Array, shape: half.shape }));
    const expected = clipSync({ imageFeatures: imageFeatures!, textFeatures: textFeatures!, logitScale: 5 });
    expect(loss!.dataSync()[0]).toBeCloseTo(expected.loss, 4);
    expect(top1!.dataSync()[0]).toBeCloseTo(expected.top1, 6);
  });

  it('trains with SupCon on one-hot classes, in fit and in fitDataset', async () => {
    const model = encoder();
    compile(model, supConLoss({ temperature: 0.5 }), supConTop1({ temperature: 0.5 }));
    const x = toTf(first);
    const y = tf.oneHot(tf.tensor1d(labels, 'int32'), OUT);
    const { history } = await model.fit(x, y, { epochs: 40, batchSize: 10, ...SILENT });
    expect(numbers(history.loss).at(-1)).toBeLessThan(0.8 * numbers(history.loss)[0]!);
    const [loss, top1] = model.evaluate(x, y, { batchSize: SAMPLES }) as tf.Scalar[];
    const expected = supConSync({ features: predicted(model, x), labels, temperature: 0.5 });
    expect(loss!.dataSync()[0]).toBeCloseTo(expected.loss, 4);
    expect(top1!.dataSync()[0]).toBeCloseTo(expected.top1, 6);

    const views = [x, toTf(second)];
    const batches = viewBatches(views, { labels, batchSize: SAMPLES, shuffle: false });
    const [whole] = (await model.evaluateDataset(batches, {})) as tf.Scalar[];
    const twice = Int32Array.of(...labels, ...labels);
    const both = { features: predicted(model, tf.concat(views)), labels: twice, temperature: 0.5 };
    expect(whole!.dataSync()[0]).toBeCloseTo(supConSync(both).loss, 4);
  });
});

describe('losses', () => {
  beforeAll(() => tf.setBackend('cpu'));

  it('take classes as integers in a column too', () => {
    const loss = supConLoss();
    const z = toTf(normal([SAMPLES, OUT], 5));
    const classes = tf.tensor1d(labels, 'int32');
    const expected = loss(classes, z).dataSync();
    expect(loss(classes.toFloat().reshape([SAMPLES, 1]), z).dataSync()).toEqual(expected);
    expect(loss(tf.oneHot(classes, 4), z).dataSync()).toEqual(expected);
  });

  it('find three views of a sample in columns as in rows', () => {
    const { data, shape } = viewsOf(5, 3, OUT, 1, 7);
    const rows = tf.tensor(data, [...shape]);
    const columns = tf.concat(tf.split(rows, 3), 1);
    const nowhere = tf.zeros([1]);
    const options = { nViews: 3, positives: 'all' } as const;
    expect(ntXentLoss({ ...options, views: 'columns' })(nowhere, columns).dataSync()).toEqual(
      ntXentLoss(options)(nowhere, rows).dataSync(),
    );
  });
});

describe('viewBatches', () => {
  let samples: tf.Tensor2D;

  beforeAll(async () => {
    await tf.setBackend('cpu');
    samples = tf.tensor2d(Array.from({ length: 7 }, (_, i) => [i + 1, 10 * (i + 1)]));
  });

  /** The rows and ys of each batch of one epoch. */
  async function epochOf(batches: ReturnType<typeof viewBatches>): Promise<[number[][], number[]][]> {
    const found: [number[][], number[]][] = [];
    await batches.forEachAsync(({ xs, ys }) => {
      found.push([xs.arraySync() as number[][], ys.arraySync()]);
      tf.dispose([xs, ys]);
    });
    return found;
  }

  it('lays the views of the same samples out one after the other', async () => {
    const batches = viewBatches([samples, samples.neg()], { batchSize: 3, shuffle: false });
    const rows = (numbers: number[], sign: number) => numbers.map(i => [sign * i, sign * 10 * i]);
    const both = (numbers: number[]) => [...rows(numbers, 1), ...rows(numbers, -1)];
    const found = await epochOf(batches);
    expect(found.map(([xs]) => xs)).toEqual([both([1, 2, 3]), both([4, 5, 6]), both([7])]);
  });

  it('has every sample once in an epoch, in another order each time, the same for the same seed', async () => {
    const orders = async (options: object) => {
      const batches = viewBatches([samples, samples], { batchSize: 3, ...options });
      const epochs = [await epochOf(batches), await epochOf(batches)];
      return epochs.map(found => found.flatMap(([xs]) => xs.slice(0, xs.length / 2).map(([sample]) => sample!)));
    };
    const [one, two] = await orders({ seed: 5 });
    expect([...one!].sort()).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect([...two!].sort()).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect(two).not.toEqual(one);
    expect(await orders({ seed: 5 })).toEqual([one, two]);
    expect(await orders({ seed: 6 })).not.toEqual([one, two]);
  });

  it('repeats the classes for each view, and zeros without classes', async () => {
    const views = [samples, samples];
    const classes = Int32Array.of(3, 1, 4, 1, 5, 9, 2);
    const withClasses = await epochOf(viewBatches(views, { labels: classes, batchSize: 4, shuffle: false }));
    expect(withClasses.map(([, ys]) => ys)).toEqual([
      [3, 1, 4, 1, 3, 1, 4, 1],
      [5, 9, 2, 5, 9, 2],
    ]);
    const [[, zeros] = []] = await epochOf(viewBatches(views));
    expect(zeros).toEqual(new Array(14).fill(0));
  });

  it('augments each view by itself', async () => {
    const augment = (rows: tf.Tensor, view: number) => rows.add(100 * (view + 1));
    const [[xs] = []] = await epochOf(viewBatches([samples, samples], { augment, shuffle: false, batchSize: 1 }));
    expect(xs).toEqual([
      [101, 110],
      [201, 210],
    ]);
  });

  it.each([
    [
      'fewer rows',
      (rows: tf.Tensor) => rows.slice(0, 1),
      /augment: expected a tensor of the 7 rows.*got one of shape \[1, 2\]/,
    ],
    ['nothing', () => undefined, /augment: .*got undefined/],
  ])('refuses augment that gives %s', async (_, augment, message) => {
    await expect(epochOf(viewBatches([samples, samples], { augment: wrong(augment) }))).rejects.toThrow(message);
  });
});
