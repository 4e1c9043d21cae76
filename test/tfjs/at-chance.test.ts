import * as tf from '@tensorflow/tfjs';
import { ntXentLoss, viewBatches } from 'infonce/tfjs';
import { beforeAll, beforeEach, expect, it } from 'vitest';
import { chanceOf, mismatchedRows } from '../../lib/tfjs/at-chance.js';
import { near, normal } from '../support/random.js';
import { toTf } from '../support/tfjs.js';

const [SAMPLES, IN, OUT] = [64, 16, 8];
const SILENT = { verbose: 0 } as const;

let warnings: (Error & { readonly code?: string })[] = [];
beforeAll(async () => {
  await tf.setBackend('cpu');
  process.on('warning', warning => warnings.push(warning));
});
beforeEach(() => {
  warnings = [];
});

function model(loss: ReturnType<typeof ntXentLoss>, rate: number): tf.Sequential {
  const kernelInitializer = tf.initializers.glorotUniform({ seed: 3 });
  const layers = [tf.layers.dense({ units: OUT, inputShape: [IN], kernelInitializer })];
  const made = tf.sequential({ layers });
  made.compile({ optimizer: tf.train.adam(rate), loss });
  return made;
}

const first = normal([SAMPLES, IN], 1);
const views = (noise: number) => [toTf(first), toTf(near(first, noise, 2))];

/** What was warned of, after the events that tell of it. */
async function told(): Promise<string[]> {
  await new Promise(resolve => setImmediate(resolve));
  return warnings.filter(({ code }) => code === 'INFONCE_LOSS_AT_CHANCE').map(({ message }) => message);
}

it.each([
  ['', {}],
  [' at a low temperature', { temperature: 0.02 }],
  [' of the decoupled loss', { denominator: 'negatives' }],
  [' of three views', { nViews: 4, positives: 'all' }],
] as const)('a training%s whose rows fit has shuffled causes one warning', async (_, options) => {
  const x = tf.concat(views(0.3));
  const y = tf.zeros([2 * SAMPLES, OUT]);
  await model(ntXentLoss(options), 0.01).fit(x, y, { batchSize: 32, epochs: 25, ...SILENT });
  const [message, ...more] = await told();
  expect(more).toEqual([]);
  expect(message).toMatch(
    /^ntXentLoss: the loss of the last 30 batches is \d.*fitDataset\(viewBatches\(.*layout: 'interleaved'/,
  );
});

it('one whose views are interleaved causes a warning', async () => {
  const [a, b] = views(0.3);
  const x = tf.stack([a!, b!], 1).reshape([2 * SAMPLES, IN]);
  const y = tf.zeros([2 * SAMPLES, OUT]);
  const trained = (loss: ReturnType<typeof ntXentLoss>, epochs: number) =>
    model(loss, 1e-4).fit(x, y, { batchSize: 32, epochs, shuffle: false, ...SILENT });
  await trained(ntXentLoss({ layout: 'interleaved' }), 20);
  expect(await told()).toEqual([]);
  await trained(ntXentLoss(), 20);
  expect(await told()).toHaveLength(1);
});

it.each([
  ['that learns', 0.3, 0.01, {}],
  ['that begins far above chance', 2, 1e-5, { temperature: 0.02 }],
  ['whose views are hardly alike', 3, 1e-4, {}],
  ['of the decoupled loss', 1, 1e-4, { denominator: 'negatives' }],
] as const)('an honest training %s is not', async (_, noise, rate, options) => {
  const batches = viewBatches(views(noise), { batchSize: 32, seed: 1 });
  const { history } = await model(ntXentLoss(options), rate).fitDataset(batches, { epochs: 50, ...SILENT });
  expect(history.loss).toHaveLength(50);
  expect(await told()).toEqual([]);
});

it('evaluation is no training', async () => {
  const made = model(ntXentLoss(), 0.01);
  const x = tf.concat(views(0.3)).reverse(0);
  for (let i = 0; i < 40; i++) made.evaluate(x, tf.zeros([2 * SAMPLES, OUT]), { batchSize: 30 });
  expect(await told()).toEqual([]);
});

it('chance is the loss of rows that are all alike', () => {
  const nothing = tf.zeros([1]);
  for (const options of [
    {},
    { nViews: 3, positives: 'all', labelSmoothing: 0.1 },
    { nViews: 3, positives: 'all', form: 'in' },
    { debias: { tauPlus: 0.1 } },
    { nViews: 3, denominator: 'negatives' },
    { nViews: 3, positives: 'all', denominator: 'negatives' },
    { nViews: 3, positives: 'all', denominator: 'positiveAndNegatives' },
  ] as const) {
    expect(ntXentLoss(options)(nothing, tf.ones([12, 3])).dataSync()[0]).toBeCloseTo(chanceOf(12, options), 4);
  }
});

it('mismatched rows have each view of another sample', () => {
  const rows = Float32Array.of(0, 1, 2, 10, 11, 12);
  expect(mismatchedRows(rows, { rows: 6, views: 2, interleaved: false })).toEqual(Float32Array.of(0, 1, 2, 11, 12, 10));
  const together = Float32Array.of(0, 10, 1, 11, 2, 12);
  expect(mismatchedRows(together, { rows: 6, views: 2, interleaved: true })).toEqual(
    Float32Array.of(0, 11, 1, 12, 2, 10),
  );
});
