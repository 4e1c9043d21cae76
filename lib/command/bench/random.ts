import { normal } from '../../reference/random.js';

const SEED = 20_001;

/** A matrix [rows, columns], row-major. */
export interface Matrix {
  readonly data: Float32Array;
  readonly shape: readonly [rows: number, columns: number];
}

/** Standard normal numbers: the same every run, never zeros. */
export function randomMatrix(rows: number, columns: number, seed = SEED): Matrix {
  return { data: normal([rows, columns], seed).data, shape: [rows, columns] };
}
