/**
 * Alignment and uniformity of embeddings on the unit sphere: T. Wang and P. Isola, "Understanding Contrastive Representation
 * Learning through Alignment and Uniformity on the Hypersphere", 2020, with their α = 2 and t = 2.
 */
import { float16Values, type Numbers } from './matrix.js';

/** Rows are no shorter than this when they are divided by their length, as in the losses. */
const SMALLEST_NORM = 1e-12;

/** A sum over pairs. */
export interface PairSum {
  readonly sum: number;
  readonly pairs: number;
}

/** Rows of a batch, read one by one as unit vectors in float64. */
class UnitRows {
  readonly dim: number;
  readonly #numbers: Numbers;
  readonly #values: Float32Array | undefined;

  constructor(numbers: Numbers, dim: number) {
    this.dim = dim;
    this.#numbers = numbers;
    this.#values = numbers instanceof Uint16Array ? float16Values() : undefined;
  }

  /** Fills `into` with a row. */
  load(row: number, into: Float64Array): void {
    const { dim } = this;
    const numbers = this.#numbers;
    const values = this.#values;
    const offset = row * dim;
    let squares = 0;
    for (let k = 0; k < dim; k++) {
      const stored = numbers[offset + k]!;
      const value = values === undefined ? stored : values[stored]!;
      into[k] = value;
      squares += value * value;
    }
    const factor = 1 / Math.max(Math.sqrt(squares), SMALLEST_NORM);
    for (let k = 0; k < dim; k++) into[k]! *= factor;
  }
}

/** ‖u − v‖² over all pairs of views of each sample; `numbers` holds `views` blocks of `count` rows. */
export function alignmentOfViews(numbers: Numbers, dim: number, views: number, count: number): PairSum {
  const rows = new UnitRows(numbers, dim);
  const units = Array.from({ length: views }, () => new Float64Array(dim));
  let sum = 0;
  for (let sample = 0; sample < count; sample++) {
    for (let view = 0; view < views; view++) rows.load(view * count + sample, units[view]!);
    for (let a = 0; a < views; a++) {
      for (let b = a + 1; b < views; b++) sum += squaredDistance(units[a]!, units[b]!);
    }
  }
  return { sum, pairs: (count * views * (views - 1)) / 2 };
}

/** The same over all pairs of rows of a class, and how many rows are alone in theirs. */
export function alignmentOfClasses(
  numbers: Numbers,
  dim: number,
  labels: Int32Array,
): PairSum & { readonly alone: number } {
  const rows = new UnitRows(numbers, dim);
  const order = Int32Array.from(labels, (_, row) => row).sort((a, b) => labels[a]! - labels[b]!);
  const unit = new Float64Array(dim);
  const total = new Float64Array(dim);
  let sum = 0;
  let pairs = 0;
  let alone = 0;
  for (let begin = 0, end = 0; begin < order.length; begin = end) {
    const label = labels[order[begin]!];
    while (end < order.length && labels[order[end]!] === label) end++;
    const members = end - begin;
    if (members === 1) {
      alone++;
      continue;
    }
    // Σ over pairs of ‖u − v‖² = n Σ ‖u‖² − ‖Σ u‖²
    total.fill(0);
    let squares = 0;
    for (let position = begin; position < end; position++) {
      rows.load(order[position]!, unit);
      for (let k = 0; k < dim; k++) total[k]! += unit[k]!;
      squares += dot(unit, unit);
    }
    sum += members * squares - dot(total, total);
    pairs += (members * (members - 1)) / 2;
  }
  return { sum, pairs, alone };
}

/**
 * exp(−t ‖u − v‖²), t = 2, over the pairs of rows. With unit rows that is exp(4 ⟨u, v⟩ − 4), and SupCon at this temperature
 * adds up exp(4 ⟨u, v⟩): whatever the labels, its loss of a row is the logarithm of that sum, less the row's similarity to
 * its own class.
 */
export const UNIFORMITY_TEMPERATURE = 1 / 4;

/** Classes of two rows that follow each other, the last of three where they do not come out even. */
export function partners(count: number): Int32Array {
  const last = Math.floor(count / 2) - 1;
  return Int32Array.from({ length: count }, (_, row) => Math.min(row >> 1, last));
}

/** Completes the row losses of SupCon with {@link partners} for labels; each pair is counted twice. */
export function uniformitySum(numbers: Numbers, dim: number, rowLoss: Float32Array): PairSum {
  const rows = new UnitRows(numbers, dim);
  const count = rowLoss.length;
  const units = Array.from({ length: 3 }, () => new Float64Array(dim));
  let sum = 0;
  for (let begin = 0, end = 0; begin < count; begin = end) {
    end = count - begin === 3 ? count : begin + 2;
    const members = end - begin;
    for (let i = 0; i < members; i++) rows.load(begin + i, units[i]!);
    for (let i = 0; i < members; i++) {
      let own = 0;
      for (let j = 0; j < members; j++) if (j !== i) own += dot(units[i]!, units[j]!);
      sum += Math.exp(rowLoss[begin + i]! + (own / (members - 1) - 1) / UNIFORMITY_TEMPERATURE);
    }
  }
  return { sum, pairs: count * (count - 1) };
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let k = 0; k < a.length; k++) sum += a[k]! * b[k]!;
  return sum;
}

function squaredDistance(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let k = 0; k < a.length; k++) sum += (a[k]! - b[k]!) ** 2;
  return sum;
}
