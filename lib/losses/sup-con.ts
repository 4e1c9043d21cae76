import { allocateLabels, checkInt32Array } from '../runtime/arrays.js';
import { InfoNCEError } from '../runtime/errors.js';
import type { TensorLike } from '../runtime/tensor.js';
import { checkDenominator, type Denominator, ROW_LOSS_WITH } from './denominator.js';
import { formOf, type Softmax, withParameters } from './form.js';
import type { ByOutput, ForwardPass } from './forward.js';
import { type Asks, defineLoss, type LossTypes } from './loss.js';
import { checkMemory, type NegativeQueue } from './negative-queue.js';
import { type CommonOptions, checkCommon, type Reduction } from './options.js';
import { checkPositivesForm, type PositivesForm } from './positives-form.js';
import type { Asked, Gradient, LossResult, Output, Ranks } from './results.js';
import { checkLabelSmoothing, refuseBeside } from './row-loss.js';
import { temperatureScale } from './scale.js';

/** Options of {@link supCon}. */
export interface SupConOptions<
  R extends Reduction = Reduction,
  G extends boolean = boolean,
  K extends boolean = boolean,
> extends CommonOptions<R, G, K> {
  /** At least 1e-30. Default 0.07. */
  readonly temperature?: number | undefined;
  /**
   * Cross-batch memory: a queue made with `labels: true`, whose rows are candidates of every row, and positives of the rows
   * of their class. They have no loss and no gradient. An empty queue changes nothing.
   */
  readonly memory?: NegativeQueue | undefined;
  /**
   * The logits in the denominator of row i: `'all'` (default), those of every other row; `'negatives'`, those of rows of
   * other classes, of which there must be one (a decoupled loss, which may be negative); `'positiveAndNegatives'`, the
   * negatives and one positive: the mean over the positives, each with its own denominator.
   */
  readonly denominator?: Denominator | undefined;
  /**
   * Where the mean over a row's positives is taken: `'out'` (default), outside the logarithm, L_out of Khosla et al.;
   * `'in'`, inside, their L_in: −log of the mean of the positives' probabilities. Equal for rows with one positive. Requires
   * `denominator: 'all'`.
   */
  readonly form?: PositivesForm | undefined;
  /**
   * The share of a row's target that is spread evenly over all other rows and those of the `memory`, as in PyTorch's
   * `cross_entropy`: at least 0, below 1. The positives share the rest equally. Default 0. Not with another `denominator` or
   * `form`.
   */
  readonly labelSmoothing?: number | undefined;
}

/** Inputs and options of {@link supCon}. */
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

/** The gradients of {@link supCon}. */
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

/** @internal The types of {@link supCon}. */
export interface SupConTypes extends LossTypes {
  readonly name: 'supCon';
  readonly out: 'gradFeatures';
  readonly of: this extends Asks<infer R, infer G, infer O, infer K>
    ? {
        problem: SupConProblem<R, G, K>;
        gradients: SupConGradients<O>;
        result: SupConResult<R, G, O, K>;
        forward: SupConForward<R, K>;
      }
    : never;
}

const SCALE = temperatureScale(0.07);

function checkOptions(options: SupConOptions) {
  const denominator = checkDenominator(options.denominator);
  const form = checkPositivesForm(options.form, denominator);
  const labelSmoothing = checkLabelSmoothing(options.labelSmoothing);
  if (labelSmoothing > 0) {
    const got = String(labelSmoothing);
    if (denominator !== 'all') refuseBeside('labelSmoothing', got, `denominator '${denominator}'`);
    if (form === 'in')
      refuseBeside('labelSmoothing', got, "form 'in'", 'It smooths the mean outside of the logarithm.');
  }
  return {
    common: checkCommon(options),
    denominator,
    form,
    labelSmoothing,
    scale: SCALE.check(options.temperature),
  };
}

const OTHER_ROWS = { anchors: 0, candidates: 0, rowSoftmax: 0, columnSoftmax: 0, leftOut: 'sameRow' } as const;
const MEMORY = { anchors: 0, candidates: 1, rowSoftmax: 0 } as const;
const formsWith = (rowLoss: NonNullable<Softmax['rowLoss']>) => {
  const softmax = { anchors: 0, positive: 'sameId', rowLoss } as const;
  return {
    oneMatrix: formOf([OTHER_ROWS], [{ ...softmax, positivesIn: [0] }]),
    withMemory: formOf([OTHER_ROWS, MEMORY], [{ ...softmax, positivesIn: [0, 1] }]),
  };
};
/** By `denominator`, and with the mean inside. */
export const FORMS = {
  all: formsWith(ROW_LOSS_WITH.all),
  negatives: formsWith(ROW_LOSS_WITH.negatives),
  positiveAndNegatives: formsWith(ROW_LOSS_WITH.positiveAndNegatives),
  inside: formsWith('meanInside'),
};

