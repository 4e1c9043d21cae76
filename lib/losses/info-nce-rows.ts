import { InfoNCEError } from '../runtime/errors.js';
import { checkIdsTogether } from './duplicates.js';
import { checkNegativeCounts, refuseNegativeCounts } from './negative-counts.js';
import type { RowArray } from './plan.js';
import { checkBias, checkIds, checkTargets, firstOf } from './row-arrays.js';

/** Arrays of {@link infoNCE} with an entry for each row. */
export interface InfoNCERows {
  /**
   * [N]. For each query the row of `positiveKey` that is its positive; over a `group`, a row of all ranks' keys, one rank
   * after another. Queries may share a key. Default: the row of the same index.
   */
  readonly targets?: Int32Array | undefined;
  /** [N]. The item that each query belongs to. Any integers; rows of equal id are the same item. */
  readonly queryIds?: Int32Array | undefined;
  /** [K], for the rows of `positiveKey`. Absent: none of them is a duplicate. */
  readonly keyIds?: Int32Array | undefined;
  /** [M], for the rows of `negativeKeys`, those of a list one tensor after the other. Absent: none is a duplicate. */
  readonly negativeIds?: Int32Array | undefined;
  /**
   * [K]. Added to every logit of that key, also as the positive: −log q for the log-q correction of a sampled key.
   * `-Infinity` leaves a key out; for a query's positive it is refused. The gradient of the temperature ignores it.
   */
  readonly keyBias?: Float32Array | undefined;
  /** [M]. The same for the rows of `negativeKeys`, those of a list one tensor after the other. */
  readonly negativeBias?: Float32Array | undefined;
  /**
   * [N], for paired `negativeKeys`: how many of its M negatives each query has, 0 to M. The rows after them are not read,
   * and may hold NaN; their gradient is 0. Default: M.
   */
  readonly negativeCounts?: Int32Array | undefined;
}

/** The rows that the arrays belong to. */
export interface RowCounts {
  readonly queries: number;
  readonly keys: number;
  /** Undefined: there are no negatives. */
  readonly negatives: number | undefined;
  /** Of each query's own, where they are paired. */
  readonly each: number | undefined;
  readonly paired: boolean;
  readonly fromQueue: boolean;
  /** Whether other ranks have further keys, which targets may be. */
  readonly isShare: boolean;
}

/** The arrays after checking. */
export type CheckedRows = {
  readonly [name in keyof InfoNCERows]-?: RowArray<NonNullable<InfoNCERows[name]>> | undefined;
};

const NONE: CheckedRows = {
  targets: undefined,
  queryIds: undefined,
  keyIds: undefined,
  negativeIds: undefined,
  keyBias: undefined,
  negativeBias: undefined,
  negativeCounts: undefined,
};

function hasAny(rows: InfoNCERows): boolean {
  const { targets, queryIds, keyIds, negativeIds, keyBias, negativeBias, negativeCounts } = rows;
  const hasIds = queryIds !== undefined || keyIds !== undefined || negativeIds !== undefined;
  const hasBias = keyBias !== undefined || negativeBias !== undefined;
  return targets !== undefined || hasIds || hasBias || negativeCounts !== undefined;
}

/** Refuses what does not go together. `duplicates` is the option as given. */
export function checkRows(
  given: InfoNCERows,
  { queries, keys, negatives, each, paired, fromQueue, isShare }: RowCounts,
  duplicates: unknown,
  propagate: boolean,
): CheckedRows {
  if (duplicates !== 'exclude' && duplicates !== 'positive' && !hasAny(given)) return NONE;
  if (negatives === undefined) refuse(given, ['negativeIds', 'negativeBias'], 'nothing without negativeKeys');
  else if (paired) {
    const names = ['targets', 'queryIds', 'keyIds', 'negativeIds', 'negativeBias'] as const;
    refuse(given, names, "nothing with negativeMode 'paired'", "Pass the negatives as [M, D], every query's own.");
  } else if (fromQueue) {
    const remedy = 'The rows of a queue are in no order that is known. Pass them as a tensor [M, D].';
    refuse(given, ['negativeIds', 'negativeBias'], 'nothing with the rows of a NegativeQueue', remedy);
  }
  if (negatives === undefined || !paired) refuseNegativeCounts(given.negativeCounts);
  const ofNegatives = negatives ?? 0;
  const rows: CheckedRows = {
    targets: checkTargets(given.targets, 'targets', 'query', queries, {
      keys: 'positiveKey',
      count: isShare ? undefined : keys,
    }),
    queryIds: checkIds(given.queryIds, 'queryIds', 'query', queries),
    keyIds: checkIds(given.keyIds, 'keyIds', 'positiveKey', keys),
    negativeIds: checkIds(given.negativeIds, 'negativeIds', 'negativeKeys', ofNegatives),
    keyBias: checkBias(given.keyBias, 'keyBias', 'positiveKey', keys, propagate),
    negativeBias: checkBias(given.negativeBias, 'negativeBias', 'negativeKeys', ofNegatives, propagate),
    negativeCounts: checkNegativeCounts(given.negativeCounts, queries, each ?? 0),
  };
  const candidates = [
    { name: 'keyIds', ids: rows.keyIds },
    { name: 'negativeIds', ids: rows.negativeIds },
  ];
  checkIdsTogether({ name: 'queryIds', ids: rows.queryIds }, candidates, duplicates);
  if (!isShare || rows.targets === undefined) checkPositives(rows, queries);
  return rows;
}

function refuse(given: InfoNCERows, names: readonly (keyof InfoNCERows)[], expected: string, remedy?: string): void {
  const argument = names.find(name => given[name] !== undefined);
  if (argument === undefined) return;
  throw new InfoNCEError('ERR_INFONCE_RANGE', { argument, expected, got: 'an array', remedy });
}

/** A positive has a logit. */
function checkPositives({ targets, keyBias }: CheckedRows, queries: number): void {
  if (keyBias === undefined || firstOf(keyBias.data, bias => bias === Number.NEGATIVE_INFINITY) < 0) return;
  for (let query = 0; query < queries; query++) {
    const key = targets?.data[query] ?? query;
    if (keyBias.data[key] !== Number.NEGATIVE_INFINITY) continue;
    throw new InfoNCEError('ERR_INFONCE_RANGE', {
      argument: keyBias.name,
      expected: 'finite numbers for the positive keys of queries',
      got: `-Infinity at index ${key}, the positive key of query ${query}`,
      remedy: '-Infinity leaves a candidate out, and without its positive a query has no loss.',
    });
  }
}
