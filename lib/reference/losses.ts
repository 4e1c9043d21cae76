/**
 * Every loss in float64, written from the formulas: slow, plain, and accurate also where the loss is tiny. A loss is a
 * list of terms; a term compares one anchor with its candidates.
 */
import type { LossName } from '../losses/all.js';
import type { ClipProblem } from '../losses/clip.js';
import type { InfoNCEProblem } from '../losses/info-nce.js';
import type { NTXentProblem } from '../losses/nt-xent.js';
import type { SupConProblem } from '../losses/sup-con.js';
import type { Tensor } from '../runtime/host-tensor.js';
import type { TensorLike } from '../runtime/tensor.js';
import { range } from './row-losses.js';
import { evaluate, type ReferenceResult, type Term } from './terms.js';
import { type Operands, type Tower, tower } from './tower.js';

/** A problem whose inputs are float32 arrays of the host. */
export type OnHost<Problem> = {
  readonly [key in keyof Problem]: TensorLike extends Problem[key]
    ? Tensor | Extract<Problem[key], undefined>
    : Problem[key];
};

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
  const { nViews = 2, positives = 'first', temperature = 0.1 } = problem;
  const isLarge = positives === 'all' && nViews > LARGEST_SMALL_CLASS;
  const features = tower(problem.features, problem, isLarge ? NEXT_BETTER[operands] : operands);
  const samples = features.rows / nViews;
  const terms = range(features.rows).map(row => {
    const others = range(features.rows).filter(j => j !== row);
    const views = range(nViews).map(view => view * samples + (row % samples));
    const otherViews = views.filter(j => j !== row).map(j => others.indexOf(j));
    return {
      row,
      anchor: { tower: features, index: row },
      candidates: others.map(index => ({ tower: features, index })),
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
  const { temperature = 0.07, labels } = problem;
  const rows = problem.features.data.length / problem.features.shape.at(-1)!;
  const views = rows / labels.length;
  const labelOf = (row: number) => labels[Math.floor(row / views)];
  const isLarge = (row: number) =>
    range(rows).filter(other => labelOf(other) === labelOf(row)).length > LARGEST_SMALL_CLASS;
  const features = tower(problem.features, problem, range(rows).some(isLarge) ? NEXT_BETTER[operands] : operands);
  const remembered = memory && tower(memory.features, problem, operands);
  const terms = range(rows).map(row => {
    const others = range(rows).filter(j => j !== row);
    const labelled = [...others.map(labelOf), ...(memory?.labels ?? [])];
    const positives = range(labelled.length).filter(position => labelled[position] === labelOf(row));
    return {
      row,
      anchor: { tower: features, index: row },
      candidates: [
        ...others.map(index => ({ tower: features, index })),
        ...range(remembered?.rows ?? 0).map(index => ({ tower: remembered!, index })),
      ],
      positives,
      apart: positives.length < LARGEST_SMALL_CLASS ? positives : [],
    };
  });
  return evaluate(terms, features.rows, 1 / temperature, { gradFeatures: features }, 'gradTemperature', problem);
}

export function referenceInfoNCE(problem: OnHost<InfoNCEProblem>, operands: Operands = 'exact'): ReferenceResult {
  const query = tower(problem.query, problem, operands);
  const keys = tower(problem.positiveKey, problem, operands);
  const { temperature = 0.1, negativeMode = 'unpaired', negativeKeys, inBatch = negativeKeys === undefined } = problem;
  const towers: Record<string, Tower> = { gradQuery: query, gradPositiveKey: keys };
  let terms = inBatch ? everyKey(query, keys) : ownKey(query, keys);
  if (negativeKeys !== undefined) {
    const negatives = tower(negativeKeys, problem, operands);
    const paired = negativeMode === 'paired';
    const each = paired ? negatives.rows / query.rows : negatives.rows;
    towers.gradNegativeKeys = negatives;
    terms = terms.map(term => ({
      ...term,
      candidates: [
        ...term.candidates,
        ...range(each).map(j => ({ tower: negatives, index: paired ? term.row * each + j : j })),
      ],
      apart: paired ? range(1 + each) : term.apart,
    }));
  }
  return evaluate(terms, query.rows, 1 / temperature, towers, 'gradTemperature', problem);
}

export function referenceClip(problem: OnHost<ClipProblem>, operands: Operands = 'exact'): ReferenceResult {
  const image = tower(problem.imageFeatures, problem, operands);
  const text = tower(problem.textFeatures, problem, operands);
  const { logitScale = 1 / 0.07 } = problem;
  const terms = [...everyKey(image, text), ...everyKey(text, image)];
  const towers = { gradImageFeatures: image, gradTextFeatures: text };
  return evaluate(terms, image.rows, logitScale, towers, 'gradLogitScale', problem);
}

/** Every anchor against every key, key i being the positive of anchor i. */
function everyKey(anchors: Tower, keys: Tower): Term[] {
  return range(anchors.rows).map(row => ({
    row,
    anchor: { tower: anchors, index: row },
    candidates: range(keys.rows).map(index => ({ tower: keys, index })),
    positives: [row],
    apart: [row],
  }));
}

/** Every anchor against the key of the same index alone. */
function ownKey(anchors: Tower, keys: Tower): Term[] {
  return range(anchors.rows).map(row => ({
    row,
    anchor: { tower: anchors, index: row },
    candidates: [{ tower: keys, index: row }],
    positives: [0],
    apart: [0],
  }));
}

/** The reference of each loss, by its name. */
export const REFERENCES: {
  readonly [name in LossName]: (problem: never, operands?: Operands) => ReferenceResult;
} = { ntXent: referenceNTXent, infoNCE: referenceInfoNCE, clip: referenceClip, supCon: referenceSupCon };
