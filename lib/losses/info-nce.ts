import { InfoNCEError } from '../runtime/errors.js';
import { checkBoolean, checkChoice } from '../runtime/options.js';
import { formatShape } from '../runtime/shape.js';
import type { InputTensor, TensorLike } from '../runtime/tensor.js';
import { formOf, withParameters } from './form.js';
import type { ByOutput, ForwardPass } from './forward.js';
import { type Asks, defineLoss, type LossTypes, type TensorReader } from './loss.js';
import { checkNegativeQueue, NegativeQueue } from './negative-queue.js';
import { type CommonOptions, checkCommon, type Reduction } from './options.js';
import { checkPairs } from './pairs.js';
import type { Asked, Gradient, LossResult, Output, Ranks } from './results.js';
import { checkLabelSmoothing, checkMargin, refuseBeside } from './row-loss.js';
import { temperatureScale } from './scale.js';

/** Options of {@link infoNCE}. */
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
  /**
   * Whether the other rows of `positiveKey` are negatives as well. Default: only without `negativeKeys`. Not yet with
   * paired ones.
   */
  readonly inBatch?: boolean | undefined;
  /** Subtracted from the positive's cosine before it is divided by the temperature. A finite number. Default 0. */
  readonly margin?: number | undefined;
  /**
   * The share of a query's target that is spread over all its candidates, the positive included, as PyTorch's
   * `cross_entropy` has it: at least 0, below 1. Default 0. Not yet with paired negatives.
   */
  readonly labelSmoothing?: number | undefined;
}

/** Inputs and options of {@link infoNCE}. */
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

/** Inputs and options of {@link infoNCE} when negative keys are given in a tensor. */
export interface InfoNCENegativesProblem<
  R extends Reduction = Reduction,
  G extends boolean = boolean,
  K extends boolean = boolean,
> extends InfoNCEProblem<R, G, K> {
  readonly negativeKeys: TensorLike;
}

/** The gradients of {@link infoNCE}. */
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

/** The gradients of {@link infoNCE} when negative keys are given in a tensor. */
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

/** @internal The types of {@link infoNCE}. */
export interface InfoNCETypes extends LossTypes {
  readonly name: 'infoNCE';
  readonly out: InfoNCEGradientName;
  readonly of: this extends Asks<infer R, infer G, infer O, infer K>
    ? {
        problem: InfoNCEProblem<R, G, K>;
        gradients: InfoNCEGradients<O>;
        result: InfoNCEResult<R, G, O, K>;
        forward: InfoNCEForward<R, K>;
      }
    : never;
}

/** @internal The types of {@link infoNCE} when negative keys are given in a tensor. */
export interface InfoNCENegativesTypes extends LossTypes {
  readonly name: 'infoNCE';
  readonly out: InfoNCEGradientName;
  readonly of: this extends Asks<infer R, infer G, infer O, infer K>
    ? {
        problem: InfoNCENegativesProblem<R, G, K>;
        gradients: InfoNCENegativesGradients<O>;
        result: InfoNCENegativesResult<R, G, O, K>;
        forward: InfoNCENegativesForward<R, K>;
      }
    : never;
}

const NEGATIVE_MODES = ['unpaired', 'paired'] as const;
const SCALE = temperatureScale(0.1);

function checkOptions(options: InfoNCEOptions) {
  const { inBatch, negativeMode } = options;
  const paired = checkChoice(negativeMode, 'negativeMode', NEGATIVE_MODES) === 'paired';
  const labelSmoothing = checkLabelSmoothing(options.labelSmoothing);
  if (labelSmoothing > 0 && paired) refuseBeside('labelSmoothing', String(labelSmoothing), "negativeMode 'paired'");
  return {
    common: checkCommon(options),
    paired,
    parameters: { margin: checkMargin(options.margin), labelSmoothing },
    inBatch: inBatch === undefined ? undefined : checkBoolean(inBatch, 'inBatch', false),
    scale: SCALE.check(options.temperature),
  };
}

const POSITIVE_KEYS = [{ anchors: 0, positive: 'sameIndex', positivesIn: [1] }] as const;
export const IN_BATCH = formOf([{ anchors: 0, candidates: 1, rowSoftmax: 0 }], POSITIVE_KEYS);
export const UNPAIRED = formOf([{ anchors: 0, candidates: 2, rowSoftmax: 0 }], POSITIVE_KEYS);
export const IN_BATCH_AND_UNPAIRED = formOf(
  [
    { anchors: 0, candidates: 1, rowSoftmax: 0 },
    { anchors: 0, candidates: 2, rowSoftmax: 0 },
  ],
  POSITIVE_KEYS,
);
export const PAIRED = formOf([{ anchors: 0, candidates: 2, rowSoftmax: 0, own: true }], POSITIVE_KEYS);

