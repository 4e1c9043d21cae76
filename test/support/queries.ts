import type { InfoNCEProblem, Tensor } from 'infonce';
import { near, normal, scaled } from './random.js';

/** A problem of `infoNCE` on the host, its negatives of one kind. */
export type QueriesWith<Negatives> = Omit<
  InfoNCEProblem,
  'query' | 'positiveKey' | 'negativeKeys' | 'gradient' | 'gradOutput' | 'ranks'
> & {
  readonly query: Tensor;
  readonly positiveKey: Tensor;
  readonly negativeKeys: Negatives;
};

/** Random queries, keys near them, and negatives of a shape; shorter rows where they are not normalized. */
export function randomQueries(rows: number, dim: number, normalize = true) {
  const length = normalize ? 1 : 0.5;
  const query = scaled(normal([rows, dim], 1), length);
  return {
    query,
    positiveKey: scaled(near(query, 0.8, 2), length),
    negatives: (shape: readonly number[], seed = 3) => scaled(normal(shape, seed), length),
  };
}
