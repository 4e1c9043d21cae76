import * as tf from '@tensorflow/tfjs';
import { cosines, numbersOf } from '../network/tensors.js';

/** How far up each of some queries has what belongs to it, among what belongs to any of them. */
export interface Retrieval {
  /** Shares of queries that have it among the first 1, 5 and 10. */
  readonly top1: number;
  readonly top5: number;
  readonly top10: number;
  /** 1 is the best. */
  readonly medianRank: number;
}

/** What queries find. */
export interface Findings {
  readonly retrieval: Retrieval;
  /** The rank of what belongs to each query, from 1. */
  readonly ranks: readonly number[];
  /** The rows of keys that are most similar to each query, best first. */
  readonly found: readonly (readonly number[])[];
}

/** Rows of keys listed for each query. */
const LISTED = 5;

/** What queries [rows, width] find among keys [rows, width] by cosine similarity; row i belongs to row i. */
export function find(queries: tf.Tensor2D, keys: tf.Tensor2D): Findings {
  const [rows] = keys.shape;
  const table = cosines(queries, keys);
  const values = table.dataSync<'float32'>();
  const indices = numbersOf<'int32'>(() => tf.topk(table, Math.min(LISTED, rows)).indices);
  table.dispose();
  const listed = indices.length / rows;
  const ranks = Array.from({ length: rows }, (_, i) => {
    const own = values[i * rows + i]!;
    let rank = 1;
    for (let j = 0; j < rows; j++) if (values[i * rows + j]! > own) rank++;
    return rank;
  });
  return {
    retrieval: retrievalOf(ranks),
    ranks,
    found: ranks.map((_, i) => [...indices.subarray(i * listed, (i + 1) * listed)]),
  };
}

function retrievalOf(ranks: readonly number[]): Retrieval {
  const within = (k: number) => ranks.filter(rank => rank <= k).length / ranks.length;
  const sorted = [...ranks].sort((a, b) => a - b);
  const [lower, upper] = [sorted[(ranks.length - 1) >> 1]!, sorted[ranks.length >> 1]!];
  return { top1: within(1), top5: within(5), top10: within(10), medianRank: (lower + upper) / 2 };
}
