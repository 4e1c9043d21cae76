import * as tf from '@tensorflow/tfjs';

/** A variable with a value of which nothing else is left. */
export function learned<R extends tf.Rank>(initial: () => tf.Tensor<R>): tf.Variable<R> {
  return tf.tidy(() => tf.variable(initial()));
}

/** The weights and the bias of a layer. */
export interface Layer {
  readonly weights: tf.Variable<tf.Rank.R2>;
  readonly bias: tf.Variable<tf.Rank.R1>;
}

/** A layer with He initialisation. */
export function layer(from: number, to: number, seed: number): Layer {
  return {
    weights: learned(() => tf.randomNormal<tf.Rank.R2>([from, to], 0, Math.sqrt(2 / from), 'float32', seed)),
    bias: learned(() => tf.zeros<tf.Rank.R1>([to])),
  };
}
