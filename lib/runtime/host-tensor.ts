import { types } from 'node:util';
import { checkFloat32Array, checkUint16Array } from './arrays.js';
import { InfoNCEError } from './errors.js';
import { checkChoice } from './options.js';
import { checkLength, checkShape, type Layout } from './shape.js';

/** The type of stored numbers: `'float16'` is IEEE 754 binary16, `'bfloat16'` the upper half of a float32. */
export type DType = 'float32' | 'float16' | 'bfloat16';

/** The array for numbers of a type: a Float32Array, or a Uint16Array with the bits of 16-bit numbers. */
export type DataOf<Type extends DType> = Type extends 'float32' ? Float32Array : Uint16Array;

/** A row-major array of float32 numbers. The product of `shape` equals `data.length`. */
export interface Tensor {
  /** The numbers, last dimension fastest. Views with an offset and views of a SharedArrayBuffer are accepted. */
  readonly data: Float32Array;
  /** [rows, numbers in a row]; some losses accept further dimensions. */
  readonly shape: readonly number[];
  /** May be left out. */
  readonly dtype?: 'float32' | undefined;
}

/** A row-major array of 16-bit numbers, passed as their bits. The product of `shape` equals `data.length`. */
export interface HalfTensor {
  /** The bits of the numbers, last dimension fastest. */
  readonly data: Uint16Array;
  /** The type of the numbers. */
  readonly dtype: 'float16' | 'bfloat16';
  /** As in {@link Tensor}. */
  readonly shape: readonly number[];
}

/** A tensor of the host's memory after checking. */
export interface CheckedArray {
  readonly data: Float32Array | Uint16Array;
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** The product of the shape. */
  readonly size: number;
}

export const DTYPES = ['float32', 'float16', 'bfloat16'] as const;

/** Bytes of a number. */
export const BYTES: { readonly [dtype in DType]: number } = { float32: 4, float16: 2, bfloat16: 2 };

/**
 * Refuses data that is not a typed array of its dtype with a matching shape. `prefix` is what the message puts before `data`,
 * `shape` and `dtype`.
 */
export function checkArray(
  data: unknown,
  shape: unknown,
  dtype: unknown,
  prefix: string,
  layout: Layout,
): CheckedArray {
  if (dtype === undefined && types.isUint16Array(data)) {
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: `${prefix}dtype`,
      expected: "'float16' or 'bfloat16' with a Uint16Array",
      got: 'undefined',
      remedy: `Say which numbers its bits are. If it holds integers instead, convert them: Float32Array.from(${prefix}data).`,
    });
  }
  const checkedType = checkChoice(dtype, `${prefix}dtype`, DTYPES);
  checkDataOf(checkedType, data, `${prefix}data`);
  const checkedShape = checkShape(shape, `${prefix}shape`, layout);
  const size = checkLength(data.length, checkedShape, prefix);
  return { data, dtype: checkedType, shape: checkedShape, size };
}

/** Refuses what does not hold numbers of a type. */
export function checkDataOf(dtype: DType, data: unknown, name: string): asserts data is Float32Array | Uint16Array {
  if (dtype === 'float32') checkFloat32Array(data, name);
  else checkUint16Array(data, name);
}
