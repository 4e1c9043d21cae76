import * as tf from '@tensorflow/tfjs';
import { type Geometry, geometryOf } from '../../judging/geometry.js';
import { type Findings, find } from '../../judging/retrieval.js';
import type { PairModel } from './training.js';

export interface PairJudgement {
  /** Left halves that look for right ones. */
  readonly leftToRight: Findings;
  readonly rightToLeft: Findings;
  readonly geometry: Geometry;
}

/** Judges a model by held-out images [count, 784]. */
export function judgePairs(model: PairModel, images: Float32Array): PairJudgement {
  const { left, right } = model.embed(images);
  const judgement = {
    leftToRight: find(left, right),
    rightToLeft: find(right, left),
    geometry: geometryOf(left, right),
  };
  tf.dispose([left, right]);
  return judgement;
}
