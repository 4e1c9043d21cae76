/** What the native addon exports: the C contract of `native/include/infonce/infonce.h` as JavaScript sees it. */
/**
 * Memory of a context's device. Garbage collection frees it, `dispose` sooner; calls that use it keep it until they end.
 * Using it in another context, or after its context was disposed, is refused.
 */
export interface NativeBuffer {
  readonly byteLength: number;
  /** Where it is; 0n after `dispose`. */
  address(): bigint;
  dispose(): void;
}

/** An input matrix: a typed array of exactly its size, or a buffer of at least that. */
export type NativeInput = Float32Array | Uint16Array | NativeBuffer;

/** A result array: of exactly its size, or a buffer of at least that. */
export type NativeOutput = Float32Array | NativeBuffer;

/**
 * `infonce_problem`, made by `nativeProblemOf`. Types and shapes are already checked; the addon checks sizes again, the
 * backend all rules.
 */
export interface NativeProblem {
  /**
   * Which losses of which rows it is, made once by `formOf`: how many blocks there are, the fields of each
   * `infonce_block`, and those of each `infonce_softmax`.
   */
  readonly form: Float64Array;
  /**
   * Of the problem: reduction, flags, dim, scale, bias, the dim of guides. Of each matrix: rows, views, type, which arrays
   * it has besides its data, and the type of its guide.
   */
  readonly numbers: Float64Array;
  /** Of each matrix its data, ids, bias, counts and guide; targets; gradOutput: those that `numbers` say are there. */
  readonly arrays: readonly (NativeInput | Int32Array)[];
}

/** Where each scalar stands in the array of a {@link NativeResult}. Seconds are 0 unless measured. */
export const SCALARS = {
  loss: 0,
  gradScale: 1,
  top1: 2,
  top5: 3,
  uploadSeconds: 4,
  kernelSeconds: 5,
  downloadSeconds: 6,
  gradBias: 7,
} as const;

export const SCALAR_COUNT = Object.keys(SCALARS).length;

/** `infonce_result`: arrays are allocated by the caller and filled in place. */
export interface NativeResult {
  /** By {@link SCALARS}. */
  readonly scalars: Float64Array;
  readonly rowLoss?: Float32Array | undefined;
  /** By softmax, of each of its rows the candidates above the (first) positive, -1 without one. Filled with ranks alone. */
  readonly above?: readonly Int32Array[] | undefined;
  /** By matrix; undefined: not wanted. Needed when gradients are. */
  readonly gradients?: readonly (NativeOutput | undefined)[] | undefined;
}

/** An Error thrown (or handed to `done`) by the addon, from `infonce_status` and `infonce_failure`. */
export interface NativeFailure extends Error {
  readonly status:
    | 'INVALID_ARGUMENT'
    | 'NON_FINITE'
    | 'OUT_OF_MEMORY'
    | 'DEVICE_UNAVAILABLE'
    | 'INTERNAL'
    | 'CANCELLED'
    | 'DEVICE_LOST'
    | 'NO_THREAD'
    | 'PEER_FAILED'
    | 'GROUP_LOST'
    | 'NOT_OVER_RANKS'
    | 'WRONG_OVER_RANKS'
    | 'GROUP_UNAVAILABLE';
  /** Index of the matrix that is at fault, -1 for none, or {@link IN_GRAD_OUTPUT}; of its guide {@link GUIDE_OF} more. */
  readonly matrix: number;
  /** Its first bad row, -1 if there is none. */
  readonly row: number;
}

export const IN_GRAD_OUTPUT = -2;
/** By how much the index of a matrix's guide is more than its own. */
export const GUIDE_OF = 64;

/** What a forward call has kept for `backward`. Garbage collection frees it, `dispose` sooner. */
export interface NativeSaved {
  dispose(): void;
}

/** A call that can be repeated. Garbage collection frees it, `dispose` sooner. */
export interface NativeCaptured {
  dispose(): void;
}

/** `infonce_memory_needs`, in bytes. */
export interface NativeMemoryNeeds {
  readonly device: number;
  readonly available: number;
}

/** Called once, on this thread's event loop, when queued work has ended. */
export type Done<Value = void> = (failure: NativeFailure | null, value?: Value | null) => void;

/** The result of work that was done, or the ticket of work that was queued. */
export type Begun<Value = void> = Value | number;

/** Work of a context. With `done` it is queued for the background thread; without, it is done now or throws NativeFailure. */
export type Work<Value = void> = (native: NativeContext, done?: Done<Value>) => Begun<Value>;

/**
 * Work of a context is done in the order of these calls. With `done` they queue it for the context's background thread and
 * return a ticket (> 0): inputs are copied before they return, except pinned arrays, which are read in place; the
 * arrays of a result belong to the addon until `done` is called, once, on this thread's event loop. Without it they first
 * wait for what is queued, and throw NativeFailure.
 */
