import { allocateLabels, checkInt32Array } from '../runtime/arrays.js';
import { InfoNCEError } from '../runtime/errors.js';
import { checkKeys } from '../runtime/options.js';
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
import { checkMemory, type NegativeQueue } from './negative-queue.js';
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
import { wordsOf } from './words.js';

/** What SupCon is asked, but for its inputs. */
export interface SupConOptions<
  R extends Reduction = Reduction,
  G extends boolean = boolean,
  K extends boolean = boolean,
> extends CommonOptions<R, G, K> {
  /** Above 0. Default 0.07. */
  readonly temperature?: number | undefined;
  /**
   * Rows of earlier batches with their labels (a queue made with `labels: true`): further candidates of every row, and
   * positives of the rows of their class. They have neither a loss nor a gradient. An empty one changes nothing.
   */
  readonly memory?: NegativeQueue | undefined;
}

/** What SupCon is asked. */
export interface SupConProblem<
  R extends Reduction = Reduction,
  G extends boolean = boolean,
  K extends boolean = boolean,
> extends SupConOptions<R, G, K> {
  /** [N, D], or [B, V, D]: V views of each of B samples, which makes N = B * V rows. */
  readonly features: TensorLike;
  /** The class of each of N rows, or of each of B samples. Any integers. */
  readonly labels: Int32Array;
}

/** The gradients of SupCon. */
export interface SupConGradients<O extends Output = 'host'> {
  /** In the shape of `features`. */
  readonly gradFeatures: Gradient<O>;
  /** Derivative of the loss by the temperature, times `gradOutput`; with `reduction: 'none'` the sum over the rows. */
  readonly gradTemperature: number;
}

/** What {@link supCon} resolves to. */
export type SupConResult<
  R extends Reduction = Reduction,
  G extends boolean = boolean,
  O extends Output = 'host',
  K extends boolean = true,
> = LossResult<R, G, SupConGradients<O>, K>;

/** What {@link supCon}'s `forward` resolves to. */
export type SupConForward<R extends Reduction = Reduction, K extends boolean = true> = ForwardPass<
  R,
  ByOutput<SupConGradients, SupConGradients<'device'>>,
  'gradFeatures'
> &
  Asked<K, Ranks>;

export const SUP_CON_OPTION_KEYS = ['temperature', 'memory', ...COMMON_KEYS] as const;
const KEYS: ReadonlySet<string> = new Set(['features', 'labels', ...SUP_CON_OPTION_KEYS]);
const ADVICE = problemAdvice('features');
const WORDS = wordsOf('supCon', { anchors: 'features', negatives: 'memory' });
const DEFAULT_TEMPERATURE = 0.07;

/**
 * SupCon: the positives of row i are all other rows of its class,
 *
 *     loss_i = log Σ_{j ≠ i} exp(s_ij) − mean over positives p of s_ip
 *
 * where s is the cosine divided by the temperature; with a `memory` j and p run over its rows too. A row alone in its
 * class has loss 0, stays in the mean and counts as not found in `top1` and `top5`; so the loss is finite where the
 * reference code divides by zero. The reference's factor temperature / base_temperature is left out: multiply by it
 * (`gradOutput`) if you port code that has it.
 *
 * @returns `loss` (with `reduction: 'none'` of each row, B * V of them, sample by sample); unless `ranks: false`, `top1`
 * and `top5`; unless `gradient: false`, `gradFeatures` and `gradTemperature`.
 * @throws {@link InfoNCEError} (the promise rejects with it) for input that cannot be computed.
 * @see Khosla et al., "Supervised Contrastive Learning", 2020, equation 2 (L_out); for `memory` Wang et al.,
 * "Cross-Batch Memory for Embedding Learning", 2020.
 */
export async function supCon<
  R extends Reduction = 'mean',
  G extends boolean = true,
  O extends Output = 'host',
  K extends boolean = true,
>(problem: SupConProblem<R, G, K>, run?: RunOptions<O, 'gradFeatures'>): Promise<SupConResult<R, G, O, K>> {
  return runAsync(describeSupCon(problem), run) as Promise<SupConResult<R, G, O, K>>;
}

/** {@link supCon}, computed before it returns. */
export function supConSync<
  R extends Reduction = 'mean',
  G extends boolean = true,
  O extends Output = 'host',
  K extends boolean = true,
>(problem: SupConProblem<R, G, K>, run?: SyncRunOptions<O, 'gradFeatures'>): SupConResult<R, G, O, K> {
  return runSync(describeSupCon(problem), run) as SupConResult<R, G, O, K>;
}

/** {@link supCon} for trainers that know the upstream gradient only later. */
async function supConForward<R extends Reduction = 'mean', K extends boolean = true>(
  problem: WithoutUpstream<SupConProblem<R, boolean, K>>,
  run?: ForwardOptions,
): Promise<SupConForward<R, K>> {
  return forwardAsync(describeSupCon, problem, run) as Promise<SupConForward<R, K>>;
}

/** {@link supCon}'s `forward`, computed before it returns. */
function supConForwardSync<R extends Reduction = 'mean', K extends boolean = true>(
  problem: WithoutUpstream<SupConProblem<R, boolean, K>>,
  run?: SyncForwardOptions,
): SupConForward<R, K> {
  return forwardSync(describeSupCon, problem, run) as SupConForward<R, K>;
}

/** {@link supCon} in two halves, for trainers that know the upstream gradient only later. */
supCon.forward = supConForward;
/** {@link supCon}'s `forward`, computed before it returns. */
supCon.forwardSync = supConForwardSync;

interface CheckedOptions {
  readonly common: Common;
  readonly scale: number;
}

/** Checks every option, but for what depends on the rows. */
export function checkSupConOptions(options: SupConOptions): CheckedOptions {
  return { common: checkCommon(options), scale: checkTemperature(options.temperature, DEFAULT_TEMPERATURE) };
}

/** Checks the problem. `check` reads its tensors. */
export function describeSupCon(options: SupConProblem, check: TensorCheck = checkTensor): Plan {
  checkKeys(options, 'supCon', KEYS, ADVICE);
  const features = check(options.features, 'features', '[N, D] or [B, V, D]', 2, 3);
  const { shape } = features;
  const samples = shape[0]!;
  const views = shape.length === 3 ? shape[1]! : 1;
  const dim = shape[shape.length - 1]!;
  const checked = checkSupConOptions(options);
  const memory = options.memory === undefined ? undefined : checkMemory(options.memory, dim);
  const labels = rowLabels(options.labels, samples, views);
  return plan(
    {
      denominator: 'otherAnchors',
      positive: 'sameLabel',
      bothDirections: false,
      rows: samples * views,
      dim,
      negativeRows: memory?.rows?.shape[0] ?? 0,
      views: 0,
      scale: checked.scale,
      anchors: features,
      keys: undefined,
      negatives: memory?.rows,
      queued: memory?.rows !== undefined,
      owner: memory?.owner,
      labels: memory?.rows === undefined ? labels : joined(labels, memory.labels),
    },
    checked.common,
    WORDS,
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
  const repeated = allocateLabels(samples * views, 'labels');
  for (let sample = 0; sample < samples; sample++) {
    repeated.fill(labels[sample]!, sample * views, (sample + 1) * views);
  }
  return repeated;
}

function joined(first: Int32Array, second: Int32Array): Int32Array {
  const both = allocateLabels(first.length + second.length, 'labels');
  both.set(first);
  both.set(second, first.length);
  return both;
}
