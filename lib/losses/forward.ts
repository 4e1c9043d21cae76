import { groupOf, type OwnedProcessGroup, type Step } from '../distributed/owned-group.js';
import type { AbortSignalLike } from '../runtime/abort.js';
import type { NativeSaved, Work } from '../runtime/binding.js';
import type { OwnedContext } from '../runtime/context.js';
import { disposable } from '../runtime/disposable.js';
import { InfoNCEError } from '../runtime/errors.js';
import type { Context } from '../runtime/handles.js';
import type { Naming } from '../runtime/native-failure.js';
import { checkKeys, type KeyAdvice } from '../runtime/options.js';
import { checkTensorOfRank } from '../runtime/tensor.js';
import { checkGradOutput, checkGradOutputLength, type Reduction } from './options.js';
import type { Out } from './out.js';
import { namingOf, nativeProblem, type Plan, type TensorCheck, viewMajorUpstream, withoutData } from './plan.js';
import { giveBack, gradientsOf, lossOf, type ResultBuffers, resultBuffers, settle } from './result-buffers.js';
import type { LossValue, Output } from './results.js';
import {
  areAveraged,
  checkOutput,
  contextOfCall,
  type GroupRunOptions,
  RUN_ADVICE,
  SYNC_RUN_ADVICE,
  type UncheckedRun,
} from './run.js';

/** The problem of a forward pass: without what is passed to `backward`. */
export type WithoutUpstream<Problem> = Problem & {
  /** Refused: `backward` computes the gradients. */
  readonly gradient?: undefined;
  /** Refused: it is the argument of `backward`. */
  readonly gradOutput?: undefined;
};

/** The gradients of a loss, by `output`. */
export interface ByOutput<OnHost, OnDevice> {
  /** `output: 'host'`, the default. */
  readonly host: OnHost;
  /** `output: 'device'`. */
  readonly device: OnDevice;
}

/** Run options of a synchronous forward pass. With a `group` each `backward` is a step of it, too. */
export interface SyncForwardOptions extends GroupRunOptions {
  /** As in the run options of the loss. */
  readonly context?: Context | undefined;
  /** `{ loss }`: an array to fill with the row losses of `reduction: 'none'`. */
  readonly out?: Out<'host', never> | undefined;
}

/** Run options of a forward pass. */
export interface ForwardOptions extends SyncForwardOptions {
  /** As in the run options of the loss. */
  readonly signal?: AbortSignalLike | undefined;
}

/** Run options of `backwardSync`, which runs in the context of the forward pass. */
export interface SyncBackwardOptions<O extends Output = 'host', Name extends string = never> {
  /** As in the run options of the loss. */
  readonly output?: O | undefined;
  /** As in the run options of the loss, except the loss. */
  readonly out?: Omit<Out<O, Name>, 'loss'> | undefined;
}

/** Run options of `backward`. */
export interface BackwardOptions<O extends Output = 'host', Name extends string = never>
  extends SyncBackwardOptions<O, Name> {
  /** As in the run options of the loss. */
  readonly signal?: AbortSignalLike | undefined;
}

/**
 * A forward pass: a loss whose upstream gradient is not known yet. It keeps the prepared rows and O(rows) statistics in the
 * memory of the device, and none of the caller's arrays, which may change. Garbage collection frees that memory; `dispose`,
 * or that of its context, frees it sooner.
 *
 * `backward(gradOutput = 1)` computes the gradients that one call with that `gradOutput` would have given, and may be called
 * repeatedly. For a loss over a group every rank calls it, for the same losses in the same order.
 */
export interface ForwardPass<R extends Reduction, Gradients extends Record<Output, object>, Name extends string>
  extends LossValue<R> {
  /** Resolves to the gradients, times `gradOutput`: a number (default 1), or with `reduction: 'none'` one for each row. */
  backward<O extends Output = 'host'>(
    gradOutput?: number | Float32Array,
    run?: BackwardOptions<O, Name>,
  ): Promise<Gradients[O]>;
  /** {@link backward}, computed before it returns. */
  backwardSync<O extends Output = 'host'>(
    gradOutput?: number | Float32Array,
    run?: SyncBackwardOptions<O, Name>,
  ): Gradients[O];
  /** Whether it, or its context, was disposed. */
  readonly disposed: boolean;
  /** Frees its memory when calls in flight no longer need it. Calling it again does nothing. */
  dispose(): void;
  /** The same as `dispose()`, for `using`. */
  [Symbol.dispose](): void;
}

