import { checkChoice, checkKeys } from '../runtime/options.js';
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
  checkTemperature,
  type Reduction,
} from './options.js';
import { type Plan, plan, type TensorCheck } from './plan.js';
import type { Asked, Gradient, LossResult, Output, Ranks } from './results.js';
import { type RunOptions, runAsync, runSync, type SyncRunOptions } from './run.js';
import { checkDivisible, checkViews } from './views.js';
import { wordsOf } from './words.js';

/** What NT-Xent is asked, but for its input. */
export interface NTXentOptions<
  R extends Reduction = Reduction,
  G extends boolean = boolean,
  K extends boolean = boolean,
> extends CommonOptions<R, G, K> {
  /** Views of each sample: an integer of at least 2 that divides the rows. Default 2. */
  readonly nViews?: number | undefined;
  /** Above 0. Default 0.1. */
  readonly temperature?: number | undefined;
  /**
   * `'first'` (default): the first other view, as SimCLR's reference code has it; `'all'`: the mean over every other
   * view (SupCon's L_out over views). The same for two views.
   */
  readonly positives?: 'first' | 'all' | undefined;
}

/** What NT-Xent is asked. */
export interface NTXentProblem<
  R extends Reduction = Reduction,
  G extends boolean = boolean,
  K extends boolean = boolean,
> extends NTXentOptions<R, G, K> {
  /** [nViews * B, D], view-major: row v * B + b is view v of sample b. */
  readonly features: TensorLike;
}

/** The gradients of NT-Xent. */
export interface NTXentGradients<O extends Output = 'host'> {
  /** [nViews * B, D] */
  readonly gradFeatures: Gradient<O>;
  /** Derivative of the loss by the temperature, times `gradOutput`; with `reduction: 'none'` the sum over the rows. */
  readonly gradTemperature: number;
}

/** What {@link ntXent} resolves to. */
export type NTXentResult<
  R extends Reduction = Reduction,
  G extends boolean = boolean,
  O extends Output = 'host',
  K extends boolean = true,
> = LossResult<R, G, NTXentGradients<O>, K>;

/** What {@link ntXent}'s `forward` resolves to. */
export type NTXentForward<R extends Reduction = Reduction, K extends boolean = true> = ForwardPass<
  R,
  ByOutput<NTXentGradients, NTXentGradients<'device'>>,
  'gradFeatures'
> &
  Asked<K, Ranks>;

export const NT_XENT_OPTION_KEYS = ['nViews', 'temperature', 'positives', ...COMMON_KEYS] as const;
const KEYS: ReadonlySet<string> = new Set(['features', ...NT_XENT_OPTION_KEYS]);
const ADVICE = problemAdvice('features');
const WORDS = wordsOf('ntXent', { anchors: 'features' });
const POSITIVES = ['first', 'all'] as const;
const DEFAULT_TEMPERATURE = 0.1;

/**
 * NT-Xent, the loss of SimCLR: row i's logits are its cosines with every other row divided by the temperature, and
 *
 *     loss_i = log Σ_{j ≠ i} exp(s_ij) − mean over positives p of s_ip
 *
 * Nothing of size rows × rows is stored.
 *
 * @returns `loss`; unless `ranks: false`, `top1` and `top5`; unless `gradient: false`, `gradFeatures` and
 * `gradTemperature`.
 * @throws {@link InfoNCEError} (the promise rejects with it) for input that cannot be computed; `ERR_INFONCE_VIEWS` when
 * `nViews` does not divide the rows.
 * @see Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", 2020, equation 1; for
 * `positives: 'all'` Khosla et al., "Supervised Contrastive Learning", 2020, equation 2.
 */
export async function ntXent<
  R extends Reduction = 'mean',
  G extends boolean = true,
  O extends Output = 'host',
  K extends boolean = true,
>(problem: NTXentProblem<R, G, K>, run?: RunOptions<O, 'gradFeatures'>): Promise<NTXentResult<R, G, O, K>> {
  return runAsync(describeNTXent(problem), run) as Promise<NTXentResult<R, G, O, K>>;
}

/** {@link ntXent}, computed before it returns. */
export function ntXentSync<
  R extends Reduction = 'mean',
  G extends boolean = true,
  O extends Output = 'host',
  K extends boolean = true,
>(problem: NTXentProblem<R, G, K>, run?: SyncRunOptions<O, 'gradFeatures'>): NTXentResult<R, G, O, K> {
  return runSync(describeNTXent(problem), run) as NTXentResult<R, G, O, K>;
}

/** {@link ntXent} for trainers that know the upstream gradient only later. */
async function ntXentForward<R extends Reduction = 'mean', K extends boolean = true>(
  problem: WithoutUpstream<NTXentProblem<R, boolean, K>>,
  run?: ForwardOptions,
): Promise<NTXentForward<R, K>> {
  return forwardAsync(describeNTXent, problem, run) as Promise<NTXentForward<R, K>>;
}

/** {@link ntXent}'s `forward`, computed before it returns. */
function ntXentForwardSync<R extends Reduction = 'mean', K extends boolean = true>(
  problem: WithoutUpstream<NTXentProblem<R, boolean, K>>,
  run?: SyncForwardOptions,
): NTXentForward<R, K> {
  return forwardSync(describeNTXent, problem, run) as NTXentForward<R, K>;
}

/** {@link ntXent} in two halves, for trainers that know the upstream gradient only later. */
ntXent.forward = ntXentForward;
/** {@link ntXent}'s `forward`, computed before it returns. */
ntXent.forwardSync = ntXentForwardSync;

interface CheckedOptions {
  readonly common: Common;
  readonly positive: 'firstView' | 'allViews';
  readonly views: number;
  readonly scale: number;
}

/** Checks every option, but for what depends on the rows. */
export function checkNTXentOptions(options: NTXentOptions): CheckedOptions {
  return {
    common: checkCommon(options),
    positive: checkChoice(options.positives, 'positives', POSITIVES) === 'first' ? 'firstView' : 'allViews',
    views: checkViews(options.nViews),
    scale: checkTemperature(options.temperature, DEFAULT_TEMPERATURE),
  };
}

/** Checks the problem. `check` reads its tensors. */
export function describeNTXent(options: NTXentProblem, check: TensorCheck = checkTensor): Plan {
  checkKeys(options, 'ntXent', KEYS, ADVICE);
  const features = check(options.features, 'features', '[nViews * B, D]', 2, 2);
  const rows = features.shape[0]!;
  const checked = checkNTXentOptions(options);
  checkDivisible(rows, checked.views);
  return plan(
    {
      denominator: 'otherAnchors',
      positive: checked.positive,
      bothDirections: false,
      rows,
      dim: features.shape[1]!,
      negativeRows: 0,
      views: checked.views,
      scale: checked.scale,
      anchors: features,
      keys: undefined,
      negatives: undefined,
      queued: false,
      labels: undefined,
    },
    checked.common,
    WORDS,
  );
}
