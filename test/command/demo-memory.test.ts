import '@tensorflow/tfjs-backend-wasm';
import * as tf from '@tensorflow/tfjs';
import { createContext } from 'infonce';
import { expect, it } from 'vitest';
import type * as data from '../../lib/command/demo/digits/data/digits.js';
import type * as retrieval from '../../lib/command/demo/digits/pairs/retrieval.js';
import type * as pairs from '../../lib/command/demo/digits/pairs/training.js';
import type * as judges from '../../lib/command/demo/digits/simclr/judge.js';
import type * as training from '../../lib/command/demo/digits/simclr/training.js';
import type * as emoji from '../../lib/command/demo/emoji/model.js';
import type * as pictures from '../../lib/command/demo/emoji/pictures.js';
import type * as encoders from '../../lib/command/demo/network/encoder.js';
import type * as text from '../../lib/command/demo/text/training.js';
import type * as weights from '../../lib/command/demo/text/weights.js';
import type * as words from '../../lib/command/demo/words/encoder.js';
import { randomSource } from '../../lib/reference/random.js';

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

it('the trainings with words leave no tensors behind', { timeout: 120_000 }, async () => {
  await tf.setBackend('wasm');
  const { EmojiModel, judgeEmoji, trainEmoji } = await load<typeof emoji>('emoji/model');
  const { Pictures } = await load<typeof pictures>('emoji/pictures');
  const { judgeText, trainText } = await load<typeof text>('text/training');
  const { weightsOf } = await load<typeof weights>('text/weights');
  const { WordsEncoder } = await load<typeof words>('words/encoder');
  const random = randomSource(1);
  const [rows, width] = [40, 8];
  const vocabulary = {
    width,
    vectors: Float32Array.from({ length: rows * width }, random),
    rarities: Float32Array.from({ length: rows }, random),
    places: Uint32Array.from({ length: rows }, (_, i) => i),
    words: Array.from({ length: rows }, (_, i) => `word ${i}`),
    row: () => undefined,
    rowsOf: () => [],
  };
  const definitions = vocabulary.words.map((word, row) => ({
    word,
    text: word,
    meaning: word,
    kindOf: undefined,
    row,
    rows: [(row + 1) % rows, (row + 2) % rows],
  }));
  const pixels = () => Uint8Array.from({ length: 32 * 32 * 4 }, () => 255 * random());
  const drawn = definitions.map(({ word, rows }) => ({ name: word, keywords: [], pixels: pixels(), rows }));
  const options = { steps: 2, batch: 8, temperature: 0.1, seed: 1 };
  const context = createContext({ device: 'cpu' });
  const before = tf.memory();

  const encoder = new WordsEncoder(width, 1);
  const history = await trainText(encoder, vocabulary, definitions, options, context);
  judgeText(encoder, vocabulary, definitions);
  weightsOf(encoder, vocabulary, definitions);
  encoder.dispose();
  expect(history.losses).toHaveLength(2);

  const model = new EmojiModel(vocabulary, new Pictures(drawn), 0.1, 1);
  await trainEmoji(model, drawn, options, context);
  judgeEmoji(model, drawn);
  model.dispose();

  context.dispose();
  const { numTensors, numBytes } = tf.memory();
  expect({ numTensors, numBytes }).toEqual({ numTensors: before.numTensors, numBytes: before.numBytes });
});
