import { InfoNCEError } from '../runtime/errors.js';
import { checkChoice } from '../runtime/options.js';
import type { TensorLike } from '../runtime/tensor.js';
import { checkDenominator, type Denominator, ROW_LOSS_WITH } from './denominator.js';
import { formOf, type Softmax, withParameters } from './form.js';
import type { ByOutput, ForwardPass } from './forward.js';
import { type Asks, defineLoss, type LossTypes } from './loss.js';
import { type CommonOptions, checkCommon, type Reduction } from './options.js';
import { checkPositivesForm, type PositivesForm } from './positives-form.js';
import type { Asked, Gradient, LossResult, Output, Ranks } from './results.js';
import {
  checkDebias,
  checkLabelSmoothing,
  checkWeighting,
  type Debias,
  refuseBeside,
  type Weighting,
} from './row-loss.js';
import { temperatureScale } from './scale.js';
import { checkLayoutOnHost, checkViewLayout, type ViewLayout } from './view-layout.js';
import { checkDivisible, checkViews } from './views.js';

/** Options of {@link ntXent}. */
export interface NTXentOptions<
  R extends Reduction = Reduction,
  G extends boolean = boolean,
  K extends boolean = boolean,
> extends CommonOptions<R, G, K> {
  /** Views of each sample: an integer of at least 2 that divides the rows. Default 2. */
  readonly nViews?: number | undefined;
  /**
   * The order of the rows of B samples with V views: `'viewMajor'` (default), view v of sample s in row v * B + s, all
   * samples of view 0 before those of view 1; or `'interleaved'`, in row s * V + v, the views of a sample next to each
   * other. The shape does not tell which: the wrong one pairs the wrong rows. Gradients and row losses follow the same
   * order. Interleaved rows are reordered on the host, so device tensors are refused.
   */
  readonly layout?: ViewLayout | undefined;
  /** At least 1e-30. Default 0.1. */
  readonly temperature?: number | undefined;
  /**
   * `'first'` (default): the first other view, as in SimCLR's reference code; `'all'`: the mean over every other view
   * (SupCon's L_out over views). Equal for two views.
   */
  readonly positives?: 'first' | 'all' | undefined;
  /**
   * The logits in the denominator: `'all'` (default), those of every other row; `'negatives'`, without the positives: the
   * decoupled contrastive loss (DCL), which may be negative and needs two samples; `'positiveAndNegatives'`, the negatives
   * and one positive: the mean over the positives, each with its own denominator.
   */
  readonly denominator?: Denominator | undefined;
  /**
   * Where the mean over a row's positives is taken: `'out'` (default), outside the logarithm, L_out of Khosla et al.;
   * `'in'`, inside, their L_in: −log of the mean of the positives' probabilities. Equal for rows with one positive. Requires
   * `denominator: 'all'`, without `debias`.
   */
  readonly form?: PositivesForm | undefined;
  /**
   * Debiased contrastive loss, for two views: `{ tauPlus = 0, beta = 0 }`. The sum over a row's M negatives becomes an
   * estimate of the sum over true negatives, at least M exp(−1 / temperature); `beta` gives harder negatives more weight.
   * Default: none.
   */
  readonly debias?: Debias | undefined;
  /**
   * Weights of the positives in a decoupled loss (`denominator: 'negatives'`) of two views, DCLW: `{ kind: 'vonMisesFisher',
   * sigma = 0.5 }`. Default: none, equal weights.
   */
  readonly weighting?: Weighting | undefined;
  /**
   * The share of a row's target that is spread evenly over all other rows, as in PyTorch's `cross_entropy`: at least 0,
   * below 1. Default 0. Not with another `denominator` or `form`, or `debias`.
   */
  readonly labelSmoothing?: number | undefined;
}

/** Input and options of {@link ntXent}. */
export interface NTXentProblem<
  R extends Reduction = Reduction,
  G extends boolean = boolean,
  K extends boolean = boolean,
> extends NTXentOptions<R, G, K> {
  /** [nViews * B, D]; row v * B + b is view v of sample b, unless `layout` is `'interleaved'`. */
  readonly features: TensorLike;
}

/** The gradients of {@link ntXent}. */
export interface NTXentGradients<O extends Output = 'host'> {
  /** [nViews * B, D] */
  readonly gradFeatures: Gradient<O>;
  /** Derivative of the loss by the temperature, times `gradOutput`; with `reduction: 'none'` the sum over the rows. */
  readonly gradTemperature: number;
}

