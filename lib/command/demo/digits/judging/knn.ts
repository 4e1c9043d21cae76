import * as tf from '@tensorflow/tfjs';
import { cosines, numbersOf } from '../../network/tensors.js';

const NEIGHBOURS = 20;
const CLASSES = 10;

export interface Labelled {
  /** [rows, width] */
  readonly features: tf.Tensor2D;
  /** [rows], 0..9 */
  readonly labels: Uint8Array;
}

/** The share of queries whose label is the commonest among their 20 nearest neighbours by cosine similarity. */
export function knnAccuracy(known: Labelled, queries: Labelled): number {
  const indices = numbersOf<'int32'>(() => tf.topk(cosines(queries.features, known.features), NEIGHBOURS).indices);
  let right = 0;
  queries.labels.forEach((label, row) => {
    const votes = new Array<number>(CLASSES).fill(0);
    for (const index of indices.subarray(row * NEIGHBOURS, (row + 1) * NEIGHBOURS)) votes[known.labels[index]!]!++;
    if (votes.indexOf(Math.max(...votes)) === label) right++;
  });
  return right / queries.labels.length;
}
