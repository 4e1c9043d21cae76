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
import { type Batch, gather, spread, toldByChunk } from './chunks.js';

/** A tensor in the host's memory. */
export type HostTensor = Tensor | HalfTensor;

/** A loss over all chunks, and each chunk's part of the gradients called `Name`. */
export type Accumulated<
  R extends Reduction,
  Gradients,
  Name extends keyof Gradients,
  K extends boolean = true,
> = LossValue<R> &
  Asked<K, Ranks> &
  Omit<Gradients, Name> & {
    /** In the order of the chunks that were given. */
    readonly chunks: readonly Pick<Gradients, Name>[];
  };

/** Where and until when it runs. */
export interface AccumulateRun {
  /** Default: as for the loss itself. */
  readonly context?: Context | undefined;
  /** Rejects the call with an `AbortError` if it fires before the call has ended. */
  readonly signal?: AbortSignalLike | undefined;
  /** As in the run options of the loss: the batch is that of all ranks, and this rank's part of it comes in chunks. */
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
 * Gradient caching, for batches larger than an encoder can hold: a loss (`ntXent`, …) and its gradient over all chunks at
 * once, the gradient handed out in chunks. Encode chunk by chunk without keeping activations, call this, then encode each chunk
 * again and descend its gradient: that is the step of the whole batch.
 *
 * Chunks are inputs as one call takes them, `{ features }`, `{ query, positiveKey }`, … : those of NT-Xent each in the
 * `layout` of the options. They may differ in rows. The result has each chunk's gradients, which may be parts of one array,
 * in the layout of that chunk. With `targets`, an option, `positiveKey` may have other rows than `query`. Options with an
 * entry for each row are those of the whole batch; targets are rows of all chunks' `positiveKey`, one after the other. Row
 * losses (`reduction: 'none'`) and a `gradOutput` for each row are in the order of the whole batch: chunk by chunk, for
 * view-major NT-Xent within each view.
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
    throw toldByChunk(error, batch);
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
      expected: 'options of the loss but for its inputs and gradient',
      got: `'${name}'`,
      remedy: name === 'gradient' ? 'Without gradients there is nothing to hand out.' : 'It belongs in each chunk.',
    });
  }
  const { detach } = options as { readonly detach?: unknown };
  const detached = Array.isArray(detach) ? inputs.find(name => detach.includes(name)) : undefined;
  if (detached === undefined) return;
  throw new InfoNCEError('ERR_INFONCE_RANGE', {
    argument: 'detach',
    expected: 'no input that comes in chunks',
    got: `'${detached}'`,
    remedy: 'Gradients of chunks are what is handed out. Leave aside those that are not wanted.',
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
