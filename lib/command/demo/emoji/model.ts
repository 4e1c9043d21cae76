import * as tf from '@tensorflow/tfjs';
import { randomSource } from '../../../reference/random.js';
import type { Context } from '../../../runtime/handles.js';
import { batchesOf } from '../batches.js';
import { type Geometry, geometryOf } from '../judging/geometry.js';
import { type Findings, find } from '../judging/retrieval.js';
import { clipStep, LearnedScale, type ScaleHistory, trainTowers } from '../network/clip.js';
import { Encoder } from '../network/encoder.js';
import { withRows } from '../network/tensors.js';
import { slowDown } from '../network/training.js';
import { type Bags, withBags } from '../words/bags.js';
import { WordsEncoder } from '../words/encoder.js';
import type { Vocabulary } from '../words/vocabulary.js';
import type { Emoji } from './data.js';
import { PICTURE, type Pictures } from './pictures.js';

/** Of Adam, at first; it falls to nothing along half a cosine. */
const LEARNING_RATE = 0.002;
/** The share of an emoji's words that a step sees. */
const WORDS_KEPT = 0.5;

/** An encoder for pictures and one for words, and the scale of their similarities. */
export class EmojiModel {
  readonly pictureEncoder: Encoder;
  readonly wordsEncoder: WordsEncoder;
  readonly scale: LearnedScale;

  constructor(
    readonly vocabulary: Vocabulary,
    readonly pictures: Pictures,
    temperature: number,
    seed: number,
  ) {
    const { width } = vocabulary;
    this.pictureEncoder = new Encoder({ inputs: PICTURE, outputs: width, seed });
    this.wordsEncoder = new WordsEncoder(width, seed + 100);
    this.scale = new LearnedScale(1 / temperature);
  }

  get variables(): tf.Variable[] {
    return [...this.pictureEncoder.variables, ...this.wordsEncoder.variables, this.scale.variable];
  }

  dispose(): void {
    tf.dispose(this.variables);
  }
}

export interface EmojiTrainingOptions {
  readonly steps: number;
  /** Emoji a step. */
  readonly batch: number;
  readonly seed: number;
}

/** Trains both encoders: the picture and the words of an emoji belong together. */
export async function trainEmoji(
  model: EmojiModel,
  train: readonly Emoji[],
  { steps, batch, seed }: EmojiTrainingOptions,
  context: Context,
): Promise<ScaleHistory> {
  const draw = batchesOf(train, batch, seed);
  const views = model.pictures.views(seed + 1);
  const random = randomSource(seed + 2);
  return trainTowers({ scale: model.scale, learningRate: LEARNING_RATE }, { steps, batch }, (optimizer, share) => {
    const chosen = draw();
    slowDown(optimizer, LEARNING_RATE, share);
    const some = chosen.map(({ rows }) => {
      const kept = rows.filter(() => random() < WORDS_KEPT);
      return kept.length > 0 ? kept : rows;
    });
    return withPairs(model.vocabulary, views(chosen), some, (pictures, bags) =>
      clipStep(
        optimizer,
        model.variables,
        model.scale,
        () => [model.pictureEncoder.embed(pictures), model.wordsEncoder.embed(bags)],
        context,
      ),
    );
  });
}

/** Gives what `use` makes of pictures [count, PICTURE] and of the words of each, both as tensors, which are freed. */
function withPairs<T>(
  vocabulary: Vocabulary,
  pictures: Float32Array,
  words: readonly (readonly number[])[],
  use: (pictures: tf.Tensor2D, bags: Bags) => T,
): T {
  return withRows(pictures, PICTURE, rows => withBags(vocabulary, words, bags => use(rows, bags)));
}

export interface EmojiJudgement {
  /** Pictures that look for words. */
  readonly pictureToWords: Findings;
  readonly wordsToPicture: Findings;
  readonly geometry: Geometry;
}

/** Judges a model by held-out emoji, each among all of them. */
export function judgeEmoji(model: EmojiModel, test: readonly Emoji[]): EmojiJudgement {
  const words = test.map(({ rows }) => rows);
  return withPairs(model.vocabulary, model.pictures.plain(test), words, (pictures, bags) => {
    const [a, b] = [model.pictureEncoder.embed(pictures), model.wordsEncoder.embed(bags)];
    const judgement = { pictureToWords: find(a, b), wordsToPicture: find(b, a), geometry: geometryOf(a, b) };
    tf.dispose([a, b]);
    return judgement;
  });
}