export const supConLoss = defineLoss<SupConTypes>({
  name: 'supCon',
  className: 'SupCon',
  tensors: { features: ['[N, D] or [B, V, D]', 2, 3] },
  labels: true,
  options: ['temperature', 'memory', 'denominator', 'form', 'labelSmoothing'],
  scale: SCALE,
  variants: [
    { name: 'all' },
    { name: 'decoupled', options: { denominator: 'negatives' }, fewestSamples: 2 },
    { name: 'the mean inside', options: { form: 'in' } },
    { name: 'smoothed', options: { labelSmoothing: 0.1 } },
    { name: 'each positive with the negatives', options: { denominator: 'positiveAndNegatives' } },
  ],
  checkOptions,
  describe(problem, read, isShare) {
    const features = read('features');
    const { shape } = features;
    const samples = shape[0]!;
    const views = shape.length === 3 ? shape[1]! : 1;
    const dim = shape[shape.length - 1]!;
    const { common, denominator, form, labelSmoothing, scale } = checkOptions(problem);
    const memory = problem.memory === undefined ? undefined : checkMemory(problem.memory, dim);
    // One rank's may be empty where others' are not.
    const rows = memory !== undefined && (memory.rows.size > 0 || isShare) ? memory.rows : undefined;
    const ids = { name: 'labels', data: rowLabels(problem.labels, samples, views) };
    if (denominator === 'negatives' && !isShare) checkClasses(ids.data, memory?.labels);
    const matrix = { name: 'features', tensor: features, ids };
    const kind = FORMS[form === 'in' ? 'inside' : denominator][rows === undefined ? 'oneMatrix' : 'withMemory'];
    return {
      common,
      task: {
        form: withParameters(kind, 1, { labelSmoothing }),
        matrices:
          rows === undefined
            ? [matrix]
            : [
                matrix,
                {
                  name: 'memory',
                  tensor: rows,
                  ids: memory && { name: 'memory', data: memory.labels },
                  fromQueue: true,
                },
              ],
        rows: samples * views,
        dim,
        scale,
        emptyQueue: memory && { name: 'memory', owner: memory.owner },
      },
    };
  },
});

/**
 * SupCon: the positives of row i are all other rows of its class,
 *
 *     loss_i = log Σ_{j ≠ i} exp(s_ij) − mean over positives p of s_ip
 *
 * where s is the cosine divided by the temperature; with a `memory` j and p run over its rows too. A row alone in its class
 * has loss 0, counts in the mean, and counts as wrong in `top1` and `top5`: the loss is finite where the reference code
 * divides by zero. The reference's factor temperature / base_temperature is left out: pass it as `gradOutput` if you port
 * code that has it. With `denominator: 'positiveAndNegatives'` row i's loss is the mean over p of log (exp(s_ip) +
 * Σ_negatives exp(s_ij)) − s_ip; with `form: 'in'`, log of the mean over p of exp(s_ip) takes the place of the mean of s_ip.
 * pytorch-metric-learning's `NTXentLoss` is the former averaged over all pairs, which is equal where all classes have one
 * size.
 *
 * @returns `loss` (with `reduction: 'none'` of each row, B * V of them, sample by sample); unless `ranks: false`, `top1`
 * and `top5`; unless `gradient: false`, `gradFeatures` and `gradTemperature`.
 * @throws {@link InfoNCEError} (the promise rejects with it) for input that cannot be computed.
 * @see Khosla et al., "Supervised Contrastive Learning", 2020, equation 2 (L_out) and 3 (L_in); for `memory` Wang et al.,
 * "Cross-Batch Memory for Embedding Learning", 2020.
 * @function
 */
export const supCon = supConLoss.run;

/**
 * {@link supCon}, computed before it returns.
 *
 * @function
 */
export const supConSync = supConLoss.runSync;

/** Refuses rows that are all of one class: none has a negative. One row alone has no positive either, and loss 0. */
function checkClasses(labels: Int32Array, remembered: Int32Array = new Int32Array(0)): void {
  const rows = labels.length + remembered.length;
  const isFirst = (label: number) => label === labels[0];
  if (rows === 1 || !labels.every(isFirst) || !remembered.every(isFirst)) return;
  throw new InfoNCEError('ERR_INFONCE_RANGE', {
    argument: 'labels',
    expected: "two classes or more with denominator 'negatives'",
    got: `${rows} rows of one`,
    remedy: 'Rows of other classes are the negatives.',
  });
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
