/// <reference lib="esnext.disposable" preserve="true" />
import { types } from 'node:util';
import { AbortError, type AbortSignalLike } from './abort.js';
import type {
  NativeBuffer,
  NativeContext,
  NativeContextOptions,
  NativeFailure,
  NativeMemoryNeeds,
  NativeProblem,
  NativeResult,
} from './binding.js';
import { type DeviceTensor, OwnedDeviceTensor } from './device-tensor.js';
import { type AvailableDevice, describeDevice, type Target } from './devices.js';
import { describeValue, InfoNCEError } from './errors.js';
import { type InputNames, type Inputs, nativeError } from './native-failure.js';
import { checkNumber } from './options.js';
import { Submissions, type Submit, type WhenFull } from './submissions.js';
import { checkArray, type DType } from './tensor.js';

/**
 * How exactly products are computed, with PyTorch's names: `'highest'` float32, `'high'` at least three bfloat16
 * products (about 16 bits of mantissa), `'medium'` at least one. Sums are always float32 or better. A device may compute
 * more exactly than asked.
 */
export type Precision = 'highest' | 'high' | 'medium';

/** What a call took on a CUDA device, in seconds: parts that follow each other and never add up to more than the call. */
export interface Timings {
  /** Until the inputs are on the device. */
  readonly upload: number;
  /** Until the last kernel has ended. */
  readonly kernels: number;
  /** What is left after the kernels of copying results back; copies that overlap with kernels are not in it. */
  readonly download: number;
}

/**
 * A device made ready: its threads and working memory, kept between calls. Made by {@link createContext}. Its work is
 * done in the order in which it was asked for; a synchronous call first waits for all that was.
 */
export interface Context {
  /** What calls in this context run on. */
  readonly device: AvailableDevice;
  /** What it was made with. */
  readonly precision: Precision;
  /** Why `'auto'` came to the CPU; undefined when the device was named. */
  readonly fallbackReason: string | undefined;
  /** The parts of the last loss computed here; undefined unless made with `timings: true` on a CUDA device. */
  readonly lastTimings: Timings | undefined;
  /** Calls made here whose promises have not settled. */
  readonly pending: number;
  /**
   * What took the device away, after a fault; else undefined. From then on every call here fails with
   * `ERR_INFONCE_DEVICE_LOST`: make another context.
   */
  readonly lost: string | undefined;
  /** Whether `dispose` was called. */
  readonly disposed: boolean;
  /**
   * Copies float32 numbers to the device, where calls in this context use them in
   * place. The product of `shape` is the length of `data`, which may be overwritten as soon as this returns.
   *
   * @throws {@link InfoNCEError} `ERR_INFONCE_TYPE` or `ERR_INFONCE_SHAPE`; `ERR_INFONCE_OUT_OF_MEMORY` when it does not
   * fit.
   */
  tensor(data: Float32Array, shape: readonly number[], dtype?: 'float32'): DeviceTensor<'float32'>;
  /** The same for 16-bit numbers, given as their bits. */
  tensor<Type extends 'float16' | 'bfloat16'>(
    data: Uint16Array,
    shape: readonly number[],
    dtype: Type,
  ): DeviceTensor<Type>;
  /**
   * `length` zeros that a CUDA device copies from and to directly, which is faster (on the CPU: zeros). Asynchronous calls do
   * not copy such an array first: what is written to it before the promise settles may or may not be seen. It may
   * outlive the context.
   */
  pinned(length: number): Float32Array;
  /**
   * Gives back the memory that the context keeps for its next calls, of its device and of the host, and returns how many
   * bytes that was. It waits for nothing: calls in flight, tensors and forward passes keep theirs. The next call takes
   * what it needs anew.
   */
  trim(): number;
  /**
   * Gives threads and memory back. Calls already made finish first and deliver their results; calls made afterwards fail
   * with `ERR_INFONCE_DISPOSED`. Its tensors go with it. Calling it again does nothing.
   */
  dispose(): void;
  /** The same as `dispose()`, for `using`. */
  [Symbol.dispose](): void;
}

