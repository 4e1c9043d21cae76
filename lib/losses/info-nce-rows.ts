/** What {@link infoNCE} takes beside its rows: targets, ids and biases. */
import { InfoNCEError } from '../runtime/errors.js';
import type { InfoNCERows } from './info-nce.js';
import type { RowArray } from './plan.js';
import { checkBias, checkIds, checkTargets } from './row-arrays.js';

/** The rows that the arrays belong to. */
export interface RowCounts {
  readonly queries: number;
  readonly keys: number;
  /** Undefined: there are no negatives. */
  readonly negatives: number | undefined;
  readonly paired: boolean;
  readonly fromQueue: boolean;
}

/** The arrays after checking. */
export type CheckedRows = {
  readonly [name in keyof InfoNCERows]-?: RowArray<NonNullable<InfoNCERows[name]>> | undefined;
};

const NAMES = ['targets', 'queryIds', 'keyIds', 'negativeIds', 'keyBias', 'negativeBias'] as const;
const NONE = Object.fromEntries(NAMES.map(name => [name, undefined])) as CheckedRows;

/** Refuses what does not go together. `excludes`: `duplicates: 'exclude'` was asked for. */
export function checkRows(
  given: InfoNCERows,
  { queries, keys, negatives, paired, fromQueue }: RowCounts,
  { excludes, propagate }: { readonly excludes: boolean; readonly propagate: boolean },
): CheckedRows {
  if (!excludes && NAMES.every(name => given[name] === undefined)) return NONE;
  if (negatives === undefined) refuse(given, ['negativeIds', 'negativeBias'], 'nothing without negativeKeys');
  else if (paired) {
    const names = ['targets', 'queryIds', 'keyIds', 'negativeIds', 'negativeBias'] as const;
    refuse(given, names, "nothing with negativeMode 'paired'", "Pass the negatives as [M, D], every query's own.");
  } else if (fromQueue) {
    const remedy = 'The rows of a queue are in no order that is known. Pass them as a tensor [M, D].';
    refuse(given, ['negativeIds', 'negativeBias'], 'nothing with the rows of a NegativeQueue', remedy);
  }
  const ofNegatives = negatives ?? 0;
  const rows: CheckedRows = {
    targets: checkTargets(given.targets, 'targets', 'query', queries, { keys: 'positiveKey', count: keys }),
    queryIds: checkIds(given.queryIds, 'queryIds', 'query', queries),
    keyIds: checkIds(given.keyIds, 'keyIds', 'positiveKey', keys),
    negativeIds: checkIds(given.negativeIds, 'negativeIds', 'negativeKeys', ofNegatives),
    keyBias: checkBias(given.keyBias, 'keyBias', 'positiveKey', keys, propagate),
    negativeBias: checkBias(given.negativeBias, 'negativeBias', 'negativeKeys', ofNegatives, propagate),
  };
  checkIdsTogether(rows, excludes);
  checkPositives(rows, queries);
  return rows;
}

function refuse(given: InfoNCERows, names: readonly (keyof InfoNCERows)[], expected: string, remedy?: string): void {
  const argument = names.find(name => given[name] !== undefined);
  if (argument === undefined) return;
  throw new InfoNCEError('ERR_INFONCE_RANGE', { argument, expected, got: 'an array', remedy });
}

/** Ids are compared: those of queries with those of candidates. */
function checkIdsTogether({ queryIds, keyIds, negativeIds }: CheckedRows, excludes: boolean): void {
  const candidates = keyIds ?? negativeIds;
  if (queryIds !== undefined && candidates !== undefined) return;
  if (queryIds === undefined && candidates === undefined && !excludes) return;
  const argument = queryIds === undefined ? 'queryIds' : 'keyIds';
  throw new InfoNCEError('ERR_INFONCE_TYPE', {
    argument,
    expected: `an Int32Array with ${candidates?.name ?? queryIds?.name ?? "duplicates: 'exclude'"}`,
    got: 'undefined',
    remedy: 'Duplicates are candidates of the id of the query: pass queryIds, and keyIds or negativeIds.',
  });
}

/** A positive has a logit. */
function checkPositives({ targets, keyBias }: CheckedRows, queries: number): void {
  if (!keyBias?.data.includes(Number.NEGATIVE_INFINITY)) return;
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
