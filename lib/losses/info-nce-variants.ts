import type { Variant } from './loss.js';
import { randomIds } from './row-arrays.js';

type Random = () => number;

const unpaired = (_rows: number, negatives: number, dim: number) => ({ negativeKeys: [negatives, dim] });

/** About as large as logits differ; every third is left out where `leavesOut`. */
function biases(count: number, random: Random, leavesOut: boolean): Float32Array {
  const bias = () => 4 * random() - 2;
  return Float32Array.from({ length: count }, (_, j) => (leavesOut && j % 3 === 2 ? Number.NEGATIVE_INFINITY : bias()));
}

function randomIdsOf(rows: number, negatives: number, random: Random) {
  const items = Math.ceil((2 * (rows + negatives)) / 3);
  return {
    queryIds: randomIds(rows, items, random),
    keyIds: randomIds(rows, items, random),
    negativeIds: randomIds(negatives, items, random),
  };
}

/** More keys than queries. */
const keysOf = (rows: number) => rows + 3;

/** Rows of a guide in which an item is an axis: cosines are 0 and 1, which no rounding takes across a threshold. */
function guideRows(count: number, random: Random) {
  const axes = 4;
  const data = new Float32Array(count * axes);
  for (const [row, item] of randomIds(count, axes, random).entries()) data[row * axes + item] = 1 + random();
  return { data, shape: [count, axes] };
}

/** The ways of asking for {@link infoNCE} that are computed differently. */
export const VARIANTS: readonly Variant[] = [
  { name: 'in-batch' },
  { name: 'unpaired', options: { negativeMode: 'unpaired' }, shapes: unpaired },
  { name: 'in-batch and unpaired', options: { inBatch: true }, shapes: unpaired },
  {
    name: 'smoothed, with a margin',
    options: { inBatch: true, margin: 0.2, labelSmoothing: 0.1 },
    shapes: unpaired,
  },
  {
    name: 'paired',
    options: { negativeMode: 'paired' },
    shapes: (rows, negatives, dim) => ({ negativeKeys: [rows, negatives, dim] }),
  },
  {
    name: 'in-batch and paired',
    options: { negativeMode: 'paired', inBatch: true },
    shapes: (rows, negatives, dim) => ({ negativeKeys: [rows, negatives, dim] }),
  },
  {
    name: 'all directions',
    options: { inBatch: true, directions: ['queryToKey', 'keyToQuery', 'queryToQuery', 'keyToKey'] },
    shapes: unpaired,
  },
  {
    name: 'each direction by itself',
    options: { inBatch: true, directions: ['queryToKey', 'keyToQuery'], partition: 'perDirection' },
    shapes: unpaired,
  },
  { name: 'with hardness', options: { inBatch: true, hardness: { mode: 'all', strength: 5 } }, shapes: unpaired },
  {
    name: 'ids',
    options: { inBatch: true, duplicates: 'exclude' },
    shapes: unpaired,
    rowArrays: randomIdsOf,
  },
  {
    name: 'ids of further positives',
    options: { inBatch: true, duplicates: 'positive' },
    shapes: unpaired,
    rowArrays: randomIdsOf,
  },
  {
    name: 'false negatives by a guide',
    options: { inBatch: true },
    shapes: unpaired,
    // Where the positive is of another item, candidates of the query's own are left out.
    rowArrays: (rows, negatives, random) => ({
      falseNegatives: {
        margin: -0.5,
        guide: {
          query: guideRows(rows, random),
          positiveKey: guideRows(rows, random),
          negativeKeys: guideRows(negatives, random),
        },
      },
    }),
  },
  {
    name: 'biases',
    options: { inBatch: true },
    shapes: unpaired,
    rowArrays: (rows, negatives, random) => ({
      keyBias: biases(rows, random, false),
      negativeBias: biases(negatives, random, true),
    }),
  },
  {
    name: 'targets',
    options: { inBatch: true },
    shapes: (rows, _negatives, dim) => ({ positiveKey: [keysOf(rows), dim] }),
    rowArrays: (rows, _negatives, random) => ({ targets: randomIds(rows, keysOf(rows), random) }),
  },
];
