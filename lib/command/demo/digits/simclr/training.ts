import * as tf from '@tensorflow/tfjs';
import { ntXentSync } from '../../../../index.js';
import { randomSource } from '../../../../reference/random.js';
import type { Context } from '../../../../runtime/handles.js';
import { ntXent } from '../../../../tfjs/index.js';
import type { Encoder } from '../../network/encoder.js';
import { withRows } from '../../network/tensors.js';
import { type History, optimize, rowsOf, trainSteps } from '../../network/training.js';
import { type Digits, PIXELS } from '../data/digits.js';
import { createViews } from '../data/views.js';

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
    return withRows(views(train.images, [...chosen, ...chosen]), PIXELS, images =>
      optimize(
        optimizer,
        encoder.variables,
        () => encoder.embed(images),
        embeddings => ntXent(embeddings, { temperature, context }),
        embeddings => ntXentSync({ features: rowsOf(embeddings), temperature, gradient: false }, { context }).top1,
      ),
    );
  };
  try {
    return await trainSteps(title, steps, batch, step);
  } finally {
    optimizer.dispose();
  }
}
