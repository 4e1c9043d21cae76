import { groupOf, type Step } from '../distributed/owned-group.js';
import type { ProcessGroup } from '../distributed/process-group.js';
import type { AbortSignalLike } from '../runtime/abort.js';
import type { Work } from '../runtime/binding.js';
import type { OwnedContext } from '../runtime/context.js';
import { contextOf } from '../runtime/create-context.js';
import { OwnedDeviceTensor } from '../runtime/device-tensor.js';
import type { Context } from '../runtime/handles.js';
import type { Naming } from '../runtime/native-failure.js';
import { checkChoice, checkKeys, type KeyAdvice } from '../runtime/options.js';
import { checkTensorOfRank } from '../runtime/tensor.js';
import type { Out, UncheckedOut } from './out.js';
import { namingOf, nativeProblem, ownersOf, type Plan, SCALARS_OF_SYNC, type TensorCheck } from './plan.js';
import { giveBack, type ResultBuffers, resultBuffers, resultOf, settle } from './result-buffers.js';
import type { Output } from './results.js';

/** Run options of a loss over a process group. */
export interface GroupRunOptions {
  /**
   * Computes the loss over the rows of all ranks, as one call on their concatenated inputs would: `loss`, `top1` and `top5`
   * are those of all rows; row losses and gradients are those of this rank's rows. Every rank makes the call, with any
   * number of rows, and with the same loss, options and scale.
   */
  readonly group?: ProcessGroup | undefined;
  /**
   * With a `group`, how you combine parameter gradients over the ranks. `'sum'` (default): you add them; gradients are those
   * of the loss. `'mean'`: you average them, as trainers do that compute a loss on each rank; gradients are `group.size`
   * times as large. Either way the gradients of learned scalars (`gradTemperature`, …), which are equal on all ranks,
   * combine to their total.
   */
  readonly gradients?: 'sum' | 'mean' | undefined;
}

/** Run options of a synchronous call. */
export interface SyncRunOptions<O extends Output = 'host', Name extends string = never> extends GroupRunOptions {
  /**
   * Default: the context of the device tensors among the inputs, else the default context, made on first use from
   * `INFONCE_DEVICE`, `INFONCE_THREADS` and `INFONCE_PRECISION`. With a `group`, the group's own context: its default number
   * of threads is this rank's share of the processors, its default GPU the next in turn, `cuda:0` for the first rank of a
   * machine.
   */
  readonly context?: Context | undefined;
  /** `'host'` (default): gradients are Float32Arrays; `'device'`: device tensors of the context. */
  readonly output?: O | undefined;
  /** Arrays to fill instead of new ones, by the name of the result. */
  readonly out?: Out<O, Name> | undefined;
}

/** Run options of a call. */
export interface RunOptions<O extends Output = 'host', Name extends string = never> extends SyncRunOptions<O, Name> {
  /**
   * Aborts the call: if it fires before the promise has settled, the call rejects with an `AbortError` (code `ABORT_ERR`,
   * the signal's reason as its cause), at once if the work has not begun, else as soon as it has stopped.
   */
  readonly signal?: AbortSignalLike | undefined;
}

/** Run options of a call, not yet validated. */
export interface UncheckedRun {
  readonly context?: unknown;
  readonly output?: unknown;
  readonly out?: UncheckedOut | undefined;
  readonly group?: unknown;
  readonly gradients?: unknown;
  readonly signal?: AbortSignalLike | undefined;
}

const SYNC_KEYS: ReadonlySet<string> = new Set(['context', 'output', 'out', 'group', 'gradients']);
const KEYS: ReadonlySet<string> = new Set([...SYNC_KEYS, 'signal']);
const OUTPUTS = ['host', 'device'] as const;
const GRADIENTS = ['sum', 'mean'] as const;
const CONTEXT_ADVICE = 'Pass { context }, made by createContext().';
export const RUN_ADVICE: KeyAdvice = new Map(
  ['device', 'threads', 'precision', 'cudaLibrary', 'timings', 'trace', 'stream', 'queueLimit', 'whenFull'].map(key => [
    key,
    CONTEXT_ADVICE,
  ]),
);
export const SYNC_RUN_ADVICE: KeyAdvice = new Map([
  ...RUN_ADVICE,
  ['signal', 'A synchronous call cannot be aborted; use one that returns a promise: ntXent, not ntXentSync.'],
]);
const NO_OPTIONS: UncheckedRun = {};
const SYNC_EXTRAS: Extras = { scalars: SCALARS_OF_SYNC };

