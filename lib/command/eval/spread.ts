import { randomSource } from '../../reference/random.js';
import type { Row } from './geometry.js';

/** How the rows of a view or file are spread over the unit sphere. */
export interface Spread {
  /** Rows that are zeros, or shorter than 1e-12: they have no direction, and are in none of the other figures. */
  readonly zeroRows: number;
  /** The length of the mean of the unit rows, whose square is the mean cosine of two rows: 1 where all are the same. */
  readonly meanLength: number;
  /**
   * How many dimensions the unit rows vary in: (Σ λ)² / Σ λ² over the eigenvalues λ of their covariance, estimated from a
   * sample of them. 0 where they do not vary.
   */
  readonly effectiveRank: number;
  /** Rows in the sample. */
  readonly sampled: number;
  /** Rows that are the same as another before, of their batch or of all. */
  readonly repeatedRows: number;
}

/** Rows of a sample, of all views together and of one at least. */
const SAMPLE = 1024;
const MOST_OF_VIEW = 256;
const FEWEST_OF_VIEW = 16;

/** Less is rounding of equal rows. */
const SMALLEST_VARIANCE = 1e-12;

let lastProbe = new Float64Array(0);

/** A direction of no meaning, the same for all views: rows that have the same component in it are the same. */
function probe(dim: number): Float64Array {
  if (lastProbe.length === dim) return lastProbe;
  const random = randomSource(dim);
  // Of all 53 bits, so that sums of rows of few different numbers differ as well.
  lastProbe = Float64Array.from({ length: dim }, () => random() + random() / 2 ** 32);
  return lastProbe;
}

/** Which rows of a view are in the sample, ascending: one of each stretch of equal length, anywhere in it, as rows of a file may be in a pattern. */
function chooseSample(count: number, views: number): Int32Array {
  const size = Math.min(MOST_OF_VIEW, Math.max(FEWEST_OF_VIEW, Math.floor(SAMPLE / views)));
  const step = Math.max(1, count / size);
  const random = randomSource(1);
  const chosen: number[] = [];
  for (let last = -1; ; ) {
    last = Math.max(last + 1, Math.floor((chosen.length + random()) * step));
    if (last >= count) return Int32Array.from(chosen);
    chosen.push(last);
  }
}

/** In the numbers of a batch, before the sum of its unit rows. */
const ZERO_ROWS = 0;
const REPEATED = 1;
const TOTAL = 2;

/** How many numbers {@link SpreadOfRows.endBatch} returns. */
export const spreadLength = (dim: number): number => TOTAL + dim;

/**
 * Takes the rows of a view one by one, batch by batch. What a batch comes to is a list of numbers, so that another process
 * may add it.
 */
export class SpreadOfRows {
  readonly #dim: number;
  readonly #sum: Float64Array;
  #batch: Float64Array;
  readonly #probe: Float64Array;
  readonly #sample: Int32Array;
  /** The unit rows of the sample, and which of them there are: those of zeros are not. */
  readonly #sampled: Float64Array;
  readonly #isSampled: Float64Array;
  /** Of each row since its batch began, its component in the probe; NaN where it has none. */
  #components: number[] = [];
  /** The same of all rows, where those that repeat any other are told. */
  readonly #all: Float64Array | undefined;
  #row = 0;
  #slot = 0;
  readonly #count: number;

  /** `count` is how many rows there are, `views` how many views. `amongAll`: a row may repeat one of another batch. */
  constructor(dim: number, count: number, views: number, amongAll = false) {
    this.#dim = dim;
    this.#count = count;
    this.#sum = new Float64Array(spreadLength(dim));
    this.#batch = new Float64Array(spreadLength(dim));
    this.#probe = probe(dim);
    this.#sample = chooseSample(count, views);
    this.#sampled = new Float64Array(this.#sample.length * dim);
    this.#isSampled = new Float64Array(this.#sample.length);
    if (amongAll) this.#all = new Float64Array(count);
  }

  /** Rows come from that number on, by default from where the last batch ended. */
  beginBatch(first = this.#row): void {
    this.#row = first;
    const slot = this.#sample.findIndex(row => row >= first);
    this.#slot = slot < 0 ? this.#sample.length : slot;
  }

