import * as tf from '@tensorflow/tfjs';
import { product, productOfData } from '../network/tensors.js';
import { type Layer, layer, learned } from '../network/variables.js';
import type { Bags } from './bags.js';

const WEIGHING = 32;
const HIDDEN = 256;

/**
 * An encoder of bags of words. It weighs each word by its vector and its rarity, takes the weighted mean of the vectors
 * and of what a layer makes of each word, and adds what a second layer makes of that mean. Untrained, all words weigh
 * the same and nothing is added: it is the mean of the vectors.
 */
export class WordsEncoder {
  readonly #weighing: Layer;
  readonly #weight: tf.Variable<tf.Rank.R2>;
  readonly #each: Layer;
  readonly #mean: Layer;
  readonly #kept: tf.Variable<tf.Rank.R2>;
  readonly #added: tf.Variable<tf.Rank.R2>;

  /** For word vectors of `width` numbers, into embeddings of as many. */
  constructor(
    readonly width: number,
    seed: number,
  ) {
    this.#weighing = layer(width + 1, WEIGHING, seed);
    this.#weight = learned(() => tf.zeros<tf.Rank.R2>([WEIGHING, 1]));
    this.#each = layer(width + 1, HIDDEN, seed + 1);
    this.#mean = layer(width + HIDDEN, HIDDEN, seed + 2);
    this.#kept = learned(() => tf.eye(width));
    this.#added = learned(() => tf.zeros<tf.Rank.R2>([HIDDEN, width]));
  }

  get variables(): tf.Variable[] {
    const layers = [this.#weighing, this.#each, this.#mean].flatMap(({ weights, bias }) => [weights, bias]);
    return [...layers, this.#weight, this.#kept, this.#added];
  }

  /** Words [words, width + 1] → the weight of each, [words, 1], above 0. */
  weigh(words: tf.Tensor2D): tf.Tensor2D {
    return tf.tidy(() => tf.exp(product(hidden(words, this.#weighing), this.#weight)));
  }

  /** Bags of texts → embeddings [texts, width]. */
  embed({ words, counts }: Bags): tf.Tensor2D {
    return tf.tidy(() => {
      const weights = this.weigh(words);
      const vectors = tf.slice(words, [0, 0], [-1, this.width]);
      const each = tf.concat([vectors, hidden(words, this.#each)], 1);
      const sum = productOfData(counts, tf.mul(each, weights));
      const mean = tf.div(sum, tf.maximum(productOfData(counts, weights), 1e-6)) as tf.Tensor2D;
      const meanOfVectors = tf.slice(mean, [0, 0], [-1, this.width]);
      const further = tf.relu(tf.add(product(mean, this.#mean.weights), this.#mean.bias)) as tf.Tensor2D;
      return tf.add(product(meanOfVectors, this.#kept), product(further, this.#added));
    });
  }

  dispose(): void {
    tf.dispose(this.variables);
  }
}

function hidden(words: tf.Tensor2D, { weights, bias }: Layer): tf.Tensor2D {
  return tf.relu(tf.add(productOfData(words, weights), bias));
}

/** The layers in words. */
export function wordsEncoderLayers(width: number): string {
  return `a weighted bag of words, ${width} → ${HIDDEN} → ${width}`;
}