/** What {@link ntXent} resolves to. */
export type NTXentResult<
  R extends Reduction = Reduction,
  G extends boolean = boolean,
  O extends Output = 'host',
  K extends boolean = true,
> = LossResult<R, G, NTXentGradients<O>, K>;

/** What {@link ntXent}'s `forward` resolves to. */
export type NTXentForward<R extends Reduction = Reduction, K extends boolean = true> = ForwardPass<
  R,
  ByOutput<NTXentGradients, NTXentGradients<'device'>>,
  'gradFeatures'
> &
  Asked<K, Ranks>;

/** @internal The types of {@link ntXent}. */
export interface NTXentTypes extends LossTypes {
  readonly name: 'ntXent';
  readonly out: 'gradFeatures';
  readonly of: this extends Asks<infer R, infer G, infer O, infer K>
    ? {
        problem: NTXentProblem<R, G, K>;
        gradients: NTXentGradients<O>;
        result: NTXentResult<R, G, O, K>;
        forward: NTXentForward<R, K>;
      }
    : never;
}

const POSITIVES = ['first', 'all'] as const;
const SCALE = temperatureScale(0.1);

function checkOptions(options: NTXentOptions) {
  const checked = checkEach(options);
  const { denominator, form, debias, sigma, labelSmoothing, views } = checked;
  if (debias !== undefined) {
    if (views !== 2) refuseBeside('debias', 'one', `nViews ${views}`, 'The debiased loss is one of two views.');
    if (denominator !== 'all') refuseBeside('debias', 'one', `denominator '${denominator}'`);
    if (form === 'in') refuseBeside('debias', 'one', "form 'in'", 'The debiased loss has one positive.');
  }
  if (sigma !== undefined) {
    if (debias !== undefined) refuseBeside('weighting', 'one', 'debias');
    if (denominator !== 'negatives') {
      const remedy = "Weights are those of the decoupled loss: pass denominator: 'negatives'.";
      refuseBeside('weighting', 'one', `denominator '${denominator}'`, remedy);
    }
    if (views !== 2) refuseBeside('weighting', 'one', `nViews ${views}`, 'Weights are of pairs: two views.');
  }
  if (labelSmoothing > 0) {
    const got = String(labelSmoothing);
    if (denominator !== 'all') refuseBeside('labelSmoothing', got, `denominator '${denominator}'`);
    if (debias !== undefined) refuseBeside('labelSmoothing', got, 'debias');
    if (form === 'in')
      refuseBeside('labelSmoothing', got, "form 'in'", 'It smooths the mean outside of the logarithm.');
  }
  return checked;
}

function checkEach(options: NTXentOptions) {
  const denominator = checkDenominator(options.denominator);
  return {
    common: checkCommon(options),
    positives: checkChoice(options.positives, 'positives', POSITIVES),
    denominator,
    form: checkPositivesForm(options.form, denominator),
    debias: checkDebias(options.debias),
    sigma: checkWeighting(options.weighting),
    labelSmoothing: checkLabelSmoothing(options.labelSmoothing),
    views: checkViews(options.nViews),
    layout: checkViewLayout(options.layout),
    scale: SCALE.check(options.temperature),
  };
}

const formWith = (positive: 'firstView' | 'allViews', rowLoss: NonNullable<Softmax['rowLoss']>) =>
  formOf(
    [{ anchors: 0, candidates: 0, rowSoftmax: 0, columnSoftmax: 0, leftOut: 'sameRow' }],
    [{ anchors: 0, positive, positivesIn: [0], rowLoss }],
  );
const formsWith = (positive: 'firstView' | 'allViews') => ({
  all: formWith(positive, ROW_LOSS_WITH.all),
  negatives: formWith(positive, ROW_LOSS_WITH.negatives),
  positiveAndNegatives: formWith(positive, ROW_LOSS_WITH.positiveAndNegatives),
});
/** By `positives` and `denominator`. */
export const FORMS = { first: formsWith('firstView'), all: formsWith('allViews') };
const DEBIASED = formWith('firstView', 'debiased');
/** With one positive this is cross-entropy. */
export const MEAN_INSIDE = formWith('allViews', 'meanInside');

