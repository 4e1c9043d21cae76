import type { TensorLike } from '../runtime/tensor.js';
import { checkGuide, thresholdOf } from './false-negatives.js';
import { withParameters } from './form.js';
import type { ByOutput, ForwardPass } from './forward.js';
import { areOwn, refuseBiases, stretchesOf } from './hardness.js';
import { refuseWithDirections } from './info-nce-directions.js';
import { infoNCEForm } from './info-nce-form.js';
import { checkNegatives, rowsOf } from './info-nce-negatives.js';
import { checkInBatch, checkOptions, type InfoNCEOptions, refuseSmoothing, SCALE } from './info-nce-options.js';
import { checkRows, type InfoNCERows } from './info-nce-rows.js';
import { VARIANTS } from './info-nce-variants.js';
import { type Asks, defineLoss, type LossTypes } from './loss.js';
import type { NegativeQueue } from './negative-queue.js';
import type { Reduction } from './options.js';
import { checkPairs } from './pairs.js';
import type { Matrix } from './plan.js';
import type { Asked, Gradient, LossResult, Output, Ranks } from './results.js';

/** Inputs and options of {@link infoNCE}. */
export interface InfoNCEProblem<
  R extends Reduction = Reduction,
  G extends boolean = boolean,
  K extends boolean = boolean,
> extends InfoNCEOptions<R, G, K>,
    InfoNCERows {
  /** [N, D] */
  readonly query: TensorLike;
  /** [N, D]. Row i is the positive of query i. With `targets` [K, D]. */
  readonly positiveKey: TensorLike;
  /**
   * [M, D] or, paired, [N, M, D]; or, unpaired, a queue, whose rows have no gradient; or a list of queues and tensors [N,
   * D], such as hard negatives of each query, all of which are candidates of every query. Default: the other rows of
   * `positiveKey` are the negatives.
   *
   * A list has at most six queues and tensors on a device, fewer with some `directions`; all its arrays of one type count as
   * one of these. Without a `group` an empty queue is refused. Both errors are `ERR_INFONCE_SHAPE`.
   */
  readonly negativeKeys?: TensorLike | NegativeQueue | readonly (TensorLike | NegativeQueue)[] | undefined;
}

/** Inputs and options of {@link infoNCE} when negative keys are given in a tensor. */
export interface InfoNCENegativesProblem<
  R extends Reduction = Reduction,
  G extends boolean = boolean,
  K extends boolean = boolean,
> extends InfoNCEProblem<R, G, K> {
  readonly negativeKeys: TensorLike;
}

/** Inputs and options of {@link infoNCE} when negative keys are given in a list. */
export interface InfoNCEListProblem<
  R extends Reduction = Reduction,
  G extends boolean = boolean,
  K extends boolean = boolean,
> extends InfoNCEProblem<R, G, K> {
  readonly negativeKeys: readonly TensorLike[];
}

/** Inputs and options of {@link infoNCE} when negative keys are given in a list with queues. */
export interface InfoNCEQueueListProblem<
  R extends Reduction = Reduction,
  G extends boolean = boolean,
  K extends boolean = boolean,
> extends InfoNCEProblem<R, G, K> {
  readonly negativeKeys: readonly (TensorLike | NegativeQueue)[];
}

/** Inputs and options of {@link infoNCE} when gradients are left out. */
export interface InfoNCEDetachedProblem<
  R extends Reduction = Reduction,
  G extends boolean = boolean,
  K extends boolean = boolean,
> extends InfoNCEProblem<R, G, K> {
  readonly detach: NonNullable<InfoNCEOptions['detach']>;
}

/** The gradients of {@link infoNCE}. */
export interface InfoNCEGradients<O extends Output = 'host'> {
  /** [N, D] */
  readonly gradQuery: Gradient<O>;
  /** [N, D] */
  readonly gradPositiveKey: Gradient<O>;
  /** In the shape of `negativeKeys`. Absent without negative keys, and for a queue. */
  readonly gradNegativeKeys?: Gradient<O>;
  /** Derivative of the loss by the temperature, times `gradOutput`; with `reduction: 'none'` the sum over the rows. */
  readonly gradTemperature: number;
}

/** The gradients of {@link infoNCE} when negative keys are given in a tensor. */
export interface InfoNCENegativesGradients<O extends Output = 'host'> extends InfoNCEGradients<O> {
  readonly gradNegativeKeys: Gradient<O>;
}

/** The gradients of {@link infoNCE} when negative keys are given in a list. */
export interface InfoNCEListGradients<O extends Output = 'host'> extends Omit<InfoNCEGradients<O>, 'gradNegativeKeys'> {
  /** In the order of the list, each in the shape of its tensor. */
  readonly gradNegativeKeys: readonly Gradient<O>[];
}