export interface NativeContext {
  readonly threads: number;
  readonly instructionSet: string;
  /**
   * With `group` it is a step of that group, over the rows of all its ranks, which learn of it if the call is refused. `mean`:
   * whether gradients of parameters are averaged over ranks, rather than added.
   */
  run(problem: NativeProblem, result: NativeResult, done?: Done, group?: NativeGroup, mean?: boolean): Begun;
  /** Several such calls as one step of the group, with a result each. `same`: numbers that are the same on all ranks. */
  runSeveral(
    problems: readonly NativeProblem[],
    results: readonly NativeResult[],
    done: Done | undefined,
    group: NativeGroup,
    mean: boolean,
    same: Float64Array,
  ): Begun;
  /**
   * A call to be repeated: its inputs and gradients are buffers, its other arrays are read now. Nothing is computed. Throws
   * with status INVALID_ARGUMENT, and why, where it cannot be. Backends of the host's memory have neither this nor `replay`.
   */
  capture(problem: NativeProblem, result: NativeResult): NativeCaptured;
  /** That call; only `scalars` and `rowLoss` of the result are filled, and the gradients of the capture. */
  replay(captured: NativeCaptured, result: NativeResult, done?: Done): Begun;
  /**
   * Loss without gradients; only `scalars`, `rowLoss` and `above` of the result are filled. With `group` a step of it, as each
   * `backward` is then.
   */
  forward(problem: NativeProblem, result: NativeResult): NativeSaved;
  forward(
    problem: NativeProblem,
    result: NativeResult,
    done: Done<NativeSaved> | undefined,
    group?: NativeGroup,
  ): Begun<NativeSaved>;
  /** Fills the gradients, `gradScale` and `gradBias`. `gradOutput` as in ProblemFields. `group`: that of the forward call. */
  backward(
    saved: NativeSaved,
    gradOutput: Float32Array | undefined,
    result: NativeResult,
    done?: Done,
    group?: NativeGroup,
    mean?: boolean,
  ): Begun;
  /** SimCLR's logits [rows, rows - 1] of one matrix with views. */
  logits(problem: NativeProblem, logits: Float32Array): void;
  /**
   * `dropped`: the work had not begun, and its `done` is never called. `asked`: it is under way, or other ranks wait for
   * it, and will end soon, with status CANCELLED unless it was done already. `unknown`: there is no such work any more.
   */
  cancel(ticket: number): 'dropped' | 'asked' | 'unknown';
  /**
   * What `run` would take at most. `gradients`: bits by matrix, whose gradients are wanted. Of the arrays only ids are
   * looked at: the inputs may be empty ones.
   */
  memoryRequired(problem: NativeProblem, gradients: number): NativeMemoryNeeds;
  allocate(byteLength: number): NativeBuffer;
  /**
   * A buffer for memory of the context's device that somebody else owns, and frees after the last work with it. Throws with
   * status INVALID_ARGUMENT, and what it is instead.
   */
  wrap(address: bigint, byteLength: number): NativeBuffer;
  /** Throws likewise where a buffer is no memory of the device, or no longer. Backends of the host's memory have neither. */
  examine(buffer: NativeBuffer): void;
  /** A handle of 64 bytes by which another process opens the allocation that a buffer lies in, and where in there it does. */
  exportMemory(buffer: NativeBuffer): { readonly handle: Uint8Array; readonly byteOffset: number };
  /** A buffer in memory of another process. These two throw as `wrap` does. */
  importMemory(handle: Uint8Array, byteOffset: number, byteLength: number): NativeBuffer;
  /**
   * Copies `source`, whole if it is an array, else `byteLength` bytes of it from `sourceOffset` on, to `buffer` from
   * `byteOffset` on.
   */
  write(
    buffer: NativeBuffer,
    byteOffset: number,
    source: ArrayBufferView | NativeBuffer,
    sourceOffset: number,
    byteLength: number,
    done?: Done,
  ): Begun;
  /** Fills `target` from `byteOffset` of `buffer` on. */
  read(buffer: NativeBuffer, byteOffset: number, target: ArrayBufferView, done?: Done): Begun;
  /** Memory that the device copies to and from directly, and that queued work uses where it is. */
  pinned(byteLength: number): ArrayBuffer;
  /**
   * Memory for a result, of any content: that of earlier results which were collected. Queued work uses it where it is.
   * Undefined where an ordinary ArrayBuffer is better.
   */
  result(byteLength: number): ArrayBuffer | undefined;
  /** Gives back the host's memory that is kept for later work, and keeps none before `result` or work asks for some. */
  rest(): void;
  /**
   * Gives back the memory, of the device and of the host, that is kept for later work, and returns how many bytes. It waits
   * for nothing: what work has in use stays.
   */
  trim(): number;
  /** Waits for running work; queued work fails with status INTERNAL. Frees its buffers and saved state. Idempotent. */
  dispose(): void;
}

