import { types } from 'node:util';
import { describeValue, InfoNCEError } from './errors.js';
import { checkKeys } from './options.js';

/** A row-major array of float32 numbers. The product of `shape` equals `data.length`. */
export interface Tensor {
  /** The numbers, last dimension fastest. Views with an offset and views of a SharedArrayBuffer are welcome. */
  readonly data: Float32Array;
  readonly shape: readonly number[];
}

const TENSOR_KEYS: ReadonlySet<string> = new Set(['data', 'shape']);

/**
 * Refuses a tensor that is not a Float32Array with a matching shape of `fewestDimensions` to `mostDimensions` positive
 * dimensions. `layout` is how the message writes the expected shape.
 */
export function checkTensor(
  tensor: unknown,
  name: string,
  layout: string,
  fewestDimensions: number,
  mostDimensions: number,
): Tensor {
  if (typeof tensor !== 'object' || tensor === null || ArrayBuffer.isView(tensor) || Array.isArray(tensor)) {
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: name,
      expected: 'a tensor { data: Float32Array, shape: number[] }',
      got: describeValue(tensor),
      remedy: `Pass { data, shape } with shape ${layout}.`,
    });
  }
  checkKeys(tensor, name, TENSOR_KEYS);
  const { data, shape } = tensor as { readonly data?: unknown; readonly shape?: unknown };
  checkFloat32Array(data, `${name}.data`);
  if (!Array.isArray(shape)) {
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: `${name}.shape`,
      expected: `an array of positive integers ${layout}`,
      got: describeValue(shape),
    });
  }
  checkShape(shape, data.length, name, layout, fewestDimensions, mostDimensions);
  return tensor as Tensor;
}

function checkShape(
  shape: readonly unknown[],
  length: number,
  name: string,
  layout: string,
  fewest: number,
  most: number,
): asserts shape is readonly number[] {
  let valid = shape.length >= fewest && shape.length <= most;
  // Every factor is at least 1, so a product too large to be exact is also too large to equal a length.
  let product = 1;
  for (const dimension of shape) {
    if (typeof dimension !== 'number' || !Number.isInteger(dimension) || dimension < 1) {
      valid = false;
      break;
    }
    product *= dimension;
  }
  if (!valid) {
    throw new InfoNCEError('ERR_INFONCE_SHAPE', {
      argument: `${name}.shape`,
      expected: `${layout}, every dimension a positive integer`,
      got: formatShape(shape),
    });
  }
  if (product !== length) {
    throw new InfoNCEError('ERR_INFONCE_SHAPE', {
      argument: `${name}.shape`,
      expected: `a product equal to ${name}.data.length, which is ${length}`,
      got: `${formatShape(shape)}, whose product is ${product}`,
      remedy: 'Pass the shape of the data, row-major.',
    });
  }
}

/** Refuses what is not a Float32Array, and one whose buffer was transferred away. */
export function checkFloat32Array(value: unknown, name: string): asserts value is Float32Array {
  if (!types.isFloat32Array(value)) {
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: name,
      expected: 'a Float32Array',
      got: describeValue(value),
      remedy: conversionOf(value, name),
    });
  }
  if (value.length === 0 && isDetached(value.buffer)) throw detachedError(name);
}

/** Refuses what is not an Int32Array, and one whose buffer was transferred away. */
export function checkInt32Array(value: unknown, name: string): asserts value is Int32Array {
  if (!types.isInt32Array(value)) {
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: name,
      expected: 'an Int32Array',
      got: describeValue(value),
      remedy: `Convert it: Int32Array.from(${name}).`,
    });
  }
  if (value.length === 0 && isDetached(value.buffer)) throw detachedError(name);
}

function conversionOf(value: unknown, name: string): string {
  if (value instanceof Uint8Array) {
    return `If its bytes are float32 values: new Float32Array(buffer, byteOffset, length). If each byte is a number: Float32Array.from(${name}).`;
  }
  return `Convert it: Float32Array.from(${name}).`;
}

function detachedError(name: string): InfoNCEError {
  return new InfoNCEError('ERR_INFONCE_TYPE', {
    argument: name,
    expected: 'an array whose buffer is attached',
    got: 'one whose buffer was detached',
    remedy: 'It was transferred to another thread or resized away; pass the copy that holds the data.',
  });
}

/** `ArrayBuffer.prototype.detached` came with Node 21; constructing a view of a detached buffer always throws. */
function isDetached(buffer: ArrayBufferLike): boolean {
  try {
    new Uint8Array(buffer);
    return false;
  } catch {
    return true;
  }
}

/** `[2, 3]`, for messages. */
export function formatShape(shape: readonly unknown[]): string {
  return `[${shape.map(dimension => (typeof dimension === 'number' ? dimension : describeValue(dimension))).join(', ')}]`;
}

/** Room for a result; a failed allocation becomes ERR_INFONCE_OUT_OF_MEMORY. */
export function allocate(length: number, name: string): Float32Array {
  try {
    return new Float32Array(length);
  } catch (cause) {
    throw new InfoNCEError('ERR_INFONCE_OUT_OF_MEMORY', {
      argument: name,
      expected: `room for ${length} float32 numbers`,
      got: cause instanceof Error ? cause.message : String(cause),
      remedy: 'Use fewer rows at a time.',
      cause,
    });
  }
}
