/// <reference lib="esnext.disposable" preserve="true" />
import type { AvailableDevice } from './backends/backend.js';
import type { DataOf, DType } from './host-tensor.js';

/**
 * How exactly products are computed, with PyTorch's names: `'highest'` float32, `'high'` at least three bfloat16
 * products (about 16 bits of mantissa), `'medium'` at least one. Sums are always float32 or better. A device may compute
 * more exactly than asked.
 */
export type Precision = 'highest' | 'high' | 'medium';

/** Seconds of a call on a CUDA device: parts that follow each other and never add up to more than the call. */
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
 * done in the order of the calls; a synchronous call first waits for all earlier ones.
 */
export interface Context {
  /** What calls in this context run on. */
  readonly device: AvailableDevice;
  /** What it was made with. */
  readonly precision: Precision;
  /** Why `'auto'` fell back to the CPU; undefined when the device was named. */
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
   * A tensor over memory of this CUDA device that another library of the process owns: rows of its own are used where they
   * are, and results written there (`out`). `pointer` is the address of the first number, and a multiple of the size of one,
   * `shape` and `dtype` (default `'float32'`) are those of numbers that lie one after another.
   *
   * The owner frees the memory, after the last call with the tensor has ended; `dispose()` only lets go of it. Reads and
   * writes of other libraries are not waited for: let them end before, or make the context with the `stream` that they use.
   *
   * Each call asks the driver whether the memory is still there, and refuses with `ERR_INFONCE_DISPOSED` what is not. It
   * cannot see what becomes of parts of an allocation, as a caching allocator hands them out, nor what is freed meanwhile.
   *
   * @throws {@link InfoNCEError} `ERR_INFONCE_RANGE` for what is not so much memory of this device: memory of the host or of
   * another GPU, freed memory, a shape that reaches beyond the allocation, an address that is no multiple of the size of a
   * number or a number above 2^53; `ERR_INFONCE_TYPE` or `ERR_INFONCE_SHAPE`; `ERR_INFONCE_DEVICE` on the CPU, where
   * `{ data, shape }` over the memory is used in place by synchronous calls.
   */
  wrap<Type extends DType = 'float32'>(
    pointer: bigint | number,
    shape: readonly number[],
    dtype?: Type,
  ): DeviceTensor<Type>;
  /**
   * The tensor that another process of this machine has on the same GPU, by what its `exportHandle()` gave there and was sent
   * here. Both see what either writes, and wait for each other's work by messages of their own. Disposing it closes the handle;
   * the process that exported it keeps the tensor until then.
   *
   * @throws {@link InfoNCEError} `ERR_INFONCE_RANGE` for a handle that does not open here: of this process itself, of another
   * GPU or machine, of memory that was freed, or with a shape that reaches beyond the allocation; `ERR_INFONCE_TYPE` or
   * `ERR_INFONCE_SHAPE`; `ERR_INFONCE_DEVICE` on the CPU.
   */
  importTensor<Type extends DType>(exported: TensorHandle<Type>): DeviceTensor<Type>;
  /**
   * `length` zeros that a CUDA device copies from and to directly, which is faster (on the CPU: zeros). Asynchronous calls do
   * not copy such an array first: what is written to it before the promise settles may or may not be seen. It may
   * outlive the context.
   */
  pinned(length: number): Float32Array;
  /**
   * Frees the memory that the context keeps for its next calls, on its device and on the host, and returns how many bytes
   * that was. It waits for nothing: calls in flight, tensors and forward passes keep theirs. The next call allocates what it
   * needs again.
   */
  trim(): number;
  /**
   * Frees threads and memory. Calls already made finish first and deliver their results; calls made afterwards fail
   * with `ERR_INFONCE_DISPOSED`. Its tensors go with it. Calling it again does nothing.
   */
  dispose(): void;
  /** The same as `dispose()`, for `using`. */
  [Symbol.dispose](): void;
}

/**
 * A row-major array in the memory of a context's device (CPU: of the host). Made by `context.tensor()`, by calls with
 * `output: 'device'` and, over memory of other libraries, by `context.wrap()`. Accepted by calls in its context wherever a tensor is. Garbage collection frees it, `dispose()`
 * sooner, and so does its context's.
 *
 * Writes, reads and calls are done in the order in which they are made.
 */
export interface DeviceTensor<Type extends DType = DType> {
  /** Whose device holds it. */
  readonly context: Context;
  /** Its dimensions, the last one fastest. */
  readonly shape: readonly number[];
  /** What its numbers are stored as. */
  readonly dtype: Type;
  /**
   * The address of its first number in the memory of the device (CPU: of the host), for other libraries of the process: until
   * it is disposed or collected. What calls, writes and `context.tensor` put there is there when their promises have resolved, or
   * those of calls made before them.
   *
   * @throws {@link InfoNCEError} `ERR_INFONCE_DISPOSED`
   */
  readonly pointer: bigint;
  /** Whether it, or its context, was disposed. */
  readonly disposed: boolean;
  /**
   * CUDA: what another process of this machine opens the memory by, with `context.importTensor()`: plain values, to be sent
   * by a message. Keep the tensor until all processes have disposed what they imported, and send the handle when the work
   * that fills it has ended. The handle is that of the whole allocation, or of 2 MiB around a smaller one, which the other
   * process can read and write.
   *
   * @throws {@link InfoNCEError} `ERR_INFONCE_RANGE` for memory that has no handle, as wrapped memory of a pool;
   * `ERR_INFONCE_DEVICE` on the CPU; `ERR_INFONCE_DISPOSED`.
   */
  exportHandle(): TensorHandle<Type>;
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

/** What `tensor.exportHandle()` gives, for `context.importTensor()` of another process. */
export interface TensorHandle<Type extends DType = DType> {
  /** 64 bytes, of the driver. */
  readonly handle: Uint8Array;
  /** Where in the allocation the first number is. */
  readonly byteOffset: number;
  /** Its dimensions, the last one fastest. */
  readonly shape: readonly number[];
  /** What its numbers are stored as. */
  readonly dtype: Type;
}
