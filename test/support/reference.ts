/**
 * Every loss in float64, written from the formulas: slow, plain, and accurate also where the loss is tiny. A loss is a
 * list of terms; a term compares one anchor with its candidates.
 */
import type {
  ClipProblem,
  CommonOptions,
  InfoNCEProblem,
  NTXentProblem,
  SupConProblem,
  Tensor,
  TensorLike,
} from 'infonce';

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

/** The rows of one input, and the gradient that gathers on them. */
interface Tower {
  readonly rows: number;
  readonly dim: number;
  /** What the logits are made of: rows of unit length, or as they came. */
  readonly unit: Float64Array;
  /** The same as the parts that a level of precision reads, for the logits that it takes from the matrix. */
  readonly parts: readonly Float64Array[];
  readonly normalized: boolean;
  /** Lengths of the rows as they came. */
  readonly norm: Float64Array;
  /** d loss / d unit. */
  readonly grad: Float64Array;
  /** For each row the lengths of the vectors added up in `grad`, added up. */
  readonly terms: Float64Array;
}

interface Place {
  readonly tower: Tower;
  readonly index: number;
}

/** One anchor, its denominator, and the positions of its positives in that. It counts in the loss of `row`. */
interface Term {
  readonly row: number;
  readonly anchor: Place;
  readonly candidates: readonly Place[];
  readonly positives: readonly number[];
  /** The positions of those that no level of precision takes from the matrix, but treats one by one. */
  readonly apart: readonly number[];
}

/**
 * What a level of precision makes of unit rows: nothing, the nearest bfloat16 number (one product), or that and what it
 * leaves (three products: all but that of the two smallest parts). Below temperature 0.05 that alone moves a result by
 * more than the level's bound; beyond it there is no excuse.
 */
export type Operands = 'exact' | 'two bfloat16' | 'bfloat16';

const NEXT_BETTER: Readonly<Record<Operands, Operands>> = {
  bfloat16: 'two bfloat16',
  'two bfloat16': 'exact',
  exact: 'exact',
};

/** A larger class stays in the matrix, and takes the next better operands: within it, p − 1 / positives cancels. */
const LARGEST_SMALL_CLASS = 17;

export interface ReferenceGradient {
  readonly values: Float64Array;
  /** How long the gradient would be if nothing in it cancelled. */
  readonly terms: number;
}

export interface ReferenceResult {
  readonly loss: Float64Array;
  readonly top1: number;
  readonly top5: number;
  /** One for each input, and that of the scale or temperature, under the library's names. */
  readonly gradients: Readonly<Record<string, ReferenceGradient>>;
}

const SMALLEST_NORM = 1e-12;

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
  const { temperature = 0.1, negativeMode = 'unpaired', negativeKeys } = problem;
  const towers: Record<string, Tower> = { gradQuery: query, gradPositiveKey: keys };
  let terms: Term[];
  if (negativeKeys === undefined) {
    terms = inBatch(query, keys);
  } else {
    const negatives = tower(negativeKeys, problem, operands);
    const each = negativeMode === 'paired' ? negatives.rows / query.rows : negatives.rows;
    towers.gradNegativeKeys = negatives;
    terms = range(query.rows).map(row => ({
      row,
      anchor: { tower: query, index: row },
      candidates: [
        { tower: keys, index: row },
        ...range(each).map(j => ({ tower: negatives, index: negativeMode === 'paired' ? row * each + j : j })),
      ],
      positives: [0],
      apart: negativeMode === 'paired' ? range(1 + each) : [0],
    }));
  }
  return evaluate(terms, query.rows, 1 / temperature, towers, 'gradTemperature', problem);
}

export function referenceClip(problem: OnHost<ClipProblem>, operands: Operands = 'exact'): ReferenceResult {
  const image = tower(problem.imageFeatures, problem, operands);
  const text = tower(problem.textFeatures, problem, operands);
  const { logitScale = 1 / 0.07 } = problem;
  const terms = [...inBatch(image, text), ...inBatch(text, image)];
  const towers = { gradImageFeatures: image, gradTextFeatures: text };
  return evaluate(terms, image.rows, logitScale, towers, 'gradLogitScale', problem);
}

