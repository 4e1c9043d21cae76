import * as tf from '@tensorflow/tfjs';
import { type Geometry, geometryOf } from '../judging/geometry.js';
import { cosines } from '../network/tensors.js';
import type { PairModel } from './training.js';

/** For each half, its own other half is among the k most similar of all held-out ones: the share of those. */
export interface Retrieval {
  readonly top1: number;
  readonly top5: number;
  readonly top10: number;
}

export interface PairJudgement {
  /** Left halves that look for right ones. */
  readonly leftToRight: Retrieval;
  readonly rightToLeft: Retrieval;
  readonly geometry: Geometry;
  /** For each left half, the right half that is most similar to it. */
  readonly found: Int32Array;
}

/** Judges a model by held-out images [count, 784]. */
export function judgePairs(model: PairModel, images: Float32Array): PairJudgement {
  const { left, right } = model.embed(images);
  const table = cosines(left, right);
  const values = table.dataSync<'float32'>();
  const [rows] = table.shape;
  const judgement = {
    leftToRight: retrieval(rows, (i, j) => values[i * rows + j]!),
    rightToLeft: retrieval(rows, (i, j) => values[j * rows + i]!),
    geometry: geometryOf(left, right),
    found: tf.tidy(() => tf.argMax(table, 1).dataSync<'int32'>().slice()),
  };
  tf.dispose([left, right, table]);
  return judgement;
}

function retrieval(rows: number, similarity: (i: number, j: number) => number): Retrieval {
  const ranks = Array.from({ length: rows }, (_, i) => {
    const own = similarity(i, i);
    let larger = 0;
    for (let j = 0; j < rows; j++) if (similarity(i, j) > own) larger++;
    return larger;
  });
  const within = (k: number) => ranks.filter(rank => rank < k).length / rows;
  return { top1: within(1), top5: within(5), top10: within(10) };
}