/** How a process group is found. */
export interface NativeGroupOptions {
  readonly engine: 'mpi' | 'nccl' | 'local';
  /** Of ranks that are threads of this process. */
  readonly key: string;
  readonly rank: number;
  readonly size: number;
  /** The path of the library of MPI or NCCL; empty: it is searched for. */
  readonly library: string;
  /** NCCL's, 128 bytes. */
  readonly id?: Uint8Array;
  /** NCCL's: the number of a GPU; -1: the rank's, counted round. */
  readonly device?: number;
  /** Seconds after which a rank that does not come is lost. */
  readonly patience: number;
  /** Seconds after which it is missed. */
  readonly toMiss: number;
  /** Of the package, which the ranks compare. */
  readonly version: string;
}

/** Ranks that have not come to a step, while this one waited. */
export interface NativeMissed {
  readonly step: number;
  readonly ranks: readonly number[];
}

/** A rank among the others of its group. */
export interface NativePlace {
  readonly rank: number;
  readonly size: number;
  readonly localRank: number;
  readonly localSize: number;
  readonly library: string;
}

/**
 * A rank's place in a process group. Its steps, those of contexts too, are taken in the order of the calls that begin them,
 * on a thread of its own or the context's. Nothing but `open` is called before that has ended.
 */
export interface NativeGroup {
  /** Waits for the other ranks. Once. */
  open(options: NativeGroupOptions, done: Done<NativePlace>): void;
  /** In place; the arrays belong to the addon until `done` is called. */
  allReduce(arrays: readonly (Float32Array | Float64Array)[], mean: boolean, done: Done): void;
  barrier(done: Done): void;
  /** Takes a step that fails on all other ranks, which are told why. */
  decline(why: string): void;
  /** What has been missed since the last call of this: of each step once. */
  takeMissed(): NativeMissed[];
  /** The last call, when no step is under way. */
  leave(done: Done): void;
  /** The process ends: steps under way fail with status GROUP_LOST, and nothing is waited for any more. */
  abandon(): void;
  /** It ends well: the other ranks are told that this one has left and waited for, unless steps are under way. */
  end(): void;
}

/** `infonce_device_info`. */
export interface NativeDevice {
  readonly name: string;
  /** The best instruction set of this device; CUDA: the generation of kernels. */
  readonly instructionSet: string;
  /** All that can be forced, best first. */
  readonly instructionSets: readonly string[];
  readonly threads: number;
  readonly memory: number;
  /** What `precision: 'medium'` runs here. */
  readonly medium: 'bfloat16' | 'float32';
  /** CUDA: compute capability, `'9.0'`; else empty. */
  readonly capability: string;
  /** CUDA: machine code, `sm_90a`, or PTX that the driver compiles, `compute_90`; else empty. */
  readonly code: string;
  /** CUDA: 1000 * major + 10 * minor; else 0. */
  readonly driverVersion: number;
  readonly runtimeVersion: number;
  /** CUDA; else 0. */
  readonly multiprocessors: number;
  /** CUDA: the highest clock; 0 where the driver does not say, and on the CPU. */
  readonly clockKHz: number;
  /** CUDA: bytes per second by the memory's clock and bus width; 0 likewise. */
  readonly memoryBandwidth: number;
  /** CUDA: why the best kernels for such a device cannot be used here; else empty. */
  readonly note: string;
}

export interface NativeContextOptions {
  /** The path of a backend's library that was loaded; empty: the CPU backend. */
  readonly library: string;
  /** Which of the backend's devices. */
  readonly device: number;
  /** 0: one for each processor this process may use. */
  readonly threads: number;
  readonly precision: 'highest' | 'high' | 'medium';
  /** Undefined: the best. */
  readonly instructionSet?: string | undefined;
  /** Whether the parts of each call are timed. */
  readonly measure: boolean;
  /** CUDA: the cudaStream_t in which all work is done; undefined: one of its own. */
  readonly stream?: bigint | undefined;
  /** CUDA: whether kernels record that they run, so that the error after a fault names the kernel. */
  readonly trace: boolean;
}

/**
 * What this machine's processors can do at most, measured while the thread waits: five figures each. `threads` is at most the
 * number of processors that this process may use. All throw NativeFailure.
 */
interface NativeLimits {
  /**
   * FLOP/s of the multiply-adds that the matrix products of an instruction set are made of, 2 for each; `medium`: of
   * those of precision `'medium'`. About 0.2 s.
   */
  multiplyAddRates(instructionSet: string, medium: boolean, threads: number): number[];
  /** Bytes read and written per second in copying. Takes 0.5 GB, or 64 MB for each thread. */
  copyRates(threads: number): number[];
  /** Seconds that a cache line takes from one processor to another and back. Refused where there is only one. */
  handoverTimes(): number[];
}

/** In `library`, the path of a backend's library, '' is the CPU backend. All throw NativeFailure. */
export interface NativeBinding extends NativeLimits {
  readonly abiVersion: number;
  /** Loads a backend's library, an absolute path, or says why it cannot be. Later calls do nothing. */
  loadLibrary(library: string): void;
  deviceCount(library: string): number;
  device(library: string, index: number): NativeDevice;
  readonly Context: new (options: NativeContextOptions) => NativeContext;
  readonly Group: new () => NativeGroup;
  /** 128 bytes. `library`: the path of NCCL's; empty: it is searched for. */
  ncclUniqueId(library: string): Uint8Array;
}
