import { groupOf, OwnedProcessGroup } from '../distributed/owned-group.js';
import type { ProcessGroup } from '../distributed/process-group.js';
import { LOSSES } from '../losses/all.js';
import type { LossTypes, Of } from '../losses/loss.js';
import type { Reduction } from '../losses/options.js';
import { type Asked, gradientName, type LossValue, type Ranks } from '../losses/results.js';
import { RUN_ADVICE } from '../losses/run.js';
import { checkViewLayout } from '../losses/view-layout.js';
import { checkViews } from '../losses/views.js';
import type { AbortSignalLike } from '../runtime/abort.js';
import { describeValue, InfoNCEError } from '../runtime/errors.js';
import type { Context } from '../runtime/handles.js';
import type { HalfTensor, Tensor } from '../runtime/host-tensor.js';
import { checkKeys, type KeyAdvice } from '../runtime/options.js';
import type { TensorLike } from '../runtime/tensor.js';
import { type Batch, gather, spread, withChunkRow } from './chunks.js';

/** A tensor in the host's memory. */
export type HostTensor = Tensor | HalfTensor;

/** The loss over all chunks, and the gradients of each chunk. */
export type Accumulated<
  R extends Reduction,
  Gradients,
  Name extends keyof Gradients,
  K extends boolean = true,
> = LossValue<R> &
  Asked<K, Ranks> &
  Omit<Gradients, Name> & {
    /** In the order of the chunks. */
    readonly chunks: readonly Pick<Gradients, Name>[];
  };

/** Run options of {@link accumulate}. */
export interface AccumulateRun {
  /** Default: as for the loss itself. */
  readonly context?: Context | undefined;
  /** Aborts the call: it rejects with an `AbortError` if the signal fires before it has ended. */
  readonly signal?: AbortSignalLike | undefined;
  /** As in the run options of the loss: the batch is that of all ranks, and the chunks are this rank's part of it. */
  readonly group?: ProcessGroup | undefined;
  /** As in the run options of the loss. */
  readonly gradients?: 'sum' | 'mean' | undefined;
}

const RUN_KEYS: ReadonlySet<string> = new Set(['context', 'signal', 'group', 'gradients']);
const NAMES = LOSSES.map(({ name }) => name)
  .join(', ')
  .replace(/, (?=[^,]*$)/, ' or ');
const PLACE_ADVICE = 'Gradients come in new arrays of the host, chunk by chunk.';
const ADVICE: KeyAdvice = new Map([...RUN_ADVICE, ['output', PLACE_ADVICE], ['out', PLACE_ADVICE]]);

/** @internal The names of the inputs that a problem must have, which come in chunks. */
export type ChunkInput<Problem> = {
  [key in keyof Problem]-?: object extends Pick<Problem, key> ? never : key;
}[keyof Problem];

/** A part of a problem's inputs, in the memory of the host. */
export type Chunk<Problem> = {
  readonly [key in ChunkInput<Problem>]: TensorLike extends Problem[key] ? HostTensor : Problem[key];
};

/** Whether results of that type have ranks. */
type RankedAs<Result> = Result extends Ranks ? true : 'top1' extends keyof Result ? boolean : false;

type GradientNames<Inputs, Gradients> = Inputs extends string
  ? Extract<`grad${Capitalize<Inputs>}`, keyof Gradients>
  : never;

/** {@link accumulate} of one loss. */
type AccumulateOf<LossCall, T extends LossTypes> = <R extends Reduction = 'mean', K extends boolean = true>(
  loss: LossCall,
  chunks: readonly Chunk<Of<T>['problem']>[],
  options?: Omit<Of<T, R, boolean, 'host', K>['problem'], ChunkInput<Of<T>['problem']> | 'gradient'>,
  run?: AccumulateRun,
) => Promise<
  Accumulated<
    R,
    Of<T>['gradients'],
    GradientNames<ChunkInput<Of<T>['problem']>, Of<T>['gradients']>,
    RankedAs<Of<T, R, false, 'host', K>['result']>
  >
>;

/** An overload for each loss. */
type Accumulate<Losses extends readonly unknown[]> = Losses extends readonly [infer First, ...infer Rest]
  ? (First extends { readonly run: infer LossCall; readonly types?: infer T extends LossTypes }
      ? AccumulateOf<LossCall, T>
      : never) &
      Accumulate<Rest>
  : unknown;

