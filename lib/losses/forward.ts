import type { AbortSignalLike } from '../runtime/abort.js';
import type { NativeSaved } from '../runtime/binding.js';
import type { OwnedContext } from '../runtime/context.js';
import { disposable } from '../runtime/disposable.js';
import { InfoNCEError } from '../runtime/errors.js';
import type { Context } from '../runtime/handles.js';
import { checkKeys, type KeyAdvice } from '../runtime/options.js';
import { checkGradOutput, checkGradOutputLength, type Reduction } from './options.js';
import type { Out } from './out.js';
import { namingOf, nativeProblem, type Plan, viewMajorUpstream, withoutData } from './plan.js';
import { giveBack, gradientsOf, lossOf, type ResultBuffers, resultBuffers, settle } from './result-buffers.js';
import type { LossValue, Output } from './results.js';
import { checkOutput, contextOfCall, RUN_ADVICE, SYNC_RUN_ADVICE, type UncheckedRun } from './run.js';

/** A problem without what `backward` is given. */
export type WithoutUpstream<Problem> = Problem & {
  /** Gradients come from `backward`. */
  readonly gradient?: undefined;
  /** It is the argument of `backward`. */
  readonly gradOutput?: undefined;
};

/** The gradients of a loss for either `output`. */
export interface ByOutput<OnHost, OnDevice> {
  /** `output: 'host'`, the default. */
  readonly host: OnHost;
  /** `output: 'device'`. */
  readonly device: OnDevice;
}

/** Where the forward half of a call runs. */
export interface SyncForwardOptions {
  /** As in the run options of the loss. */
  readonly context?: Context | undefined;
  /** `{ loss }`, an array of the caller's to fill with the row losses of `reduction: 'none'`. */
  readonly out?: Out<'host', never> | undefined;
}

/** Where and until when the forward half of a call runs. */
export interface ForwardOptions extends SyncForwardOptions {
  /** As in the run options of the loss. */
  readonly signal?: AbortSignalLike | undefined;
}

/** Where the gradients of `backwardSync` go. They are computed in the context of the forward half. */
export interface SyncBackwardOptions<O extends Output = 'host', Name extends string = never> {
  /** As in the run options of the loss. */
  readonly output?: O | undefined;
  /** As in the run options of the loss, but for the loss. */
  readonly out?: Omit<Out<O, Name>, 'loss'> | undefined;
}

/** Where the gradients of `backward` go, and until when it runs. */
export interface BackwardOptions<O extends Output = 'host', Name extends string = never>
  extends SyncBackwardOptions<O, Name> {
  /** As in the run options of the loss. */
  readonly signal?: AbortSignalLike | undefined;
}

/**
 * A loss whose upstream gradient is not known yet. It keeps what the gradients need: the prepared rows and O(rows)
 * statistics in the memory of the device, and none of the caller's arrays, which may change. Garbage collection frees
 * that, `dispose` sooner, and so does its context's.
 *
 * `backward(gradOutput = 1)` computes the gradients that the loss would have given in one call with that `gradOutput`,
 * as often as it is asked to.
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
  /** Frees its memory as soon as calls in flight have no more use for it. Calling it again does nothing. */
  dispose(): void;
  /** The same as `dispose()`, for `using`. */
  [Symbol.dispose](): void;
}

type Describe<Problem> = (problem: Problem) => Plan;

const SYNC_FORWARD_KEYS: ReadonlySet<string> = new Set(['context', 'out']);
const FORWARD_KEYS: ReadonlySet<string> = new Set(['context', 'out', 'signal']);
const IN_ONE_CALL = 'Over a group a loss is computed with its gradients in one call: call the loss itself.';
const FORWARD_ADVICE: KeyAdvice = new Map([
  ['output', 'Pass it to backward(gradOutput, { output }).'],
  ['group', IN_ONE_CALL],
  ['gradients', IN_ONE_CALL],
]);
const SYNC_BACKWARD_KEYS: ReadonlySet<string> = new Set(['output', 'out']);
const BACKWARD_KEYS: ReadonlySet<string> = new Set(['output', 'out', 'signal']);
const CONTEXT_ADVICE: KeyAdvice = new Map([['context', 'It runs in the context of the forward half.']]);
const NO_OPTIONS: UncheckedRun = {};

