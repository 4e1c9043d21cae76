import { InfoNCEError } from '../runtime/errors.js';
import { checkChoice, checkKeys } from '../runtime/options.js';
import { formatShape } from '../runtime/shape.js';
import { checkTensor, type InputTensor, problemAdvice, type TensorLike } from '../runtime/tensor.js';
import {
  type ByOutput,
  type ForwardOptions,
  type ForwardPass,
  forwardAsync,
  forwardSync,
  type SyncForwardOptions,
  type WithoutUpstream,
} from './forward.js';
import { checkNegativeQueue, NegativeQueue } from './negative-queue.js';
import {
  COMMON_KEYS,
  type Common,
  type CommonOptions,
  checkCommon,
  checkTemperature,
  type Reduction,
} from './options.js';
import { checkPairs } from './pairs.js';
import { type Plan, plan, type TensorCheck } from './plan.js';
import type { Asked, Gradient, LossResult, Output, Ranks } from './results.js';
import { type RunOptions, runAsync, runSync, type SyncRunOptions, type UncheckedRun } from './run.js';
import { wordsOf } from './words.js';

/** What InfoNCE is asked, but for its inputs. */
export interface InfoNCEOptions<
  R extends Reduction = Reduction,
  G extends boolean = boolean,
  K extends boolean = boolean,
> extends CommonOptions<R, G, K> {
  /** Above 0. Default 0.1. */
  readonly temperature?: number | undefined;
  /**
   * Whose `negativeKeys` are: `'unpaired'` (default), [M, D], every query's; `'paired'`, [N, M, D], M of each query's
   * own. Without negative keys it says nothing.
   */
  readonly negativeMode?: 'unpaired' | 'paired' | undefined;
}

/** What InfoNCE is asked. */
export interface InfoNCEProblem<
  R extends Reduction = Reduction,
  G extends boolean = boolean,
  K extends boolean = boolean,
> extends InfoNCEOptions<R, G, K> {
  /** [N, D] */
  readonly query: TensorLike;
  /** [N, D]. Row i is the positive of query i. */
  readonly positiveKey: TensorLike;
  /**
   * [M, D] or, paired, [N, M, D]; or, unpaired, the keys of a queue, which have no gradient. Absent: the other rows of
   * `positiveKey`.
   */
  readonly negativeKeys?: TensorLike | NegativeQueue | undefined;
}

/** What InfoNCE is asked when negative keys are given in a tensor. */
export interface InfoNCENegativesProblem<
  R extends Reduction = Reduction,
  G extends boolean = boolean,
  K extends boolean = boolean,
> extends InfoNCEProblem<R, G, K> {
  readonly negativeKeys: TensorLike;
}

/** The gradients of InfoNCE. */
export interface InfoNCEGradients<O extends Output = 'host'> {
  /** [N, D] */
  readonly gradQuery: Gradient<O>;
  /** [N, D] */
  readonly gradPositiveKey: Gradient<O>;
  /** In the shape of `negativeKeys`; absent without them, and for those of a queue. */
  readonly gradNegativeKeys?: Gradient<O>;
  /** Derivative of the loss by the temperature, times `gradOutput`; with `reduction: 'none'` the sum over the rows. */
  readonly gradTemperature: number;
}

/** The gradients of InfoNCE when negative keys are given in a tensor. */
export interface InfoNCENegativesGradients<O extends Output = 'host'> extends InfoNCEGradients<O> {
  readonly gradNegativeKeys: Gradient<O>;
}

/** What {@link infoNCE} resolves to. */
export type InfoNCEResult<
  R extends Reduction = Reduction,
  G extends boolean = boolean,
  O extends Output = 'host',
  K extends boolean = true,
> = LossResult<R, G, InfoNCEGradients<O>, K>;

/** What {@link infoNCE} resolves to when negative keys are given in a tensor. */
export type InfoNCENegativesResult<
  R extends Reduction = Reduction,
  G extends boolean = boolean,
  O extends Output = 'host',
  K extends boolean = true,
> = LossResult<R, G, InfoNCENegativesGradients<O>, K>;

/** The gradients of {@link infoNCE} that `out` may name. */
export type InfoNCEGradientName = 'gradQuery' | 'gradPositiveKey' | 'gradNegativeKeys';

/** What {@link infoNCE}'s `forward` resolves to. */
export type InfoNCEForward<R extends Reduction = Reduction, K extends boolean = true> = ForwardPass<
  R,
  ByOutput<InfoNCEGradients, InfoNCEGradients<'device'>>,
  InfoNCEGradientName
> &
  Asked<K, Ranks>;

/** The same when negative keys are given in a tensor. */
export type InfoNCENegativesForward<R extends Reduction = Reduction, K extends boolean = true> = ForwardPass<
  R,
  ByOutput<InfoNCENegativesGradients, InfoNCENegativesGradients<'device'>>,
  InfoNCEGradientName
> &
  Asked<K, Ranks>;

