import { checkInt32Array } from '../runtime/arrays.js';
import { InfoNCEError } from '../runtime/errors.js';
import type { RowArray } from './plan.js';

/** Checks how many of its `most` negatives each of the `rows` queries has. */
export function checkNegativeCounts(counts: unknown, rows: number, most: number): RowArray<Int32Array> | undefined {
  if (counts === undefined) return undefined;
  checkInt32Array(counts, 'negativeCounts');
  if (counts.length !== rows) {
    throw new InfoNCEError('ERR_INFONCE_SHAPE', {
      argument: 'negativeCounts.length',
      expected: `${rows}, one count for each query`,
      got: String(counts.length),
    });
  }
  const bad = counts.findIndex(count => count < 0 || count > most);
  if (bad < 0) return { name: 'negativeCounts', data: counts };
  throw new InfoNCEError('ERR_INFONCE_RANGE', {
    argument: `negativeCounts[${bad}]`,
    expected: `0 to ${most}, the rows of negativeKeys[${bad}]`,
    got: String(counts[bad]),
    remedy: 'It is how many of these rows are there; what the others hold is not read.',
  });
}

/** Refuses counts with negatives that are not each query's own. */
export function refuseNegativeCounts(counts: unknown): void {
  if (counts === undefined) return;
  throw new InfoNCEError('ERR_INFONCE_RANGE', {
    argument: 'negativeCounts',
    expected: "none without negativeKeys [N, M, D] and negativeMode 'paired'",
    got: 'some',
    remedy: "Negatives [M, D] are every query's: leave out the rows that are not there.",
  });
}
