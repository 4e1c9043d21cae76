import { InfoNCEError } from '../runtime/errors.js';
import { checkChoice } from '../runtime/options.js';
import type { TensorLike } from '../runtime/tensor.js';
import { checkIdsTogether } from './duplicates.js';
import { formOf } from './form.js';
import type { ByOutput, ForwardPass } from './forward.js';
import { type Asks, defineLoss, type LossTypes } from './loss.js';
import { type Common, type CommonOptions, checkCommon, type Reduction } from './options.js';
import { checkPairs, type Pairs } from './pairs.js';
import type { Matrix } from './plan.js';
import type { Asked, Gradient, LossResult, Output, Ranks } from './results.js';
import { checkIds, randomIds } from './row-arrays.js';
import { logitBias, logitScale } from './scale.js';

/** The positive pairs of images and texts without ids. */
export type SigLipPositives = 'sameIndex' | 'none';

/** Options of {@link sigLip}. */
export interface SigLipOptions<
  R extends Reduction = Reduction,
  G extends boolean = boolean,
  K extends boolean = boolean,
  P extends SigLipPositives = SigLipPositives,
> extends CommonOptions<R, G, K> {
  /** The factor itself, not its logarithm. Above 0, at most 1e30. Default 10. */
  readonly logitScale?: number | undefined;
  /** Added to every logit. At most 1e30 away from 0. Default -10. */
  readonly logitBias?: number | undefined;
  /**
   * `'sameIndex'` (default): text i is the positive of image i, or with ids every text of its id; `'none'`: every pair is a
   * negative, as in blocks off the diagonal of a batch that several processes share. There are no ranks then.
   */
  readonly positives?: P | undefined;
}

/** Arrays of {@link sigLip} with an entry for each row. */
export interface SigLipRows {
  /** [N]. Pairs of equal ids are the positives, instead of pairs of equal index. Any integers. Requires `textIds`. */
  readonly imageIds?: Int32Array | undefined;
  /** [N]. Requires `imageIds`. */
  readonly textIds?: Int32Array | undefined;
}

/** Inputs and options of {@link sigLip}. */
export interface SigLipProblem<
  R extends Reduction = Reduction,
  G extends boolean = boolean,
  K extends boolean = boolean,
  P extends SigLipPositives = SigLipPositives,
> extends SigLipOptions<R, G, K, P>,
    SigLipRows {
  /** [N, D] */
  readonly imageFeatures: TensorLike;
  /** [N, D]. Row i belongs to image i. With `positives: 'none'` [M, D]. */
  readonly textFeatures: TensorLike;
}

/** The gradients of {@link sigLip}. */
export interface SigLipGradients<O extends Output = 'host'> {
  /** In the shape of `imageFeatures`. */
  readonly gradImageFeatures: Gradient<O>;
  /** In the shape of `textFeatures`. */
  readonly gradTextFeatures: Gradient<O>;
  /** Derivative of the loss by the logit scale, times `gradOutput`; with `reduction: 'none'` the sum over the rows. */
  readonly gradLogitScale: number;
  /** Derivative of the loss by the logit bias, likewise. */
  readonly gradLogitBias: number;
}

/** Whether results of {@link sigLip} have ranks: where they are wanted, and there are positives. */
export type SigLipRanked<K extends boolean, P extends SigLipPositives> = [P] extends ['sameIndex']
  ? K
  : [P] extends ['none']
    ? false
    : K extends true
      ? boolean
      : false;

/** What {@link sigLip} resolves to. */
export type SigLipResult<
  R extends Reduction = Reduction,
  G extends boolean = boolean,
  O extends Output = 'host',
  K extends boolean = true,
  P extends SigLipPositives = 'sameIndex',
> = LossResult<R, G, SigLipGradients<O>, SigLipRanked<K, P>>;

/** The gradients of {@link sigLip} that `out` may name. */
export type SigLipGradientName = 'gradImageFeatures' | 'gradTextFeatures';

/** What {@link sigLip}'s `forward` resolves to. */
export type SigLipForward<
  R extends Reduction = Reduction,
  K extends boolean = true,
  P extends SigLipPositives = 'sameIndex',
> = ForwardPass<R, ByOutput<SigLipGradients, SigLipGradients<'device'>>, SigLipGradientName> &
  Asked<SigLipRanked<K, P>, Ranks>;

/** @internal The types of {@link sigLip}. */
export interface SigLipTypes<P extends SigLipPositives = SigLipPositives> extends LossTypes {
  readonly name: 'sigLip';
  readonly out: SigLipGradientName;
  readonly of: this extends Asks<infer R, infer G, infer O, infer K>
    ? {
        problem: SigLipProblem<R, G, K, P>;
        gradients: SigLipGradients<O>;
        result: SigLipResult<R, G, O, K, P>;
        forward: SigLipForward<R, K, P>;
      }
    : never;
}

const POSITIVES = ['sameIndex', 'none'] as const;
const SCALE = logitScale(10);
const BIAS = logitBias(-10);
const SCALE_ADVICE = 'Pass logitScale: 1 / temperature.';

