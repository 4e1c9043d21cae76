import type { NativeProblem, NativeResult } from '../runtime/binding.js';
import { InfoNCEError } from '../runtime/errors.js';
import { checkChoice, checkKeys } from '../runtime/options.js';
import { formatShape } from '../runtime/shape.js';
import { bareTensorAdvice, checkTensor, type InputTensor, type Tensor } from '../runtime/tensor.js';
import {
  COMMON_KEYS,
  type Common,
  type CommonOptions,
  checkCommon,
  checkTemperature,
  type Reduction,
} from './options.js';
import { checkPairs } from './pairs.js';
import { gradTemperatureOf, type LossResult, lossValueOf, type Plan, plan } from './plan.js';
import { type RunOptions, runAsync, runSync, type SyncRunOptions } from './run.js';

/** What InfoNCE is asked, but for its inputs. */
export interface InfoNCEOptions<R extends Reduction = Reduction, G extends boolean = boolean>
  extends CommonOptions<R, G> {
  /** Above 0. Default 0.1. */
  readonly temperature?: number | undefined;
  /**
   * Whose `negativeKeys` are: `'unpaired'` (default), [M, D], every query's; `'paired'`, [N, M, D], M of each query's
   * own. Without negative keys it says nothing.
   */
  readonly negativeMode?: 'unpaired' | 'paired' | undefined;
}

/** What InfoNCE is asked. */
export interface InfoNCEProblem<R extends Reduction = Reduction, G extends boolean = boolean>
  extends InfoNCEOptions<R, G> {
  /** [N, D] */
  readonly query: Tensor;
  /** [N, D]. Row i is the positive of query i. */
  readonly positiveKey: Tensor;
  /** [M, D] or, paired, [N, M, D]. Absent: the other rows of `positiveKey`. */
  readonly negativeKeys?: Tensor | undefined;
}

/** What InfoNCE is asked when negative keys are given. */
export interface InfoNCENegativesProblem<R extends Reduction = Reduction, G extends boolean = boolean>
  extends InfoNCEProblem<R, G> {
  readonly negativeKeys: Tensor;
}

/** The gradients of InfoNCE. */
export interface InfoNCEGradients {
  /** [N, D] */
  readonly gradQuery: Float32Array;
  /** [N, D] */
  readonly gradPositiveKey: Float32Array;
  /** In the shape of `negativeKeys`; absent without them. */
  readonly gradNegativeKeys?: Float32Array;
  /** Derivative of the loss by the temperature, times `gradOutput`; with `reduction: 'none'` the sum over the rows. */
  readonly gradTemperature: number;
}

/** The gradients of InfoNCE when negative keys are given. */
export interface InfoNCENegativesGradients extends InfoNCEGradients {
  readonly gradNegativeKeys: Float32Array;
}

export type InfoNCEResult<R extends Reduction = Reduction, G extends boolean = boolean> = LossResult<
  R,
  G,
  InfoNCEGradients
>;

export type InfoNCENegativesResult<R extends Reduction = Reduction, G extends boolean = boolean> = LossResult<
  R,
  G,
  InfoNCENegativesGradients
>;

export const INFO_NCE_OPTION_KEYS = ['temperature', 'negativeMode', ...COMMON_KEYS] as const;
const KEYS: ReadonlySet<string> = new Set(['query', 'positiveKey', 'negativeKeys', ...INFO_NCE_OPTION_KEYS]);
const ADVICE = bareTensorAdvice('query', 'positiveKey');
const NAMES = {
  none: 'infoNCE',
  anchors: 'query',
  keys: 'positiveKey',
  negatives: 'negativeKeys',
  gradOutput: 'gradOutput',
};
const NEGATIVE_MODES = ['unpaired', 'paired'] as const;
const DEFAULT_TEMPERATURE = 0.1;

/**
 * InfoNCE: the cross-entropy of picking a query's positive key among its candidates,
 *
 *     loss_i = log Σ_{j ∈ D(i)} exp(s_ij) − s_i,positive
 *
 * where s is the cosine divided by the temperature and D(i) is every row of `positiveKey`, or with `negativeKeys` the
 * query's own positive and its negatives. Only queries look for keys; see {@link clip} for both directions.
 *
 * @returns `loss`, `top1`, `top5` and, unless `gradient: false`, `gradQuery`, `gradPositiveKey`, `gradTemperature` and,
 * with negative keys, `gradNegativeKeys`.
 * @throws {@link InfoNCEError} (the promise rejects with it) for input that cannot be computed.
 * @see van den Oord et al., "Representation Learning with Contrastive Predictive Coding", 2018, equation 4; the options
 * are those of the Python package info-nce-pytorch.
 */