/** Every anchor against every key, key i being the positive of anchor i. */
function inBatch(anchors: Tower, keys: Tower): Term[] {
  return range(anchors.rows).map(row => ({
    row,
    anchor: { tower: anchors, index: row },
    candidates: range(keys.rows).map(index => ({ tower: keys, index })),
    positives: [row],
    apart: [row],
  }));
}

function evaluate(
  terms: readonly Term[],
  rows: number,
  scale: number,
  towers: Readonly<Record<string, Tower>>,
  scalarName: 'gradTemperature' | 'gradLogitScale',
  options: CommonOptions,
): ReferenceResult {
  const { reduction = 'mean', gradOutput = 1 } = options;
  const share = rows / terms.length;
  const rowLoss = new Float64Array(rows);
  let gradScale = 0;
  let gradScaleTerms = 0;
  let foundFirst = 0;
  let foundInFive = 0;
  for (const { row, anchor, candidates, positives, apart } of terms) {
    if (positives.length === 0) continue;
    const cosines = candidates.map(candidate => dot(anchor, candidate));
    const logits = cosines.map(cosine => scale * cosine);
    if (anchor.tower.parts.length > 0) {
      const matrix = range(candidates.length).filter(position => !apart.includes(position));
      for (const position of matrix) logits[position] = scale * dotOfParts(anchor, candidates[position]!);
    }
    const exact = positives.map(positive => scale * cosines[positive]!);
    rowLoss[row]! += share * meanOf(positives.map((positive, i) => crossEntropy(logits, positive, exact[i]!)));

    const better = cosines.filter(cosine => cosine > cosines[positives[0]!]!).length;
    if (better < 1) foundFirst++;
    if (better < 5) foundInFive++;

    const given = typeof gradOutput === 'number' ? gradOutput : gradOutput[gradOutput.length === 1 ? 0 : row]!;
    const upstream = share * given * (reduction === 'mean' ? 1 / rows : 1);
    slopes(logits, positives).forEach(({ slope, terms }, j) => {
      const candidate = candidates[j]!;
      accumulate(anchor, upstream * scale * slope, upstream * scale * terms, candidate);
      accumulate(candidate, upstream * scale * slope, upstream * scale * terms, anchor);
      gradScale += upstream * slope * cosines[j]!;
      gradScaleTerms += Math.abs(upstream * terms * cosines[j]!);
    });
  }
  const total = rowLoss.reduce((sum, value) => sum + value, 0);
  const chain = scalarName === 'gradTemperature' ? -scale * scale : 1;
  const gradients: Record<string, ReferenceGradient> = {
    [scalarName]: { values: Float64Array.of(chain * gradScale), terms: Math.abs(chain) * gradScaleTerms },
  };
  for (const [name, tower] of Object.entries(towers)) gradients[name] = throughNormalisation(tower);
  return {
    loss: reduction === 'none' ? rowLoss : Float64Array.of(reduction === 'sum' ? total : total / rows),
    top1: foundFirst / terms.length,
    top5: foundInFive / terms.length,
    gradients,
  };
}

/** log Σ_j exp(s_j) − `exact`, the positive's logit, without cancellation when that is by far the largest. */
function crossEntropy(logits: readonly number[], positive: number, exact: number): number {
  const differences = logits.filter((_, j) => j !== positive).map(logit => logit - logits[positive]!);
  const largest = Math.max(0, ...differences);
  const sum = differences.reduce((total, difference) => total + Math.exp(difference - largest), 0);
  const loss = largest === 0 ? Math.log1p(sum) : largest + Math.log(Math.exp(-largest) + sum);
  return loss + (logits[positive]! - exact);
}

/** d loss / d s_j = softmax_j − [j is one of P positives] / P, and the sum of the two instead of the difference. */
function slopes(logits: readonly number[], positives: readonly number[]): { slope: number; terms: number }[] {
  const largest = Math.max(...logits);
  const exponentials = logits.map(logit => Math.exp(logit - largest));
  const sum = exponentials.reduce((total, value) => total + value, 0);
  return exponentials.map((value, j) => {
    const softmax = value / sum;
    if (!positives.includes(j)) return { slope: softmax, terms: softmax };
    if (positives.length > 1) return { slope: softmax - 1 / positives.length, terms: softmax + 1 / positives.length };
    // softmax − 1 is minus the others' share, and keeps its digits when that is small.
    const others = exponentials.reduce((total, other, k) => (k === j ? total : total + other), 0) / sum;
    return { slope: -others, terms: others };
  });
}

