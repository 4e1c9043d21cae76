import type { AbortSignalLike } from '../runtime/abort.js';
import type { NativeInput, NativeResult } from '../runtime/binding.js';
import type { OwnedContext } from '../runtime/context.js';
import { OwnedDeviceTensor } from '../runtime/device-tensor.js';
import { disposable } from '../runtime/disposable.js';
import { InfoNCEError } from '../runtime/errors.js';
import type { Context } from '../runtime/handles.js';
import { BYTES } from '../runtime/host-tensor.js';
import type { Naming } from '../runtime/native-failure.js';
import { checkChoice, checkKeys, type KeyAdvice } from '../runtime/options.js';
import { NegativeQueue } from './negative-queue.js';
import type { Out } from './out.js';
import { type Matrix, namingOf, nativeProblem, nativeResult, type Plan } from './plan.js';
import { giveBack, type ResultBuffers, resultBuffers, resultOf, settle } from './result-buffers.js';
import { gradientName } from './results.js';
import { contextOfCall, RUN_ADVICE, type UncheckedRun } from './run.js';

/** Where a captured call runs, and where its gradients go. */
export interface CaptureOptions<Name extends string = never> {
  /** As in the run options of the loss; on a CUDA device. */
  readonly context?: Context | undefined;
  /** Gradients stay on the device. */
  readonly output?: 'device' | undefined;
  /** Device tensors to fill, by the names of the results, instead of ones that are made once; with `reduction: 'none'` also `loss`. */
  readonly out?: Out<'device', Name> | undefined;
}

/**
 * A call of a loss whose kernels are one launch, a CUDA graph. Its inputs and gradients are the same device tensors each
 * time: write to the inputs (`tensor.write`, or whatever fills wrapped memory), then run it. All else is fixed: shapes,
 * options, temperature, labels and other arrays are those of the capture.
 *
 * Its working memory is freed by garbage collection, by `dispose` sooner, and with its context. The tensors are the
 * caller's, those in the results too.
 *
 * `capture` throws `ERR_INFONCE_DEVICE` on the CPU, `ERR_INFONCE_TYPE` for inputs that are arrays of the host, and
 * `ERR_INFONCE_RANGE` for a call in which the host would have to wait for the device.
 */
export interface CapturedCall<Result extends object> {
  /**
   * Resolves to what the loss would, computed from what the inputs hold then, in the order of the context's calls. The
   * gradients are the same tensors in every result. `signal` keeps a call from running that has not begun.
   * Rejects with `ERR_INFONCE_DISPOSED` if the capture, its context, or a tensor or queue that it reads or fills was.
   */
  run(options?: { readonly signal?: AbortSignalLike | undefined }): Promise<Result>;
  /** {@link run}, computed before it returns. */
  runSync(): Result;
  /** Whether it, or its context, was disposed. */
  readonly disposed: boolean;
  /** Frees its memory as soon as calls in flight have no more use for it. Calling it again does nothing. */
  dispose(): void;
  /** The same as `dispose()`, for `using`. */
  [Symbol.dispose](): void;
}

const CAPTURE_KEYS: ReadonlySet<string> = new Set(['context', 'output', 'out']);
const CAPTURE_ADVICE: KeyAdvice = new Map([
  ...RUN_ADVICE,
  ['signal', 'Pass it to run({ signal }) of what this returns.'],
  ['group', 'A step of a group waits for other ranks. Call the loss itself.'],
  ['gradients', 'It is for calls with a group, which cannot be captured.'],
]);
const RUN_KEYS: ReadonlySet<string> = new Set(['signal']);
const CAPTURED_ADVICE: KeyAdvice = new Map(
  ['context', 'output', 'out'].map(key => [key, 'It is fixed by the capture: capture the call with it.']),
);
const NO_KEYS: ReadonlySet<string> = new Set();
const CAPTURED_SYNC_ADVICE: KeyAdvice = new Map([...CAPTURED_ADVICE, ['signal', 'Use run(), which can be aborted.']]);
const OUTPUTS = ['device'] as const;
const NO_OPTIONS: UncheckedRun = {};