type Describe<Problem> = (problem: Problem, check?: TensorCheck) => Plan;

const SYNC_FORWARD_KEYS: ReadonlySet<string> = new Set(['context', 'out', 'group', 'gradients']);
const FORWARD_KEYS: ReadonlySet<string> = new Set([...SYNC_FORWARD_KEYS, 'signal']);
const FORWARD_ADVICE: KeyAdvice = new Map([...RUN_ADVICE, ['output', 'Pass it to backward(gradOutput, { output }).']]);
const SYNC_FORWARD_ADVICE: KeyAdvice = new Map([...SYNC_RUN_ADVICE, ...FORWARD_ADVICE]);
const SYNC_BACKWARD_KEYS: ReadonlySet<string> = new Set(['output', 'out']);
const BACKWARD_KEYS: ReadonlySet<string> = new Set([...SYNC_BACKWARD_KEYS, 'signal']);
const BACKWARD_ADVICE: KeyAdvice = new Map([
  ['context', 'It runs in the context of the forward pass.'],
  ['group', 'It is a step of the group of the forward pass.'],
  ['gradients', 'Pass it to the forward pass, with the group.'],
]);
const SYNC_BACKWARD_ADVICE: KeyAdvice = new Map([...SYNC_RUN_ADVICE, ...BACKWARD_ADVICE]);
const NO_OPTIONS: UncheckedRun = {};

/** A forward pass, checked, and what it fills. */
interface Prepared {
  readonly plan: Plan;
  readonly context: OwnedContext;
  readonly buffers: ResultBuffers;
  readonly naming: Naming;
  /** Asks the addon; with a step, as a step of its group. */
  readonly work: Work<NativeSaved>;
  readonly membership: Membership | undefined;
}

/** The group of which a loss is a step, and how parameter gradients are joined over its ranks. */
interface Membership {
  readonly group: OwnedProcessGroup;
  readonly mean: boolean;
}

function prepareForward<Problem>(
  describe: Describe<Problem>,
  problem: Problem,
  options: UncheckedRun,
  checkOptions: () => void,
  step?: Step,
): Prepared {
  const plan = describeForward(describe, problem, step && checkTensorOfRank);
  checkOptions();
  const group = groupOf(options);
  const mean = areAveraged(options);
  const context = contextOfCall(plan, options.context, undefined, group && (() => group.context()));
  const buffers = resultBuffers(plan, 'losses', context, { output: 'host', out: options.out });
  const work: Work<NativeSaved> = (addon, done) => {
    if (step === undefined) return addon.forward(nativeProblem(plan), buffers.native, done);
    const native = step.prepare(() => nativeProblem(plan));
    step.submitted = true;
    return addon.forward(native, buffers.native, done, step.native);
  };
  const naming = group === undefined ? namingOf(plan) : { ...namingOf(plan), inGroup: true };
  return { plan, context, buffers, naming, work, membership: group && { group, mean } };
}

/** The forward pass, on this thread and the context's workers. */
export function forwardSync<Problem>(
  describe: Describe<Problem>,
  problem: Problem,
  options: UncheckedRun = NO_OPTIONS,
): object {
  const check = () => checkKeys(options, 'run', SYNC_FORWARD_KEYS, SYNC_FORWARD_ADVICE);
  function compute(prepared: Prepared): object {
    return passOf(prepared, prepared.context.performSync(prepared.work, prepared.naming));
  }
  const group = groupOf(options);
  if (group === undefined) return compute(prepareForward(describe, problem, options, check));
  return group.attemptSync(step =>
    compute(step.prepare(() => prepareForward(describe, problem, options, check, step))),
  );
}

/** The forward pass, queued for the context's background thread. */
export async function forwardAsync<Problem>(
  describe: Describe<Problem>,
  problem: Problem,
  options: UncheckedRun = NO_OPTIONS,
): Promise<object> {
  const check = () => checkKeys(options, 'run', FORWARD_KEYS, FORWARD_ADVICE);
  async function compute(prepared: Prepared): Promise<object> {
    return passOf(prepared, await prepared.context.perform(prepared.work, prepared.naming, options.signal));
  }
  const group = groupOf(options);
  if (group === undefined) return compute(prepareForward(describe, problem, options, check));
  return group.attempt(async step =>
    compute(step.prepare(() => prepareForward(describe, problem, options, check, step))),
  );
}