function checkOptions(options: SigLipOptions) {
  const positives = checkChoice(options.positives, 'positives', POSITIVES);
  return {
    common: positives === 'none' ? withoutRanks(options) : checkCommon(options),
    positives,
    scale: SCALE.check(options.logitScale),
    bias: BIAS.check(options.logitBias),
  };
}

function withoutRanks(options: CommonOptions): Common {
  const common = checkCommon(options);
  if (options.ranks !== true) return { ...common, ranks: false };
  throw new InfoNCEError('ERR_INFONCE_RANGE', {
    argument: 'ranks',
    expected: "false or absent with positives 'none'",
    got: 'true',
    remedy: 'A row without a positive has no rank.',
  });
}

const formWith = (positive: 'sameIndex' | 'sameIdElsewhere' | 'none') =>
  formOf(
    [{ anchors: 0, candidates: 1, rowSoftmax: 0 }],
    [{ anchors: 0, positive, positivesIn: [1], rowLoss: 'sigmoid' }],
  );
/** By what says which pairs are positives. */
export const FORMS = { sameIndex: formWith('sameIndex'), ids: formWith('sameIdElsewhere'), none: formWith('none') };

export const sigLipLoss = defineLoss<SigLipTypes, [SigLipTypes<'sameIndex'>]>({
  name: 'sigLip',
  className: 'SigLip',
  tensors: { imageFeatures: ['[N, D]', 2, 2], textFeatures: ['[N, D]', 2, 2] },
  rowArrays: ['imageIds', 'textIds'],
  options: ['logitScale', 'logitBias', 'positives'],
  advice: new Map([
    ['temperature', SCALE_ADVICE],
    ['tau', SCALE_ADVICE],
  ]),
  scale: SCALE,
  bias: BIAS,
  variants: [
    { name: 'sameIndex', options: { positives: 'sameIndex' } },
    {
      name: 'ids',
      rowArrays: (rows, _negatives, random) => ({
        imageIds: randomIds(rows, rows, random),
        textIds: randomIds(rows, rows, random),
      }),
    },
    {
      name: 'none',
      options: { positives: 'none' },
      shapes: (_, negatives, dim) => ({ textFeatures: [negatives, dim] }),
      unranked: true,
    },
  ],
  checkOptions,
  describe(problem, read) {
    const { common, positives, scale, bias } = checkOptions(problem);
    const rowsOfTexts = positives === 'none' ? 'M' : undefined;
    const towers = checkPairs(read, 'imageFeatures', 'textFeatures', rowsOfTexts);
    const withIds = problem.imageIds !== undefined || problem.textIds !== undefined;
    if (withIds && positives === 'none') throw idsWithoutPositives();
    return {
      common,
      task: {
        ...towers,
        form: FORMS[withIds ? 'ids' : positives],
        matrices: withIds ? withIdsOf(problem, towers) : towers.matrices,
        scale,
        bias,
      },
    };
  },
});

/**
 * The sigmoid loss of SigLIP: a binary classification of every pair of an image and a text,
 *
 *     loss_i = Σ_j log (1 + exp(−y_ij (s_ij + b)))
 *
 * where s is `logitScale` times the cosine, b is `logitBias`, and y_ij is 1 for positives, else −1. The mean is over the
 * images: (1 / N) Σ_i loss_i.
 *
 * A batch that does not fit into one call, or lies on several machines, is a sum of blocks with `reduction: 'sum'`: blocks
 * of pairs, and with `positives: 'none'` blocks of images and texts that do not belong together.
 *
 * @returns `loss`; unless `ranks: false` or `positives: 'none'`, `top1` and `top5`: of the logit of image i and text i
 * among those of image i's negatives; unless `gradient: false`, `gradImageFeatures`, `gradTextFeatures`, `gradLogitScale`
 * and `gradLogitBias`.
 * @throws {@link InfoNCEError} (the promise rejects with it) for input that cannot be computed.
 * @see Zhai et al., "Sigmoid Loss for Language Image Pre-Training", 2023, algorithm 1; the same as open_clip's `SigLipLoss`,
 * which does not normalise rows.
 * @function
 */
export const sigLip = sigLipLoss.run;

/**
 * {@link sigLip}, computed before it returns.
 *
 * @function
 */
export const sigLipSync = sigLipLoss.runSync;

function idsWithoutPositives(): InfoNCEError {
  return new InfoNCEError('ERR_INFONCE_RANGE', {
    argument: 'positives',
    expected: "'sameIndex' or nothing with imageIds and textIds",
    got: "'none'",
    remedy: 'Ids say which pairs are positives.',
  });
}

/** The matrices of the towers with their ids. */
function withIdsOf({ imageIds, textIds }: SigLipRows, { matrices, rows }: Pairs): Matrix[] {
  const images = checkIds(imageIds, 'imageIds', 'imageFeatures', rows);
  const texts = checkIds(textIds, 'textIds', 'textFeatures', rows);
  checkIdsTogether({ name: 'imageIds', ids: images }, [{ name: 'textIds', ids: texts }], undefined);
  return matrices.map((matrix, m) => ({ ...matrix, ids: m === 0 ? images : texts }));
}
