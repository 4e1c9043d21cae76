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

/** A row of a batch in float64, and what makes it a unit vector. */
export class Row {
  readonly values: Float64Array;
  /** 1 / length. */
  factor = 0;
  /** ‖u‖²: 1, or less of a row that is shorter than the smallest length, as one of zeros is. */
  squared = 0;

  constructor(dim: number) {
    this.values = new Float64Array(dim);
  }

  load(numbers: Numbers, row: number): void {
    const { values } = this;
    const dim = values.length;
    const offset = row * dim;
    let squares = 0;
    if (numbers instanceof Uint16Array) {
      const halves = float16Values();
      for (let k = 0; k < dim; k++) {
        const value = halves[numbers[offset + k]!]!;
        values[k] = value;
        squares += value * value;
      }
    } else {
      for (let k = 0; k < dim; k++) {
        const value = numbers[offset + k]!;
        values[k] = value;
        squares += value * value;
      }
    }
    this.factor = 1 / Math.max(Math.sqrt(squares), SMALLEST_NORM);
    this.squared = squares * this.factor * this.factor;
  }

  cosine(other: Row): number {
    return dot(this.values, other.values) * this.factor * other.factor;
  }

  /** ‖u − v‖² */
  distance(other: Row): number {
    return Math.max(0, this.squared + other.squared - 2 * this.cosine(other));
  }
}

/** Figures computed from the rows one by one. */
export interface ViewGeometry {
  /** ‖u − v‖² over all pairs of views of each sample. */
  readonly alignment: PairSum;
  /** Of each row, the mean of its cosines with its {@link partners} among the rows of its view. */
  readonly partnerCosines: Float64Array;
  /** Of each view, how many rows are zeros. */
  readonly zeroRows: Int32Array;
}

/** `numbers` holds `views` blocks of `count` rows. `visit` is shown each row once. */
export function geometryOfViews(
  numbers: Numbers,
  dim: number,
  views: number,
  count: number,
  visit: (row: Row, view: number) => void,
): ViewGeometry {
  const rows = Array.from({ length: 3 }, () => Array.from({ length: views }, () => new Row(dim)));
  const partnerCosines = new Float64Array(views * count);
  const zeroRows = new Int32Array(views);
  let sum = 0;
  for (let begin = 0, end = 0; begin < count; begin = end) {
    end = count - begin === 3 ? count : begin + 2;
    const group = rows.slice(0, end - begin);
    group.forEach((sample, i) => {
      for (let view = 0; view < views; view++) {
        sample[view]!.load(numbers, view * count + begin + i);
        if (sample[view]!.squared === 0) zeroRows[view]!++;
        visit(sample[view]!, view);
      }
      for (let a = 0; a < views; a++) {
        for (let b = a + 1; b < views; b++) sum += sample[a]!.distance(sample[b]!);
      }
    });
    const share = 1 / (group.length - 1);
    for (let view = 0; view < views; view++) {
      for (let i = 0; i < group.length; i++) {
        for (let j = i + 1; j < group.length; j++) {
          const cosine = share * group[i]![view]!.cosine(group[j]![view]!);
          partnerCosines[view * count + begin + i]! += cosine;
          partnerCosines[view * count + begin + j]! += cosine;
        }
      }
    }
  }
  return { alignment: { sum, pairs: (count * views * (views - 1)) / 2 }, partnerCosines, zeroRows };
}

/** ‖u − v‖² over all pairs of rows of a class, and how many rows are alone in theirs. */
export function alignmentOfClasses(
  numbers: Numbers,
  dim: number,
  labels: Int32Array,
): PairSum & { readonly alone: number } {
  const order = Int32Array.from(labels, (_, row) => row).sort((a, b) => labels[a]! - labels[b]!);
  const row = new Row(dim);
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
      row.load(numbers, order[position]!);
      for (let k = 0; k < dim; k++) total[k]! += row.factor * row.values[k]!;
      squares += row.squared;
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

const potential = (squaredDistance: number): number => Math.exp(-2 * squaredDistance);

/**
 * What is to be added for pairs with rows of zeros, of which `one` or both are. Such a row has similarity 0 with all others, as
 * unit rows whose ‖u − v‖² is 2. Its own is 1, and 0 from another such.
 */
export function withZeroRows(one: number, both: number): number {
  return one * (potential(1) - potential(2)) + both * (potential(0) - potential(2));
}

/** Completes the row losses of SupCon with {@link partners} for labels; each pair is counted twice. */
export function uniformitySum(rowLoss: Float32Array, partnerCosines: Float64Array, zeroRows: number): PairSum {
  const count = rowLoss.length;
  let sum = 0;
  for (let row = 0; row < count; row++) {
    sum += Math.exp(rowLoss[row]! + (partnerCosines[row]! - 1) / UNIFORMITY_TEMPERATURE);
  }
  sum += withZeroRows(2 * zeroRows * (count - zeroRows), zeroRows * (zeroRows - 1));
  return { sum, pairs: count * (count - 1) };
}

export function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let k = 0; k < a.length; k++) sum += a[k]! * b[k]!;
  return sum;
}
