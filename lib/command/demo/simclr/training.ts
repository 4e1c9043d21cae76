import * as tf from '@tensorflow/tfjs';
import { ntXentSync } from '../../../index.js';
import { randomSource } from '../../../reference/random.js';
import type { Context } from '../../../runtime/handles.js';
import { ntXent } from '../../../tfjs/index.js';
import { type Digits, PIXELS } from '../data/digits.js';
import { createViews } from '../data/views.js';
import type { Encoder } from '../network/encoder.js';
import { withRows } from '../network/tensors.js';
import { type History, trainSteps } from '../network/training.js';

/** Of Adam. */
const LEARNING_RATE = 0.005;

export interface TrainingOptions {
  readonly steps: number;
  /** Digits a step, each of which gives two rows. */
  readonly batch: number;
  readonly temperature: number;
  readonly seed: number;
}

/** Trains an encoder without labels: two views of a digit belong together. */
export async function trainSimclr(
  title: string,
  encoder: Encoder,
  train: Digits,
  { steps, batch, temperature, seed }: TrainingOptions,
  context: Context,
): Promise<History> {
  const random = randomSource(seed);
  const views = createViews(seed + 1);
  const optimizer = tf.train.adam(LEARNING_RATE);
  const step = () => {
    const chosen = Array.from({ length: batch }, () => Math.floor(random() * train.count));
    return withRows(views(train.images, [...chosen, ...chosen]), PIXELS, images => {
      let top1 = 0;
      let lossMs = 0;
      const value = optimizer.minimize(
        () => {
          const embeddings = encoder.embed(images);
          const start = performance.now();
          const loss = ntXent(embeddings, { temperature, context });
          lossMs = performance.now() - start;
          const features = { data: embeddings.dataSync<'float32'>(), shape: embeddings.shape };
          top1 = ntXentSync({ features, temperature, gradient: false }, { context }).top1;
          return loss;
        },
        true,
        encoder.variables,
      ) as tf.Scalar;
      const loss = value.dataSync()[0]!;
      value.dispose();
      return { loss, top1, lossMs };
    });
  };
  try {
    return await trainSteps(title, steps, batch, step);
  } finally {
    optimizer.dispose();
  }
}
