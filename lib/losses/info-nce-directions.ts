/** The directions of an {@link infoNCE}: which rows are anchors, and which are their candidates. */
import { describeValue, InfoNCEError } from '../runtime/errors.js';
import { checkChoice } from '../runtime/options.js';
import type { Block, Threshold } from './form.js';
import type { Stretches } from './hardness.js';
import type { CheckedRows } from './info-nce-rows.js';
import { refuseBeside } from './row-loss.js';

/** A direction of {@link infoNCE}: the logits of the first kind of row with the second. */
export type Direction = 'queryToKey' | 'keyToQuery' | 'queryToQuery' | 'keyToKey';

/** Whether all directions share one denominator, or each has its own. */
export type Partition = 'joint' | 'perDirection';

/** The directions besides `'queryToKey'`, and how they are combined. */
export interface Directions {
  readonly keyToQuery: boolean;
  readonly queryToQuery: boolean;
  readonly keyToKey: boolean;
  readonly perDirection: boolean;
  /** Whether there is any. */
  readonly any: boolean;
}

const DIRECTIONS = ['queryToKey', 'keyToQuery', 'queryToQuery', 'keyToKey'] as const;
const PARTITIONS = ['joint', 'perDirection'] as const;
/** Queries look for keys alone. */
export const ONE_WAY: Directions = {
  keyToQuery: false,
  queryToQuery: false,
  keyToKey: false,
  perDirection: false,
  any: false,
};

/** Checks the options `directions` and `partition`. */
export function checkDirections(directions: unknown, partition: unknown): Directions {
  const perDirection = checkChoice(partition, 'partition', PARTITIONS) === 'perDirection';
  if (directions === undefined) return perDirection ? { ...ONE_WAY, perDirection } : ONE_WAY;
  if (!Array.isArray(directions)) {
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: 'directions',
      expected: 'an array of directions',
      got: describeValue(directions),
      remedy: typeof directions === 'string' ? `Write directions: ['${directions}'].` : undefined,
    });
  }
  const given = new Set(Array.from(directions, checkDirection));
  if (!given.has('queryToKey')) {
    throw new InfoNCEError('ERR_INFONCE_RANGE', {
      argument: 'directions',
      expected: "'queryToKey' among them",
      got: describeList(directions),
      remedy: "It has the positives. Add 'queryToKey'.",
    });
  }
  const sameSide = (['queryToQuery', 'keyToKey'] as const).find(direction => given.has(direction));
  if (perDirection && sameSide !== undefined) {
    throw new InfoNCEError('ERR_INFONCE_RANGE', {
      argument: 'partition',
      expected: `'joint' with direction '${sameSide}'`,
      got: "'perDirection'",
      remedy: `'${sameSide}' has no positive, so it has no loss of its own.`,
    });
  }
  return {
    keyToQuery: given.has('keyToQuery'),
    queryToQuery: given.has('queryToQuery'),
    keyToKey: given.has('keyToKey'),
    perDirection,
    any: given.size > 1,
  };
}

function checkDirection(value: unknown, index: number): Direction {
  if (value !== undefined) return checkChoice(value, `directions[${index}]`, DIRECTIONS);
  throw new InfoNCEError('ERR_INFONCE_TYPE', {
    argument: `directions[${index}]`,
    expected: `one of ${describeList(DIRECTIONS)}`,
    got: 'undefined',
  });
}

function describeList(values: readonly unknown[]): string {
  return values.length === 0 ? 'an empty array' : values.map(value => `'${value}'`).join(', ');
}

/** Refuses what other directions than `'queryToKey'` do not go with. */
export function refuseWithDirections(
  directions: Directions,
  { targets, keyBias, negativeBias }: CheckedRows,
  { paired, inBatch, labelSmoothing }: { paired: boolean; inBatch: boolean; labelSmoothing: number },
): void {
  if (!directions.any) return;
  const other = `direction '${DIRECTIONS.find(name => name !== 'queryToKey' && directions[name])}'`;
  if (targets !== undefined) {
    refuseBeside('targets', 'an array', other, 'There a key has one query, that of its index.');
  }
  const bias = keyBias ?? negativeBias;
  if (bias !== undefined) refuseBeside(bias.name, 'an array', other, 'A bias belongs to keys that queries look for.');
  if (labelSmoothing > 0) {
    refuseBeside('labelSmoothing', String(labelSmoothing), other, 'Leave out either.');
  }
  if (!inBatch) {
    throw new InfoNCEError('ERR_INFONCE_RANGE', {
      argument: 'inBatch',
      expected: `true with ${other}`,
      got: 'false',
      remedy: 'Pass inBatch: true. With negativeKeys it is false by default.',
    });
  }
  if (paired && directions.keyToKey) {
    refuseBeside('negativeMode', "'paired'", "direction 'keyToKey'", 'Pass the negatives as a list of tensors [N, D].');
  }
}

/** What the blocks of all directions leave out and stretch. */
export interface DirectionsForm {
  readonly directions: Directions;
  /** Whether pairs of equal id are left out. */
  readonly queryIds: boolean;
  /** How; further positives are for no other direction. */
  readonly byId: 'sameId' | 'sameIdPositive';
  readonly keyIds: boolean;
  readonly negativeIds: boolean;
  /** Of each matrix of negatives that every query sees, whether each row is some query's own. */
  readonly negatives: readonly boolean[];
  readonly stretches: Stretches;
  /** Of the queries' logits, without other directions. */
  readonly threshold: Threshold | undefined;
}

const QUERIES = 0;
const KEYS = 1;
const NEGATIVES = 2;

/** The blocks of a query's logits with the keys, and of all other directions. */
export function blocksOfDirections(of: DirectionsForm): Block[] {
  const { keyToQuery, queryToQuery, keyToKey, perDirection } = of.directions;
  const { others } = of.stretches;
  const { threshold } = of;
  const backwards = perDirection ? 1 : 0;
  const leftOut = of.keyIds ? of.byId : undefined;
  const toKeys: Block = { anchors: QUERIES, candidates: KEYS, rowSoftmax: 0, leftOut, stretch: others, threshold };
  const blocks: Block[] = [];
  // Hardness is of the queries' logits alone: those of the keys are computed apart.
  if (keyToQuery && others > 0) {
    blocks.push(toKeys, { anchors: KEYS, candidates: QUERIES, rowSoftmax: backwards, leftOut });
  } else {
    blocks.push(keyToQuery ? { ...toKeys, columnSoftmax: backwards } : toKeys);
  }
  const among = (matrix: number, byId: boolean): Block => ({
    anchors: matrix,
    candidates: matrix,
    rowSoftmax: 0,
    columnSoftmax: 0,
    leftOut: byId ? 'sameRowOrId' : 'sameRow',
  });
  if (queryToQuery) blocks.push(among(QUERIES, of.queryIds));
  if (!keyToKey) return blocks;
  blocks.push(among(KEYS, of.keyIds));
  of.negatives.forEach((areOwn, k) => {
    const byId = of.keyIds && of.negativeIds;
    const own = byId ? 'ownOrSameId' : 'own';
    const leftOut = areOwn ? own : byId ? 'sameId' : undefined;
    blocks.push({ anchors: KEYS, candidates: NEGATIVES + k, rowSoftmax: 0, leftOut });
  });
  return blocks;
}
