import { clipLoss } from '../../../losses/clip.js';
import { infoNCELoss } from '../../../losses/info-nce.js';
import { runAsync } from '../../../losses/run.js';
import type { Context } from '../../../runtime/handles.js';
import { type Numbers, tensorOf } from '../matrix.js';

/** Rows that are compared: rows of `dim` numbers, scaled to unit length unless `normalize` is false. */
export interface Comparison {
  readonly dim: number;
  readonly normalize: boolean;
  readonly context: Context;
}

/**
 * Of each query, how many candidates are closer to it than its positive, row i of `positives`. Equal rows are equally
 * close, so the positive may be among the candidates, and counts of parts of the candidates add up.
 */
export async function countAbove(
  queries: Numbers,
  positives: Numbers,
  candidates: Numbers,
  comparison: Comparison,
): Promise<Int32Array> {
  const { dim } = comparison;
  const above = new Int32Array(queries.length / dim);
  const problem = {
    query: rowsOf(queries, dim),
    positiveKey: rowsOf(positives, dim),
    negativeKeys: rowsOf(candidates, dim),
    temperature: 1,
    ...optionsOf(comparison),
  };
  await runAsync(infoNCELoss.describe(problem), { context: comparison.context }, [above]);
  return above;
}

/** The same both ways, where row i of each is the other's positive and all others are candidates. */
export async function countBothWays(
  first: Numbers,
  second: Numbers,
  comparison: Comparison,
): Promise<readonly [first: Int32Array, second: Int32Array]> {
  const { dim } = comparison;
  const above = [new Int32Array(first.length / dim), new Int32Array(second.length / dim)] as const;
  const problem = {
    imageFeatures: rowsOf(first, dim),
    textFeatures: rowsOf(second, dim),
    logitScale: 1,
    ...optionsOf(comparison),
  };
  await runAsync(clipLoss.describe(problem), { context: comparison.context }, above);
  return above;
}

const rowsOf = (numbers: Numbers, dim: number) => tensorOf(numbers, numbers.length / dim, dim);

const optionsOf = ({ normalize }: Comparison) => ({ normalize, gradient: false });
