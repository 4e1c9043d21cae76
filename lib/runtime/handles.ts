/// <reference lib="esnext.disposable" preserve="true" />
import type { AvailableDevice } from './backends/backend.js';
import type { DataOf, DType } from './host-tensor.js';

/**
 * The precision of matrix products, with PyTorch's names: `'highest'` float32; `'high'` at least three bfloat16 products
 * (about 16 bits of mantissa); `'medium'` at least one. Sums are always float32 or better. A device may be more precise than
 * requested.
 */
export type Precision = 'highest' | 'high' | 'medium';

/** Seconds of a call on a CUDA device, in consecutive parts. */
export interface Timings {
  /** Until the inputs are on the device. */
  readonly upload: number;
  /** Until the last kernel has ended. */
  readonly kernels: number;
  /** Copying results back after the last kernel; copies that overlap with kernels do not count. */
  readonly download: number;
}

/**
 * A device with its threads and working memory, which calls reuse. Made by {@link createContext}. Calls run in order; a
 * synchronous call first waits for all earlier ones.
 */
export interface Context {
  /** The device that its calls run on. */
  readonly device: AvailableDevice;
  /** The precision it was made with. */
  readonly precision: Precision;
  /** Why `'auto'` fell back to the CPU; undefined when the device was named. */
  readonly fallbackReason: string | undefined;
  /** Times of the last loss computed here; undefined unless made with `timings: true` on a CUDA device. */
  readonly lastTimings: Timings | undefined;
  /** The number of calls in this context whose promises have not settled. */
  readonly pending: number;
  /**
   * The fault that lost the device; else undefined. Every later call here fails with `ERR_INFONCE_DEVICE_LOST`: make another
   * context.
   */
  readonly lost: string | undefined;
  /** Whether `dispose` was called. */
  readonly disposed: boolean;
  /**
   * Copies float32 numbers to a tensor on the device, which calls in this context read in place. The product of `shape` is
   * the length of `data`, which may be overwritten as soon as this returns.
   *
   * @throws {@link InfoNCEError} `ERR_INFONCE_TYPE` or `ERR_INFONCE_SHAPE`; `ERR_INFONCE_OUT_OF_MEMORY` when it does not
   * fit.
   */
  tensor(data: Float32Array, shape: readonly number[], dtype?: 'float32'): DeviceTensor<'float32'>;
  /** The same for 16-bit numbers, passed as their bits. */
  tensor<Type extends 'float16' | 'bfloat16'>(
    data: Uint16Array,
    shape: readonly number[],
    dtype: Type,
  ): DeviceTensor<Type>;
  /**
   * Wraps memory of this CUDA device that another library of the process owns, as a tensor: inputs are read and results
   * (`out`) written in place. `pointer` is the address of the first number, a multiple of the size of a number; the numbers,
   * of `shape` and `dtype` (default `'float32'`), are contiguous.
   *
   * The owner frees the memory, after the last call with the tensor has ended; `dispose()` does not. Calls do not wait for
   * reads and writes of other libraries: wait for them first, or make the context with the `stream` that they use.
   *
   * Each call asks the driver whether the memory still exists, and fails with `ERR_INFONCE_DISPOSED` if it does not. The
   * driver knows nothing of parts of an allocation that a caching allocator reuses, and the check does not cover memory
   * freed during the call.
   *
   * @throws {@link InfoNCEError} `ERR_INFONCE_RANGE` for memory of the host or of another GPU, freed memory, a shape that
   * reaches beyond the allocation, an address that is no multiple of the size of a number, or one above 2^53 that is not a
   * bigint; `ERR_INFONCE_TYPE` or `ERR_INFONCE_SHAPE`; `ERR_INFONCE_DEVICE` on the CPU, where synchronous calls read `{
   * data, shape }` in place.
   */
  wrap<Type extends DType = 'float32'>(
    pointer: bigint | number,
    shape: readonly number[],
    dtype?: Type,
  ): DeviceTensor<Type>;
  /**
   * Opens a tensor of another process of this machine on the same GPU, from the result of `exportHandle()` there. Both
   * processes see what either writes, and must synchronize by messages of their own. Disposing the tensor closes the handle;
   * the exporting process keeps its tensor until then.
   *
   * @throws {@link InfoNCEError} `ERR_INFONCE_RANGE` for a handle that does not open here: of this process itself, of another
   * GPU or machine, of memory that was freed, or with a shape that reaches beyond the allocation; `ERR_INFONCE_TYPE` or
   * `ERR_INFONCE_SHAPE`; `ERR_INFONCE_DEVICE` on the CPU.
   */
  importTensor<Type extends DType>(exported: TensorHandle<Type>): DeviceTensor<Type>;
  /**
   * `length` zeros in page-locked memory, which a CUDA device copies from and to directly and so faster (on the CPU:
   * ordinary memory). Asynchronous calls do not copy such an array first: they may or may not see what is written before the
   * promise settles. It may outlive the context.
   */
  pinned(length: number): Float32Array;
  /**
   * Frees the memory that the context keeps for its next calls, on its device and on the host, and returns the number of
   * bytes. It waits for nothing: calls in flight, tensors and forward passes keep their memory. The next call allocates what
   * it needs.
   */
  trim(): number;
  /**
   * Frees threads, memory and tensors. Calls already made finish first and deliver their results; later calls fail with
   * `ERR_INFONCE_DISPOSED`. Calling it again does nothing.
   */
  dispose(): void;
  /** The same as `dispose()`, for `using`. */
  [Symbol.dispose](): void;
}

