import { types } from 'node:util';
import { AbortError, type AbortSignalLike } from './abort.js';
import { copyInto } from './arrays.js';
import type { AvailableDevice, Target } from './backends/backend.js';
import {
  type NativeBuffer,
  type NativeCaptured,
  type NativeContext,
  type NativeContextOptions,
  type NativeFailure,
  type NativeMemoryNeeds,
  type NativeProblem,
  type NativeResult,
  SCALARS,
  type Work,
} from './binding.js';
import { checkDeviceNumbers, freedMemory, noSuchMemory, wrapNeedsDevice } from './device-numbers.js';
import { OwnedDeviceTensor, type TensorContext } from './device-tensor.js';
import { describeDevice } from './devices.js';
import { disposable } from './disposable.js';
import { InfoNCEError } from './errors.js';
import type { DeviceTensor, Precision, TensorHandle, Timings } from './handles.js';
import { BYTES, checkArray, type DType } from './host-tensor.js';
import { type Naming, nativeError } from './native-failure.js';
import { checkInteger } from './options.js';
import { ResultMemory } from './result-memory.js';
import { productOf } from './shape.js';
import { Submissions, type WhenFull } from './submissions.js';
import { checkTensorHandle, handlesNeedDevice, notExportable, notImportable } from './tensor-handle.js';

/** Options of {@link OwnedContext} besides the addon's. */
export interface QueueOptions {
  readonly queueLimit: number;
  readonly whenFull: WhenFull;
}

const TENSOR = { call: 'tensor' };
const PINNED = { call: 'pinned' };
const TRIM = { call: 'trim' };
/** The most float32 numbers whose bytes are a safe integer. */
const MOST_PINNED = Math.floor(Number.MAX_SAFE_INTEGER / 4);
const TENSOR_LAYOUT = { text: '[…, D]', fewestDimensions: 1, mostDimensions: Number.POSITIVE_INFINITY };

/** The implementation behind {@link Context}: the addon's context, and the calls it still owes. */
export class OwnedContext implements TensorContext {
  readonly device: AvailableDevice;
  readonly precision: Precision;
  readonly fallbackReason: string | undefined;
  declare readonly [Symbol.dispose]: () => void;
  readonly #native: NativeContext;
  readonly #submissions: Submissions;
  readonly #results: ResultMemory;
  readonly #timed: boolean;
  #lastTimings: Timings | undefined;
  #lost: string | undefined;
  #disposed = false;

  static {
    disposable(OwnedContext.prototype);
  }

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
    this.#results = new ResultMemory(native);
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
    if (this.#timed)
      this.#lastTimings = {
        upload: scalars[SCALARS.uploadSeconds]!,
        kernels: scalars[SCALARS.kernelSeconds]!,
        download: scalars[SCALARS.downloadSeconds]!,
      };
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
   * Queues work: it is handed to the addon now or, with `whenFull: 'wait'`, when there is room. Rejects with an InfoNCEError,
   * or with an AbortError when the signal fires before the work is done. Steps of a group do not wait for room.
   */
  async perform<Value = void>(work: Work<Value>, naming: Naming, signal?: AbortSignalLike): Promise<Value> {
    this.#checkInUse();
    try {
      return await this.#submissions.submit<Value>(
        done => work(this.#native, done) as number,
        failure => this.#explain(failure, naming),
        signal,
        naming.inGroup,
      );
    } catch (error) {
      // Errors with a cause come from the addon or a signal, where the caller is not on the stack. Here its awaits are.
      const isOurs = error instanceof InfoNCEError || error instanceof AbortError;
      if (isOurs && error.cause !== undefined) Error.captureStackTrace(error);
      throw error;
    }
  }

  /** Does work, after all that was queued, before it returns. */
  performSync<Value = void>(work: Work<Value>, naming: Naming): Value {
    this.#checkInUse();
    this.#submissions.flush();
    return this.#explained(() => work(this.#native) as Value, naming);
  }

  /** Does `action`, which the addon puts in order with its work, after the calls that still wait for room. */
  inOrder(action: () => void): void {
    this.#submissions.inOrder(action);
  }

  memoryRequired(problem: NativeProblem, gradients: number, naming: Naming): NativeMemoryNeeds {
    this.#checkInUse();
    return this.#explained(native => native.memoryRequired(problem, gradients), naming);
  }

  /** A call to be repeated by `replay` of the addon. */
  capture(problem: NativeProblem, result: NativeResult, naming: Naming): NativeCaptured {
    this.#checkInUse();
    return this.#explained(native => native.capture(problem, result), naming);
  }

