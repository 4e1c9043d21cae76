/** What the native addon exports: the C contract of `native/include/infonce/infonce.h` as JavaScript sees it. */

/** `infonce_problem`. Sizes are already checked by the losses; the addon checks whatever would read out of bounds. */
export interface NativeProblem {
  readonly denominator: 'otherAnchors' | 'allKeys' | 'sharedNegatives' | 'ownNegatives';
  readonly positive: 'firstView' | 'allViews' | 'sameLabel' | 'sameIndex';
  readonly reduction: 'mean' | 'sum' | 'none';
  readonly bothDirections: boolean;
  readonly normalize: boolean;
  readonly gradient: boolean;
  readonly propagateNonFinite: boolean;
  readonly rows: number;
  readonly dim: number;
  readonly negativeRows: number;
  readonly views: number;
  /** 1 / temperature, or the logit scale. */
  readonly scale: number;
  readonly anchors: Float32Array;
  readonly keys?: Float32Array | undefined;
  readonly negatives?: Float32Array | undefined;
  readonly labels?: Int32Array | undefined;
  /** Absent: 1. Length 1: for all rows. Length `rows`: one each. */
  readonly gradOutput?: Float32Array | undefined;
}

/** `infonce_result`: arrays are allocated by the caller and filled in place. */
export interface NativeResult {
  /** Filled with loss, d loss / d scale, top1, top5, and the seconds of upload, kernels, download: 0 unless measured. */
  readonly scalars: Float64Array;
  readonly rowLoss?: Float32Array | undefined;
  readonly gradAnchors?: Float32Array | undefined;
  readonly gradKeys?: Float32Array | undefined;
  readonly gradNegatives?: Float32Array | undefined;
}

/** An Error thrown (or handed to `done`) by the addon, from `infonce_status` and `infonce_failure`. */
export interface NativeFailure extends Error {
  readonly status: 'INVALID_ARGUMENT' | 'NON_FINITE' | 'OUT_OF_MEMORY' | 'DEVICE_UNAVAILABLE' | 'INTERNAL';
  readonly input: 'none' | 'anchors' | 'keys' | 'negatives' | 'gradOutput';
  /** First bad row of `input`, -1 if it has none. */
  readonly row: number;
}

export interface NativeContext {
  readonly threads: number;
  readonly instructionSet: string;
  /** Runs now, on this thread and the context's workers. Throws NativeFailure. */
  run(problem: NativeProblem, result: NativeResult): void;
  /**
   * Queues the problem for the context's background thread and returns a ticket (> 0). Inputs are copied before it
   * returns; the arrays of `result` belong to the addon until `done` is called, once, on this thread's event loop.
   */
  submit(problem: NativeProblem, result: NativeResult, done: (failure: NativeFailure | null) => void): number;
  /** Drops a queued call whose work has not begun: true, and its `done` is never called. Else false. */
  cancel(ticket: number): boolean;
  /** SimCLR's logits [rows, rows - 1] of an `otherAnchors` problem. Runs now. */
  logits(problem: NativeProblem, logits: Float32Array): void;
  /** Waits for running work; queued work fails with status INTERNAL. Idempotent. */
  dispose(): void;
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
  /** CUDA: 1000 * major + 10 * minor; else 0. */
  readonly driverVersion: number;
  readonly runtimeVersion: number;
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
}

/** In `library`, the path of a backend's library, '' is the CPU backend. All throw NativeFailure. */
export interface NativeBinding {
  readonly abiVersion: number;
  /** Loads a backend's library, an absolute path, or says why it cannot be. Later calls do nothing. */
  loadLibrary(library: string): void;
  deviceCount(library: string): number;
  device(library: string, index: number): NativeDevice;
  readonly Context: new (options: NativeContextOptions) => NativeContext;
}
