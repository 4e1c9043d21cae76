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
  /** Rows that are the same as an earlier one of their batch. */
  readonly repeatedRows: number;
}

/** Rows of a sample, of all views together and of one at least. */
const SAMPLE = 1024;
const MOST_OF_VIEW = 256;
const FEWEST_OF_VIEW = 16;

/** Less is what rounding leaves of equal rows. */
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

/** Takes the rows of a view one by one. */
export class SpreadOfRows {
  readonly #total: Float64Array;
  readonly #probe: Float64Array;
  readonly #sampled: Float64Array[] = [];
  readonly #step: number;
  readonly #random = randomSource(1);
  #seen = new Set<number>();
  #nextSampled = 0;
  #taken = 0;
  #rows = 0;
  #zeroRows = 0;
  #repeated = 0;

  /** `count` is how many rows there are, `views` how many views. */
  constructor(dim: number, count: number, views: number) {
    this.#total = new Float64Array(dim);
    this.#probe = probe(dim);
    const size = Math.min(MOST_OF_VIEW, Math.max(FEWEST_OF_VIEW, Math.floor(SAMPLE / views)));
    this.#step = Math.max(1, count / size);
    this.#choose();
  }

  /** Repetitions are told within batches: a new one begins. */
  beginBatch(): void {
    this.#seen = new Set();
  }

  add({ values, factor, squared }: Row): void {
    const index = this.#rows++;
    const isSampled = index >= this.#nextSampled;
    if (isSampled) this.#choose();
    // Shorter ones are divided by the smallest length, to less than 1.
    if (squared < 0.5) {
      this.#zeroRows++;
      return;
    }
    const total = this.#total;
    const probe = this.#probe;
    let component = 0;
    for (let k = 0; k < total.length; k++) {
      const unit = factor * values[k]!;
      total[k]! += unit;
      component += unit * probe[k]!;
    }
    if (this.#seen.has(component)) this.#repeated++;
    else this.#seen.add(component);
    if (isSampled) this.#sampled.push(values.map(value => factor * value));
  }

  spread(): Spread {
    const directed = this.#rows - this.#zeroRows;
    return {
      zeroRows: this.#zeroRows,
      meanLength: directed === 0 ? 0 : Math.sqrt(this.#total.reduce((sum, value) => sum + value ** 2, 0)) / directed,
      effectiveRank: effectiveRank(this.#sampled),
      sampled: this.#sampled.length,
      repeatedRows: this.#repeated,
    };
  }

  /** One row of each stretch of equal length, anywhere in it: rows of a file may be in a pattern. */
  #choose(): void {
    const position = this.#taken++;
    this.#nextSampled = Math.floor((position + this.#random()) * this.#step);
  }
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
