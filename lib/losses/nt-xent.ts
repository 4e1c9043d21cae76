import type { NativeProblem, NativeResult } from '../runtime/binding.js';
import { checkChoice, checkKeys } from '../runtime/options.js';
import { bareTensorAdvice, checkTensor, type Tensor } from '../runtime/tensor.js';
import {
  COMMON_KEYS,
  type Common,
  type CommonOptions,
  checkCommon,
  checkTemperature,
  type Reduction,
} from './options.js';
import { gradTemperatureOf, type LossResult, lossValueOf, type Plan, plan } from './plan.js';
import { type RunOptions, runAsync, runSync, type SyncRunOptions } from './run.js';
import { checkDivisible, checkViews } from './views.js';

/** What NT-Xent is asked, but for its input. */
export interface NTXentOptions<R extends Reduction = Reduction, G extends boolean = boolean>
  extends CommonOptions<R, G> {
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
export interface NTXentProblem<R extends Reduction = Reduction, G extends boolean = boolean>
  extends NTXentOptions<R, G> {
  /** [nViews * B, D], view-major: row v * B + b is view v of sample b. */
  readonly features: Tensor;
}

/** The gradients of NT-Xent. */
export interface NTXentGradients {
  /** [nViews * B, D] */
  readonly gradFeatures: Float32Array;
  /** Derivative of the loss by the temperature, times `gradOutput`; with `reduction: 'none'` the sum over the rows. */
  readonly gradTemperature: number;
}

export type NTXentResult<R extends Reduction = Reduction, G extends boolean = boolean> = LossResult<
  R,
  G,
  NTXentGradients
>;

export const NT_XENT_OPTION_KEYS = ['nViews', 'temperature', 'positives', ...COMMON_KEYS] as const;
const KEYS: ReadonlySet<string> = new Set(['features', ...NT_XENT_OPTION_KEYS]);
const ADVICE = bareTensorAdvice('features');
const NAMES = { none: 'ntXent', anchors: 'features', gradOutput: 'gradOutput' };
const POSITIVES = ['first', 'all'] as const;
const DEFAULT_TEMPERATURE = 0.1;

/**
 * NT-Xent, the loss of SimCLR: row i's logits are its cosines with every other row divided by the temperature, and
 *
 *     loss_i = log Σ_{j ≠ i} exp(s_ij) − mean over positives p of s_ip
 *
 * Nothing of size rows × rows is stored.
 *
 * @returns `loss`, `top1`, `top5` and, unless `gradient: false`, `gradFeatures` and `gradTemperature`.
 * @throws {@link InfoNCEError} (the promise rejects with it) for input that cannot be computed; `ERR_INFONCE_VIEWS` when
 * `nViews` does not divide the rows.
 * @see Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", 2020, equation 1; for
 * `positives: 'all'` Khosla et al., "Supervised Contrastive Learning", 2020, equation 2.
 */
export async function ntXent<R extends Reduction = 'mean', G extends boolean = true>(
  problem: NTXentProblem<R, G>,
  run?: RunOptions,
): Promise<NTXentResult<R, G>> {
  return runAsync(describe(problem), run) as Promise<NTXentResult<R, G>>;
}

/** {@link ntXent}, computed before it returns. */
export function ntXentSync<R extends Reduction = 'mean', G extends boolean = true>(
  problem: NTXentProblem<R, G>,
  run?: SyncRunOptions,
): NTXentResult<R, G> {
  return runSync(describe(problem), run) as NTXentResult<R, G>;
}

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

function describe(options: NTXentProblem): Plan<NTXentResult> {
  checkKeys(options, 'ntXent', KEYS, ADVICE);
  const features = checkTensor(options.features, 'features', '[nViews * B, D]', 2, 2);
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
      labels: undefined,
    },
    checked.common,
    NAMES,
    finish,
  );
}

function finish(outputs: NativeResult, problem: NativeProblem): NTXentResult {
  const value = lossValueOf(outputs, problem);
  if (!problem.gradient) return value;
  const { loss, top1, top5 } = value;
  return {
    loss,
    top1,
    top5,
    gradFeatures: outputs.gradAnchors as Float32Array,
    gradTemperature: gradTemperatureOf(outputs, problem),
  };
}
