/**
 * Every loss in float64, written from the formulas: slow, plain, and accurate also where the loss is tiny. A loss is a
 * list of terms; a term compares one anchor with its candidates. That of pairs by themselves is in `sigmoid.ts`.
 */
import type { LossName } from '../losses/all.js';
import type { ClipProblem } from '../losses/clip.js';
import type { InfoNCEProblem } from '../losses/info-nce.js';
import type { NTXentProblem } from '../losses/nt-xent.js';
import type { SupConProblem } from '../losses/sup-con.js';
import type { Tensor } from '../runtime/host-tensor.js';
import { withDirections } from './directions.js';
import { range } from './row-losses.js';
import { referenceSigLip } from './sigmoid.js';
import { evaluate, type ReferenceResult, type Term } from './terms.js';
import { dot, joinTensors, type OnHost, type Operands, type Place, type Tower, tower } from './tower.js';

export type { OnHost };

/** Rows of earlier batches that SupCon compares with. */
export interface Memory {
  readonly features: Tensor;
  readonly labels: Int32Array;
}

const NEXT_BETTER: Readonly<Record<Operands, Operands>> = {
  bfloat16: 'two bfloat16',
  'two bfloat16': 'exact',
  exact: 'exact',
};

/** A larger class stays in the matrix, and takes the next better operands: within it, p − 1 / positives cancels. */
const LARGEST_SMALL_CLASS = 17;

export function referenceNTXent(problem: OnHost<NTXentProblem>, operands: Operands = 'exact'): ReferenceResult {
  const { nViews = 2, positives = 'first', temperature = 0.1, form = 'out' } = problem;
  const isLarge = positives === 'all' && nViews > LARGEST_SMALL_CLASS && form === 'out';
  const features = tower(problem.features, problem, isLarge ? NEXT_BETTER[operands] : operands);
  const samples = features.rows / nViews;
  const places = placesOf(features);
  const terms = range(features.rows).map(row => {
    const others = range(features.rows).filter(j => j !== row);
    const views = range(nViews).map(view => view * samples + (row % samples));
    const otherViews = views.filter(j => j !== row).map(j => others.indexOf(j));
    return {
      row,
      anchor: places[row]!,
      candidates: others.map(index => places[index]!),
      positives: positives === 'first' ? otherViews.slice(0, 1) : otherViews,
      apart: isLarge ? [] : otherViews,
    };
  });
  return evaluate(terms, features.rows, 1 / temperature, { gradFeatures: features }, 'gradTemperature', problem);
}

export function referenceSupCon(
  problem: OnHost<SupConProblem>,
  operands: Operands = 'exact',
  memory?: Memory,
): ReferenceResult {
  const { temperature = 0.07, labels, form = 'out' } = problem;
  const rows = problem.features.data.length / problem.features.shape.at(-1)!;
  const views = rows / labels.length;
  const labelOf = (row: number) => labels[Math.floor(row / views)];
  const isLarge = (row: number) =>
    form === 'out' && range(rows).filter(other => labelOf(other) === labelOf(row)).length > LARGEST_SMALL_CLASS;
  const features = tower(problem.features, problem, range(rows).some(isLarge) ? NEXT_BETTER[operands] : operands);
  const remembered = memory && tower(memory.features, problem, operands);
  const places = placesOf(features);
  const placesOfMemory = remembered ? placesOf(remembered) : [];
  const terms = range(rows).map(row => {
    const others = range(rows).filter(j => j !== row);
    const labelled = [...others.map(labelOf), ...(memory?.labels ?? [])];
    const positives = range(labelled.length).filter(position => labelled[position] === labelOf(row));
    return {
      row,
      anchor: places[row]!,
      candidates: [...others.map(index => places[index]!), ...placesOfMemory],
      positives,
      apart: positives.length < LARGEST_SMALL_CLASS || form === 'in' ? positives : [],
    };
  });
  return evaluate(terms, features.rows, 1 / temperature, { gradFeatures: features }, 'gradTemperature', problem);
}

