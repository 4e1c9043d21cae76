import * as tf from '@tensorflow/tfjs';
import { product, productOfData } from './tensors.js';
import { type Layer, layer } from './variables.js';

const HIDDEN = 256;
/** Numbers in a representation. */
export const REPRESENTATION = 128;

export interface EncoderOptions {
  /** Numbers in an image. */
  readonly inputs: number;
  /** Numbers in an embedding. */
  readonly outputs: number;
  readonly seed: number;
}

/**
 * A multilayer perceptron: the trunk makes representations of images, the head embeddings of those. The loss sees
 * embeddings; what is learned is judged by representations, as in SimCLR.
 */
export class Encoder {
  readonly #layers: readonly Layer[];

  constructor({ inputs, outputs, seed }: EncoderOptions) {
    const sizes = [inputs, HIDDEN, REPRESENTATION, outputs];
    this.#layers = sizes.slice(1).map((to, i) => layer(sizes[i]!, to, seed + i));
  }

  get variables(): tf.Variable[] {
    return this.#layers.flatMap(({ weights, bias }) => [weights, bias]);
  }

  /** Images [rows, inputs] → representations [rows, REPRESENTATION]. The images are no result of variables. */
  represent(images: tf.Tensor2D): tf.Tensor2D {
    const [first, second] = this.#layers;
    return tf.tidy(() => {
      const hidden = tf.relu(tf.add(productOfData(images, first!.weights), first!.bias));
      return tf.relu(tf.add(product(hidden as tf.Tensor2D, second!.weights), second!.bias));
    });
  }

  /** Images [rows, inputs] → embeddings [rows, outputs]. */
  embed(images: tf.Tensor2D): tf.Tensor2D {
    const { weights, bias } = this.#layers[2]!;
    return tf.tidy(() => tf.add(product(this.represent(images), weights), bias));
  }

  dispose(): void {
    tf.dispose(this.variables);
  }
}

/** The layers in words. */
export function layersOf(inputs: number, outputs: number): string {
  return `${inputs} → ${HIDDEN} → ${REPRESENTATION} → ${outputs}`;
}