/** How to tell of a call's failure: what the caller calls it and its inputs, and the inputs' shapes. */
export interface Naming {
  readonly names: InputNames;
  readonly inputs?: Inputs | undefined;
}

/** What {@link OwnedContext} is made with beside the addon's options. */
export interface QueueOptions {
  readonly queueLimit: number;
  readonly whenFull: WhenFull;
}

const TENSOR = { names: { none: 'tensor' } };
const PINNED = { names: { none: 'pinned' } };
const TRIM = { names: { none: 'trim' } };
/** As many as have bytes that can be counted. */
const MOST_PINNED = Math.floor(Number.MAX_SAFE_INTEGER / 4);
const TENSOR_LAYOUT = { text: '[…, D]', fewestDimensions: 1, mostDimensions: Number.POSITIVE_INFINITY };

/** The implementation behind {@link Context}: the addon's context, and the calls it still owes. */
export class OwnedContext implements Context {
  readonly device: AvailableDevice;
  readonly precision: Precision;
  readonly fallbackReason: string | undefined;
  declare readonly [Symbol.dispose]: () => void;
  readonly #native: NativeContext;
  readonly #submissions: Submissions;
  readonly #timed: boolean;
  #lastTimings: Timings | undefined;
  #lost: string | undefined;
  #disposed = false;

  /** What `instanceof` cannot tell: whether it is one itself, not a proxy or an object made from the prototype. */
  static isOne(value: unknown): value is OwnedContext {
    return typeof value === 'object' && value !== null && #native in value;
  }

