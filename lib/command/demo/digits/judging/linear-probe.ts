import * as tf from '@tensorflow/tfjs';
import { numbersOf, productOfData } from '../../network/tensors.js';
import type { Labelled } from './knn.js';

const CLASSES = 10;
const STEPS = 60;
const LEARNING_RATE = 0.05;
const WEIGHT_DECAY = 1e-4;

/**
 * The share of queries that a linear classifier of their features names right, after training on the known ones: softmax
 * regression on standardised features, all rows at every step.
 */
export function linearAccuracy(known: Labelled, queries: Labelled): number {
  const width = known.features.shape[1];
  const { x, xT, targets, test, weights, bias } = tf.tidy(() => {
    const { mean, variance } = tf.moments(known.features, 0);
    const standardised = (features: tf.Tensor2D) =>
      tf.div(tf.sub(features, mean), tf.add(tf.sqrt(variance), 1e-3)) as tf.Tensor2D;
    const x = standardised(known.features);
    return {
      x,
      xT: tf.transpose(x) as tf.Tensor2D,
      targets: tf.oneHot(tf.tensor1d(known.labels, 'int32'), CLASSES),
      test: standardised(queries.features),
      weights: tf.variable(tf.zeros<tf.Rank.R2>([width, CLASSES])),
      bias: tf.variable(tf.zeros<tf.Rank.R1>([CLASSES])),
    };
  });
  const optimizer = tf.train.adam(LEARNING_RATE);
  for (let step = 0; step < STEPS; step++) {
    optimizer.minimize(
      () => {
        const logits = tf.add(productOfData(x, weights, xT), bias);
        const crossEntropy = tf.losses.softmaxCrossEntropy(targets, logits) as tf.Scalar;
        return tf.add(crossEntropy, tf.mul(WEIGHT_DECAY, tf.sum(tf.square(weights))));
      },
      false,
      [weights, bias],
    );
  }
  const named = numbersOf<'int32'>(() => tf.argMax(tf.add(tf.matMul(test, weights), bias), 1));
  optimizer.dispose();
  tf.dispose([x, xT, targets, test, weights, bias]);
  return named.filter((digit, row) => digit === queries.labels[row]).length / queries.labels.length;
}