/**
 * Gradient caching, for batches larger than an encoder can hold: a loss (`ntXent`, …) over all chunks at once, with the
 * gradients of each chunk. Encode chunk by chunk without keeping activations, call this, then encode each chunk again and
 * propagate its gradient back: that is the step of the whole batch.
 *
 * A chunk holds the inputs of one call: `{ features }`, `{ query, positiveKey }`, …; those of NT-Xent are each in the
 * `layout` of the options. Chunks may differ in rows. The gradients of a chunk are in its layout, and may be parts of one
 * array. Options with an entry for each row are those of the whole batch. With the option `targets`, which are rows of the
 * concatenated `positiveKey` of all chunks, `positiveKey` may have another number of rows than `query`. Row losses
 * (`reduction: 'none'`) and a `gradOutput` for each row are in the order of the whole batch: chunk by chunk, for view-major
 * NT-Xent within each view.
 *
 * @throws {@link InfoNCEError} (the promise rejects with it) that names the chunk: `chunks[2].features.shape`.
 * @see Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", 2021 (GradCache).
 * @function
 */
export const accumulate = async function accumulate(
  loss: unknown,
  chunks: unknown,
  options: object = {},
  run: AccumulateRun = {},
): Promise<object> {
  const { inputs, batch } = OwnedProcessGroup.before(groupOf(run), () => prepare(loss, chunks, options, run));
  const call = loss as (problem: object, run: AccumulateRun) => Promise<object>;
  let result: object;
  try {
    result = await call({ ...options, ...batch.inputs }, run);
  } catch (error) {
    throw withChunkRow(error, batch);
  }
  return handOut(result as { readonly [name: string]: unknown }, inputs, batch);
} as Accumulate<typeof LOSSES>;

/** Checks what is not the loss's to check, and joins the chunks. */
function prepare(loss: unknown, chunks: unknown, options: object, run: AccumulateRun) {
  const known = LOSSES.find(({ run }) => run === loss);
  if (known === undefined) {
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: 'loss',
      expected: `${NAMES} of this copy of the package`,
      got: describeValue(loss),
    });
  }
  const inputs = Object.keys(known.tensors);
  checkOptions(options, inputs);
  checkKeys(run, 'run', RUN_KEYS, ADVICE);
  const { nViews, layout } = options as { readonly nViews?: unknown; readonly layout?: unknown };
  const views = known.viewMajor
    ? { views: checkViews(nViews), layout: checkViewLayout(layout) }
    : ({ views: 1, layout: 'viewMajor' } as const);
  const { targets } = options as { readonly targets?: unknown };
  const batch = gather(chunks, known, views, targets !== undefined);
  return { inputs, batch };
}

/** Refuses options that belong elsewhere; the rest is the loss's to check. */
function checkOptions(options: object, inputs: readonly string[]): void {
  if (typeof options !== 'object' || options === null) {
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: 'options',
      expected: 'an object of options of the loss',
      got: describeValue(options),
    });
  }
  for (const name of [...inputs, 'labels', 'gradient']) {
    if ((options as { readonly [name: string]: unknown })[name] === undefined) continue;
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: 'options',
      expected: 'options of the loss except its inputs and gradient',
      got: `'${name}'`,
      remedy:
        name === 'gradient'
          ? 'The gradients of chunks are the result. For the loss alone call the loss.'
          : 'It belongs in each chunk.',
    });
  }
  const { detach } = options as { readonly detach?: unknown };
  const detached = Array.isArray(detach) ? inputs.find(name => detach.includes(name)) : undefined;
  if (detached === undefined) return;
  throw new InfoNCEError('ERR_INFONCE_RANGE', {
    argument: 'detach',
    expected: 'no input that comes in chunks',
    got: `'${detached}'`,
    remedy: 'The gradients of chunks are the result. Ignore those that you do not need.',
  });
}

/** The loss's results, with the gradients of what came in chunks in chunks. */
function handOut(result: { readonly [name: string]: unknown }, inputs: readonly string[], batch: Batch): object {
  const whole: { [name: string]: unknown } = { ...result };
  const chunks = batch.rows[inputs[0]!]!.map(() => ({}) as { [name: string]: Float32Array });
  for (const input of inputs) {
    const name = gradientName(input);
    const gradients = spread(result[name] as Float32Array, input, batch);
    gradients.forEach((gradient, chunk) => {
      chunks[chunk]![name] = gradient;
    });
    delete whole[name];
  }
  return { ...whole, chunks };
}