export const INFO_NCE_OPTION_KEYS = ['temperature', 'negativeMode', ...COMMON_KEYS] as const;
const KEYS: ReadonlySet<string> = new Set(['query', 'positiveKey', 'negativeKeys', ...INFO_NCE_OPTION_KEYS]);
const ADVICE = problemAdvice('query', 'positiveKey');
const WORDS = wordsOf('infoNCE', { anchors: 'query', keys: 'positiveKey', negatives: 'negativeKeys' });
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
 * @returns `loss`; unless `ranks: false`, `top1` and `top5`; unless `gradient: false`, `gradQuery`, `gradPositiveKey`,
 * `gradTemperature` and, with negative keys, `gradNegativeKeys`.
 * @throws {@link InfoNCEError} (the promise rejects with it) for input that cannot be computed.
 * @see van den Oord et al., "Representation Learning with Contrastive Predictive Coding", 2018, equation 4; the options
 * are those of the Python package info-nce-pytorch; for a queue of negatives see {@link NegativeQueue}.
 */
export function infoNCE<
  R extends Reduction = 'mean',
  G extends boolean = true,
  O extends Output = 'host',
  K extends boolean = true,
>(
  problem: InfoNCENegativesProblem<R, G, K>,
  run?: RunOptions<O, InfoNCEGradientName>,
): Promise<InfoNCENegativesResult<R, G, O, K>>;
export function infoNCE<
  R extends Reduction = 'mean',
  G extends boolean = true,
  O extends Output = 'host',
  K extends boolean = true,
>(problem: InfoNCEProblem<R, G, K>, run?: RunOptions<O, InfoNCEGradientName>): Promise<InfoNCEResult<R, G, O, K>>;
export async function infoNCE(problem: InfoNCEProblem, run?: UncheckedRun): Promise<object> {
  return runAsync(describeInfoNCE(problem), run);
}

/** {@link infoNCE}, computed before it returns. */
export function infoNCESync<
  R extends Reduction = 'mean',
  G extends boolean = true,
  O extends Output = 'host',
  K extends boolean = true,
>(
  problem: InfoNCENegativesProblem<R, G, K>,
  run?: SyncRunOptions<O, InfoNCEGradientName>,
): InfoNCENegativesResult<R, G, O, K>;
export function infoNCESync<
  R extends Reduction = 'mean',
  G extends boolean = true,
  O extends Output = 'host',
  K extends boolean = true,
>(problem: InfoNCEProblem<R, G, K>, run?: SyncRunOptions<O, InfoNCEGradientName>): InfoNCEResult<R, G, O, K>;
export function infoNCESync(problem: InfoNCEProblem, run?: UncheckedRun): object {
  return runSync(describeInfoNCE(problem), run);
}

/** {@link infoNCE} for trainers that know the upstream gradient only later. */
function infoNCEForward<R extends Reduction = 'mean', K extends boolean = true>(
  problem: WithoutUpstream<InfoNCENegativesProblem<R, boolean, K>>,
  run?: ForwardOptions,
): Promise<InfoNCENegativesForward<R, K>>;
function infoNCEForward<R extends Reduction = 'mean', K extends boolean = true>(
  problem: WithoutUpstream<InfoNCEProblem<R, boolean, K>>,
  run?: ForwardOptions,
): Promise<InfoNCEForward<R, K>>;
async function infoNCEForward(problem: WithoutUpstream<InfoNCEProblem>, run?: ForwardOptions): Promise<object> {
  return forwardAsync(describeInfoNCE, problem, run);
}

/** {@link infoNCE}'s `forward`, computed before it returns. */
function infoNCEForwardSync<R extends Reduction = 'mean', K extends boolean = true>(
  problem: WithoutUpstream<InfoNCENegativesProblem<R, boolean, K>>,
  run?: SyncForwardOptions,
): InfoNCENegativesForward<R, K>;
function infoNCEForwardSync<R extends Reduction = 'mean', K extends boolean = true>(
  problem: WithoutUpstream<InfoNCEProblem<R, boolean, K>>,
  run?: SyncForwardOptions,
): InfoNCEForward<R, K>;
function infoNCEForwardSync(problem: WithoutUpstream<InfoNCEProblem>, run?: SyncForwardOptions): object {
  return forwardSync(describeInfoNCE, problem, run);
}

/** {@link infoNCE} in two halves, for trainers that know the upstream gradient only later. */
infoNCE.forward = infoNCEForward;
/** {@link infoNCE}'s `forward`, computed before it returns. */
infoNCE.forwardSync = infoNCEForwardSync;

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

/** Checks the problem. `check` reads its tensors. */
export function describeInfoNCE(options: InfoNCEProblem, check: TensorCheck = checkTensor): Plan {
  checkKeys(options, 'infoNCE', KEYS, ADVICE);
  const { query, positiveKey, negativeKeys } = options;
  const { anchors, keys, rows, dim } = checkPairs(check, query, 'query', positiveKey, 'positiveKey');
  const checked = checkInfoNCEOptions(options);
  const { paired } = checked;
  const queued = NegativeQueue.isOne(negativeKeys);
  let negatives: InputTensor | undefined;
  if (queued) negatives = checkNegativeQueue(negativeKeys, paired, dim);
  else if (negativeKeys !== undefined) negatives = checkNegatives(check, negativeKeys, paired, rows, dim);
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
      queued,
      labels: undefined,
    },
    checked.common,
    WORDS,
  );
}

function checkNegatives(
  check: TensorCheck,
  negativeKeys: unknown,
  paired: boolean,
  rows: number,
  dim: number,
): InputTensor {
  const negatives = check(negativeKeys, 'negativeKeys', '[M, D] or [N, M, D]', 2, 3);
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