function tower(tensor: Tensor, { normalize = true }: CommonOptions, operands: Operands): Tower {
  const dim = tensor.shape[tensor.shape.length - 1]!;
  const rows = tensor.data.length / dim;
  const given = Float64Array.from(tensor.data);
  const norm = Float64Array.from({ length: rows }, (_, row) => norm2(given.subarray(row * dim, (row + 1) * dim)));
  const divisors = norm.map(length => (normalize ? Math.max(length, SMALLEST_NORM) : 1));
  const unit = given.map((value, i) => value / divisors[Math.floor(i / dim)]!);
  return {
    rows,
    dim,
    unit,
    parts: operands === 'exact' ? [] : split(unit, operands === 'bfloat16' ? 1 : 2),
    normalized: normalize,
    norm,
    grad: new Float64Array(unit.length),
    terms: new Float64Array(rows),
  };
}

const bits = new Uint32Array(1);
const float = new Float32Array(bits.buffer);

/** To the nearest, ties to even. */
function bfloat16(value: number): number {
  float[0] = value;
  bits[0] = (bits[0]! + 0x7fff + ((bits[0]! >>> 16) & 1)) & 0xffff0000;
  return float[0]!;
}

/** Into bfloat16 parts, each the nearest to what the earlier ones leave. */
function split(values: Float64Array, count: number): Float64Array[] {
  const part = values.map(bfloat16);
  const rest = values.map((value, i) => value - part[i]!);
  return count === 1 ? [part] : [part, ...split(rest, count - 1)];
}

/**
 * From d loss / d unit to d loss / d row: (g − u⟨u, g⟩) / ‖a‖. A row shorter than the smallest norm was divided by a
 * constant; a row of zeros gets 0.
 */
function throughNormalisation({ rows, dim, unit, normalized, norm, grad, terms }: Tower): ReferenceGradient {
  if (!normalized) return { values: grad, terms: norm2(terms) };
  const values = new Float64Array(grad.length);
  const lengths = new Float64Array(rows);
  for (let row = 0; row < rows; row++) {
    if (norm[row] === 0) continue;
    const u = unit.subarray(row * dim, (row + 1) * dim);
    const g = grad.subarray(row * dim, (row + 1) * dim);
    const divisor = Math.max(norm[row]!, SMALLEST_NORM);
    const radial = norm[row]! > SMALLEST_NORM ? u.reduce((sum, value, k) => sum + value * g[k]!, 0) : 0;
    for (let k = 0; k < dim; k++) values[row * dim + k] = (g[k]! - u[k]! * radial) / divisor;
    lengths[row] = terms[row]! / divisor;
  }
  return { values, terms: norm2(lengths) };
}

/** Adds weight · source to the gradient on target, and terms · ‖source‖ to its terms. */
function accumulate(target: Place, weight: number, terms: number, source: Place): void {
  const { dim } = target.tower;
  const offset = target.index * dim;
  const from = rowOf(source);
  for (let k = 0; k < dim; k++) target.tower.grad[offset + k]! += weight * from[k]!;
  target.tower.terms[target.index]! += Math.abs(terms) * norm2(from);
}

function rowOf({ tower, index }: Place, values = tower.unit): Float64Array {
  return values.subarray(index * tower.dim, (index + 1) * tower.dim);
}

/** The products of parts that a level computes: those of the first with all, of the second with all but the last … */
function dotOfParts(a: Place, b: Place): number {
  let sum = 0;
  a.tower.parts.forEach((left, i) => {
    for (const right of b.tower.parts.slice(0, a.tower.parts.length - i)) sum += dot(a, b, left, right);
  });
  return sum;
}

function dot(a: Place, b: Place, leftValues?: Float64Array, rightValues?: Float64Array): number {
  const left = rowOf(a, leftValues);
  const right = rowOf(b, rightValues);
  let sum = 0;
  for (let k = 0; k < left.length; k++) sum += left[k]! * right[k]!;
  return sum;
}

export function norm2(values: ArrayLike<number>): number {
  let squares = 0;
  for (let k = 0; k < values.length; k++) squares += values[k]! ** 2;
  return Math.sqrt(squares);
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}
