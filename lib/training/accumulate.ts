import { type ClipGradients, type ClipOptions, clip } from '../losses/clip.js';
import { type InfoNCEGradients, type InfoNCEOptions, infoNCE } from '../losses/info-nce.js';
import type { NegativeQueue } from '../losses/negative-queue.js';
import { type NTXentGradients, type NTXentOptions, ntXent } from '../losses/nt-xent.js';
import type { Reduction } from '../losses/options.js';
import type { Asked, LossValue, Ranks } from '../losses/results.js';
import { RUN_ADVICE } from '../losses/run.js';
import { type SupConGradients, type SupConOptions, supCon } from '../losses/sup-con.js';
import { checkViews } from '../losses/views.js';
import type { AbortSignalLike } from '../runtime/abort.js';
import { describeValue, InfoNCEError } from '../runtime/errors.js';
import type { Context } from '../runtime/handles.js';
import type { HalfTensor, Tensor } from '../runtime/host-tensor.js';
import { checkKeys, type KeyAdvice } from '../runtime/options.js';
import type { TensorLike } from '../runtime/tensor.js';
import { type Batch, gather, type Recipe, spread, toldByChunk } from './chunks.js';

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
}

const RECIPES: ReadonlyMap<unknown, Recipe> = new Map<unknown, Recipe>([
  [ntXent, { inputs: ['features'], layout: ['[nViews * B, D]', 2, 2], labels: false, views: true }],
  [infoNCE, { inputs: ['query', 'positiveKey'], layout: ['[N, D]', 2, 2], labels: false, views: false }],
  [clip, { inputs: ['imageFeatures', 'textFeatures'], layout: ['[N, D]', 2, 2], labels: false, views: false }],
  [supCon, { inputs: ['features'], layout: ['[N, D] or [B, V, D]', 2, 3], labels: true, views: false }],
]);
const RUN_KEYS: ReadonlySet<string> = new Set(['context', 'signal']);
const PLACE_ADVICE = 'Gradients come in new arrays of the host, chunk by chunk.';
const ADVICE: KeyAdvice = new Map([...RUN_ADVICE, ['output', PLACE_ADVICE], ['out', PLACE_ADVICE]]);

/**
 * Gradient caching, for batches larger than an encoder can hold: the loss and its gradient over all chunks at once, the
 * gradient handed out in chunks. Encode chunk by chunk without keeping activations, call this, then encode each chunk
 * again and descend its gradient: that is the step of the whole batch.
 *
 * Chunks are inputs as one call takes them, `{ features }`, `{ query, positiveKey }`, … : those of NT-Xent each view-major.
 * They may differ in rows. The result has each chunk's gradients, which may be parts of one array, in the layout of that
 * chunk. Row losses (`reduction: 'none'`) and a `gradOutput` for each row are in the order of the whole batch: chunk by
 * chunk, for NT-Xent within each view.
 *
 * @param loss - `ntXent`, `infoNCE`, `clip` or `supCon`.
 * @throws {@link InfoNCEError} (the promise rejects with it) that names the chunk: `chunks[2].features.shape`.
 * @see Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", 2021 (GradCache).
 */
export function accumulate<R extends Reduction = 'mean', K extends boolean = true>(
  loss: typeof ntXent,
  chunks: readonly { readonly features: HostTensor }[],
  options?: Omit<NTXentOptions<R, boolean, K>, 'gradient'>,
  run?: AccumulateRun,
): Promise<Accumulated<R, NTXentGradients, 'gradFeatures', K>>;
export function accumulate<R extends Reduction = 'mean', K extends boolean = true>(
  loss: typeof infoNCE,
  chunks: readonly { readonly query: HostTensor; readonly positiveKey: HostTensor }[],
  options?: Omit<InfoNCEOptions<R, boolean, K>, 'gradient'> & {
    readonly negativeKeys?: TensorLike | NegativeQueue | undefined;
  },
  run?: AccumulateRun,
): Promise<Accumulated<R, InfoNCEGradients, 'gradQuery' | 'gradPositiveKey', K>>;
export function accumulate<R extends Reduction = 'mean', K extends boolean = true>(
  loss: typeof clip,
  chunks: readonly { readonly imageFeatures: HostTensor; readonly textFeatures: HostTensor }[],
  options?: Omit<ClipOptions<R, boolean, K>, 'gradient'>,
  run?: AccumulateRun,
): Promise<Accumulated<R, ClipGradients, 'gradImageFeatures' | 'gradTextFeatures', K>>;
export function accumulate<R extends Reduction = 'mean', K extends boolean = true>(
  loss: typeof supCon,
  chunks: readonly { readonly features: HostTensor; readonly labels: Int32Array }[],
  options?: Omit<SupConOptions<R, boolean, K>, 'gradient'>,
  run?: AccumulateRun,
): Promise<Accumulated<R, SupConGradients, 'gradFeatures', K>>;
export async function accumulate(
  loss: unknown,
  chunks: unknown,
  options: object = {},
  run: AccumulateRun = {},
): Promise<object> {
  const recipe = RECIPES.get(loss);
  if (recipe === undefined) {
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: 'loss',
      expected: 'ntXent, infoNCE, clip or supCon of this copy of the package',
      got: describeValue(loss),
    });
  }
  checkOptions(options, recipe);
  checkKeys(run, 'run', RUN_KEYS, ADVICE);
  const views = recipe.views ? checkViews((options as { readonly nViews?: unknown }).nViews) : 1;
  const batch = gather(chunks, recipe, views);
  const call = loss as (problem: object, run: AccumulateRun) => Promise<object>;
  let result: object;
  try {
    result = await call({ ...options, ...batch.inputs }, run);
  } catch (error) {
    throw toldByChunk(error, batch);
  }
  return handOut(result as { readonly [name: string]: unknown }, recipe, batch);
}

/** Refuses options that belong elsewhere; the rest is the loss's to check. */
function checkOptions(options: object, { inputs }: Recipe): void {
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
}

/** The loss's results, with the gradients of what came in chunks in chunks. */
function handOut(result: { readonly [name: string]: unknown }, { inputs }: Recipe, batch: Batch): object {
  const whole: { [name: string]: unknown } = { ...result };
  const chunks = batch.rows.map(() => ({}) as { [name: string]: Float32Array });
  for (const input of inputs) {
    const name = `grad${input[0]!.toUpperCase()}${input.slice(1)}`;
    const gradients = spread(result[name] as Float32Array, batch);
    gradients.forEach((gradient, chunk) => {
      chunks[chunk]![name] = gradient;
    });
    delete whole[name];
  }
  return { ...whole, chunks };
}
