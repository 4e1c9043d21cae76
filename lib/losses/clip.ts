import type { TensorLike } from '../runtime/tensor.js';
import { checkDuplicates, checkIdsTogether, type Duplicates, refuseBesidePositives } from './duplicates.js';
import { formOf, withParameters } from './form.js';
import type { ByOutput, ForwardPass } from './forward.js';
import { type Asks, defineLoss, type LossTypes } from './loss.js';
import { type CommonOptions, checkCommon, type Reduction } from './options.js';
import { checkPairs, checkRowsOf } from './pairs.js';
import type { Asked, Gradient, LossResult, Output, Ranks } from './results.js';
import { checkIds, randomIds } from './row-arrays.js';
import { checkLabelSmoothing, refuseBeside } from './row-loss.js';
import { logitScale } from './scale.js';

/** Options of {@link clip}. */
export interface ClipOptions<R extends Reduction = Reduction, G extends boolean = boolean, K extends boolean = boolean>
  extends CommonOptions<R, G, K> {
  /** The factor itself, 1 / temperature, not its logarithm. Above 0, at most 1e30. Default 1 / 0.07. */
  readonly logitScale?: number | undefined;
  /**
   * How images and texts of equal id count for each other, besides the pairs: `'exclude'` (default with ids), not at all;
   * `'negative'`, as negatives, whatever the ids; `'positive'`, as further positives: a row's loss is the mean over its
   * positives, its pair always among them. Ranks do not count a further positive as better than the pair.
   */
  readonly duplicates?: Duplicates | undefined;
  /**
   * The share of a row's target that is spread evenly over all its candidates, as in PyTorch's `cross_entropy`: at least 0,
   * below 1. Default 0. Not with ids, unless `duplicates: 'negative'`.
   */
  readonly labelSmoothing?: number | undefined;
}

/** Arrays of {@link clip} with an entry for each row. */
export interface ClipRows {
  /** [N]. The item that each image shows. Any integers. */
  readonly imageIds?: Int32Array | undefined;
  /** [N]. The item that each text describes. */
  readonly textIds?: Int32Array | undefined;
}

/** Inputs and options of {@link clip}. */
export interface ClipProblem<R extends Reduction = Reduction, G extends boolean = boolean, K extends boolean = boolean>
  extends ClipOptions<R, G, K>,
    ClipRows {
  /** [N, D] */
  readonly imageFeatures: TensorLike;
  /** [N, D]. Row i belongs to image i. */
  readonly textFeatures: TensorLike;
  /**
   * [M, D]. Further texts that belong to no image, such as hard negatives. They are candidates of every image, and have no
   * loss of their own. Default: none.
   */
  readonly negativeTexts?: TensorLike | undefined;
}

/** Inputs and options of {@link clip} when negative texts are given. */
export interface ClipNegativesProblem<
  R extends Reduction = Reduction,
  G extends boolean = boolean,
  K extends boolean = boolean,
> extends ClipProblem<R, G, K> {
  readonly negativeTexts: TensorLike;
}

/** The gradients of {@link clip}. */
export interface ClipGradients<O extends Output = 'host'> {
  /** [N, D] */
  readonly gradImageFeatures: Gradient<O>;
  /** [N, D] */
  readonly gradTextFeatures: Gradient<O>;
  /** [M, D]. Absent without `negativeTexts`. */
  readonly gradNegativeTexts?: Gradient<O>;
  /** Derivative of the loss by the logit scale, times `gradOutput`; with `reduction: 'none'` the sum over the rows. */
  readonly gradLogitScale: number;
}

/** The gradients of {@link clip} when negative texts are given. */
export interface ClipNegativesGradients<O extends Output = 'host'> extends ClipGradients<O> {
  readonly gradNegativeTexts: Gradient<O>;
}

/** What {@link clip} resolves to. */
export type ClipResult<
  R extends Reduction = Reduction,
  G extends boolean = boolean,
  O extends Output = 'host',
  K extends boolean = true,
