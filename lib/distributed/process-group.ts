/// <reference lib="esnext.disposable" preserve="true" />

/** What {@link ProcessGroup.allReduce} takes: numbers that are replaced by their sum or mean. */
export type Reducible = Float32Array | Float64Array;

/**
 * The ranks that compute a loss over all their rows: processes, or threads of one. Made by {@link createProcessGroup}, and
 * passed to calls as `{ group }`.
 *
 * What ranks do together are steps: losses with `{ group }` and each half of one, `allReduce`, `barrier`. **Every rank makes the same ones in
 * the same order**, whether it awaits each or not, and with inputs of its own; a step ends when all ranks have come to it.
 * If one rank's call is refused, for bad input as well, it rejects there with its own error and on all others with
 * `ERR_INFONCE_PEER`, and the group goes on with the next step. If a rank goes, or does not come in time, steps reject with
 * `ERR_INFONCE_GROUP_LOST`.
 */
export interface ProcessGroup {
  /** This rank's number: 0 to `size` - 1. Its rows come after those of the ranks before it. */
  readonly rank: number;
  /** How many ranks there are. */
  readonly size: number;
  /** This rank's number among those of its machine. */
  readonly localRank: number;
  /** How many of the ranks are on this machine. */
  readonly localSize: number;
  /** What carries the bytes: `'Open MPI 4.1.4'`, `'NCCL 2.21.5'`, `'threads of one process'`. */
  readonly library: string;
  /** Why the group cannot be used any more, after `ERR_INFONCE_GROUP_LOST`; else undefined. */
  readonly lost: string | undefined;
  /** Whether `dispose` was called. */
  readonly disposed: boolean;
  /**
   * Replaces the numbers of an array, or of each of a list, by their sum or mean over all ranks. They are added in the order
   * of ranks, in float64, and rounded once: the same bits on every rank. Every rank passes arrays of the same types and
   * lengths. They may not be changed before the promise has resolved; one that rejects has changed none.
   *
   * @throws {@link InfoNCEError} (the promise rejects with it) `ERR_INFONCE_TYPE`, `ERR_INFONCE_RANGE` for what is no such
   * array or operation; `ERR_INFONCE_PEER`, `ERR_INFONCE_GROUP_LOST`.
   */
  allReduce(arrays: Reducible | readonly Reducible[], operation: 'sum' | 'mean'): Promise<void>;
  /** Resolves when every rank has called it. Rejects as `allReduce` does. */
  barrier(): Promise<void>;
  /**
   * Leaves the group: when the steps begun on this rank have ended, and the others have been told. Later calls with it are
   * refused with `ERR_INFONCE_DISPOSED`, steps of other ranks fail. Calling it again does nothing.
   */
  dispose(): Promise<void>;
  /** The same as `dispose()`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}
