import { checkInt32Array } from '../runtime/arrays.js';
import type { NativeProblem, NativeResult } from '../runtime/binding.js';
import { InfoNCEError } from '../runtime/errors.js';
import { checkKeys } from '../runtime/options.js';
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

/** What SupCon is asked, but for its inputs. */
export interface SupConOptions<R extends Reduction = Reduction, G extends boolean = boolean>
  extends CommonOptions<R, G> {
  /** Above 0. Default 0.07. */
  readonly temperature?: number | undefined;
}

/** What SupCon is asked. */
export interface SupConProblem<R extends Reduction = Reduction, G extends boolean = boolean>
  extends SupConOptions<R, G> {
  /** [N, D], or [B, V, D]: V views of each of B samples, which makes N = B * V rows. */
  readonly features: Tensor;
  /** The class of each of N rows, or of each of B samples. Any integers. */
  readonly labels: Int32Array;
}

/** The gradients of SupCon. */
export interface SupConGradients {
  /** In the shape of `features`. */
  readonly gradFeatures: Float32Array;
  /** Derivative of the loss by the temperature, times `gradOutput`; with `reduction: 'none'` the sum over the rows. */
  readonly gradTemperature: number;
}

export type SupConResult<R extends Reduction = Reduction, G extends boolean = boolean> = LossResult<
  R,
  G,
  SupConGradients
>;

export const SUP_CON_OPTION_KEYS = ['temperature', ...COMMON_KEYS] as const;
const KEYS: ReadonlySet<string> = new Set(['features', 'labels', ...SUP_CON_OPTION_KEYS]);
const ADVICE = bareTensorAdvice('features');
const NAMES = { none: 'supCon', anchors: 'features', gradOutput: 'gradOutput' };
const DEFAULT_TEMPERATURE = 0.07;

/**
 * SupCon: the positives of row i are all other rows of its class,
 *
 *     loss_i = log Σ_{j ≠ i} exp(s_ij) − mean over positives p of s_ip
 *
 * where s is the cosine divided by the temperature. A row alone in its class has loss 0, stays in the mean and counts as
 * not found in `top1` and `top5`; so the loss is finite where the reference code divides by zero. The reference's
 * factor temperature / base_temperature is left out: multiply by it (`gradOutput`) if you port code that has it.
 *
 * @returns `loss` (with `reduction: 'none'` of each row, B * V of them, sample by sample), `top1`, `top5` and, unless
 * `gradient: false`, `gradFeatures` and `gradTemperature`.
 * @throws {@link InfoNCEError} (the promise rejects with it) for input that cannot be computed.
 * @see Khosla et al., "Supervised Contrastive Learning", 2020, equation 2 (L_out).
 */
export async function supCon<R extends Reduction = 'mean', G extends boolean = true>(
  problem: SupConProblem<R, G>,
  run?: RunOptions,
): Promise<SupConResult<R, G>> {
  return runAsync(describe(problem), run) as Promise<SupConResult<R, G>>;
}

/** {@link supCon}, computed before it returns. */
export function supConSync<R extends Reduction = 'mean', G extends boolean = true>(
  problem: SupConProblem<R, G>,
  run?: SyncRunOptions,
): SupConResult<R, G> {
  return runSync(describe(problem), run) as SupConResult<R, G>;
}

interface CheckedOptions {
  readonly common: Common;
  readonly scale: number;
}

/** Checks every option, but for what depends on the rows. */
export function checkSupConOptions(options: SupConOptions): CheckedOptions {
  return { common: checkCommon(options), scale: checkTemperature(options.temperature, DEFAULT_TEMPERATURE) };
}

function describe(options: SupConProblem): Plan<SupConResult> {
  checkKeys(options, 'supCon', KEYS, ADVICE);
  const features = checkTensor(options.features, 'features', '[N, D] or [B, V, D]', 2, 3);
  const { shape } = features;
  const samples = shape[0]!;
  const views = shape.length === 3 ? shape[1]! : 1;
  const rows = samples * views;
  const checked = checkSupConOptions(options);
  return plan(
    {
      denominator: 'otherAnchors',
      positive: 'sameLabel',
      bothDirections: false,
      rows,
      dim: shape[shape.length - 1]!,
      negativeRows: 0,
      views: 0,
      scale: checked.scale,
      anchors: features,
      keys: undefined,
      negatives: undefined,
      labels: rowLabels(options.labels, samples, views),
    },
    checked.common,
    NAMES,
    finish,
  );
}

/** One label per row: a sample's label for each of its views. */
function rowLabels(labels: unknown, samples: number, views: number): Int32Array {
  checkInt32Array(labels, 'labels');
  if (labels.length !== samples) {
    throw new InfoNCEError('ERR_INFONCE_SHAPE', {
      argument: 'labels',
      expected: `${samples} labels, one for each entry of the first dimension of features`,
      got: `${labels.length}`,
      remedy: 'Give one label per sample; its views share it.',
    });
  }
  if (views === 1) return labels;
  const repeated = new Int32Array(samples * views);
  for (let sample = 0; sample < samples; sample++) {
    repeated.fill(labels[sample]!, sample * views, (sample + 1) * views);
  }
  return repeated;
}

function finish(outputs: NativeResult, problem: NativeProblem): SupConResult {
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
