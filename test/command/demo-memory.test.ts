import '@tensorflow/tfjs-backend-wasm';
import * as tf from '@tensorflow/tfjs';
import { createContext } from 'infonce';
import { expect, it } from 'vitest';
import type * as data from '../../lib/command/demo/digits/data/digits.js';
import type * as retrieval from '../../lib/command/demo/digits/pairs/retrieval.js';
import type * as pairs from '../../lib/command/demo/digits/pairs/training.js';
import type * as judges from '../../lib/command/demo/digits/simclr/judge.js';
import type * as training from '../../lib/command/demo/digits/simclr/training.js';
import type * as encoders from '../../lib/command/demo/network/encoder.js';

const load = <Module>(file: string) =>
  import(new URL(`../../dist/esm/command/demo/${file}.js`, import.meta.url).href) as Promise<Module>;

it('the demonstrations leave no tensors behind', { timeout: 120_000 }, async () => {
  await tf.setBackend('wasm');
  const { loadDigits } = await load<typeof data>('digits/data/digits');
  const { Encoder } = await load<typeof encoders>('network/encoder');
  const { Judge } = await load<typeof judges>('digits/simclr/judge');
  const { trainSimclr } = await load<typeof training>('digits/simclr/training');
  const { PairModel, trainPairs } = await load<typeof pairs>('digits/pairs/training');
  const { judgePairs } = await load<typeof retrieval>('digits/pairs/retrieval');
  const { train, test } = await loadDigits(50, 1);
  const options = { steps: 2, batch: 8, temperature: 0.1, seed: 1 };
  const context = createContext({ device: 'cpu' });
  const before = tf.memory();

  const encoder = new Encoder({ inputs: 784, outputs: 16, seed: 1 });
  const judge = new Judge(train, test, 1);
  const history = await trainSimclr('training', encoder, train, options, context);
  judge.judge(images => encoder.represent(images));
  judge.geometry(encoder);
  judge.representations(encoder, 10);
  encoder.dispose();
  expect(history.losses).toHaveLength(2);

  const model = new PairModel(16, 0.07, 1);
  await trainPairs(model, train, options, context);
  judgePairs(model, test.images);
  model.dispose();

  context.dispose();
  const { numTensors, numBytes } = tf.memory();
  expect({ numTensors, numBytes }).toEqual({ numTensors: before.numTensors, numBytes: before.numBytes });
});
