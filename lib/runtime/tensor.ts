import type { NativeInput } from './binding.js';
import { OwnedDeviceTensor } from './device-tensor.js';
import { describeValue, InfoNCEError } from './errors.js';
import type { Context, DeviceTensor } from './handles.js';
import { checkArray, type DType, type HalfTensor, type Tensor } from './host-tensor.js';
import { checkKeys, type KeyAdvice } from './options.js';
import { checkShape, productOf } from './shape.js';

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
  readonly owner: Context | undefined;
}

const TENSOR_KEYS: ReadonlySet<string> = new Set(['data', 'shape', 'dtype']);

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
  if (OwnedDeviceTensor.isOne(tensor)) {
    const shape = checkShape(tensor.shape, `${name}.shape`, layout);
    const data = tensor.bufferFor(name);
    return { data, dtype: tensor.dtype, shape, size: productOf(shape), owner: tensor.context };
  }
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
  // Field by field: V8 copies an object that is spread and grows by one more field slowly.
  const checked = checkArray(data, shape, dtype, `${name}.`, layout);
  return { data: checked.data, dtype: checked.dtype, shape: checked.shape, size: checked.size, owner: undefined };
}