/**
 * A row-major array in the memory of a context's device (CPU: of the host). Made by `context.tensor()`, by calls with
 * `output: 'device'` and, over memory of other libraries, by `context.wrap()`. Calls in its context accept it wherever they
 * accept a tensor. Garbage collection frees it; `dispose()`, or that of its context, frees it sooner.
 *
 * Writes, reads and calls run in the order in which they are made.
 */
export interface DeviceTensor<Type extends DType = DType> {
  /** The context whose device holds it. */
  readonly context: Context;
  /** Its dimensions, the last one fastest. */
  readonly shape: readonly number[];
  /** The type of its numbers. */
  readonly dtype: Type;
  /**
   * The address of its first number in the memory of the device (CPU: of the host), for other libraries of the process. It
   * is valid until the tensor is disposed or collected. Numbers from calls, writes and `context.tensor` are there once the
   * promise of that or any later call has resolved.
   *
   * @throws {@link InfoNCEError} `ERR_INFONCE_DISPOSED`
   */
  readonly pointer: bigint;
  /** Whether it, or its context, was disposed. */
  readonly disposed: boolean;
  /**
   * CUDA: a handle of the memory for `context.importTensor()` in another process of this machine: plain values, to be sent
   * in a message. Send it when the work that fills the tensor has ended, and keep the tensor until all processes have
   * disposed what they imported. The other process can read and write the whole allocation, or 2 MiB around a smaller one.
   *
   * @throws {@link InfoNCEError} `ERR_INFONCE_RANGE` for memory that has no handle, as wrapped memory of a pool;
   * `ERR_INFONCE_DEVICE` on the CPU; `ERR_INFONCE_DISPOSED`.
   */
  exportHandle(): TensorHandle<Type>;
  /** Copies the numbers to an array in the host's memory. Rejects with `ERR_INFONCE_DISPOSED` after `dispose()`. */
  toArray(): Promise<DataOf<Type>>;
  /** {@link toArray}, done before it returns. */
  toArraySync(): DataOf<Type>;
  /**
   * Overwrites the whole tensor. `data` holds as many numbers, of its type. It is copied before this returns, except pinned
   * arrays, which are read later.
   */
  write(data: DataOf<Type>): Promise<void>;
  /** {@link write}, done before it returns. */
  writeSync(data: DataOf<Type>): void;
  /** Frees its memory when calls in flight no longer need it. Calling it again does nothing. */
  dispose(): void;
  /** The same as `dispose()`, for `using`. */
  [Symbol.dispose](): void;
}

/** The result of `tensor.exportHandle()`, for `context.importTensor()` of another process. */
export interface TensorHandle<Type extends DType = DType> {
  /** The driver's handle: 64 bytes. */
  readonly handle: Uint8Array;
  /** The place of the first number in the allocation, in bytes. */
  readonly byteOffset: number;
  /** Its dimensions, the last one fastest. */
  readonly shape: readonly number[];
  /** The type of its numbers. */
  readonly dtype: Type;
}