export function infoNCE<R extends Reduction = 'mean', G extends boolean = true>(
  problem: InfoNCENegativesProblem<R, G>,
  run?: RunOptions,
): Promise<InfoNCENegativesResult<R, G>>;
export function infoNCE<R extends Reduction = 'mean', G extends boolean = true>(
  problem: InfoNCEProblem<R, G>,
  run?: RunOptions,
): Promise<InfoNCEResult<R, G>>;
export async function infoNCE(problem: InfoNCEProblem, run?: RunOptions): Promise<InfoNCEResult> {
  return runAsync(describe(problem), run);
}

/** {@link infoNCE}, computed before it returns. */
export function infoNCESync<R extends Reduction = 'mean', G extends boolean = true>(
  problem: InfoNCENegativesProblem<R, G>,
  run?: SyncRunOptions,
): InfoNCENegativesResult<R, G>;
export function infoNCESync<R extends Reduction = 'mean', G extends boolean = true>(
  problem: InfoNCEProblem<R, G>,
  run?: SyncRunOptions,
): InfoNCEResult<R, G>;
export function infoNCESync(problem: InfoNCEProblem, run?: SyncRunOptions): InfoNCEResult {
  return runSync(describe(problem), run);
}

interface CheckedOptions {
  readonly common: Common;
  readonly paired: boolean;
  readonly scale: number;
}

/** Checks every option, but for what depends on the rows. */
export function checkInfoNCEOptions(options: InfoNCEOptions): CheckedOptions {
  return {
    common: checkCommon(options),
    paired: checkChoice(options.negativeMode, 'negativeMode', NEGATIVE_MODES) === 'paired',
    scale: checkTemperature(options.temperature, DEFAULT_TEMPERATURE),
  };
}

function describe(options: InfoNCEProblem): Plan<InfoNCEResult> {
  checkKeys(options, 'infoNCE', KEYS, ADVICE);
  const { anchors, keys, rows, dim } = checkPairs(options.query, 'query', options.positiveKey, 'positiveKey');
  const checked = checkInfoNCEOptions(options);
  const { paired } = checked;
  const negatives =
    options.negativeKeys === undefined ? undefined : checkNegatives(options.negativeKeys, paired, rows, dim);
  return plan(
    {
      denominator: negatives === undefined ? 'allKeys' : paired ? 'ownNegatives' : 'sharedNegatives',
      positive: 'sameIndex',
      bothDirections: false,
      rows,
      dim,
      negativeRows: negatives === undefined ? 0 : negatives.shape[negatives.shape.length - 2]!,
      views: 0,
      scale: checked.scale,
      anchors,
      keys,
      negatives,
      labels: undefined,
    },
    checked.common,
    NAMES,
    finish,
  );
}

function checkNegatives(negativeKeys: unknown, paired: boolean, rows: number, dim: number): InputTensor {
  const negatives = checkTensor(negativeKeys, 'negativeKeys', '[M, D] or [N, M, D]', 2, 3);
  const { shape } = negatives;
  const fits = shape.length === (paired ? 3 : 2) && shape[shape.length - 1] === dim && (!paired || shape[0] === rows);
  if (!fits) {
    throw new InfoNCEError('ERR_INFONCE_SHAPE', {
      argument: 'negativeKeys.shape',
      expected: paired
        ? `[${rows}, M, ${dim}] to go with query and negativeMode 'paired'`
        : `[M, ${dim}] to go with query and negativeMode 'unpaired'`,
      got: formatShape(shape),
      remedy: negativesRemedy(shape, paired, dim),
    });
  }
  return negatives;
}

function negativesRemedy(shape: readonly number[], paired: boolean, dim: number): string {
  if (shape.length === 3 && !paired) return "For [N, M, D] pass negativeMode: 'paired'.";
  if (shape.length === 2 && paired) return "For [M, D] pass negativeMode: 'unpaired'.";
  if (shape[shape.length - 1] !== dim) return `Each negative key has as many numbers as a query, ${dim}.`;
  return 'negativeKeys[i] holds the negatives of query i.';
}

function finish(outputs: NativeResult, problem: NativeProblem): InfoNCEResult {
  const value = lossValueOf(outputs, problem);
  if (!problem.gradient) return value;
  const gradients = {
    loss: value.loss,
    top1: value.top1,
    top5: value.top5,
    gradQuery: outputs.gradAnchors as Float32Array,
    gradPositiveKey: outputs.gradKeys as Float32Array,
    gradTemperature: gradTemperatureOf(outputs, problem),
  };
  return problem.negatives === undefined
    ? gradients
    : { ...gradients, gradNegativeKeys: outputs.gradNegatives as Float32Array };
}
