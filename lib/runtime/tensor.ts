import { types } from 'node:util';
import { describeValue, InfoNCEError } from './errors.js';
import { checkKeys, type KeyAdvice } from './options.js';

/** A row-major array of float32 numbers. The product of `shape` equals `data.length`. */
export interface Tensor {
  /** The numbers, last dimension fastest. Views with an offset and views of a SharedArrayBuffer are welcome. */
  readonly data: Float32Array;
  readonly shape: readonly number[];
}

const TENSOR_KEYS: ReadonlySet<string> = new Set(['data', 'shape']);

/** Advice for a tensor passed where an object with the named tensors belongs. */
export function bareTensorAdvice(...names: readonly string[]): KeyAdvice {
  const remedy = `Pass { ${names.map(name => `${name}: { data, shape }`).join(', ')} }.`;
  return new Map([...TENSOR_KEYS].map(key => [key, remedy]));
}

/**
 * Refuses a tensor that is not a Float32Array with a matching shape of `fewestDimensions` to `mostDimensions` positive
 * dimensions. `layout` is how the message writes the expected shape. Returns the values it checked, so that a getter
 * cannot give others later.
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
      remedy: shapeRemedy(layout),
    });
  }
  checkShape(shape, data.length, name, layout, fewestDimensions, mostDimensions);
  return { data, shape };
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
      remedy: shapeRemedy(layout),
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

function shapeRemedy(layout: string): string {
  return `Write the shape of the data, row-major, as ${layout}.`;
}

/** Refuses what is not a Float32Array, and one whose buffer was transferred away. */
export function checkFloat32Array(value: unknown, name: string): asserts value is Float32Array {
  if (!types.isFloat32Array(value)) {
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: name,
      expected: 'a Float32Array',
      got: describeValue(value),
      remedy: conversionOf(value, name, 'Float32Array'),
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
      remedy: conversionOf(value, name, 'Int32Array'),
    });
  }
  if (value.length === 0 && isDetached(value.buffer)) throw detachedError(name);
}

/** How to make a typed array of what was passed, judged by its first element. */
function conversionOf(value: unknown, name: string, target: 'Float32Array' | 'Int32Array'): string {
  if (types.isUint8Array(value)) {
    return (
      `If its bytes are those of a ${target}, with b for ${name}: ` +
      `new ${target}(b.buffer.slice(b.byteOffset, b.byteOffset + b.byteLength)). ` +
      `If each byte is a number: ${target}.from(${name}).`
    );
  }
  const first: unknown = Array.isArray(value) || types.isTypedArray(value) ? value[0] : undefined;
  if (Array.isArray(first)) {
    const depth = Array.isArray(first[0]) ? 'Infinity' : '';
    return `Flatten it row by row: ${target}.from(${name}.flat(${depth})).`;
  }
  if (types.isTypedArray(first)) return `Flatten it row by row: ${target}.from(${name}.flatMap(row => [...row])).`;
  switch (typeof first) {
    case 'number':
      return `Convert it: ${target}.from(${name}).`;
    case 'bigint':
      return `Convert it: ${target}.from(${name}, Number).`;
    default:
      return `Pass the numbers: new ${target}([…]).`;
  }
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