  constructor(
    native: NativeContext,
    target: Target,
    { precision, measure }: NativeContextOptions,
    queue: QueueOptions,
  ) {
    this.#native = native;
    this.#submissions = new Submissions(native, queue.queueLimit, queue.whenFull, () => {
      if (this.#disposed) native.dispose();
    });
    this.#timed = measure;
    this.device = describeDevice(target, native.instructionSet, native.threads);
    this.precision = precision;
    this.fallbackReason = target.fallbackReason;
  }

  get lastTimings(): Timings | undefined {
    return this.#lastTimings;
  }

  /** Takes the timings of a call that has ended. */
  keepTimings({ scalars }: NativeResult): void {
    if (this.#timed) this.#lastTimings = { upload: scalars[4]!, kernels: scalars[5]!, download: scalars[6]! };
  }

  get pending(): number {
    return this.#submissions.pending;
  }

  get lost(): string | undefined {
    return this.#lost;
  }

  get disposed(): boolean {
    return this.#disposed;
  }

  /**
   * Queues work: `submit` hands it to the addon, now or, with `whenFull: 'wait'`, when there is room. Rejects with an
   * InfoNCEError, or with an AbortError when the signal fires before the work is done.
   */
  async submit<Value = void>(submit: Submit<Value>, naming: Naming, signal?: AbortSignalLike): Promise<Value> {
    this.#checkInUse();
    try {
      return await this.#submissions.submit(submit, failure => this.#explain(failure, naming), signal);
    } catch (error) {
      // Errors with a cause come from the addon or a signal, where the caller is not on the stack. Here its awaits are.
      const isOurs = error instanceof InfoNCEError || error instanceof AbortError;
      if (isOurs && error.cause !== undefined) Error.captureStackTrace(error);
      throw error;
    }
  }

  /** Does work after all that was submitted, before it returns. */
  runSync<Value>(work: (native: NativeContext) => Value, naming: Naming): Value {
    this.#checkInUse();
    this.#submissions.flush();
    return this.#explained(work, naming);
  }

  /** Does `action`, which the addon puts in order with its work, after the calls that still wait for room. */
  inOrder(action: () => void): void {
    this.#submissions.inOrder(action);
  }

  memoryRequired(problem: NativeProblem, gradNegatives: boolean, naming: Naming): NativeMemoryNeeds {
    this.#checkInUse();
    return this.#explained(native => native.memoryRequired(problem, gradNegatives), naming);
  }

  /** A device tensor whose numbers are yet to be written. */
  allocate<Type extends DType>(shape: readonly number[], dtype: Type, naming: Naming): OwnedDeviceTensor<Type> {
    this.#checkInUse();
    const byteLength = shape.reduce((bytes, dimension) => bytes * dimension, dtype === 'float32' ? 4 : 2);
    const buffer = this.#explained(native => native.allocate(byteLength), naming);
    return new OwnedDeviceTensor(this, buffer, shape, dtype);
  }

  tensor(data: Float32Array, shape: readonly number[], dtype?: 'float32'): DeviceTensor<'float32'>;
  tensor<Type extends 'float16' | 'bfloat16'>(
    data: Uint16Array,
    shape: readonly number[],
    dtype: Type,
  ): DeviceTensor<Type>;
  tensor(values: unknown, shape: unknown, dtype?: unknown): DeviceTensor {
    const checked = checkArray(values, shape, dtype, '', TENSOR_LAYOUT);
    const tensor = this.allocate(checked.shape, checked.dtype, TENSOR);
    this.#fill(tensor.bufferFor('tensor'), checked.data as Float32Array | Uint16Array);
    return tensor;
  }

  /** Writes a buffer that no work knows yet. Behind work that is not done it is queued, rather than waited for. */
  #fill(buffer: NativeBuffer, data: Float32Array | Uint16Array): void {
    const { byteLength } = data;
    if (this.pending === 0) {
      this.#explained(native => native.write(buffer, 0, data, 0, byteLength), TENSOR);
      return;
    }
    // A copy, because a pinned array would be read later. A failure is that of every call that comes after. An array of another
    // realm is no instance of a class of this one.
    const copy = types.isUint16Array(data) ? new Uint16Array(data) : new Float32Array(data);
    const done = (failure: NativeFailure | null): void => {
      if (failure !== null) this.#explain(failure, TENSOR);
    };
    this.#explained(native => native.submitWrite(buffer, 0, copy, 0, byteLength, done), TENSOR);
  }

  pinned(length: number): Float32Array {
    this.#checkInUse();
    const expected = `an integer from 1 to ${MOST_PINNED}`;
    checkNumber(length, 'length', expected, 'It is how many numbers the array holds.');
    if (!Number.isInteger(length) || length < 1 || length > MOST_PINNED) {
      throw new InfoNCEError('ERR_INFONCE_RANGE', { argument: 'length', expected, got: describeValue(length) });
    }
    return new Float32Array(this.#explained(native => native.pinned(4 * length), PINNED));
  }

  trim(): number {
    this.#checkInUse();
    return this.#explained(native => native.trim(), TRIM);
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    if (this.pending === 0) this.#native.dispose();
  }

  #checkInUse(): void {
    if (!this.#disposed) return;
    throw new InfoNCEError('ERR_INFONCE_DISPOSED', {
      argument: 'context',
      expected: 'a context in use',
      got: 'one that was disposed',
      remedy: 'Make another with createContext(), or leave the option out to use the default context.',
    });
  }

  #explained<Value>(work: (native: NativeContext) => Value, naming: Naming): Value {
    try {
      return work(this.#native);
    } catch (failure) {
      throw this.#explain(failure as NativeFailure, naming);
    }
  }

  #explain(failure: NativeFailure, { names, inputs }: Naming): InfoNCEError {
    if (failure.status === 'DEVICE_LOST') this.#lost ??= failure.message;
    return nativeError(failure, names, inputs);
  }
}

// Node.js 20 has had Symbol.dispose only since 20.4; a method whose key is undefined would be called "undefined".
if (Symbol.dispose !== undefined) {
  Object.defineProperty(OwnedContext.prototype, Symbol.dispose, { value: OwnedContext.prototype.dispose });
}