  /** A device tensor whose numbers are yet to be written. */
  allocate<Type extends DType>(shape: readonly number[], dtype: Type, naming: Naming): OwnedDeviceTensor<Type> {
    this.#checkInUse();
    // A rank without rows has a gradient without numbers.
    const bytes = Math.max(1, productOf(shape) * BYTES[dtype]);
    const buffer = this.#explained(native => native.allocate(bytes), naming);
    return new OwnedDeviceTensor(this, buffer, shape, dtype);
  }

  /** An array of any content on the host, for a result that a call fills. */
  resultArray(length: number, name: string): Float32Array {
    this.#checkInUse();
    return this.#results.allocate(length, name);
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
    this.#fill(tensor.bufferFor('tensor'), checked.data, productOf(checked.shape));
    return tensor;
  }

  wrap<Type extends DType = 'float32'>(
    pointer: bigint | number,
    shape: readonly number[],
    dtype?: Type,
  ): DeviceTensor<Type>;
  wrap(pointer: unknown, shape: unknown, dtype?: unknown): DeviceTensor {
    this.#checkInUse();
    if (this.device.type === 'cpu') throw wrapNeedsDevice();
    const numbers = checkDeviceNumbers(pointer, shape, dtype, TENSOR_LAYOUT);
    const naming = { call: 'wrap', refusal: noSuchMemory(numbers, this.device.id) };
    const buffer = this.#explained(native => native.wrap(numbers.address, numbers.bytes), naming);
    return new OwnedDeviceTensor(this, buffer, numbers.shape, numbers.dtype, true);
  }

  exportMemory(buffer: NativeBuffer): Pick<TensorHandle, 'handle' | 'byteOffset'> {
    if (this.device.type === 'cpu') throw handlesNeedDevice('exportHandle');
    return this.#explained(native => native.exportMemory(buffer), { call: 'exportHandle', refusal: notExportable });
  }

  importTensor<Type extends DType>(exported: TensorHandle<Type>): DeviceTensor<Type> {
    this.#checkInUse();
    if (this.device.type === 'cpu') throw handlesNeedDevice('importTensor');
    const { handle, byteOffset, bytes, shape, dtype } = checkTensorHandle(exported, TENSOR_LAYOUT);
    const naming = { call: 'importTensor', refusal: notImportable };
    const buffer = this.#explained(native => native.importMemory(handle, byteOffset, bytes), naming);
    return new OwnedDeviceTensor(this, buffer, shape, dtype as Type, true);
  }

  examine(buffer: NativeBuffer, argument: string): void {
    this.#explained(native => native.examine(buffer), { call: argument, refusal: freedMemory(argument) });
  }

  /** Writes a buffer that no work knows yet. Behind work that is not done it is queued, rather than waited for. */
  #fill(buffer: NativeBuffer, data: Float32Array | Uint16Array, length: number): void {
    // Not its `byteLength`, which a getter may answer.
    const byteLength = length * (types.isUint16Array(data) ? 2 : 4);
    if (this.pending === 0) {
      this.#explained(() => this.#native.write(buffer, 0, data, 0, byteLength), TENSOR);
      return;
    }
    // A copy, because a pinned array would be read later. If this fails, so does every later call. `instanceof` does not
    // recognise arrays of other realms.
    const copy = types.isUint16Array(data) ? new Uint16Array(length) : new Float32Array(length);
    copyInto(copy, 0, data, length, 'data');
    const done = (failure: NativeFailure | null): void => {
      if (failure !== null) this.#explain(failure, TENSOR);
    };
    this.#explained(() => this.#native.write(buffer, 0, copy, 0, byteLength, done), TENSOR);
  }

  pinned(length: number): Float32Array {
    this.#checkInUse();
    checkInteger(length, 'length', { most: MOST_PINNED, typeRemedy: 'It is how many numbers the array holds.' });
    return new Float32Array(this.#explained(native => native.pinned(4 * length), PINNED));
  }

  trim(): number {
    this.#checkInUse();
    return this.#explained(native => native.trim(), TRIM);
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#results.close();
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
      // A getter that ran since the first check may have disposed it.
      this.#checkInUse();
      throw this.#explain(failure as NativeFailure, naming);
    }
  }

  #explain(failure: NativeFailure, naming: Naming): InfoNCEError {
    if (failure.status === 'DEVICE_LOST') this.#lost ??= failure.message;
    return nativeError(failure, naming);
  }
}
