import type * as tf from '@tensorflow/tfjs';
import { type Progress, startProgress } from '../../terminal/progress.js';

/** The report of a training step. */
export interface Step {
  readonly loss: number;
  /** Share of rows whose positive is ranked first. */
  readonly top1: number;
  /** Milliseconds in the loss and its gradient. */
  readonly lossMs: number;
}

/** A step of an optimizer, which follows the gradient of a loss of embeddings by the variables. */
export function optimize<Embeddings>(
  optimizer: tf.Optimizer,
  variables: tf.Variable[],
  embed: () => Embeddings,
  lossOf: (embeddings: Embeddings) => tf.Tensor,
  top1Of: (embeddings: Embeddings) => number,
): Step {
  let top1 = 0;
  let lossMs = 0;
  const value = optimizer.minimize(
    () => {
      const embeddings = embed();
      const start = performance.now();
      const loss = lossOf(embeddings);
      lossMs = performance.now() - start;
      top1 = top1Of(embeddings);
      return loss as tf.Scalar;
    },
    true,
    variables,
  ) as tf.Scalar;
  const loss = value.dataSync()[0]!;
  value.dispose();
  return { loss, top1, lossMs };
}

/** Lets the learning rate fall to nothing along half a cosine; `done` is the share of the steps that are done. */
export function slowDown(optimizer: tf.AdamOptimizer, first: number, done: number): void {
  // TensorFlow.js reads it at every step, but its types hide it.
  (optimizer as unknown as { learningRate: number }).learningRate = (first * (1 + Math.cos(Math.PI * done))) / 2;
}

/** Rows as the library's own functions take them. */
export function rowsOf(x: tf.Tensor2D): { readonly data: Float32Array; readonly shape: readonly [number, number] } {
  return { data: x.dataSync<'float32'>(), shape: x.shape };
}

/** The result of a training. */
export interface History {
  readonly losses: readonly number[];
  readonly top1: readonly number[];
  /** Of the training, waiting included. */
  readonly seconds: number;
  /** Images that a second of training saw, each counted once. */
  readonly samplesPerSecond: number;
  /** Means of a step. */
  readonly stepMs: number;
  readonly lossMs: number;
}

/** Runs the steps with a progress bar. Between two of them the process hears its signals. */
export async function trainSteps(title: string, steps: number, batch: number, step: () => Step): Promise<History> {
  const progress: Progress = startProgress(title, steps);
  const losses: number[] = [];
  const top1: number[] = [];
  let spentInLoss = 0;
  const start = performance.now();
  const seconds = () => (performance.now() - start) / 1000;
  try {
    while (losses.length < steps) {
      const done = step();
      losses.push(done.loss);
      top1.push(done.top1);
      spentInLoss += done.lossMs;
      const speed = Math.round((losses.length * batch) / seconds());
      const ranked = `top-1 ${(100 * done.top1).toFixed(0).padStart(3)} %`;
      progress.update(losses.length, `loss ${done.loss.toFixed(3)}  ${ranked}  ${speed} samples/s`);
      await new Promise(setImmediate);
    }
  } finally {
    progress.stop();
  }
  return {
    losses,
    top1,
    seconds: seconds(),
    samplesPerSecond: (steps * batch) / seconds(),
    stepMs: (1000 * seconds()) / steps,
    lossMs: spentInLoss / steps,
  };
}

const WINDOW = 20;

/** The mean of each value and those up to ten steps away. */
export function smoothed(values: readonly number[]): number[] {
  return values.map((_, i) => mean(values.slice(Math.max(0, i - WINDOW / 2), i + WINDOW / 2 + 1)));
}

/** The mean of the last twenty. */
export function last(values: readonly number[]): number {
  return mean(values.slice(-WINDOW));
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