/** What a captured call reads or fills, under the caller's name. */
type Held = readonly [name: string, value: OwnedDeviceTensor | NegativeQueue];

/** The call of a loss as a graph of its context. */
export function capture(plan: Plan, problem: object, options: UncheckedRun = NO_OPTIONS): object {
  checkKeys(options, 'run', CAPTURE_KEYS, CAPTURE_ADVICE);
  const { context: named, output, out } = options;
  checkChoice(output, 'output', OUTPUTS);
  const context = contextOfCall(plan, named, out);
  checkCapturable(plan, context);
  const buffers = resultBuffers(plan, 'both', context, { output: 'device', out });
  const held: readonly Held[] = [...heldIn(problem), ...heldGradients(plan, buffers)];
  const naming = namingOf(plan);
  try {
    const captured = context.capture(nativeProblem(plan), buffers.native, { ...naming, refusal: notCapturable(plan) });
    return capturedCall({
      plan,
      context,
      buffers,
      held,
      naming,
      captured,
      loss: out?.loss as Float32Array | undefined,
    });
  } catch (error) {
    giveBack(buffers.made);
    throw error;
  }
}

interface Captured {
  readonly plan: Plan;
  readonly context: OwnedContext;
  readonly buffers: ResultBuffers;
  readonly held: readonly Held[];
  readonly naming: Naming;
  readonly captured: ReturnType<OwnedContext['capture']>;
  /** The caller's, of row losses. */
  readonly loss: Float32Array | undefined;
}

/** Everything in closures, so that `const { run } = …` works. */
function capturedCall({ plan, context, buffers, held, naming, captured, loss }: Captured): object {
  let disposed = false;

  /** What one repetition fills beside the gradients. */
  function prepare(): NativeResult {
    if (disposed || context.disposed) {
      throw new InfoNCEError('ERR_INFONCE_DISPOSED', {
        argument: `${plan.loss}.capture`,
        expected: 'a captured call in use',
        got: disposed ? 'one that was disposed' : 'one whose context was disposed',
        remedy: 'Capture the call again.',
      });
    }
    for (const [name, value] of held) checkHeld(name, value);
    const rowLoss =
      plan.common.reduction === 'none' ? (loss ?? context.resultArray(plan.task.rows, 'loss')) : undefined;
    return nativeResult(rowLoss, []);
  }

  function finish(native: NativeResult): object {
    const filled = { ...buffers, native };
    settle(plan, context, filled);
    return resultOf(plan, filled);
  }

  async function run(options: UncheckedRun = NO_OPTIONS): Promise<object> {
    checkKeys(options, 'run', RUN_KEYS, CAPTURED_ADVICE);
    const native = prepare();
    await context.perform((addon, done) => addon.replay(captured, native, done), naming, options.signal);
    return finish(native);
  }

  function runSync(options: UncheckedRun = NO_OPTIONS): object {
    checkKeys(options, 'run', NO_KEYS, CAPTURED_SYNC_ADVICE);
    const native = prepare();
    context.performSync(addon => addon.replay(captured, native), naming);
    return finish(native);
  }

  function dispose(): void {
    if (disposed) return;
    disposed = true;
    context.inOrder(() => captured.dispose());
  }

  const call = {
    get disposed() {
      return disposed || context.disposed;
    },
    run,
    runSync,
    dispose,
  };
  disposable(call);
  return call;
}

/** Refuses what a graph of fixed memory cannot have, as far as the host sees it. */
function checkCapturable(plan: Plan, context: OwnedContext): void {
  if (context.device.type === 'cpu') {
    throw new InfoNCEError('ERR_INFONCE_DEVICE', {
      argument: `${plan.loss}.capture`,
      expected: 'a context on a CUDA device',
      got: 'one on the CPU, where a call has no launches to save',
      remedy: `Call ${plan.loss} itself there.`,
    });
  }
  for (const matrix of plan.task.matrices) {
    checkOnDevice(nameOf(matrix), matrix.tensor.data);
    if (matrix.guide !== undefined) checkOnDevice(nameOf(matrix.guide), matrix.guide.tensor.data);
    if (matrix.fromQueue) checkQueue(matrix);
  }
}

