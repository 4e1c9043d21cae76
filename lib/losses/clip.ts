import type { NativeProblem, NativeResult } from '../runtime/binding.js';
import { checkKeys, type KeyAdvice } from '../runtime/options.js';
import { bareTensorAdvice, type Tensor } from '../runtime/tensor.js';
import {
  COMMON_KEYS,
  type Common,
  type CommonOptions,
  checkCommon,
  checkLogitScale,
  type Reduction,
} from './options.js';
import { checkPairs } from './pairs.js';
import { type LossResult, lossValueOf, type Plan, plan } from './plan.js';
import { type RunOptions, runAsync, runSync, type SyncRunOptions } from './run.js';

/** What the CLIP loss is asked, but for its inputs. */
export interface ClipOptions<R extends Reduction = Reduction, G extends boolean = boolean> extends CommonOptions<R, G> {
  /** The factor itself, 1 / temperature, not its logarithm. Above 0. Default 1 / 0.07. */
  readonly logitScale?: number | undefined;
}

/** What the CLIP loss is asked. */
export interface ClipProblem<R extends Reduction = Reduction, G extends boolean = boolean> extends ClipOptions<R, G> {
  /** [N, D] */
  readonly imageFeatures: Tensor;
  /** [N, D]. Row i belongs to image i. */
  readonly textFeatures: Tensor;
}

/** The gradients of the CLIP loss. */
export interface ClipGradients {
  /** [N, D] */
  readonly gradImageFeatures: Float32Array;
  /** [N, D] */
  readonly gradTextFeatures: Float32Array;
  /** Derivative of the loss by the logit scale, times `gradOutput`; with `reduction: 'none'` the sum over the rows. */
  readonly gradLogitScale: number;
}

export type ClipResult<R extends Reduction = Reduction, G extends boolean = boolean> = LossResult<R, G, ClipGradients>;

export const CLIP_OPTION_KEYS = ['logitScale', ...COMMON_KEYS] as const;
const KEYS: ReadonlySet<string> = new Set(['imageFeatures', 'textFeatures', ...CLIP_OPTION_KEYS]);
const SCALE_ADVICE = 'Pass logitScale: 1 / temperature.';
export const CLIP_ADVICE: KeyAdvice = new Map([
  ...bareTensorAdvice('imageFeatures', 'textFeatures'),
  ['temperature', SCALE_ADVICE],
  ['tau', SCALE_ADVICE],
]);
const NAMES = { none: 'clip', anchors: 'imageFeatures', keys: 'textFeatures', gradOutput: 'gradOutput' };
const DEFAULT_LOGIT_SCALE = 1 / 0.07;

/**
 * The CLIP loss: the mean of two InfoNCE losses, images looking for their text and texts looking for their image,
 *
 *     loss_i = ½ (log Σ_j exp(s_ij) − s_ii) + ½ (log Σ_j exp(s_ji) − s_ii)
 *
 * where s is `logitScale` times the cosine. With `reduction: 'none'` row i's loss is that of pair i.
 *
 * @returns `loss`, `top1` and `top5` over both directions and, unless `gradient: false`, `gradImageFeatures`,
 * `gradTextFeatures` and `gradLogitScale`.
 * @throws {@link InfoNCEError} (the promise rejects with it) for input that cannot be computed.
 * @see Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", 2021, figure 3.
 */
export async function clip<R extends Reduction = 'mean', G extends boolean = true>(
  problem: ClipProblem<R, G>,
  run?: RunOptions,
): Promise<ClipResult<R, G>> {
  return runAsync(describe(problem), run) as Promise<ClipResult<R, G>>;
}

/** {@link clip}, computed before it returns. */
export function clipSync<R extends Reduction = 'mean', G extends boolean = true>(
  problem: ClipProblem<R, G>,
  run?: SyncRunOptions,
): ClipResult<R, G> {
  return runSync(describe(problem), run) as ClipResult<R, G>;
}

interface CheckedOptions {
  readonly common: Common;
  readonly scale: number;
}

/** Checks every option, but for what depends on the rows. */
export function checkClipOptions(options: ClipOptions): CheckedOptions {
  return { common: checkCommon(options), scale: checkLogitScale(options.logitScale, DEFAULT_LOGIT_SCALE) };
}

function describe(options: ClipProblem): Plan<ClipResult> {
  checkKeys(options, 'clip', KEYS, CLIP_ADVICE);
  const pairs = checkPairs(options.imageFeatures, 'imageFeatures', options.textFeatures, 'textFeatures');
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
      labels: undefined,
    },
    checked.common,
    NAMES,
    finish,
  );
}

function finish(outputs: NativeResult, problem: NativeProblem): ClipResult {
  const value = lossValueOf(outputs, problem);
  if (!problem.gradient) return value;
  return {
    loss: value.loss,
    top1: value.top1,
    top5: value.top5,
    gradImageFeatures: outputs.gradAnchors as Float32Array,
    gradTextFeatures: outputs.gradKeys as Float32Array,
    gradLogitScale: outputs.scalars[1]!,
  };
}
