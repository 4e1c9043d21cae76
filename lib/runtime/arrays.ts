import { types } from 'node:util';
import { describeValue, InfoNCEError, ifReadable } from './errors.js';
import { bitsOf, foreignNumbers, isFloat16Array, typedArrayOf } from './foreign-tensor.js';

/** Refuses what is not a Float32Array, and one whose buffer was transferred away. */
export function checkFloat32Array(
  value: unknown,
  name: string,
  expected = 'a Float32Array',
): asserts value is Float32Array {
  checkTypedArray(value, types.isFloat32Array(value), name, expected, 'Float32Array');
}

/** {@link checkFloat32Array} for an Int32Array. */
export function checkInt32Array(value: unknown, name: string): asserts value is Int32Array {
  checkTypedArray(value, types.isInt32Array(value), name, 'an Int32Array', 'Int32Array');
}

/** {@link checkFloat32Array} for a Uint16Array, the bits of 16-bit numbers. */
export function checkUint16Array(value: unknown, name: string): asserts value is Uint16Array {
  if (types.isFloat32Array(value)) {
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: name,
      expected: 'a Uint16Array, the bits of 16-bit numbers',
      got: 'Float32Array',
      remedy: "Leave dtype out, or write 'float32'.",
    });
  }
  checkTypedArray(value, types.isUint16Array(value), name, 'a Uint16Array', undefined);
}

function checkTypedArray(
  value: unknown,
  isRight: boolean,
  name: string,
  expected: string,
  target: 'Float32Array' | 'Int32Array' | undefined,
): void {
  if (!isRight) {
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: name,
      expected,
      got: foreignNumbers(value, name)?.kind ?? describeValue(value),
      remedy: target === undefined ? bitsRemedy(value, name) : conversionOf(value, name, target),
    });
  }
  const { length, buffer } = value as Float32Array;
  if (length === 0 && isDetached(buffer)) throw detachedError(name);
}

function bitsRemedy(value: unknown, name: string): string {
  return isFloat16Array(value) ? `Pass its bits: ${bitsOf(name)}.` : 'Pass the bits of the numbers.';
}

/** How to make a typed array of what was passed. */
export function conversionOf(value: unknown, name: string, target: 'Float32Array' | 'Int32Array'): string {
  if (types.isUint8Array(value)) {
    return (
      `If its bytes are those of a ${target}, with b for ${name}: ` +
      `new ${target}(b.buffer.slice(b.byteOffset, b.byteOffset + b.byteLength)). ` +
      `If each byte is a number: ${target}.from(${name}).`
    );
  }
  if (types.isUint16Array(value) && target === 'Float32Array') {
    return `If each is a number: Float32Array.from(${name}). If they are the bits of 16-bit numbers, give their dtype.`;
  }
  if (isFloat16Array(value) && target === 'Float32Array') {
    return `Convert it: Float32Array.from(${name}); or pass its bits, with dtype: 'float16': ${bitsOf(name)}.`;
  }
  if (types.isPromise(value)) return 'It is a promise: await it.';
  const foreign = foreignNumbers(value, name);
  if (foreign === undefined) {
    const isTensor = ifReadable(() => ArrayBuffer.isView((value as { readonly data?: unknown }).data));
    return isTensor ? `Pass its data: ${name}.data.` : `Pass the numbers: new ${target}([…]).`;
  }
  const array = typedArrayOf(foreign, target);
  if (array === `${name}.data`) return `Pass its data: ${array}.`;
  return `${/\.flat/.test(array) ? 'Flatten it row by row' : 'Convert it'}: ${array}.`;
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

/** Allocates a result; a failure becomes ERR_INFONCE_OUT_OF_MEMORY. */
export function allocate(length: number, name: string): Float32Array {
  return allocating(() => new Float32Array(length), length, name);
}

/** {@link allocate} for 16-bit numbers. */
export function allocateHalf(length: number, name: string): Uint16Array {
  return allocating(() => new Uint16Array(length), length, name);
}

/** {@link allocate} for labels. */
export function allocateLabels(length: number, name: string): Int32Array {
  return allocating(() => new Int32Array(length), length, name);
}

function allocating<Data>(make: () => Data, length: number, name: string): Data {
  try {
    return make();
  } catch (cause) {
    throw new InfoNCEError('ERR_INFONCE_OUT_OF_MEMORY', {
      argument: name,
      expected: `room for ${length} numbers`,
      got: cause instanceof Error ? cause.message : String(cause),
      remedy: 'Use fewer rows at a time.',
      cause,
    });
  }
}

// What no array can lie about.
const lengthOf = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Float32Array.prototype), 'length')!.get!;

/** Copies all `length` numbers of an array that was checked before. A getter that ran since may have resized it. */
export function copyInto<Data extends Float32Array | Uint16Array>(
  target: Data,
  offset: number,
  source: Data,
  length: number,
  name: string,
): void {
  if (lengthOf.call(source) === length) {
    target.set(source, offset);
    return;
  }
  throw new InfoNCEError('ERR_INFONCE_TYPE', {
    argument: name,
    expected: `an array that stays as it was, with ${length} numbers`,
    got: `one with ${lengthOf.call(source)}`,
    remedy: 'A getter, a proxy or a resizable buffer changed it meanwhile: pass plain ones.',
  });
}
