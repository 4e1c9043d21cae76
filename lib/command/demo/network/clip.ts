import * as tf from '@tensorflow/tfjs';
import { clipSync } from '../../../index.js';
import type { Context } from '../../../runtime/handles.js';
import { clip } from '../../../tfjs/index.js';
import { type History, optimize, rowsOf, type Step, trainSteps } from './training.js';

/** As in CLIP: above it training grows unstable. */
const HIGHEST_SCALE = 100;

/** The factor of the similarities, 1 / temperature, which is learned by its logarithm. */
export class LearnedScale {
  readonly variable: tf.Variable;

  constructor(first: number) {
    this.variable = tf.tidy(() => tf.variable(tf.scalar(Math.log(first))));
  }

  get value(): number {
    return Math.exp(this.variable.dataSync()[0]!);
  }

  /** Keeps it in its bounds, after a step. */
  bound(): void {
    tf.tidy(() => this.variable.assign(tf.minimum(this.variable, Math.log(HIGHEST_SCALE))));
  }
}

/** The course of a training, with the scale after every step. */
export interface ScaleHistory extends History {
  readonly scales: readonly number[];
}

/** A step of two encoders with the loss of CLIP: row i of one belongs to row i of the other. */
export function clipStep(
  optimizer: tf.Optimizer,
  variables: tf.Variable[],
  scale: LearnedScale,
  embed: () => readonly [tf.Tensor2D, tf.Tensor2D],
  context: Context,
): Step {
  const step = optimize(
    optimizer,
    variables,
    embed,
    ([a, b]) => clip(a, b, { logitScale: tf.exp(scale.variable), context }),
    ([a, b]) => clipSync({ imageFeatures: rowsOf(a), textFeatures: rowsOf(b), gradient: false }, { context }).top1,
  );
  scale.bound();
  return step;
}

/** Trains two encoders and their scale by Adam. `step` is told which share of the steps is done. */
export async function trainTowers(
  { scale, learningRate }: { readonly scale: LearnedScale; readonly learningRate: number },
  { steps, batch }: { readonly steps: number; readonly batch: number },
  step: (optimizer: tf.AdamOptimizer, share: number) => Step,
): Promise<ScaleHistory> {
  const optimizer = tf.train.adam(learningRate);
  const scales: number[] = [];
  try {
    const history = await trainSteps('training', steps, batch, () => {
      const done = step(optimizer, scales.length / steps);
      scales.push(scale.value);
      return done;
    });
    return { ...history, scales };
  } finally {
    optimizer.dispose();
  }
}