/** Whether parameter gradients are averaged over the ranks of a group. */
export function areAveraged({ gradients }: UncheckedRun): boolean {
  return checkChoice(gradients, 'gradients', GRADIENTS) === 'mean';
}

export function checkOutput(output: unknown): Output {
  return checkChoice(output, 'output', OUTPUTS);
}

/** The context of a call that fills `out`. `fallback`: that of calls that name none. */
export function contextOfCall(
  plan: Plan,
  named: unknown,
  out: UncheckedOut = {},
  fallback?: () => OwnedContext,
): OwnedContext {
  // What is no object has no entries here, and is refused where its arrays are.
  const tensors = Object.entries(out ?? {}).filter((entry): entry is [string, OwnedDeviceTensor] =>
    OwnedDeviceTensor.isOne(entry[1]),
  );
  const owners = [...ownersOf(plan), ...tensors.map(([name, tensor]) => [`out.${name}`, tensor.context] as const)];
  return contextOf(named, owners, fallback);
}

/** A call's plan, or what makes it of the problem, whose tensors it checks so. */
type Planned = Plan | ((check?: TensorCheck) => Plan);

/** What a call needs besides its plan. */
interface Extras {
  readonly scalars?: Float64Array;
  /** To be filled, by softmax, with the number of candidates above each row's positive. */
  readonly above?: readonly Int32Array[] | undefined;
}

/** A call, checked, and what it fills. */
interface Prepared {
  readonly plan: Plan;
  readonly context: OwnedContext;
  readonly buffers: ResultBuffers;
  readonly naming: Naming;
  /** Asks the addon; with a step, as a step of its group. */
  readonly work: Work;
}

function prepare(
  planned: Planned,
  options: UncheckedRun,
  step: Step | undefined,
  { scalars, above }: Extras,
): Prepared {
  const plan = typeof planned === 'function' ? planned(step && checkTensorOfRank) : planned;
  if (scalars === undefined) checkKeys(options, 'run', KEYS, RUN_ADVICE);
  else checkKeys(options, 'run', SYNC_KEYS, SYNC_RUN_ADVICE);
  const { context: named, output, out } = options;
  const mean = areAveraged(options);
  const group = groupOf(options);
  const context = contextOfCall(plan, named, out, group && (() => group.context()));
  const buffers = resultBuffers(plan, 'both', context, { output: checkOutput(output), out }, scalars);
  const native = above === undefined ? buffers.native : { ...buffers.native, above };
  if (step === undefined) {
    const work: Work = (addon, done) => addon.run(nativeProblem(plan), native, done);
    return { plan, context, buffers, naming: namingOf(plan), work };
  }
  const work: Work = (addon, done) => {
    const problem = step.prepare(() => nativeProblem(plan));
    step.submitted = true;
    return addon.run(problem, native, done, step.native, mean);
  };
  return { plan, context, buffers, naming: { ...namingOf(plan), inGroup: true }, work };
}

/** Runs on this thread and the context's workers. */
export function runSync(planned: Planned, options: UncheckedRun = NO_OPTIONS): object {
  const group = groupOf(options);
  if (group === undefined) return computeSync(prepare(planned, options, undefined, SYNC_EXTRAS));
  return group.attemptSync(step => computeSync(step.prepare(() => prepare(planned, options, step, SYNC_EXTRAS))));
}

function computeSync({ plan, context, buffers, naming, work }: Prepared): object {
  try {
    context.performSync(work, naming);
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
  planned: Planned,
  options: UncheckedRun = NO_OPTIONS,
  above?: readonly Int32Array[],
): Promise<object> {
  const group = groupOf(options);
  if (group === undefined) return compute(prepare(planned, options, undefined, { above }), options);
  return group.attempt(async step =>
    compute(
      step.prepare(() => prepare(planned, options, step, { above })),
      options,
    ),
  );
}

async function compute({ plan, context, buffers, naming, work }: Prepared, { signal }: UncheckedRun): Promise<object> {
  try {
    await context.perform(work, naming, signal);
  } catch (error) {
    giveBack(buffers.made);
    throw error;
  }
  settle(plan, context, buffers);
  return resultOf(plan, buffers);
}
