/// <reference lib="esnext.disposable" preserve="true" />
import { allocate, allocateHalf, checkFloat32Array, checkUint16Array } from './arrays.js';
import type { NativeBuffer } from './binding.js';
import type { Context, OwnedContext } from './context.js';
import { InfoNCEError } from './errors.js';
import type { DType } from './tensor.js';

/** What holds numbers of a type: a Float32Array, or a Uint16Array with the bits of 16-bit numbers. */
export type DataOf<Type extends DType> = Type extends 'float32' ? Float32Array : Uint16Array;

/**
 * A row-major array in the memory of a context's device (CPU: of the host). Made by `context.tensor()`, and by calls with
 * `output: 'device'`. Accepted by calls in its context wherever a tensor is. Garbage collection frees it, `dispose()`
 * sooner, and so does its context's.
 *
 * Writing, reading and calls are done in the order in which they are asked for.
 */
export interface DeviceTensor<Type extends DType = DType> {
  /** Whose device holds it. */
  readonly context: Context;
  /** Its dimensions, the last one fastest. */
  readonly shape: readonly number[];
  /** What its numbers are stored as. */
  readonly dtype: Type;
  /** Whether it, or its context, was disposed. */
  readonly disposed: boolean;
  /** A copy in the host's memory. Rejects with `ERR_INFONCE_DISPOSED` after `dispose()`. */
  toArray(): Promise<DataOf<Type>>;
  /** {@link toArray}, done before it returns. */
  toArraySync(): DataOf<Type>;
  /** Overwrites all of it with as many numbers of its type. They are copied before this returns, pinned arrays read later. */
  write(data: DataOf<Type>): Promise<void>;
  /** {@link write}, done before it returns. */
  writeSync(data: DataOf<Type>): void;
  /** Frees the memory as soon as calls in flight have no more use for it. Calling it again does nothing. */
  dispose(): void;
  /** The same as `dispose()`, for `using`. */
  [Symbol.dispose](): void;
}

const READ = { names: { none: 'toArray' } };
const WRITE = { names: { none: 'write' } };

/** The implementation behind {@link DeviceTensor}. */
export class OwnedDeviceTensor<Type extends DType = DType> implements DeviceTensor<Type> {
  readonly context: OwnedContext;
  readonly shape: readonly number[];
  readonly dtype: Type;
  declare readonly [Symbol.dispose]: () => void;
  readonly #buffer: NativeBuffer;
  readonly #size: number;
  #disposed = false;

  /** What `instanceof` cannot tell: whether it is one itself, not a proxy or an object made from the prototype. */
  static isOne(value: unknown): value is OwnedDeviceTensor {
    return typeof value === 'object' && value !== null && #buffer in value;
  }

  /** Takes over `buffer`, which has room for the numbers. */
  constructor(context: OwnedContext, buffer: NativeBuffer, shape: readonly number[], dtype: Type) {
    this.context = context;
    this.shape = Object.freeze([...shape]);
    this.dtype = dtype;
    this.#buffer = buffer;
    this.#size = shape.reduce((product, dimension) => product * dimension, 1);
  }

  get disposed(): boolean {
    return this.#disposed || this.context.disposed;
  }

  /** Its memory, for a call that names it `argument`. */
  bufferFor(argument: string): NativeBuffer {
    if (!this.disposed) return this.#buffer;
    throw new InfoNCEError('ERR_INFONCE_DISPOSED', {
      argument,
      expected: 'a device tensor in use',
      got: this.#disposed ? 'one that was disposed' : 'one whose context was disposed',
      remedy: 'Make another with context.tensor(data, shape).',
    });
  }

  async toArray(): Promise<DataOf<Type>> {
    const buffer = this.bufferFor('tensor');
    const target = this.#room();
    await this.context.submit((native, done) => native.submitRead(buffer, 0, target, done), READ);
    return target;
  }

  toArraySync(): DataOf<Type> {
    const buffer = this.bufferFor('tensor');
    const target = this.#room();
    this.context.runSync(native => native.read(buffer, 0, target), READ);
    return target;
  }

  async write(data: DataOf<Type>): Promise<void> {
    const buffer = this.#checkWrite(data);
    const { byteLength } = data;
    await this.context.submit((native, done) => native.submitWrite(buffer, 0, data, 0, byteLength, done), WRITE);
  }

  writeSync(data: DataOf<Type>): void {
    const buffer = this.#checkWrite(data);
    this.context.runSync(native => native.write(buffer, 0, data, 0, data.byteLength), WRITE);
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.context.inOrder(() => this.#buffer.dispose());
  }

  #room(): DataOf<Type> {
    const make = this.dtype === 'float32' ? allocate : allocateHalf;
    return make(this.#size, 'toArray') as DataOf<Type>;
  }

  #checkWrite(data: unknown): NativeBuffer {
    const buffer = this.bufferFor('tensor');
    if (this.dtype === 'float32') checkFloat32Array(data, 'data');
    else checkUint16Array(data, 'data');
    const { length } = data as Float32Array | Uint16Array;
    if (length === this.#size) return buffer;
    throw new InfoNCEError('ERR_INFONCE_SHAPE', {
      argument: 'data',
      expected: `${this.#size} numbers, as many as the tensor has`,
      got: String(length),
    });
  }
}

// Node.js 20 has had Symbol.dispose only since 20.4; a method whose key is undefined would be called "undefined".
if (Symbol.dispose !== undefined) {
  Object.defineProperty(OwnedDeviceTensor.prototype, Symbol.dispose, { value: OwnedDeviceTensor.prototype.dispose });
}