export function referenceInfoNCE(problem: OnHost<InfoNCEProblem>, operands: Operands = 'exact'): ReferenceResult {
  const query = tower(problem.query, problem, operands);
  const keys = tower(problem.positiveKey, problem, operands);
  const { temperature = 0.1, negativeMode = 'unpaired', negativeKeys, inBatch = negativeKeys === undefined } = problem;
  const { targets, duplicates = 'exclude', keyBias, negativeBias, detach = [], negativeCounts, hardness } = problem;
  const areOwn = Array.isArray(negativeKeys); // row j is query j mod N's own
  const negatives = negativeKeys && tower(withoutRest(joinTensors(negativeKeys), negativeCounts), problem, operands);
  const isOwn = (row: number, j: number) => paired || (areOwn && j % query.rows === row);
  const closeTo = closeOf(problem, query, keys, negatives);
  const paired = negativeMode === 'paired' && negatives !== undefined;
  const each = negatives === undefined ? 0 : negatives.rows / (paired ? query.rows : 1);
  const terms = range(query.rows).map(row => {
    const target = targets?.[row] ?? row;
    const isDuplicate = (ids: Int32Array | undefined, j: number) =>
      duplicates !== 'negative' && ids !== undefined && ids[j] === problem.queryIds?.[row];
    const isClose = closeTo(row, target);
    const isCandidate = (ids: Int32Array | undefined, bias: Float32Array | undefined) => (j: number) =>
      bias?.[j] !== Number.NEGATIVE_INFINITY && (duplicates === 'positive' || !isDuplicate(ids, j));
    const isKey = isCandidate(problem.keyIds, keyBias);
    const rowsOfKeys = range(keys.rows).filter(
      j => j === target || (inBatch && isKey(j) && !isClose('positiveKey', j)),
    );
    const rowsOfNegatives = range(negativeCounts?.[row] ?? each)
      .map(j => (paired ? row * each + j : j))
      .filter(isCandidate(problem.negativeIds, negativeBias))
      .filter(j => !isClose('negativeKeys', j));
    const positive = rowsOfKeys.indexOf(target);
    const candidates = [
      ...rowsOfKeys.map(index => ({ tower: keys, index, bias: keyBias?.[index] ?? 0 })),
      ...rowsOfNegatives.map(index => ({ tower: negatives!, index, bias: negativeBias?.[index] ?? 0 })),
    ];
    const unranked = range(candidates.length).filter(j => {
      const isKeyAt = j < rowsOfKeys.length;
      return j !== positive && isDuplicate(isKeyAt ? problem.keyIds : problem.negativeIds, candidates[j]!.index);
    });
    const positives = [positive, ...unranked];
    const isOwnAt = (j: number) => candidates[j]!.tower === negatives && isOwn(row, candidates[j]!.index);
    const areApart = paired || (areOwn && hardness !== undefined && hardness.mode !== 'all');
    const apart = [...positives, ...(areApart ? range(candidates.length).filter(isOwnAt) : [])];
    const stretches = candidates.map((_, j) => {
      const modes = ['all', isOwnAt(j) ? 'hard' : 'inBatch'];
      return j !== positive && hardness !== undefined && modes.includes(hardness.mode) ? hardness.strength : 0;
    });
    return { row, anchor: { tower: query, index: row }, candidates, positives, apart, unranked, stretches };
  });
  const towers: Record<string, Tower> = { gradQuery: query };
  if (!detach.includes('positiveKey')) towers.gradPositiveKey = keys;
  if (negatives !== undefined && !detach.includes('negativeKeys')) towers.gradNegativeKeys = negatives;
  const all = withDirections(terms, { query, keys, negatives, areOwn }, problem);
  return evaluate(all, query.rows, 1 / temperature, towers, 'gradTemperature', problem);
}

function placesOf(of: Tower): Place[] {
  return range(of.rows).map(index => ({ tower: of, index }));
}

