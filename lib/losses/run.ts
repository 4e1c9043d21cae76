import { type AbortSignalLike, checkSignal } from '../runtime/abort.js';
import type { Context, OwnedContext } from '../runtime/context.js';
import { contextOf } from '../runtime/create-context.js';
import { checkKeys, type KeyAdvice } from '../runtime/options.js';
import type { Plan } from './plan.js';

/** Where a synchronous call runs. */
export interface SyncRunOptions {
  /** Default: the context made on first use from `INFONCE_DEVICE`, `INFONCE_THREADS` and `INFONCE_PRECISION`. */
  readonly context?: Context | undefined;
}

/** Where and until when a call runs. */
export interface RunOptions extends SyncRunOptions {
  /**
   * Rejects the call with an `AbortError` (code `ABORT_ERR`, the signal's reason as its cause) if it fires before the
   * work is done: at once if that has not begun, else as soon as it has stopped, which it does between two tiles or kernels.
   */
  readonly signal?: AbortSignalLike | undefined;
}

const SYNC_KEYS: ReadonlySet<string> = new Set(['context']);
const KEYS: ReadonlySet<string> = new Set(['context', 'signal']);
const CONTEXT_ADVICE = 'Pass { context }, made by createContext().';
const ADVICE: KeyAdvice = new Map(
  ['device', 'threads', 'precision', 'cudaLibrary', 'timings'].map(key => [key, CONTEXT_ADVICE]),
);
const SYNC_ADVICE: KeyAdvice = new Map([
  ...ADVICE,
  ['signal', 'A synchronous call cannot be aborted; use one that returns a promise: ntXent, not ntXentSync.'],
]);
const NO_OPTIONS: RunOptions = {};

/** The context of a call that ends before it returns. */
export function syncContext(options: SyncRunOptions = NO_OPTIONS, tensors: Plan<unknown>['tensors']): OwnedContext {
  checkKeys(options, 'run', SYNC_KEYS, SYNC_ADVICE);
  return contextOf(options.context, tensors);
}

/** Runs on this thread and the context's workers. */
export function runSync<Result>(plan: Plan<Result>, options: SyncRunOptions | undefined): Result {
  const context = syncContext(options, plan.tensors);
  context.runSync(native => native.run(plan.problem, plan.outputs), plan);
  context.keepTimings(plan.outputs);
  return plan.finish(plan.outputs, plan.problem);
}

/** Queues for the context's background thread. Inputs are copied before it returns. */
export async function runAsync<Result>(plan: Plan<Result>, options: RunOptions = NO_OPTIONS): Promise<Result> {
  checkKeys(options, 'run', KEYS, ADVICE);
  const { signal } = options;
  checkSignal(signal);
  const context = contextOf(options.context, plan.tensors);
  await context.submit((native, done) => native.submit(plan.problem, plan.outputs, done), plan, signal);
  context.keepTimings(plan.outputs);
  return plan.finish(plan.outputs, plan.problem);
}
