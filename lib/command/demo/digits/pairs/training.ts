import * as tf from '@tensorflow/tfjs';
import { randomSource } from '../../../../reference/random.js';
import type { Context } from '../../../../runtime/handles.js';
import { clipStep, LearnedScale, type ScaleHistory, trainTowers } from '../../network/clip.js';
import { Encoder } from '../../network/encoder.js';
import { withRows } from '../../network/tensors.js';
import type { Digits } from '../data/digits.js';
import { cut, HALF_PIXELS } from '../data/halves.js';
import { createViews } from '../data/views.js';

/** Of Adam. */
const LEARNING_RATE = 0.002;

/** An encoder for left and one for right halves, and the scale of their similarities. */
export class PairModel {
  readonly left: Encoder;
  readonly right: Encoder;
  readonly scale: LearnedScale;

  constructor(dim: number, temperature: number, seed: number) {
    this.left = new Encoder({ inputs: HALF_PIXELS, outputs: dim, seed });
    this.right = new Encoder({ inputs: HALF_PIXELS, outputs: dim, seed: seed + 100 });
    this.scale = new LearnedScale(1 / temperature);
  }

  get variables(): tf.Variable[] {
    return [...this.left.variables, ...this.right.variables, this.scale.variable];
  }

  /** Whole images [rows, 784] → the embeddings of their halves, which the caller frees. */
  embed(images: Float32Array): { readonly left: tf.Tensor2D; readonly right: tf.Tensor2D } {
    const halves = cut(images);
    return {
      left: withRows(halves.left, HALF_PIXELS, rows => this.left.embed(rows)),
      right: withRows(halves.right, HALF_PIXELS, rows => this.right.embed(rows)),
    };
  }

  dispose(): void {
    tf.dispose(this.variables);
  }
}

export interface PairTrainingOptions {
  readonly steps: number;
  /** Digits a step. */
  readonly batch: number;
  readonly seed: number;
}

/** Trains both encoders: the halves of a digit belong together. */
export async function trainPairs(
  model: PairModel,
  train: Digits,
  { steps, batch, seed }: PairTrainingOptions,
  context: Context,
): Promise<ScaleHistory> {
  const random = randomSource(seed);
  const views = createViews(seed + 1);
  return trainTowers({ scale: model.scale, learningRate: LEARNING_RATE }, { steps, batch }, optimizer => {
    const chosen = Array.from({ length: batch }, () => Math.floor(random() * train.count));
    const halves = cut(views(train.images, chosen));
    return withRows(halves.left, HALF_PIXELS, left =>
      withRows(halves.right, HALF_PIXELS, right =>
        clipStep(
          optimizer,
          model.variables,
          model.scale,
          () => [model.left.embed(left), model.right.embed(right)],
          context,
        ),
      ),
    );
  });
}