function describeForward<Problem>(describe: Describe<Problem>, problem: Problem, check?: TensorCheck): Plan {
  const plan = describe(problem, check);
  const { gradient, gradOutput } = problem as { readonly gradient?: unknown; readonly gradOutput?: unknown };
  if (gradient !== undefined) throw refused('gradient', 'Call backward(), or not, instead.');
  if (gradOutput !== undefined) throw refused('gradOutput', 'Pass it to backward(gradOutput).');
  return plan;
}

function refused(option: string, remedy: string): InfoNCEError {
  return new InfoNCEError('ERR_INFONCE_TYPE', {
    argument: option,
    expected: 'nothing in the problem of a forward pass',
    got: 'a value',
    remedy,
  });
}

/** Everything in closures, so that `const { loss, backward } = …` works. */
function passOf({ plan: whole, context, buffers: forward, naming, membership }: Prepared, saved: NativeSaved): object {
  settle(whole, context, forward);
  const plan = withoutData(whole);
  let disposed = false;

  interface Gradients {
    readonly buffers: ResultBuffers;
    readonly work: Work;
  }

  function prepare(given: unknown, options: UncheckedRun, checkOptions: () => void, step?: Step): Gradients {
    checkOptions();
    const { output, out } = options;
    if (disposed || context.disposed) {
      throw new InfoNCEError('ERR_INFONCE_DISPOSED', {
        argument: `${plan.loss}.forward`,
        expected: 'a forward pass in use',
        got: disposed ? 'one that was disposed' : 'one whose context was disposed',
        remedy: 'Call backward() before dispose().',
      });
    }
    const gradOutput = checkGradOutput(given);
    checkGradOutputLength({ gradOutput, reduction: plan.common.reduction }, plan.task.rows);
    contextOfCall(plan, context, out);
    const call: Plan = { ...plan, common: { ...plan.common, gradOutput } };
    const upstream = viewMajorUpstream(plan.task, gradOutput);
    const buffers = resultBuffers(call, 'gradients', context, { output: checkOutput(output), out });
    const work: Work = (addon, done) => {
      if (step === undefined) return addon.backward(saved, upstream, buffers.native, done);
      step.submitted = true;
      return addon.backward(saved, upstream, buffers.native, done, step.native, membership!.mean);
    };
    return { buffers, work };
  }

  function finish(buffers: ResultBuffers): object {
    settle(plan, context, buffers);
    return gradientsOf(plan, buffers);
  }

  async function backward(given?: unknown, options: UncheckedRun = NO_OPTIONS): Promise<object> {
    const check = () => checkKeys(options, 'run', BACKWARD_KEYS, BACKWARD_ADVICE);
    async function compute({ buffers, work }: Gradients): Promise<object> {
      try {
        await context.perform(work, naming, options.signal);
      } catch (error) {
        giveBack(buffers.made);
        throw error;
      }
      return finish(buffers);
    }
    if (membership === undefined) return compute(prepare(given, options, check));
    return membership.group.attempt(async step => compute(step.prepare(() => prepare(given, options, check, step))));
  }

  function backwardSync(given?: unknown, options: UncheckedRun = NO_OPTIONS): object {
    const check = () => checkKeys(options, 'run', SYNC_BACKWARD_KEYS, SYNC_BACKWARD_ADVICE);
    function compute({ buffers, work }: Gradients): object {
      try {
        context.performSync(work, naming);
      } catch (error) {
        giveBack(buffers.made);
        throw error;
      }
      return finish(buffers);
    }
    if (membership === undefined) return compute(prepare(given, options, check));
    return membership.group.attemptSync(step => compute(step.prepare(() => prepare(given, options, check, step))));
  }

  function dispose(): void {
    if (disposed) return;
    disposed = true;
    context.inOrder(() => saved.dispose());
  }

  const pass = {
    ...lossOf(plan, forward.native),
    get disposed() {
      return disposed || context.disposed;
    },
    backward,
    backwardSync,
    dispose,
  };
  disposable(pass);
  return pass;
}