> = LossResult<R, G, ClipGradients<O>, K>;

/** What {@link clip} resolves to when negative texts are given. */
export type ClipNegativesResult<
  R extends Reduction = Reduction,
  G extends boolean = boolean,
  O extends Output = 'host',
  K extends boolean = true,
> = LossResult<R, G, ClipNegativesGradients<O>, K>;

/** The gradients of {@link clip} that `out` may name. */
export type ClipGradientName = 'gradImageFeatures' | 'gradTextFeatures' | 'gradNegativeTexts';

/** What {@link clip}'s `forward` resolves to. */
export type ClipForward<R extends Reduction = Reduction, K extends boolean = true> = ForwardPass<
  R,
  ByOutput<ClipGradients, ClipGradients<'device'>>,
  ClipGradientName
> &
  Asked<K, Ranks>;

/** The same when negative texts are given. */
export type ClipNegativesForward<R extends Reduction = Reduction, K extends boolean = true> = ForwardPass<
  R,
  ByOutput<ClipNegativesGradients, ClipNegativesGradients<'device'>>,
  ClipGradientName
> &
  Asked<K, Ranks>;

/** @internal The types of {@link clip}. */
export interface ClipTypes extends LossTypes {
  readonly name: 'clip';
  readonly out: ClipGradientName;
  readonly of: this extends Asks<infer R, infer G, infer O, infer K>
    ? {
        problem: ClipProblem<R, G, K>;
        gradients: ClipGradients<O>;
        result: ClipResult<R, G, O, K>;
        forward: ClipForward<R, K>;
      }
    : never;
}

/** @internal The types of {@link clip} when negative texts are given. */
export interface ClipNegativesTypes extends LossTypes {
  readonly name: 'clip';
  readonly out: ClipGradientName;
  readonly of: this extends Asks<infer R, infer G, infer O, infer K>
    ? {
        problem: ClipNegativesProblem<R, G, K>;
        gradients: ClipNegativesGradients<O>;
        result: ClipNegativesResult<R, G, O, K>;
        forward: ClipNegativesForward<R, K>;
      }
    : never;
}

const SCALE = logitScale(1 / 0.07);
const SCALE_ADVICE = 'Pass logitScale: 1 / temperature.';

function checkOptions(options: ClipOptions) {
  const duplicates = checkDuplicates(options.duplicates);
  const labelSmoothing = checkLabelSmoothing(options.labelSmoothing);
  if (duplicates === 'positive') refuseBesidePositives({ labelSmoothing: labelSmoothing > 0 });
  return {
    common: checkCommon(options),
    duplicates,
    labelSmoothing,
    scale: SCALE.check(options.logitScale),
  };
}

const IMAGES_AND_TEXTS = { anchors: 0, candidates: 1, rowSoftmax: 0, columnSoftmax: 1 } as const;
const BOTH_DIRECTIONS = [
  { anchors: 0, positive: 'sameIndex', positivesIn: [1], weight: 0.5 },
  { anchors: 1, positive: 'sameIndex', positivesIn: [0], weight: 0.5 },
] as const;
const IMAGES_AND_NEGATIVES = { anchors: 0, candidates: 2, rowSoftmax: 0 } as const;
const formsWith = (leftOut?: 'sameId' | 'sameIdPositive') => ({
  alone: formOf([{ ...IMAGES_AND_TEXTS, leftOut }], BOTH_DIRECTIONS),
  withNegatives: formOf([{ ...IMAGES_AND_TEXTS, leftOut }, IMAGES_AND_NEGATIVES], BOTH_DIRECTIONS),
});
/** By what rows of equal id are. */
export const FORMS = {
  negative: formsWith(),
  exclude: formsWith('sameId'),
  positive: formsWith('sameIdPositive'),
};

function negativeTexts(_rows: number, negatives: number, dim: number) {
  return { negativeTexts: [negatives, dim] };
}