export const ntXentLoss = defineLoss<NTXentTypes>({
  name: 'ntXent',
  className: 'NTXent',
  tensors: { features: ['[nViews * B, D]', 2, 2] },
  viewMajor: true,
  options: [
    'nViews',
    'layout',
    'temperature',
    'positives',
    'denominator',
    'form',
    'debias',
    'weighting',
    'labelSmoothing',
  ],
  scale: SCALE,
  variants: [
    ...POSITIVES.map(positives => ({ name: positives, options: { positives } })),
    ...POSITIVES.map(positives => ({
      name: `${positives}, decoupled`,
      options: { positives, denominator: 'negatives' },
      fewestSamples: 2,
    })),
    // With one positive this is cross-entropy.
    {
      name: 'all, each with the negatives',
      options: { positives: 'all', denominator: 'positiveAndNegatives' },
    },
    { name: 'all, the mean inside', options: { positives: 'all', form: 'in' } },
    { name: 'debiased', options: { debias: { tauPlus: 0.1 } }, views: 2 },
    { name: 'debiased, hard negatives', options: { debias: { tauPlus: 0.1, beta: 1 } }, views: 2 },
    {
      name: 'decoupled, weighted',
      options: { denominator: 'negatives', weighting: { kind: 'vonMisesFisher' } },
      fewestSamples: 2,
      views: 2,
    },
    { name: 'smoothed', options: { labelSmoothing: 0.1 } },
    { name: 'all, smoothed', options: { positives: 'all', labelSmoothing: 0.1 } },
  ],
  checkOptions,
  describe(problem, read, isShare) {
    const features = read('features');
    const [rows, dim] = features.shape as [number, number];
    const checked = checkOptions(problem);
    const { common, positives, denominator, form, debias, sigma, labelSmoothing, views, layout, scale } = checked;
    checkDivisible(rows, views, layout);
    checkLayoutOnHost(features, layout, 'features');
    if (denominator === 'negatives' && rows === views && !isShare) throw noNegatives(rows);
    const isInside = form === 'in' && positives === 'all' && views > 2;
    const kind = isInside ? MEAN_INSIDE : debias === undefined ? FORMS[positives][denominator] : DEBIASED;
    return {
      common,
      task: {
        form: withParameters(kind, 1, { ...debias, labelSmoothing, sigma }),
        matrices: [{ name: 'features', tensor: features, views, interleaved: layout === 'interleaved' }],
        rows,
        dim,
        scale,
      },
    };
  },
});

function noNegatives(rows: number): InfoNCEError {
  return new InfoNCEError('ERR_INFONCE_SHAPE', {
    argument: 'features.shape',
    expected: "two samples or more with denominator 'negatives'",
    got: `${rows} views of one`,
    remedy: 'The views of other samples are the negatives.',
  });
}

/**
 * NT-Xent, the loss of SimCLR: row i's logits are its cosines with every other row divided by the temperature, and
 *
 *     loss_i = log Σ_{j ≠ i} exp(s_ij) − mean over positives p of s_ip
 *
 * or, with `denominator: 'negatives'` and `weighting`, a log of the sum over negatives less a weight times s_ip; with
 * `denominator: 'positiveAndNegatives'`, the mean over p of log (exp(s_ip) + Σ_negatives exp(s_ij)) − s_ip; or, with
 * `form: 'in'`, the same sum's logarithm − log (mean over p of exp(s_ip)).
 * Nothing of size rows × rows is stored.
 *
 * @returns `loss`; unless `ranks: false`, `top1` and `top5`; unless `gradient: false`, `gradFeatures` and
 * `gradTemperature`.
 * @throws {@link InfoNCEError} (the promise rejects with it) for input that cannot be computed; `ERR_INFONCE_VIEWS` when
 * `nViews` does not divide the rows.
 * @see Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", 2020, equation 1; for
 * `positives: 'all'` Khosla et al., "Supervised Contrastive Learning", 2020, equations 2 and 3 (`form: 'in'`); for
 * `denominator: 'negatives'` Yeh et al., "Decoupled Contrastive Learning", 2022, equation 6, and for `weighting` its DCLW,
 * as lightly's `DCLWLoss` has it; `'positiveAndNegatives'` is `NTXentLoss` of pytorch-metric-learning; for `debias` Chuang et
 * al., "Debiased Contrastive Learning", 2020, equation 8, and for its `beta` Robinson et al., "Contrastive Learning with Hard
 * Negative Samples", 2021, equation 4.
 * @function
 */
export const ntXent = ntXentLoss.run;

/**
 * {@link ntXent}, computed before it returns.
 *
 * @function
 */
export const ntXentSync = ntXentLoss.runSync;
