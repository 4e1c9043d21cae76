import * as tf from '@tensorflow/tfjs';
import { type Geometry, geometryOf } from '../../judging/geometry.js';
import type { Encoder } from '../../network/encoder.js';
import { withRows } from '../../network/tensors.js';
import { type Digits, firstOf, PIXELS } from '../data/digits.js';
import { oneView } from '../data/views.js';
import { knnAccuracy } from '../judging/knn.js';
import { linearAccuracy } from '../judging/linear-probe.js';

/** Labelled digits that neighbours are sought among and the linear probe learns from. */
export const KNOWN = 4000;

/** Shares of held-out digits that are named right. */
export interface Accuracy {
  readonly knn: number;
  readonly linear: number;
}

/** Of digits seen as in training (one view each, the same for every encoder), and of clean ones. */
export interface Judgement {
  readonly views: Accuracy;
  readonly clean: Accuracy;
}

type Represent = (images: tf.Tensor2D) => tf.Tensor2D;

/** Judges encoders by held-out digits. */
export class Judge {
  readonly #known: Digits;
  readonly #test: Digits;
  readonly #knownViews: Float32Array;
  /** Two views of each held-out digit, [count, 784] each. */
  readonly views: readonly [Float32Array, Float32Array];

  constructor(train: Digits, test: Digits, seed: number) {
    this.#known = firstOf(train, KNOWN);
    this.#test = test;
    this.#knownViews = oneView(this.#known, seed);
    this.views = [oneView(test, seed + 1), oneView(test, seed + 2)];
  }

  /** What can be learned from what `represent` makes of images. Without it, from their pixels. */
  judge(represent: Represent = images => tf.clone(images)): Judgement {
    return {
      views: this.judgeViews(represent),
      clean: this.#accuracy(represent, this.#known.images, this.#test.images),
    };
  }

  /** The same of views alone. */
  judgeViews(represent: Represent): Accuracy {
    return this.#accuracy(represent, this.#knownViews, this.views[0]);
  }

  #accuracy(represent: Represent, knownImages: Float32Array, testImages: Float32Array): Accuracy {
    const known = { features: withRows(knownImages, PIXELS, represent), labels: this.#known.labels };
    const queries = { features: withRows(testImages, PIXELS, represent), labels: this.#test.labels };
    const result = { knn: knnAccuracy(known, queries), linear: linearAccuracy(known, queries) };
    tf.dispose([known.features, queries.features]);
    return result;
  }

  /** How embeddings of two views of a held-out digit lie to each other and to those of other digits. */
  geometry(encoder: Encoder): Geometry {
    const [a, b] = this.views.map(rows => withRows(rows, PIXELS, images => encoder.embed(images)));
    const geometry = geometryOf(a!, b!);
    tf.dispose([a!, b!]);
    return geometry;
  }

  /** Representations of views of the first held-out digits, [count, REPRESENTATION]. */
  representations(encoder: Encoder, count: number): Float32Array {
    return withRows(this.views[0].subarray(0, count * PIXELS), PIXELS, images => {
      const representations = encoder.represent(images);
      const values = representations.dataSync<'float32'>().slice();
      representations.dispose();
      return values;
    });
  }
}
