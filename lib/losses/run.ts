import type { AbortSignalLike } from '../runtime/abort.js';
import type { OwnedContext } from '../runtime/context.js';
import { contextOf } from '../runtime/create-context.js';
import { OwnedDeviceTensor } from '../runtime/device-tensor.js';
import type { Context } from '../runtime/handles.js';
import { checkChoice, checkKeys, type KeyAdvice } from '../runtime/options.js';
import type { Out, UncheckedOut } from './out.js';
import { namingOf, nativeProblem, ownersOf, type Plan, SCALARS_OF_SYNC } from './plan.js';
import { giveBack, resultBuffers, resultOf, settle } from './result-buffers.js';
import type { Output } from './results.js';

/** Where a synchronous call runs, and where its results go. */
export interface SyncRunOptions<O extends Output = 'host', Name extends string = never> {
  /**
   * Default: that of the device tensors among the inputs, else the context made on first use from `INFONCE_DEVICE`,
   * `INFONCE_THREADS` and `INFONCE_PRECISION`.
   */
  readonly context?: Context | undefined;
  /** `'host'` (default): gradients are Float32Arrays; `'device'`: device tensors of the context. */
  readonly output?: O | undefined;
  /** Arrays to fill instead of new ones, by the names of the results. */
  readonly out?: Out<O, Name> | undefined;
}

/** Where and until when a call runs, and where its results go. */
export interface RunOptions<O extends Output = 'host', Name extends string = never> extends SyncRunOptions<O, Name> {
  /**
   * Rejects the call with an `AbortError` (code `ABORT_ERR`, the signal's reason as its cause) if it fires before the
   * call has ended: at once if its work has not begun, else as soon as that has stopped.
   */
  readonly signal?: AbortSignalLike | undefined;
}

/** Run options of a call, not yet validated. */
export interface UncheckedRun {
  readonly context?: unknown;
  readonly output?: unknown;
  readonly out?: UncheckedOut | undefined;
  readonly signal?: AbortSignalLike | undefined;
}

const SYNC_KEYS: ReadonlySet<string> = new Set(['context', 'output', 'out']);
const KEYS: ReadonlySet<string> = new Set([...SYNC_KEYS, 'signal']);
const OUTPUTS = ['host', 'device'] as const;
const CONTEXT_ADVICE = 'Pass { context }, made by createContext().';
export const RUN_ADVICE: KeyAdvice = new Map(
  ['device', 'threads', 'precision', 'cudaLibrary', 'timings', 'trace', 'queueLimit', 'whenFull'].map(key => [
    key,
    CONTEXT_ADVICE,
  ]),
);
export const SYNC_RUN_ADVICE: KeyAdvice = new Map([
  ...RUN_ADVICE,
  ['signal', 'A synchronous call cannot be aborted; use one that returns a promise: ntXent, not ntXentSync.'],
]);
const NO_OPTIONS: UncheckedRun = {};

export function checkOutput(output: unknown): Output {
  return checkChoice(output, 'output', OUTPUTS);
}

/** The context of a call that fills `out`. */
export function contextOfCall(plan: Plan, named: unknown, out: UncheckedOut = {}): OwnedContext {
  // What is no object has no entries here, and is refused where its arrays are.
  const tensors = Object.entries(out ?? {}).filter((entry): entry is [string, OwnedDeviceTensor] =>
    OwnedDeviceTensor.isOne(entry[1]),
  );
  return contextOf(named, [
    ...ownersOf(plan),
    ...tensors.map(([name, tensor]) => [`out.${name}`, tensor.context] as const),
  ]);
}

function prepare(plan: Plan, { context: named, output, out }: UncheckedRun, scalars?: Float64Array) {
  const context = contextOfCall(plan, named, out);
  return { context, buffers: resultBuffers(plan, 'both', context, { output: checkOutput(output), out }, scalars) };
}

/** Runs on this thread and the context's workers. */
export function runSync(plan: Plan, options: UncheckedRun = NO_OPTIONS): object {
  checkKeys(options, 'run', SYNC_KEYS, SYNC_RUN_ADVICE);
  const { context, buffers } = prepare(plan, options, SCALARS_OF_SYNC);
  try {
    context.performSync(native => native.run(nativeProblem(plan), buffers.native), namingOf(plan));
  } catch (error) {
    giveBack(buffers.made);
    throw error;
  }
  settle(plan, context, buffers);
  return resultOf(plan, buffers);
}

/**
 * Queues for the context's background thread. Inputs are copied before it returns. `above`: to be filled, by softmax, with
 * the number of candidates above each row's positive.
 */
export async function runAsync(
  plan: Plan,
  options: UncheckedRun = NO_OPTIONS,
  above?: readonly Int32Array[],
): Promise<object> {
  checkKeys(options, 'run', KEYS, RUN_ADVICE);
  const { context, buffers } = prepare(plan, options);
  const native = above === undefined ? buffers.native : { ...buffers.native, above };
  try {
    await context.perform(
      (addon, done) => addon.run(nativeProblem(plan), native, done),
      namingOf(plan),
      options.signal,
    );
  } catch (error) {
    giveBack(buffers.made);
    throw error;
  }
  settle(plan, context, buffers);
  return resultOf(plan, buffers);
}
