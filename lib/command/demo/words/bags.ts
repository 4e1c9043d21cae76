import * as tf from '@tensorflow/tfjs';
import type { Vocabulary } from './vocabulary.js';

/** Texts as bags of words, as tensors: the words that occur in any of them, and how often each is in each text. */
export interface Bags {
  /** [words, width + 1]: vectors, and how rare the words are. */
  readonly words: tf.Tensor2D;
  /** [texts, words] */
  readonly counts: tf.Tensor2D;
}

/** Gives what `use` makes of some texts, each the rows of its words; the tensors are freed. */
export function withBags<T>(vocabulary: Vocabulary, texts: readonly (readonly number[])[], use: (bags: Bags) => T): T {
  const { width, vectors, rarities } = vocabulary;
  const places = new Map<number, number>();
  for (const row of texts.flat()) if (!places.has(row)) places.set(row, places.size);
  const words = new Float32Array(places.size * (width + 1));
  for (const [row, place] of places) {
    words.set(vectors.subarray(row * width, (row + 1) * width), place * (width + 1));
    words[place * (width + 1) + width] = rarities[row]!;
  }
  const counts = new Float32Array(texts.length * places.size);
  texts.forEach((rows, text) => {
    for (const row of rows) counts[text * places.size + places.get(row)!]!++;
  });
  const bags = {
    words: tf.tensor2d(words, [places.size, width + 1]),
    counts: tf.tensor2d(counts, [texts.length, places.size]),
  };
  try {
    return use(bags);
  } finally {
    tf.dispose([bags.words, bags.counts]);
  }
}