/** The gradients of {@link infoNCE} when negative keys are given in a list with queues. */
export interface InfoNCEQueueListGradients<O extends Output = 'host'>
  extends Omit<InfoNCEGradients<O>, 'gradNegativeKeys'> {
  /** In the order of the list, each in the shape of its tensor; undefined in the place of a queue. */
  readonly gradNegativeKeys: readonly (Gradient<O> | undefined)[];
}

/** The gradients of {@link infoNCE} when some are left out. */
export interface InfoNCEDetachedGradients<O extends Output = 'host'>
  extends Pick<InfoNCEGradients<O>, 'gradQuery' | 'gradTemperature'> {
  /** Absent if it is detached. */
  readonly gradPositiveKey?: Gradient<O>;
  /** Absent if it is detached, and where there is none. */
  readonly gradNegativeKeys?: Gradient<O> | readonly (Gradient<O> | undefined)[];
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

/** What {@link infoNCE} resolves to when negative keys are given in a list. */
export type InfoNCEListResult<
  R extends Reduction = Reduction,
  G extends boolean = boolean,
  O extends Output = 'host',
  K extends boolean = true,
> = LossResult<R, G, InfoNCEListGradients<O>, K>;

/** What {@link infoNCE} resolves to when negative keys are given in a list with queues. */
export type InfoNCEQueueListResult<
  R extends Reduction = Reduction,
  G extends boolean = boolean,
  O extends Output = 'host',
  K extends boolean = true,
> = LossResult<R, G, InfoNCEQueueListGradients<O>, K>;

/** What {@link infoNCE} resolves to when gradients are left out. */
export type InfoNCEDetachedResult<
  R extends Reduction = Reduction,
  G extends boolean = boolean,
  O extends Output = 'host',
  K extends boolean = true,
> = LossResult<R, G, InfoNCEDetachedGradients<O>, K>;

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

/** The same when negative keys are given in a list. */
export type InfoNCEListForward<R extends Reduction = Reduction, K extends boolean = true> = ForwardPass<
  R,
  ByOutput<InfoNCEListGradients, InfoNCEListGradients<'device'>>,
  InfoNCEGradientName
> &
  Asked<K, Ranks>;

/** The same when negative keys are given in a list with queues. */
export type InfoNCEQueueListForward<R extends Reduction = Reduction, K extends boolean = true> = ForwardPass<
  R,
  ByOutput<InfoNCEQueueListGradients, InfoNCEQueueListGradients<'device'>>,
  InfoNCEGradientName
> &
  Asked<K, Ranks>;

/** The same when gradients are left out. */
export type InfoNCEDetachedForward<R extends Reduction = Reduction, K extends boolean = true> = ForwardPass<
  R,
  ByOutput<InfoNCEDetachedGradients, InfoNCEDetachedGradients<'device'>>,
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

/** @internal The types of {@link infoNCE} when negative keys are given in a list. */
export interface InfoNCEListTypes extends LossTypes {
  readonly name: 'infoNCE';
  readonly out: InfoNCEGradientName;
  readonly of: this extends Asks<infer R, infer G, infer O, infer K>
    ? {
        problem: InfoNCEListProblem<R, G, K>;
        gradients: InfoNCEListGradients<O>;
        result: InfoNCEListResult<R, G, O, K>;
        forward: InfoNCEListForward<R, K>;
      }
    : never;
}

/** @internal The types of {@link infoNCE} when negative keys are given in a list with queues. */
export interface InfoNCEQueueListTypes extends LossTypes {
  readonly name: 'infoNCE';
  readonly out: InfoNCEGradientName;
  readonly of: this extends Asks<infer R, infer G, infer O, infer K>
    ? {
        problem: InfoNCEQueueListProblem<R, G, K>;
        gradients: InfoNCEQueueListGradients<O>;
        result: InfoNCEQueueListResult<R, G, O, K>;
        forward: InfoNCEQueueListForward<R, K>;
      }
    : never;
}

/** @internal The types of {@link infoNCE} when gradients are left out. */
export interface InfoNCEDetachedTypes extends LossTypes {
  readonly name: 'infoNCE';
  readonly out: InfoNCEGradientName;
  readonly of: this extends Asks<infer R, infer G, infer O, infer K>
    ? {
        problem: InfoNCEDetachedProblem<R, G, K>;
        gradients: InfoNCEDetachedGradients<O>;
        result: InfoNCEDetachedResult<R, G, O, K>;
        forward: InfoNCEDetachedForward<R, K>;
      }
    : never;
}

export const infoNCELoss = defineLoss<
  InfoNCETypes,
  [InfoNCEDetachedTypes, InfoNCEListTypes, InfoNCEQueueListTypes, InfoNCENegativesTypes]
>({
  name: 'infoNCE',
  className: 'InfoNCE',
  tensors: { query: ['[N, D]', 2, 2], positiveKey: ['[N, D]', 2, 2] },
  optionalTensors: { negativeKeys: ['[M, D] or [N, M, D]', 2, 3] },
  rowArrays: ['targets', 'queryIds', 'keyIds', 'negativeIds', 'keyBias', 'negativeBias', 'negativeCounts'],
  options: [
    'temperature',
    'negativeMode',
    'inBatch',
    'margin',
    'labelSmoothing',
    'duplicates',
    'hardness',
    'directions',
    'partition',
    'falseNegatives',
    'detach',
  ],
  scale: SCALE,
  variants: VARIANTS,
  checkOptions,
  describe(problem, read, isShare) {
    const { matrices, rows, dim } = checkPairs(read, 'query', 'positiveKey', problem.targets && 'K');
    const {
      common,
      paired,
      inBatch: asked,
      parameters,
      duplicates,
      hardness,
      directions,
      falseNegatives,
      detach,
      scale,
    } = checkOptions(problem);
    const [query, keys] = matrices;
    const negatives = checkNegatives(problem.negativeKeys, read, { rows, dim, paired, isShare });
    const inBatch = checkInBatch(negatives.length > 0, asked);
    const given = checkRows(
      problem,
      {
        queries: rows,
        keys: keys.tensor.shape[0]!,
        negatives:
          negatives.length === 0 ? undefined : negatives.reduce((sum, { tensor }) => sum + tensor.shape[0]!, 0),
        each: negatives[0]?.tensor.shape[1],
        paired,
        fromQueue: negatives.some(({ fromQueue }) => fromQueue),
        isShare,
      },
      problem.duplicates,
      common.propagateNonFinite,
    );
    if (hardness !== undefined) refuseBiases(given.keyBias ?? given.negativeBias);
    const readsIds = duplicates !== 'negative';
    if (parameters.labelSmoothing > 0) refuseSmoothing(parameters.labelSmoothing, readsIds, given, hardness);
    refuseWithDirections(directions, given, { paired, inBatch, ...parameters });
    const guides = checkGuide(falseNegatives, read, query, keys, negatives);
    const keyIds = readsIds && inBatch ? given.keyIds : undefined;
    const negativeIds = readsIds ? given.negativeIds : undefined;
    // Field by field: V8 is slow to copy an object that is spread and grows.
    const described: Matrix[] = [
      { name: query.name, tensor: query.tensor, ids: readsIds ? given.queryIds : undefined, guide: guides[0] },
      {
        name: keys.name,
        tensor: keys.tensor,
        ids: keyIds,
        bias: given.keyBias,
        guide: guides[1],
        detached: detach.includes('positiveKey') ? 'dropped' : undefined,
      },
    ];
    for (const [k, matrix] of negatives.entries()) {
      described.push({
        name: matrix.name,
        tensor: matrix.tensor,
        ids: rowsOf(negativeIds, matrix, { rows }),
        bias: rowsOf(given.negativeBias, matrix, { rows }),
        counts: given.negativeCounts,
        guide: guides[2 + k],
        fromQueue: matrix.fromQueue === true,
        list: matrix.list,
        detached: detach.includes('negativeKeys') ? 'skipped' : undefined,
      });
    }
    const kind = infoNCEForm({
      inBatch,
      negatives: negatives.length === 0 ? undefined : paired ? 'paired' : 'unpaired',
      areOwn: negatives.map(areOwn),
      targets: given.targets !== undefined,
      queryIds: readsIds && given.queryIds !== undefined,
      keyIds: keyIds !== undefined,
      negativeIds: negativeIds !== undefined,
      positives: duplicates === 'positive',
      stretches: hardness && stretchesOf(hardness, negatives, paired, inBatch, given, falseNegatives !== undefined),
      directions,
      threshold: thresholdOf(falseNegatives),
    });
    const form = withParameters(kind, directions.perDirection && directions.keyToQuery ? 2 : 1, parameters);
    return { common, task: { form, matrices: described, rows, dim, scale, targets: given.targets } };
  },
});

/**
 * InfoNCE: the cross-entropy of identifying a query's positive key among its candidates,
 *
 *     loss_i = log Σ_{j ∈ D(i)} exp(s_ij) − s_i,positive
 *
 * where s is the cosine divided by the temperature, plus the bias of the key. D(i) is every row of `positiveKey`; with
 * `negativeKeys` it is the query's own positive and its negatives, and with `inBatch` the other rows of `positiveKey` too.
 * With `duplicates: 'positive'` the mean over the query's positives takes the place of s_i,positive; with a `margin`,
 * s_i,positive is (cosine − margin) / temperature in both terms. With `directions` the sum also has logits of key i with the
 * queries and the other keys, and of query i with the other queries.
 *
 * @returns `loss`; unless `ranks: false`, `top1` and `top5`; unless `gradient: false`, `gradQuery`, `gradPositiveKey`,
 * `gradTemperature` and, with negative keys, `gradNegativeKeys`, without what is named in `detach`.
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
