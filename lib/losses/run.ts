import { AbortError, type AbortSignalLike, checkSignal } from '../runtime/abort.js';
import type { NativeFailure } from '../runtime/binding.js';
import { type Context, contextOf, type OwnedContext } from '../runtime/context.js';
import { nativeError } from '../runtime/native-failure.js';
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
   * work has begun. Work that has begun runs to its end and delivers its result.
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
export function syncContext(options: SyncRunOptions = NO_OPTIONS): OwnedContext {
  checkKeys(options, 'run', SYNC_KEYS, SYNC_ADVICE);
  return contextOf(options.context);
}

/** Runs on this thread and the context's workers. */
export function runSync<Result>(plan: Plan<Result>, options: SyncRunOptions | undefined): Result {
  const context = syncContext(options);
  const { native } = context;
  try {
    native.run(plan.problem, plan.outputs);
  } catch (failure) {
    throw nativeError(failure as NativeFailure, plan.names, plan.inputs);
  }
  context.keepTimings(plan.outputs);
  return plan.finish(plan.outputs, plan.problem);
}

/** Queues for the context's background thread. Inputs are copied before it returns. */
export function runAsync<Result>(plan: Plan<Result>, options: RunOptions = NO_OPTIONS): Promise<Result> {
  checkKeys(options, 'run', KEYS, ADVICE);
  const { signal } = options;
  checkSignal(signal);
  const context = contextOf(options.context);
  const { native } = context;
  return new Promise((resolve, reject) => {
    function onDone(failure: NativeFailure | null): void {
      context.release();
      if (failure === null) {
        context.keepTimings(plan.outputs);
        resolve(plan.finish(plan.outputs, plan.problem));
      } else reject(nativeError(failure, plan.names, plan.inputs));
      signal?.removeEventListener('abort', onAbort);
    }
    function onAbort(): void {
      if (!native.cancel(ticket)) return;
      context.release();
      reject(new AbortError(signal!));
    }
    let ticket = 0;
    // Before anything is submitted: a signal that throws rejects the promise and leaves nothing behind.
    signal?.addEventListener('abort', onAbort, { once: true });
    context.retain();
    try {
      ticket = native.submit(plan.problem, plan.outputs, onDone);
    } catch (failure) {
      onDone(failure as NativeFailure);
    }
  });
}