/** The forward half, on this thread and the context's workers. */
export function forwardSync<Problem>(
  describe: Describe<Problem>,
  problem: Problem,
  options: UncheckedRun = NO_OPTIONS,
): object {
  const plan = describeForward(describe, problem);
  checkKeys(options, 'run', SYNC_FORWARD_KEYS, new Map([...SYNC_RUN_ADVICE, ...FORWARD_ADVICE]));
  const context = contextOfCall(plan, options.context, undefined);
  const buffers = resultBuffers(plan, 'losses', context, { output: 'host', out: options.out });
  const saved = context.performSync<NativeSaved>(
    native => native.forward(nativeProblem(plan), buffers.native),
    namingOf(plan),
  );
  settle(plan, context, buffers);
  return passOf(withoutData(plan), context, saved, lossOf(plan, buffers.native));
}

/** The forward half, queued for the context's background thread. */
export async function forwardAsync<Problem>(
  describe: Describe<Problem>,
  problem: Problem,
  options: UncheckedRun = NO_OPTIONS,
): Promise<object> {
  const plan = describeForward(describe, problem);
  checkKeys(options, 'run', FORWARD_KEYS, new Map([...RUN_ADVICE, ...FORWARD_ADVICE]));
  const context = contextOfCall(plan, options.context, undefined);
  const buffers = resultBuffers(plan, 'losses', context, { output: 'host', out: options.out });
  const saved = await context.perform<NativeSaved>(
    (native, done) => native.forward(nativeProblem(plan), buffers.native, done),
    namingOf(plan),
    options.signal,
  );
  settle(plan, context, buffers);
  return passOf(withoutData(plan), context, saved, lossOf(plan, buffers.native));
}

function describeForward<Problem>(describe: Describe<Problem>, problem: Problem): Plan {
  const plan = describe(problem);
  const { gradient, gradOutput } = problem as { readonly gradient?: unknown; readonly gradOutput?: unknown };
  if (gradient !== undefined) throw refused('gradient', 'Call backward(), or not, instead.');
  if (gradOutput !== undefined) throw refused('gradOutput', 'Pass it to backward(gradOutput).');
  return plan;
}

function refused(option: string, remedy: string): InfoNCEError {
  return new InfoNCEError('ERR_INFONCE_TYPE', {
    argument: option,
    expected: 'nothing in the problem of a forward half',
    got: 'a value',
    remedy,
  });
}

/** Everything in closures, so that `const { loss, backward } = …` works. */
function passOf(plan: Plan, context: OwnedContext, saved: NativeSaved, value: LossValue): object {
  let disposed = false;

  function prepare(
    given: unknown,
    { output, out }: UncheckedRun,
  ): { gradOutput: Float32Array | undefined; buffers: ResultBuffers } {
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
    return {
      gradOutput: upstream,
      buffers: resultBuffers(call, 'gradients', context, { output: checkOutput(output), out }),
    };
  }

  async function backward(given?: unknown, options: UncheckedRun = NO_OPTIONS): Promise<object> {
    checkKeys(options, 'run', BACKWARD_KEYS, CONTEXT_ADVICE);
    const { gradOutput, buffers } = prepare(given, options);
    try {
      await context.perform(
        (native, done) => native.backward(saved, gradOutput, buffers.native, done),
        namingOf(plan),
        options.signal,
      );
    } catch (error) {
      giveBack(buffers.made);
      throw error;
    }
    settle(plan, context, buffers);
    return gradientsOf(plan, buffers);
  }

  function backwardSync(given?: unknown, options: UncheckedRun = NO_OPTIONS): object {
    checkKeys(options, 'run', SYNC_BACKWARD_KEYS, new Map([...SYNC_RUN_ADVICE, ...CONTEXT_ADVICE]));
    const { gradOutput, buffers } = prepare(given, options);
    try {
      context.performSync(native => native.backward(saved, gradOutput, buffers.native), namingOf(plan));
    } catch (error) {
      giveBack(buffers.made);
      throw error;
    }
    settle(plan, context, buffers);
    return gradientsOf(plan, buffers);
  }

  function dispose(): void {
    if (disposed) return;
    disposed = true;
    context.inOrder(() => saved.dispose());
  }

  const pass = {
    ...value,
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