function randomIdsOf(rows: number, _negatives: number, random: () => number) {
  const items = Math.ceil((2 * rows) / 3);
  return { imageIds: randomIds(rows, items, random), textIds: randomIds(rows, items, random) };
}

export const clipLoss = defineLoss<ClipTypes, [ClipNegativesTypes]>({
  name: 'clip',
  className: 'Clip',
  tensors: { imageFeatures: ['[N, D]', 2, 2], textFeatures: ['[N, D]', 2, 2] },
  optionalTensors: { negativeTexts: ['[M, D]', 2, 2] },
  rowArrays: ['imageIds', 'textIds'],
  options: ['logitScale', 'labelSmoothing', 'duplicates'],
  advice: new Map([
    ['temperature', SCALE_ADVICE],
    ['tau', SCALE_ADVICE],
  ]),
  scale: SCALE,
  variants: [
    { name: 'plain' },
    { name: 'smoothed', options: { labelSmoothing: 0.1 } },
    { name: 'negative texts', shapes: negativeTexts },
    {
      name: 'negative texts, ids of further positives',
      options: { duplicates: 'positive' },
      shapes: negativeTexts,
      rowArrays: randomIdsOf,
    },
    { name: 'ids', options: { duplicates: 'exclude' }, rowArrays: randomIdsOf },
    { name: 'ids of further positives', options: { duplicates: 'positive' }, rowArrays: randomIdsOf },
  ],
  checkOptions,
  describe(problem, read) {
    const { matrices, rows, dim } = checkPairs(read, 'imageFeatures', 'textFeatures');
    const { common, duplicates, labelSmoothing, scale } = checkOptions(problem);
    const imageIds = checkIds(problem.imageIds, 'imageIds', 'imageFeatures', rows);
    const textIds = checkIds(problem.textIds, 'textIds', 'textFeatures', rows);
    checkIdsTogether({ name: 'imageIds', ids: imageIds }, [{ name: 'textIds', ids: textIds }], problem.duplicates);
    const readsIds = imageIds !== undefined && duplicates !== 'negative';
    if (readsIds && labelSmoothing > 0) refuseBeside('labelSmoothing', String(labelSmoothing), 'ids');
    const [images, texts] = readsIds
      ? [
          { ...matrices[0], ids: imageIds },
          { ...matrices[1], ids: textIds },
        ]
      : matrices;
    const negatives = problem.negativeTexts === undefined ? undefined : checkRowsOf('negativeTexts', read, dim);
    const forms = FORMS[readsIds ? duplicates : 'negative'];
    return {
      common,
      task: {
        form: withParameters(negatives ? forms.withNegatives : forms.alone, 2, { labelSmoothing }),
        scale,
        rows,
        dim,
        matrices: negatives ? [images, texts, negatives] : [images, texts],
      },
    };
  },
});

/**
 * The CLIP loss: the mean of two InfoNCE losses, image to text and text to image,
 *
 *     loss_i = ½ (log Σ_j exp(s_ij) − s_ii) + ½ (log Σ_j exp(s_ji) − s_ii)
 *
 * where s is `logitScale` times the cosine. In the first term j runs over all texts, the `negativeTexts` included; in the
 * second over all images. With ids, candidates of the same id as i are left out; with `duplicates: 'positive'`, the mean
 * over them and the pair takes the place of s_ii. With `reduction: 'none'` row i holds the loss of pair i.
 *
 * @returns `loss`; unless `ranks: false`, `top1` and `top5` over both directions; unless `gradient: false`,
 * `gradImageFeatures`, `gradTextFeatures`, `gradLogitScale` and, with negative texts, `gradNegativeTexts`.
 * @throws {@link InfoNCEError} (the promise rejects with it) for input that cannot be computed.
 * @see Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", 2021, figure 3.
 * @function
 */
export const clip = clipLoss.run;

/**
 * {@link clip}, computed before it returns.
 *
 * @function
 */
export const clipSync = clipLoss.runSync;
