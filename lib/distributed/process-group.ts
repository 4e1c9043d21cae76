/// <reference lib="esnext.disposable" preserve="true" />

/** An array that {@link ProcessGroup.allReduce} replaces by the sum or mean over all ranks. */
export type Reducible = Float32Array | Float64Array;

/**
 * The ranks that compute a loss over all their rows: processes, or threads of one. Made by {@link createProcessGroup}, and
 * passed to calls as `{ group }`.
 *
 * Collective calls are steps: losses with `{ group }`, their forward and backward passes, `allReduce` and `barrier`. **Every
 * rank makes the same steps in the same order**, with its own inputs, whether it awaits each or not. A step ends when all
 * ranks have made it. If one rank's call is refused, for bad input too, it rejects there with its own error and on all
 * others with `ERR_INFONCE_PEER`, and the group goes on with the next step. If a rank leaves, or does not arrive in time,
 * steps reject with `ERR_INFONCE_GROUP_LOST`.
 */
export interface ProcessGroup {
  /** This rank's number: 0 to `size` - 1. Its rows come after those of the ranks before it. */
  readonly rank: number;
  /** The number of ranks. */
  readonly size: number;
  /** This rank's number among the ranks of its machine. */
  readonly localRank: number;
  /** The number of ranks on this machine. */
  readonly localSize: number;
  /** The transport of the bytes: `'Open MPI 4.1.4'`, `'NCCL 2.21.5'`, `'threads of one process'`. */
  readonly library: string;
  /** Why the group cannot be used any more, after `ERR_INFONCE_GROUP_LOST`; else undefined. */
  readonly lost: string | undefined;
  /** Whether `dispose` was called. */
  readonly disposed: boolean;
  /**
   * Replaces the numbers of an array, or of each of a list, by their sum or mean over all ranks. They are added in the order
   * of ranks, in float64, and rounded once: the same bits on every rank. Every rank passes arrays of the same types and
   * lengths. Do not change the arrays before the promise has resolved. A call that rejects has changed none.
   *
   * @throws {@link InfoNCEError} (the promise rejects with it) `ERR_INFONCE_TYPE`, `ERR_INFONCE_RANGE` for what is no such
   * array or operation; `ERR_INFONCE_PEER`, `ERR_INFONCE_GROUP_LOST`.
   */
  allReduce(arrays: Reducible | readonly Reducible[], operation: 'sum' | 'mean'): Promise<void>;
  /** Resolves when every rank has called it. Rejects as `allReduce` does. */
  barrier(): Promise<void>;
  /**
   * Leaves the group: resolves when the steps begun on this rank have ended and the other ranks have been told. Later calls
   * with it are refused with `ERR_INFONCE_DISPOSED`; later steps of other ranks fail. Calling it again does nothing.
   */
  dispose(): Promise<void>;
  /** The same as `dispose()`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}
