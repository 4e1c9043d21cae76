import * as tf from '@tensorflow/tfjs';
import { clipSync } from '../../../index.js';
import { randomSource } from '../../../reference/random.js';
import type { Context } from '../../../runtime/handles.js';
import { clip } from '../../../tfjs/index.js';
import type { Digits } from '../data/digits.js';
import { cut, HALF_PIXELS } from '../data/halves.js';
import { createViews } from '../data/views.js';
import { Encoder } from '../network/encoder.js';
import { withRows } from '../network/tensors.js';
import { type History, trainSteps } from '../network/training.js';

/** Of Adam. */
const LEARNING_RATE = 0.002;
/** As in CLIP: above it training grows unstable. */
const HIGHEST_SCALE = 100;

/** An encoder for left and one for right halves, and the scale of their similarities. */
export class PairModel {
  readonly left: Encoder;
  readonly right: Encoder;
  /** The logarithm of the scale, which is what is learned. */
  readonly logScale: tf.Variable;

  constructor(dim: number, temperature: number, seed: number) {
    this.left = new Encoder({ inputs: HALF_PIXELS, outputs: dim, seed });
    this.right = new Encoder({ inputs: HALF_PIXELS, outputs: dim, seed: seed + 100 });
    this.logScale = tf.tidy(() => tf.variable(tf.scalar(-Math.log(temperature))));
  }

  get variables(): tf.Variable[] {
    return [...this.left.variables, ...this.right.variables, this.logScale];
  }

  get scale(): number {
    return Math.exp(this.logScale.dataSync()[0]!);
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

/** The course of a training, with the scale after every step. */
export interface PairHistory extends History {
  readonly scales: readonly number[];
}

/** Trains both encoders: the halves of a digit belong together. */
export async function trainPairs(
  model: PairModel,
  train: Digits,
  { steps, batch, seed }: PairTrainingOptions,
  context: Context,
): Promise<PairHistory> {
  const random = randomSource(seed);
  const views = createViews(seed + 1);
  const optimizer = tf.train.adam(LEARNING_RATE);
  const scales: number[] = [];
  const step = () => {
    const chosen = Array.from({ length: batch }, () => Math.floor(random() * train.count));
    const halves = cut(views(train.images, chosen));
    const done = withRows(halves.left, HALF_PIXELS, left =>
      withRows(halves.right, HALF_PIXELS, right => {
        let top1 = 0;
        let lossMs = 0;
        const value = optimizer.minimize(
          () => {
            const [a, b] = [model.left.embed(left), model.right.embed(right)];
            const logitScale = tf.exp(model.logScale);
            const start = performance.now();
            const loss = clip(a, b, { logitScale, context });
            lossMs = performance.now() - start;
            const imageFeatures = { data: a.dataSync<'float32'>(), shape: a.shape };
            const textFeatures = { data: b.dataSync<'float32'>(), shape: b.shape };
            top1 = clipSync({ imageFeatures, textFeatures, gradient: false }, { context }).top1;
            return loss;
          },
          true,
          model.variables,
        ) as tf.Scalar;
        const loss = value.dataSync()[0]!;
        value.dispose();
        return { loss, top1, lossMs };
      }),
    );
    tf.tidy(() => model.logScale.assign(tf.minimum(model.logScale, Math.log(HIGHEST_SCALE))));
    scales.push(model.scale);
    return done;
  };
  try {
    return { ...(await trainSteps('training', steps, batch, step)), scales };
  } finally {
    optimizer.dispose();
  }
}
