import { type Device, Array as JaxArray, numpy as np } from '@jax-js/jax';
import { describeValue, InfoNCEError } from '../runtime/errors.js';
import { foreignNumbers, typedArrayOf } from '../runtime/foreign-tensor.js';
import type { Tensor } from '../runtime/host-tensor.js';

export function isJaxArray(value: unknown): value is JaxArray {
  return value instanceof JaxArray;
}

/** The numbers of an array, and where it was. */
export interface Read {
  readonly tensor: Tensor;
  readonly device: Device;
}

/** The numbers of a float32 array, which is consumed, as jax-js has it. */
export function readArray(value: unknown, name: string): Read {
  if (!isJaxArray(value)) {
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: name,
      expected: 'a numpy.Array of jax-js that holds numbers',
      got: describeValue(value),
      remedy: madeOf(value, name),
    });
  }
  if (value.dtype !== 'float32') {
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: name,
      expected: 'an array of dtype float32',
      got: value.dtype,
      remedy: `Convert it: ${name}.astype(numpy.float32).`,
    });
  }
  const { shape, device } = value;
  return { tensor: { data: value.dataSync() as Float32Array, shape }, device };
}

/** How to make an array of other numbers, or where there are none. */
function madeOf(value: unknown, name: string): string {
  const foreign = foreignNumbers(value, name);
  if (foreign === undefined)
    return 'Within grad, vjp, jit or vmap there are none yet. Differentiate with valueAndGrad of infonce/jax-js.';
  const shape = foreign.shape === undefined ? '' : `, { shape: ${foreign.shape} }`;
  return `Make one: numpy.array(${typedArrayOf(foreign, 'Float32Array')}${shape}).`;
}

/** An array of the shape and on the device of another: of these numbers, or of zeros. */
export function toArray(data: Float32Array | undefined, { tensor, device }: Read): JaxArray {
  const numbers = data ?? new Float32Array(tensor.data.length);
  return np.array(numbers as Float32Array<ArrayBuffer>, { shape: [...tensor.shape], device });
}
