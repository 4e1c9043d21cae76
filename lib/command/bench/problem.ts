import { type BenchLoss, benchCall } from './losses.js';
import { type Matrix, randomMatrix } from './random.js';

export const TEMPERATURE = 0.1;
/** Of siglip, whose default it is. */
export const LOGIT_BIAS = -10;
const ROWS_OF_A_CLASS = 4;

/** The problem of every engine: rows not yet normalised, the mean loss, gradients of the inputs. */
export interface Problem {
  readonly loss: BenchLoss;
  readonly rows: number;
  readonly dim: number;
  readonly temperature: number;
  /** [rows, dim]: one matrix, for infonce, clip and siglip two, for hardnegatives three. NT-Xent has two views: row i and row i + rows / 2. */
  readonly inputs: readonly Matrix[];
  /** The class of each row, for supcon: four consecutive rows are one. */
  readonly labels: Int32Array;
}

/** A result: the mean loss and its gradient for each input. */
export interface Answer {
  readonly loss: number;
  readonly gradients: readonly Float32Array[];
}

/** An engine, prepared for one problem. */
export interface Engine {
  /** With its version. */
  readonly name: string;
  /** What it runs on: '2 threads'. */
  readonly runsOn: string;
  /** From JavaScript's memory and back. */
  run(): Answer | Promise<Answer>;
  close(): void | Promise<void>;
}

export function makeProblem(loss: BenchLoss, rows: number, dim: number): Problem {
  return {
    loss,
    rows,
    dim,
    temperature: TEMPERATURE,
    inputs: benchCall(loss).towers.map((_, tower) => randomMatrix(rows, dim, tower + 1)),
    labels: Int32Array.from({ length: rows }, (_, row) => Math.floor(row / ROWS_OF_A_CLASS)),
  };
}

/** NT-Xent: the row of the other view. */
export function partnerOf(row: number, rows: number): number {
  return (row + rows / 2) % rows;
}

/** SupCon: 1 / |P(i)| for each positive of row i, [rows, rows]. */
export function targetsOf({ rows, labels }: Problem): Float32Array {
  const targets = new Float32Array(rows * rows);
  for (let row = 0; row < rows; row++) {
    const positives = Array.from(labels.keys()).filter(other => other !== row && labels[other] === labels[row]);
    for (const positive of positives) targets[row * rows + positive] = 1 / positives.length;
  }
  return targets;
}

/**
 * Floating-point operations of the plain algorithm, matrices of all pairs included: the similarities and both factors of
 * the gradient, 2 for each multiply-add.
 */
export function plainFlops(rows: number, dim: number, candidates: number = rows): number {
  return 6 * rows * candidates * dim;
}