/** A list is a matrix for each of its device tensors. */
function nameOf({ name, list }: Pick<Matrix, 'name' | 'list'>): string {
  return list === undefined ? name : `${name}[${list.tensors[0]?.index ?? 0}]`;
}

function checkOnDevice(name: string, data: NativeInput): void {
  if (!ArrayBuffer.isView(data)) return;
  throw new InfoNCEError('ERR_INFONCE_TYPE', {
    argument: name,
    expected: 'a device tensor, in a call that is captured',
    got: "numbers in the host's memory",
    remedy: 'Make one with context.tensor(data, shape), once, and write() to it before each run.',
  });
}

/** Once it is full, the rows of a queue stay as many, where they are. */
function checkQueue({ name, tensor, ids, bias }: Matrix): void {
  const perRow = ids?.name ?? bias?.name;
  if (perRow !== undefined) {
    throw new InfoNCEError('ERR_INFONCE_RANGE', {
      argument: name,
      expected: `no queue beside ${perRow}, in a call that is captured`,
      got: 'a NegativeQueue, whose rows change while those stay',
      remedy: 'Call the loss itself, or pass a device tensor.',
    });
  }
  const { byteLength } = tensor.data;
  const bytes = tensor.size * BYTES[tensor.dtype];
  if (bytes === byteLength) return;
  throw notFull(name, tensor.shape[0]!, (byteLength / bytes) * tensor.shape[0]!);
}

function notFull(name: string, size: number, capacity: number): InfoNCEError {
  return new InfoNCEError('ERR_INFONCE_RANGE', {
    argument: name,
    expected: `a full queue of ${capacity} rows, in a call that is captured`,
    got: `one of ${size}`,
    remedy: 'Call the loss itself until the queue is full: its rows are as many from then on.',
  });
}

/** A tensor or queue must not have gone since the capture. */
function checkHeld(name: string, value: OwnedDeviceTensor | NegativeQueue): void {
  if (OwnedDeviceTensor.isOne(value)) {
    value.bufferFor(name);
    return;
  }
  if (value.disposed) {
    throw new InfoNCEError('ERR_INFONCE_DISPOSED', {
      argument: name,
      expected: 'a NegativeQueue in use',
      got: 'one that was disposed',
      remedy: 'Capture the call again, with another queue.',
    });
  }
  if (value.size < value.capacity) throw notFull(name, value.size, value.capacity);
}

/** But those that are no results, which are given back. */
function heldGradients({ task }: Plan, { gradients }: ResultBuffers): Held[] {
  return gradients.flatMap((gradient, m): Held[] =>
    OwnedDeviceTensor.isOne(gradient) ? [[`out.${gradientName(task.matrices[m]!.name)}`, gradient]] : [],
  );
}

/** The device tensors and queues in a problem, at any depth. */
function heldIn(value: unknown, nameOfKey: (key: string) => string = key => key): Held[] {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return [];
  return Object.entries(value).flatMap(([key, entry]): Held[] => {
    const name = nameOfKey(key);
    if (OwnedDeviceTensor.isOne(entry) || NegativeQueue.isOne(entry)) return [[name, entry]];
    return heldIn(entry, inner => (Array.isArray(entry) ? `${name}[${inner}]` : `${name}.${inner}`));
  });
}

const notCapturable =
  ({ loss }: Plan): NonNullable<Naming['refusal']> =>
  failure =>
    new InfoNCEError('ERR_INFONCE_RANGE', {
      argument: `${loss}.capture`,
      expected: 'a call whose kernels need nothing of the host while they run',
      got: failure.message,
      remedy: `Call ${loss} itself.`,
    });