export const infoNCELoss = defineLoss<InfoNCETypes, InfoNCENegativesTypes>({
  name: 'infoNCE',
  className: 'InfoNCE',
  tensors: { query: ['[N, D]', 2, 2], positiveKey: ['[N, D]', 2, 2] },
  optionalTensors: { negativeKeys: ['[M, D] or [N, M, D]', 2, 3] },
  options: ['temperature', 'negativeMode', 'inBatch', 'margin', 'labelSmoothing'],
  scale: SCALE,
  variants: [
    { name: 'in-batch' },
    {
      name: 'unpaired',
      options: { negativeMode: 'unpaired' },
      shapes: (_, negatives, dim) => ({ negativeKeys: [negatives, dim] }),
    },
    {
      name: 'in-batch and unpaired',
      options: { inBatch: true },
      shapes: (_, negatives, dim) => ({ negativeKeys: [negatives, dim] }),
    },
    {
      name: 'smoothed, with a margin',
      options: { inBatch: true, margin: 0.2, labelSmoothing: 0.1 },
      shapes: (_, negatives, dim) => ({ negativeKeys: [negatives, dim] }),
    },
    {
      name: 'paired',
      options: { negativeMode: 'paired' },
      shapes: (rows, negatives, dim) => ({ negativeKeys: [rows, negatives, dim] }),
    },
  ],
  checkOptions,
  describe(problem, read) {
    const { matrices, ...pairs } = checkPairs(read, 'query', 'positiveKey');
    const { common, paired, inBatch, parameters, scale } = checkOptions(problem);
    const { negativeKeys } = problem;
    const fromQueue = NegativeQueue.isOne(negativeKeys);
    let negatives: InputTensor | undefined;
    if (fromQueue) negatives = checkNegativeQueue(negativeKeys, paired, pairs.dim);
    else if (negativeKeys !== undefined) negatives = checkNegatives(read, paired, pairs.rows, pairs.dim);
    return {
      common,
      task: {
        scale,
        ...pairs,
        form: withParameters(formFor(negatives !== undefined, paired, inBatch), 1, parameters),
        matrices:
          negatives === undefined ? matrices : [...matrices, { name: 'negativeKeys', tensor: negatives, fromQueue }],
      },
    };
  },
});

/**
 * InfoNCE: the cross-entropy of picking a query's positive key among its candidates,
 *
 *     loss_i = log Σ_{j ∈ D(i)} exp(s_ij) − s_i,positive
 *
 * where s is the cosine divided by the temperature and D(i) is every row of `positiveKey`, or with `negativeKeys` the
 * query's own positive and its negatives; with a `margin` s_i,positive is (cosine − margin) / temperature in both places.
 * Only queries look for keys; see {@link clip} for both directions.
 *
 * @returns `loss`; unless `ranks: false`, `top1` and `top5`; unless `gradient: false`, `gradQuery`, `gradPositiveKey`,
 * `gradTemperature` and, with negative keys, `gradNegativeKeys`.
 * @throws {@link InfoNCEError} (the promise rejects with it) for input that cannot be computed.
 * @see van den Oord et al., "Representation Learning with Contrastive Predictive Coding", 2018, equation 4; the options
 * are those of the Python package info-nce-pytorch; for a queue of negatives see {@link NegativeQueue}.
 * @function
 */
export const infoNCE = infoNCELoss.run;

/**
 * {@link infoNCE}, computed before it returns.
 *
 * @function
 */
export const infoNCESync = infoNCELoss.runSync;

function formFor(hasNegatives: boolean, paired: boolean, inBatch = !hasNegatives): Float64Array {
  if (!hasNegatives && !inBatch) {
    throw new InfoNCEError('ERR_INFONCE_RANGE', {
      argument: 'inBatch',
      expected: 'true without negativeKeys',
      got: 'false',
      remedy: 'A query without other keys and without negativeKeys has nothing to tell its positive key from.',
    });
  }
  if (hasNegatives && paired && inBatch) {
    throw new InfoNCEError('ERR_INFONCE_RANGE', {
      argument: 'inBatch',
      expected: "false or absent with negativeMode 'paired'",
      got: 'true',
      remedy: "Pass the negatives as [M, D], every query's own, to have them beside the other keys.",
    });
  }
  if (!hasNegatives) return IN_BATCH;
  if (paired) return PAIRED;
  return inBatch ? IN_BATCH_AND_UNPAIRED : UNPAIRED;
}

function checkNegatives(read: TensorReader, paired: boolean, rows: number, dim: number): InputTensor {
  const negatives = read('negativeKeys');
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
