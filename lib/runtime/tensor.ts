import { types } from 'node:util';
import { conversionOf } from './arrays.js';
import type { NativeInput } from './binding.js';
import { OwnedDeviceTensor } from './device-tensor.js';
import { describeValue, InfoNCEError, ifReadable } from './errors.js';
import { foreignNumbers, tensorOf } from './foreign-tensor.js';
import type { Context, DeviceTensor } from './handles.js';
import { checkArray, type DType, type HalfTensor, type Tensor } from './host-tensor.js';
import { suggest } from './nearest.js';
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

/** What to do about something else where an object with the named tensors belongs. */
export function problemRemedy(...names: readonly string[]): string {
  return `Pass { ${names.map(name => `${name}: { data, shape }`).join(', ')} }.`;
}

/** Advice for a tensor or run options passed where an object with the named tensors belongs. */
export function problemAdvice(...names: readonly string[]): KeyAdvice {
  const tensors = problemRemedy(...names);
  const run = 'It belongs in the run options, the next argument.';
  return new Map([
    ...[...TENSOR_KEYS].map(key => [key, tensors] as const),
    ...['context', 'signal', 'output', 'out'].map(key => [key, run] as const),
  ]);
}

/**
 * Refuses what is neither a typed array with a matching shape of `fewestDimensions` to `mostDimensions` positive
 * dimensions, the first of which may be 0 if it `mayBeEmpty`, nor a device tensor of such a shape that is in use. `text` is how the message writes the expected shape.
 * Returns the values it checked, so that a getter cannot give others later.
 */
export function checkTensor(
  tensor: unknown,
  name: string,
  text: string,
  fewestDimensions: number,
  mostDimensions: number,
  mayBeEmpty = false,
): InputTensor {
  const layout = { text, fewestDimensions, mostDimensions, mayBeEmpty };
  if (OwnedDeviceTensor.isOne(tensor)) {
    const shape = checkShape(tensor.shape, `${name}.shape`, layout);
    const data = tensor.bufferFor(name);
    return { data, dtype: tensor.dtype, shape, size: productOf(shape), owner: tensor.context };
  }
  if (typeof tensor !== 'object' || tensor === null || !('data' in tensor || 'shape' in tensor)) {
    throw notATensor(tensor, name, text);
  }
  if (!hasKeysOfTensor(tensor)) {
    refuseForeign(tensor, name, text);
    checkKeys(tensor, name, TENSOR_KEYS, adviceForKeys(tensor, name, text));
  }
  const { data, shape, dtype } = tensor as { readonly [key in keyof HalfTensor]?: unknown };
  if (!types.isTypedArray(data)) refuseForeign(tensor, name, text);
  // Field by field: V8 copies an object that is spread and grows by one more field slowly.
  const checked = checkArray(data, shape, dtype, `${name}.`, layout);
  return { data: checked.data, dtype: checked.dtype, shape: checked.shape, size: checked.size, owner: undefined };
}

/** The same for one of several ranks, which may have no rows. */
export const checkTensorOfRank: typeof checkTensor = (tensor, name, text, fewest, most) =>
  checkTensor(tensor, name, text, fewest, most, true);

/** A loop: this is asked for every input of every call. */
function hasKeysOfTensor(tensor: object): boolean {
  for (const key in tensor) if (!TENSOR_KEYS.has(key)) return false;
  return true;
}

/** Refuses a tensor of another library, whose numbers and shape are not its `data` and `shape`. */
function refuseForeign(tensor: object, name: string, text: string): void {
  const foreign = foreignNumbers(tensor, name);
  if (foreign === undefined || (foreign.kind === undefined && foreign.shape === `${name}.shape`)) return;
  throw notATensor(tensor, name, text);
}

const STRIDES = 'Its rows are not one after another: copy its numbers row by row to a Float32Array first.';
const STRIDED = ['stride', 'strides', 'offset', 'fortranOrder', 'fortran_order'];

/** What to do about keys that a tensor does not have: those of ndarray and of readers of .npy files, for example. */
function adviceForKeys(tensor: object, name: string, text: string): KeyAdvice {
  const foreign = foreignNumbers(tensor, name);
  if (foreign === undefined) return new Map(STRIDED.map(key => [key, STRIDES]));
  const unknown = Object.keys(tensor).filter(key => !TENSOR_KEYS.has(key) && suggest(key, TENSOR_KEYS) === undefined);
  return new Map(unknown.map(key => [key, tensorRemedy(tensor, name, text)]));
}

function notATensor(value: unknown, name: string, text: string): InfoNCEError {
  return new InfoNCEError('ERR_INFONCE_TYPE', {
    argument: name,
    expected: 'a tensor { data: Float32Array, shape: number[] }',
    got: foreignNumbers(value, name)?.kind ?? describeValue(value),
    remedy: tensorRemedy(value, name, text),
  });
}

function tensorRemedy(value: unknown, name: string, text: string): string {
  const foreign = foreignNumbers(value, name);
  if (foreign !== undefined) {
    const instead = foreign.instead === undefined ? '' : ` ${foreign.instead}`;
    return `Pass its { data, shape }: ${tensorOf(foreign, text)}.${instead}`;
  }
  const usual = `Pass { data, shape } with shape ${text}.`;
  if (types.isPromise(value)) return `It is a promise: await it. ${usual}`;
  if (types.isUint8Array(value)) return `${usual} ${conversionOf(value, name, 'Float32Array')}`;
  const inside = tensorsIn(value);
  return inside.length === 0 ? usual : `Pass one of its tensors: ${inside.map(key => `${name}.${key}`).join(', ')}.`;
}

/** The names of the tensors in what a model has returned. */
function tensorsIn(value: unknown): readonly string[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [];
  // Data properties only: getters could have side effects.
  const fields = Object.entries(ifReadable(() => Object.getOwnPropertyDescriptors(value)) ?? {});
  return fields
    .filter(([, field]) => field.enumerable && foreignNumbers(field.value, '')?.shape !== undefined)
    .map(([key]) => key);
}
