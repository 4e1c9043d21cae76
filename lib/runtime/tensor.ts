import { types } from 'node:util';
import { checkFloat32Array, checkUint16Array } from './arrays.js';
import type { NativeInput } from './binding.js';
import type { OwnedContext } from './context.js';
import { type DeviceTensor, OwnedDeviceTensor } from './device-tensor.js';
import { describeValue, InfoNCEError } from './errors.js';
import { checkChoice, checkKeys, type KeyAdvice } from './options.js';
import { checkLength, checkShape, type Layout, productOf } from './shape.js';

/** What numbers are stored as: `'float16'` is IEEE 754 binary16, `'bfloat16'` the upper half of a float32. */
export type DType = 'float32' | 'float16' | 'bfloat16';

/** A row-major array of float32 numbers. The product of `shape` equals `data.length`. */
export interface Tensor {
  /** The numbers, last dimension fastest. Views with an offset and views of a SharedArrayBuffer are welcome. */
  readonly data: Float32Array;
  /** Rows before columns: [rows, numbers in a row]; losses say what else they take. */
  readonly shape: readonly number[];
  /** May be left out. */
  readonly dtype?: 'float32' | undefined;
}

/** A row-major array of 16-bit numbers, given as their bits. The product of `shape` equals `data.length`. */
export interface HalfTensor {
  /** The bits of the numbers, last dimension fastest. */
  readonly data: Uint16Array;
  /** What the bits mean. */
  readonly dtype: 'float16' | 'bfloat16';
  /** As that of a {@link Tensor}. */
  readonly shape: readonly number[];
}

/** What every input matrix may be. */
export type TensorLike = Tensor | HalfTensor | DeviceTensor;

/** A tensor after checking. */
export interface InputTensor {
  readonly data: NativeInput;
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** The product of the shape. */
  readonly size: number;
  /** The context whose device it lies on; undefined in the host's memory. */
  readonly owner: OwnedContext | undefined;
}

const TENSOR_KEYS: ReadonlySet<string> = new Set(['data', 'shape', 'dtype']);
const DTYPES = ['float32', 'float16', 'bfloat16'] as const;

type HostData = Float32Array | Uint16Array;

/** Advice for a tensor or run options passed where an object with the named tensors belongs. */
export function problemAdvice(...names: readonly string[]): KeyAdvice {
  const tensors = `Pass { ${names.map(name => `${name}: { data, shape }`).join(', ')} }.`;
  const run = 'It belongs in the run options, the next argument.';
  return new Map([
    ...[...TENSOR_KEYS].map(key => [key, tensors] as const),
    ...['context', 'signal', 'output', 'out'].map(key => [key, run] as const),
  ]);
}

/**
 * Refuses what is neither a typed array with a matching shape of `fewestDimensions` to `mostDimensions` positive
 * dimensions nor a device tensor of such a shape that is in use. `text` is how the message writes the expected shape.
 * Returns the values it checked, so that a getter cannot give others later.
 */
export function checkTensor(
  tensor: unknown,
  name: string,
  text: string,
  fewestDimensions: number,
  mostDimensions: number,
): InputTensor {
  const layout = { text, fewestDimensions, mostDimensions };
  if (OwnedDeviceTensor.isOne(tensor)) return checkDeviceTensor(tensor, name, layout);
  if (typeof tensor !== 'object' || tensor === null || !('data' in tensor || 'shape' in tensor)) {
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: name,
      expected: 'a tensor { data: Float32Array, shape: number[] }',
      got: describeValue(tensor),
      remedy: `Pass { data, shape } with shape ${text}.`,
    });
  }
  checkKeys(tensor, name, TENSOR_KEYS);
  const { data, shape, dtype } = tensor as { readonly [key in keyof HalfTensor]?: unknown };
  return checkArray(data, shape, dtype, `${name}.`, layout);
}

/** The same of a tensor in parts; `prefix` is what the message puts before `data`, `shape` and `dtype`. */
export function checkArray(data: unknown, shape: unknown, dtype: unknown, prefix: string, layout: Layout): InputTensor {
  const array = checkData(data, dtype, prefix);
  const checked = checkShape(shape, `${prefix}shape`, layout);
  const size = checkLength(array.data.length, checked, prefix);
  return { data: array.data, dtype: array.dtype, shape: checked, size, owner: undefined };
}

function checkData(data: unknown, dtype: unknown, prefix: string): Pick<InputTensor, 'dtype'> & { data: HostData } {
  if (dtype === undefined && types.isUint16Array(data)) {
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: `${prefix}dtype`,
      expected: "'float16' or 'bfloat16' with a Uint16Array",
      got: 'undefined',
      remedy: `Say which numbers its bits are. If it holds integers instead, convert them: Float32Array.from(${prefix}data).`,
    });
  }
  const checked = checkChoice(dtype, `${prefix}dtype`, DTYPES);
  if (checked === 'float32') checkFloat32Array(data, `${prefix}data`);
  else checkUint16Array(data, `${prefix}data`);
  return { data: data as HostData, dtype: checked };
}

function checkDeviceTensor(tensor: OwnedDeviceTensor, name: string, layout: Layout): InputTensor {
  const { dtype, context } = tensor;
  const shape = checkShape(tensor.shape, `${name}.shape`, layout);
  return { data: tensor.bufferFor(name), dtype, shape, size: productOf(shape), owner: context };
}
