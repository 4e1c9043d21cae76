import { checkKeys, type KeyAdvice } from '../runtime/options.js';
import { checkTensor, problemAdvice, type TensorLike } from '../runtime/tensor.js';
import {
  type ByOutput,
  type ForwardOptions,
  type ForwardPass,
  forwardAsync,
  forwardSync,
  type SyncForwardOptions,
  type WithoutUpstream,
} from './forward.js';
import {
  COMMON_KEYS,
  type Common,
  type CommonOptions,
  checkCommon,
  checkLogitScale,
  type Reduction,
} from './options.js';
import { checkPairs } from './pairs.js';
import { type Plan, plan, type TensorCheck } from './plan.js';
import type { Asked, Gradient, LossResult, Output, Ranks } from './results.js';
import { type RunOptions, runAsync, runSync, type SyncRunOptions } from './run.js';
import { wordsOf } from './words.js';

/** What the CLIP loss is asked, but for its inputs. */
export interface ClipOptions<R extends Reduction = Reduction, G extends boolean = boolean, K extends boolean = boolean>
  extends CommonOptions<R, G, K> {
  /** The factor itself, 1 / temperature, not its logarithm. Above 0. Default 1 / 0.07. */
  readonly logitScale?: number | undefined;
}

/** What the CLIP loss is asked. */
export interface ClipProblem<R extends Reduction = Reduction, G extends boolean = boolean, K extends boolean = boolean>
  extends ClipOptions<R, G, K> {
  /** [N, D] */
  readonly imageFeatures: TensorLike;
  /** [N, D]. Row i belongs to image i. */
  readonly textFeatures: TensorLike;
}

/** The gradients of the CLIP loss. */
export interface ClipGradients<O extends Output = 'host'> {
  /** [N, D] */
  readonly gradImageFeatures: Gradient<O>;
  /** [N, D] */
  readonly gradTextFeatures: Gradient<O>;
  /** Derivative of the loss by the logit scale, times `gradOutput`; with `reduction: 'none'` the sum over the rows. */
  readonly gradLogitScale: number;
}

/** What {@link clip} resolves to. */
export type ClipResult<
  R extends Reduction = Reduction,
  G extends boolean = boolean,
  O extends Output = 'host',
  K extends boolean = true,
> = LossResult<R, G, ClipGradients<O>, K>;

/** The gradients of {@link clip} that `out` may name. */
export type ClipGradientName = 'gradImageFeatures' | 'gradTextFeatures';

/** What {@link clip}'s `forward` resolves to. */
export type ClipForward<R extends Reduction = Reduction, K extends boolean = true> = ForwardPass<
  R,
  ByOutput<ClipGradients, ClipGradients<'device'>>,
  ClipGradientName
> &
  Asked<K, Ranks>;

export const CLIP_OPTION_KEYS = ['logitScale', ...COMMON_KEYS] as const;
const KEYS: ReadonlySet<string> = new Set(['imageFeatures', 'textFeatures', ...CLIP_OPTION_KEYS]);
const SCALE_ADVICE = 'Pass logitScale: 1 / temperature.';
export const CLIP_ADVICE: KeyAdvice = new Map([
  ...problemAdvice('imageFeatures', 'textFeatures'),
  ['temperature', SCALE_ADVICE],
  ['tau', SCALE_ADVICE],
]);
const WORDS = wordsOf('clip', { anchors: 'imageFeatures', keys: 'textFeatures' }, 'gradLogitScale');
const DEFAULT_LOGIT_SCALE = 1 / 0.07;

/**
 * The CLIP loss: the mean of two InfoNCE losses, images looking for their text and texts looking for their image,
 *
 *     loss_i = ½ (log Σ_j exp(s_ij) − s_ii) + ½ (log Σ_j exp(s_ji) − s_ii)
 *
 * where s is `logitScale` times the cosine. With `reduction: 'none'` row i's loss is that of pair i.
 *
 * @returns `loss`; unless `ranks: false`, `top1` and `top5` over both directions; unless `gradient: false`,
 * `gradImageFeatures`, `gradTextFeatures` and `gradLogitScale`.
 * @throws {@link InfoNCEError} (the promise rejects with it) for input that cannot be computed.
 * @see Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", 2021, figure 3.
 */
export async function clip<
  R extends Reduction = 'mean',
  G extends boolean = true,
  O extends Output = 'host',
  K extends boolean = true,
>(problem: ClipProblem<R, G, K>, run?: RunOptions<O, ClipGradientName>): Promise<ClipResult<R, G, O, K>> {
  return runAsync(describeClip(problem), run) as Promise<ClipResult<R, G, O, K>>;
}

/** {@link clip}, computed before it returns. */
export function clipSync<
  R extends Reduction = 'mean',
  G extends boolean = true,
  O extends Output = 'host',
  K extends boolean = true,
>(problem: ClipProblem<R, G, K>, run?: SyncRunOptions<O, ClipGradientName>): ClipResult<R, G, O, K> {
  return runSync(describeClip(problem), run) as ClipResult<R, G, O, K>;
}

/** {@link clip} for trainers that know the upstream gradient only later. */
async function clipForward<R extends Reduction = 'mean', K extends boolean = true>(
  problem: WithoutUpstream<ClipProblem<R, boolean, K>>,
  run?: ForwardOptions,
): Promise<ClipForward<R, K>> {
  return forwardAsync(describeClip, problem, run) as Promise<ClipForward<R, K>>;
}

/** {@link clip}'s `forward`, computed before it returns. */
function clipForwardSync<R extends Reduction = 'mean', K extends boolean = true>(
  problem: WithoutUpstream<ClipProblem<R, boolean, K>>,
  run?: SyncForwardOptions,
): ClipForward<R, K> {
  return forwardSync(describeClip, problem, run) as ClipForward<R, K>;
}

/** {@link clip} in two halves, for trainers that know the upstream gradient only later. */
clip.forward = clipForward;
/** {@link clip}'s `forward`, computed before it returns. */
clip.forwardSync = clipForwardSync;

interface CheckedOptions {
  readonly common: Common;
  readonly scale: number;
}

/** Checks every option, but for what depends on the rows. */
export function checkClipOptions(options: ClipOptions): CheckedOptions {
  return { common: checkCommon(options), scale: checkLogitScale(options.logitScale, DEFAULT_LOGIT_SCALE) };
}

/** Checks the problem. `check` reads its tensors. */
export function describeClip(options: ClipProblem, check: TensorCheck = checkTensor): Plan {
  checkKeys(options, 'clip', KEYS, CLIP_ADVICE);
  const pairs = checkPairs(check, options.imageFeatures, 'imageFeatures', options.textFeatures, 'textFeatures');
  const checked = checkClipOptions(options);
  return plan(
    {
      denominator: 'allKeys',
      positive: 'sameIndex',
      bothDirections: true,
      rows: pairs.rows,
      dim: pairs.dim,
      negativeRows: 0,
      views: 0,
      scale: checked.scale,
      anchors: pairs.anchors,
      keys: pairs.keys,
      negatives: undefined,
      queued: false,
      labels: undefined,
    },
    checked.common,
    WORDS,
  );
}