/** Whether a candidate's cosine is above the threshold of its query, by the rows of the loss or of a guide. */
function closeOf(problem: OnHost<InfoNCEProblem>, query: Tower, keys: Tower, negatives: Tower | undefined) {
  const { falseNegatives } = problem;
  const { margin = 0, strategy = 'absolute', guide } = falseNegatives ?? {};
  const towerOf = (rows: unknown) => tower(rows as Tensor, {}, 'exact');
  const towers = guide
    ? {
        query: towerOf(guide.query),
        positiveKey: towerOf(guide.positiveKey),
        negativeKeys: guide.negativeKeys && towerOf(guide.negativeKeys),
      }
    : { query, positiveKey: keys, negativeKeys: negatives };
  return (row: number, target: number) => {
    if (falseNegatives === undefined) return () => false;
    const anchor = { tower: towers.query, index: row };
    const positive = dot(anchor, { tower: towers.positiveKey, index: target });
    const most = positive - (strategy === 'relative' ? Math.abs(positive) * margin : margin);
    return (of: 'positiveKey' | 'negativeKeys', index: number) => dot(anchor, { tower: towers[of]!, index }) > most;
  };
}

/** Zeros in place of the rows that are not there: nobody reads them. */
function withoutRest(negatives: Tensor, counts: Int32Array | undefined): Tensor {
  if (counts === undefined) return negatives;
  const [, each, dim] = negatives.shape as [number, number, number];
  const isThere = (row: number) => row % each < counts[Math.floor(row / each)]!;
  return { ...negatives, data: negatives.data.map((value, k) => (isThere(Math.floor(k / dim)) ? value : 0)) };
}

export function referenceClip(problem: OnHost<ClipProblem>, operands: Operands = 'exact'): ReferenceResult {
  const image = tower(problem.imageFeatures, problem, operands);
  const text = tower(problem.textFeatures, problem, operands);
  const { logitScale = 1 / 0.07 } = problem;
  const { imageIds, textIds, duplicates = 'exclude' } = problem;
  const isDuplicate = (i: number, t: number) =>
    duplicates !== 'negative' && i !== t && imageIds !== undefined && imageIds[i] === textIds?.[t];
  const arePositives = duplicates === 'positive';
  const negatives = problem.negativeTexts && tower(problem.negativeTexts, problem, operands);
  const terms = [
    ...everyKey(image, text, isDuplicate, arePositives).map(term => ({
      ...term,
      candidates: [...term.candidates, ...range(negatives?.rows ?? 0).map(index => ({ tower: negatives!, index }))],
    })),
    ...everyKey(text, image, (row, j) => isDuplicate(j, row), arePositives),
  ];
  const towers = {
    gradImageFeatures: image,
    gradTextFeatures: text,
    ...(negatives && { gradNegativeTexts: negatives }),
  };
  return evaluate(terms, image.rows, logitScale, towers, 'gradLogitScale', problem);
}

/**
 * Every anchor against every key, key i being the positive of anchor i. Duplicates are further positives where
 * `arePositives`, else no candidates.
 */
function everyKey(
  anchors: Tower,
  keys: Tower,
  isDuplicate: (anchor: number, key: number) => boolean,
  arePositives: boolean,
): Term[] {
  const places = placesOf(keys);
  return range(anchors.rows).map(row => {
    const indices = range(keys.rows).filter(index => arePositives || !isDuplicate(row, index));
    const unranked = range(indices.length).filter(j => isDuplicate(row, indices[j]!));
    const positives = [indices.indexOf(row), ...unranked];
    return {
      row,
      anchor: { tower: anchors, index: row },
      candidates: indices.map(index => places[index]!),
      positives,
      apart: positives,
      unranked,
    };
  });
}

/** The reference of each loss, by its name. */
export const REFERENCES: {
  readonly [name in LossName]: (problem: never, operands?: Operands) => ReferenceResult;
} = {
  ntXent: referenceNTXent,
  infoNCE: referenceInfoNCE,
  clip: referenceClip,
  supCon: referenceSupCon,
  sigLip: referenceSigLip,
};
