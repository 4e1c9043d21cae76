import type * as tf from '@tensorflow/tfjs';
import { cosines } from '../network/tensors.js';

/** How embeddings of pairs lie on the unit sphere. */
export interface Geometry {
  /** Mean squared distance of a pair (Wang and Isola 2020): 0 where views coincide. */
  readonly alignment: number;
  /** Logarithm of the mean of exp(-2 squared distance) of others: the lower the more evenly they are spread. */
  readonly uniformity: number;
  /** Cosines of pairs, and of all others. */
  readonly positives: Float32Array;
  readonly negatives: Float32Array;
}

/** Rows i of a and b [rows, width] are a pair. On the unit sphere a squared distance is 2 - 2 cosine. */
export function geometryOf(a: tf.Tensor2D, b: tf.Tensor2D): Geometry {
  const table = cosines(a, b);
  const values = table.dataSync();
  table.dispose();
  const [rows] = a.shape;
  const positives = new Float32Array(rows);
  const negatives = new Float32Array(rows * (rows - 1));
  let distance = 0;
  let potential = 0;
  let next = 0;
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < rows; j++) {
      const cosine = values[i * rows + j]!;
      if (i === j) {
        positives[i] = cosine;
        distance += 2 - 2 * cosine;
      } else {
        negatives[next++] = cosine;
        potential += Math.exp(-2 * (2 - 2 * cosine));
      }
    }
  }
  return { alignment: distance / rows, uniformity: Math.log(potential / negatives.length), positives, negatives };
}