  add({ values, factor, squared }: Row): void {
    const index = this.#row++;
    const isChosen = index === this.#sample[this.#slot];
    const slot = isChosen ? this.#slot++ : -1;
    const component = this.#component(values, factor, squared);
    if (this.#all === undefined) this.#components.push(component);
    else this.#all[index] = component;
    if (!isChosen || Number.isNaN(component)) return;
    this.#isSampled[slot] = 1;
    for (let k = 0; k < this.#dim; k++) this.#sampled[slot * this.#dim + k] = factor * values[k]!;
  }

  #component(values: Float64Array, factor: number, squared: number): number {
    const batch = this.#batch;
    // Shorter ones are divided by the smallest length, to less than 1.
    if (squared < 0.5) {
      batch[ZERO_ROWS]!++;
      return Number.NaN;
    }
    const probe = this.#probe;
    let component = 0;
    for (let k = 0; k < this.#dim; k++) {
      const unit = factor * values[k]!;
      batch[TOTAL + k]! += unit;
      component += unit * probe[k]!;
    }
    return component;
  }

  /** What the rows since the last batch come to, for {@link addBatch}. */
  endBatch(): Float64Array {
    const batch = this.#batch;
    batch[REPEATED] = repeatsAmong(Float64Array.from(this.#components));
    this.#batch = new Float64Array(batch.length);
    this.#components = [];
    return batch;
  }

  addBatch(numbers: Float64Array): void {
    const sum = this.#sum;
    for (let k = 0; k < sum.length; k++) sum[k]! += numbers[k]!;
  }

  /** What other processes that took other rows have in the same places, zeros where these took none: it may be added here. */
  get ofRows(): readonly Float64Array[] {
    return [this.#sampled, this.#isSampled, ...(this.#all === undefined ? [] : [this.#all])];
  }

  spread(): Spread {
    const dim = this.#dim;
    const zeroRows = this.#sum[ZERO_ROWS]!;
    const directed = this.#count - zeroRows;
    const total = this.#sum.subarray(TOTAL);
    const rows = [...this.#isSampled.keys()]
      .filter(slot => this.#isSampled[slot] === 1)
      .map(slot => this.#sampled.slice(slot * dim, (slot + 1) * dim));
    return {
      zeroRows,
      meanLength: directed === 0 ? 0 : Math.sqrt(total.reduce((sum, value) => sum + value ** 2, 0)) / directed,
      effectiveRank: effectiveRank(rows),
      sampled: rows.length,
      repeatedRows: this.#all === undefined ? this.#sum[REPEATED]! : repeatsAmong(this.#all),
    };
  }
}

/** How many of the numbers, which it sorts, are the same as another before. */
function repeatsAmong(numbers: Float64Array): number {
  numbers.sort();
  let repeats = 0;
  for (let i = 1; i < numbers.length; i++) repeats += Number(numbers[i] === numbers[i - 1]);
  return repeats;
}

/**
 * Of the covariance C of n rows: (tr C)² / tr C², the latter from the products of different rows, since those of a row with
 * itself would count its noise.
 */
function effectiveRank(rows: readonly Float64Array[]): number {
  const count = rows.length;
  if (count < 2) return 0;
  const dim = rows[0]!.length;
  const mean = new Float64Array(dim);
  for (const row of rows) for (let k = 0; k < dim; k++) mean[k]! += row[k]! / count;
  for (const row of rows) for (let k = 0; k < dim; k++) row[k]! -= mean[k]!;
  let variance = 0;
  let squares = 0;
  for (let i = 0; i < count; i++) {
    for (let j = 0; j <= i; j++) {
      let product = 0;
      for (let k = 0; k < dim; k++) product += rows[i]![k]! * rows[j]![k]!;
      if (i === j) variance += product / count;
      else squares += (2 * product * product) / (count * (count - 1));
    }
  }
  if (variance < SMALLEST_VARIANCE) return 0;
  return Math.min(dim, count - 1, variance ** 2 / squares);
}
