/** How a problem is passed to the addon, which takes a tenth of a microsecond to read a property of an object. */
import type { NativeInput, NativeProblem } from './binding.js';
import type { DType } from './host-tensor.js';

/** The enumerators of `infonce_type` and `infonce_reduction`. */
export const TYPES: { readonly [dtype in DType]: number } = { float32: 0, float16: 1, bfloat16: 2 };
export const REDUCTIONS = { mean: 0, sum: 1, none: 2 } as const;

/** The fields of `infonce_problem` that are 0 or 1, and which of its arrays there are. */
export const FLAGS = {
  normalize: 1,
  gradient: 2,
  propagateNonFinite: 4,
  /** Whether top1 and top5 are wanted; else they are NaN. */
  ranks: 8,
  targets: 16,
  gradOutput: 32,
} as const;

/** How many matrices and blocks a problem has room for: `INFONCE_MOST_MATRICES`, `INFONCE_MOST_BLOCKS`. */
export const MOST_MATRICES = 8;
export const MOST_BLOCKS = 8;

/** The arrays that a matrix has besides its data. */
const ARRAYS = { ids: 1, bias: 2, counts: 4, guide: 8 } as const;

/** `infonce_matrix`: its rows are [rows, dim]. */
export interface MatrixFields {
  readonly data: NativeInput;
  /** Of {@link TYPES}. */
  readonly type: number;
  readonly rows: number;
  /** Numbers from the beginning of a row to that of the next. Default 0: as many as a row has. */
  readonly rowStride?: number | undefined;
  readonly views: number;
  /** [rows] */
  readonly ids?: Int32Array | undefined;
  /** [rows], added to the logits of the row as a candidate. */
  readonly bias?: Float32Array | undefined;
  /** [anchors], of candidates that anchors have of their own. */
  readonly counts?: Int32Array | undefined;
  /** [rows, guideDim], of problems with thresholds by guide. */
  readonly guide?: { readonly data: NativeInput; readonly type: number } | undefined;
}

/** `infonce_problem`. */
export interface ProblemFields {
  /** By `formOf`. */
  readonly form: Float64Array;
  readonly matrices: readonly MatrixFields[];
  /** Of {@link REDUCTIONS}. */
  readonly reduction: number;
  /** Bits of {@link FLAGS}, except those of arrays. */
  readonly flags: number;
  readonly dim: number;
  /** Of guides. Default 0: there are none. */
  readonly guideDim?: number | undefined;
  /** 1 / temperature, or the logit scale. */
  readonly scale: number;
  /** Of the row loss `'sigmoid'`. Default 0. */
  readonly bias?: number | undefined;
  /** Of each row with a loss, where the form has positives by target. */
  readonly targets?: Int32Array | undefined;
  /** Absent: 1. Length 1: for all rows. Length of the rows with a loss: one each. */
  readonly gradOutput?: Float32Array | undefined;
}

const OF_PROBLEM = 6;
const OF_MATRIX = 6;

/** How many numbers a problem of so many matrices has. */
export const numberCount = (matrices: number): number => OF_PROBLEM + OF_MATRIX * matrices;

/** The same as two lists of numbers and one of arrays. `numbers`: to be filled, of {@link numberCount}. */
export function nativeProblemOf(
  fields: ProblemFields,
  numbers: Float64Array = new Float64Array(numberCount(fields.matrices.length)),
): NativeProblem {
  const arrays: NativeProblem['arrays'][number][] = [];
  /** Adds an array, if there is one, and returns its bit. */
  const add = (array: NativeProblem['arrays'][number] | undefined, bit: number) => {
    if (array === undefined) return 0;
    arrays.push(array);
    return bit;
  };
  let next = OF_PROBLEM;
  for (const matrix of fields.matrices) {
    arrays.push(matrix.data);
    numbers[next++] = matrix.rows;
    numbers[next++] = matrix.rowStride ?? 0;
    numbers[next++] = matrix.views;
    numbers[next++] = matrix.type;
    numbers[next++] =
      add(matrix.ids, ARRAYS.ids) |
      add(matrix.bias, ARRAYS.bias) |
      add(matrix.counts, ARRAYS.counts) |
      add(matrix.guide?.data, ARRAYS.guide);
    numbers[next++] = matrix.guide?.type ?? 0;
  }
  numbers[0] = fields.reduction;
  numbers[1] = fields.flags | add(fields.targets, FLAGS.targets) | add(fields.gradOutput, FLAGS.gradOutput);
  numbers[2] = fields.dim;
  numbers[3] = fields.scale;
  numbers[4] = fields.bias ?? 0;
  numbers[5] = fields.guideDim ?? 0;
  return { form: fields.form, numbers, arrays };
}
