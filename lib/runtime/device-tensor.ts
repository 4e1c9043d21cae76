import { allocate, allocateHalf } from './arrays.js';
import type { NativeBuffer, Work } from './binding.js';
import { disposable } from './disposable.js';
import { InfoNCEError } from './errors.js';
import type { Context, DeviceTensor, TensorHandle } from './handles.js';
import { checkDataOf, type DataOf, type DType } from './host-tensor.js';
import type { Naming } from './native-failure.js';
import { productOf } from './shape.js';

/** What a device tensor needs of its context. */
export interface TensorContext extends Context {
  perform(work: Work, naming: Naming): Promise<void>;
  performSync(work: Work, naming: Naming): void;
  inOrder(action: () => void): void;
  /** What another process opens the memory of a tensor by. */
  exportMemory(buffer: NativeBuffer): Pick<TensorHandle, 'handle' | 'byteOffset'>;
  /** Refuses memory that its owner has freed, for a call that names it `argument`. */
  examine(buffer: NativeBuffer, argument: string): void;
}

const READ = { call: 'toArray' };
const WRITE = { call: 'write' };

/** The implementation behind {@link DeviceTensor}. */
export class OwnedDeviceTensor<Type extends DType = DType> implements DeviceTensor<Type> {
  readonly context: TensorContext;
  readonly shape: readonly number[];
  readonly dtype: Type;
  declare readonly [Symbol.dispose]: () => void;
  readonly #buffer: NativeBuffer;
  readonly #size: number;
  readonly #isForeign: boolean;
  #disposed = false;

  static {
    disposable(OwnedDeviceTensor.prototype);
  }

  /** What `instanceof` cannot tell: whether it is one itself, not a proxy or an object made from the prototype. */
  static isOne(value: unknown): value is OwnedDeviceTensor {
    return typeof value === 'object' && value !== null && #buffer in value;
  }

  /** Takes over `buffer`, which has room for the numbers. `isForeign`: somebody else owns the memory, and may free it. */
  constructor(context: TensorContext, buffer: NativeBuffer, shape: readonly number[], dtype: Type, isForeign = false) {
    this.context = context;
    this.shape = Object.freeze([...shape]);
    this.dtype = dtype;
    this.#buffer = buffer;
    this.#size = productOf(shape);
    this.#isForeign = isForeign;
  }

  get pointer(): bigint {
    return this.bufferFor('tensor').address();
  }

  get disposed(): boolean {
    return this.#disposed || this.context.disposed;
  }

  /** Its memory, for a call that names it `argument`. */
  bufferFor(argument: string): NativeBuffer {
    if (!this.disposed) {
      if (this.#isForeign) this.context.examine(this.#buffer, argument);
      return this.#buffer;
    }
    throw new InfoNCEError('ERR_INFONCE_DISPOSED', {
      argument,
      expected: 'a device tensor in use',
      got: this.#disposed ? 'one that was disposed' : 'one whose context was disposed',
      remedy: 'Make another with context.tensor(data, shape).',
    });
  }

  exportHandle(): TensorHandle<Type> {
    const { handle, byteOffset } = this.context.exportMemory(this.bufferFor('tensor'));
    return { handle, byteOffset, shape: this.shape, dtype: this.dtype };
  }

  async toArray(): Promise<DataOf<Type>> {
    const { target, read } = this.#reading();
    await this.context.perform(read, READ);
    return target;
  }

  toArraySync(): DataOf<Type> {
    const { target, read } = this.#reading();
    this.context.performSync(read, READ);
    return target;
  }

  async write(data: DataOf<Type>): Promise<void> {
    await this.context.perform(this.#writing(data), WRITE);
  }

  writeSync(data: DataOf<Type>): void {
    this.context.performSync(this.#writing(data), WRITE);
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.context.inOrder(() => this.#buffer.dispose());
  }

  #reading(): { readonly target: DataOf<Type>; readonly read: Work } {
    const buffer = this.bufferFor('tensor');
    const make = this.dtype === 'float32' ? allocate : allocateHalf;
    const target = make(this.#size, 'toArray') as DataOf<Type>;
    return { target, read: (native, done) => native.read(buffer, 0, target, done) };
  }

  #writing(data: unknown): Work {
    const buffer = this.bufferFor('tensor');
    checkDataOf(this.dtype, data, 'data');
    const { length, byteLength } = data;
    if (length === this.#size) return (native, done) => native.write(buffer, 0, data, 0, byteLength, done);
    throw new InfoNCEError('ERR_INFONCE_SHAPE', {
      argument: 'data',
      expected: `${this.#size} numbers, as many as the tensor has`,
      got: String(length),
    });
  }
}
