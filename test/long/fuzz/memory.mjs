/** Typed arrays over every kind of memory that JavaScript has, and what can happen to it during a call. */
import { types } from 'node:util';
import { runInNewContext } from 'node:vm';

const OTHER_REALM = runInNewContext('({ Float32Array, Int32Array, Uint16Array, Float64Array })');
const MOST_BYTES = 1 << 20; // Maximum size of resizable memory.

/** `length` elements of `Type`, filled by `next`, over memory of a random kind. */
export function typedArray(random, Type, length, next) {
  const array = random.pick(KINDS)(random, Type, length);
  for (let i = 0; i < array.length; i++) array[i] = next();
  return array;
}

function byteLengthOf(length, Type) {
  return length * Type.BYTES_PER_ELEMENT;
}

const most = bytes => Math.max(bytes, MOST_BYTES);

const KINDS = [
  (_random, Type, length) => new Type(length),
  (_random, Type, length) => new Type(length),
  (random, Type, length) => {
    const offset = random.integer(1, 4) * Type.BYTES_PER_ELEMENT;
    return new Type(new ArrayBuffer(offset + byteLengthOf(length, Type) + random.integer(0, 9)), offset, length);
  },
  (_random, Type, length) => new Type(new SharedArrayBuffer(byteLengthOf(length, Type))),
  (_random, Type, length) => new OTHER_REALM[Type.name](length),
  (_random, Type, length) => new (class Derived extends Type {})(length),
  // Resizable: views of a fixed length, and those that follow the buffer's.
  (_random, Type, length) => {
    const bytes = byteLengthOf(length, Type);
    return new Type(new ArrayBuffer(bytes, { maxByteLength: most(bytes) }), 0, length);
  },
  (_random, Type, length) => {
    const bytes = byteLengthOf(length, Type);
    return new Type(new ArrayBuffer(bytes, { maxByteLength: most(bytes) }));
  },
  (_random, Type, length) => {
    const bytes = byteLengthOf(length, Type);
    return new Type(new SharedArrayBuffer(bytes, { maxByteLength: most(bytes) }));
  },
];

// The engine's own, for arrays that lie.
const { prototype } = Object.getPrototypeOf(Float32Array);
const bufferOf = intrinsic('buffer');
export const lengthOf = intrinsic('length');

function intrinsic(name) {
  const { get } = Object.getOwnPropertyDescriptor(prototype, name);
  return array => Reflect.apply(get, array, []);
}

const pinnedBuffers = new WeakSet();

/** Remembers an array of pinned memory, which asynchronous calls read in place. */
export function rememberPinned(array) {
  pinnedBuffers.add(array.buffer);
  return array;
}

export function isPinned(array) {
  return pinnedBuffers.has(bufferOf(array));
}

/** Detaches, resizes or overwrites the memory of `array`. */
export function disturb(random, array) {
  const buffer = bufferOf(array);
  const ways = [() => overwrite(random, array)];
  if (buffer instanceof ArrayBuffer) {
    ways.push(() => detach(buffer));
    if (buffer.resizable && buffer.maxByteLength > 0) {
      ways.push(
        () => buffer.resize(0),
        () => buffer.resize(random.integer(0, buffer.byteLength)),
        () => buffer.resize(random.integer(buffer.byteLength, buffer.maxByteLength)),
      );
    }
  } else if (buffer.growable) {
    ways.push(() => buffer.grow(random.integer(buffer.byteLength, buffer.maxByteLength)));
  }
  random.pick(ways)();
}

function overwrite(random, array) {
  const length = lengthOf(array);
  if (length === 0 || types.isBigInt64Array(array)) return;
  array[random.integer(0, length - 1)] = random.pick([Number.NaN, 1e38, 0, -1]);
}

/** Detaches the memory, if it is still attached; memory of `context.pinned` may refuse. */
export function detach(buffer) {
  try {
    structuredClone(buffer, { transfer: [buffer] });
  } catch (error) {
    if (error.name !== 'DataCloneError') throw error;
  }
}
