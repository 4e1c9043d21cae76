/**
 * Losses and metrics for `model.compile`. TensorFlow.js calls them with what `fit` was given for `y` and with the model's
 * output, a batch at a time.
 */
import * as tf from '@tensorflow/tfjs';
import { type ClipRows, clipLoss as clipDescription } from '../losses/clip.js';
import type { AnyLoss } from '../losses/loss.js';
import { ntXentLoss as ntXentDescription } from '../losses/nt-xent.js';
import { learnedScalars } from '../losses/scale.js';
import { supConLoss as supConDescription } from '../losses/sup-con.js';
import { checkViews } from '../losses/views.js';
import { InfoNCEError } from '../runtime/errors.js';
import type { Tensor } from '../runtime/host-tensor.js';
import { checkChoice } from '../runtime/options.js';
import { formatShape } from '../runtime/shape.js';
import { chanceOf, mismatchedRows, type TrainingStep, watchedForChance } from './at-chance.js';
import {
  type Call,
  checkOpKeys,
  type GroupOptions,
  lossOf,
  lossOfNumbers,
  type OpOptions,
  readCall,
  top1Of,
} from './differentiable.js';
import type { ClipOptions, NTXentOptions, SupConOptions } from './losses.js';
import { canBeMadeAgain, canBeSaved } from './saved-models.js';
import { readScalar } from './tensor.js';

/** A loss or metric for `model.compile`. */
export type LayersFunction = (yTrue: tf.Tensor, yPred: tf.Tensor) => tf.Scalar;

/** Options of {@link ntXentLoss} and {@link ntXentTop1}. */
export interface NTXentLossOptions extends Omit<NTXentOptions<'mean'>, 'reduction' | keyof GroupOptions> {
  /**
   * The place of the views in the model's output: `'rows'` (default), [nViews * B, D], in the `layout` of the options, as a
   * model with one input makes them of {@link viewBatches} (view-major); `'columns'`, [B, nViews * D], side by side in one
   * row, as a model with an input for each view does.
   */
  readonly views?: 'rows' | 'columns' | undefined;
}

/** Options of {@link supConLoss} and {@link supConTop1}. */
export type SupConLossOptions = Omit<SupConOptions<'mean'>, 'reduction' | 'memory' | keyof GroupOptions>;

/** Options of {@link clipLoss} and {@link clipTop1}. */
export type ClipLossOptions = Omit<
  ClipOptions<'mean'>,
  'reduction' | 'duplicates' | 'negativeTexts' | keyof ClipRows | keyof GroupOptions
>;

const WITHOUT_MEMORY = { less: ['memory'] };
const WITHOUT_IDS = { less: ['duplicates'] };
const VIEWS = ['rows', 'columns'] as const;

/**
 * NT-Xent of a model's output. `y` is ignored.
 *
 * With `views: 'rows'` the order of the rows says which belong together, and `model.fit` shuffles rows: train with {@link
 * viewBatches}. If the pairs turn out to be random, the process gets one warning with the code `INFONCE_LOSS_AT_CHANCE`.
 */
export function ntXentLoss(options: NTXentLossOptions = {}): LayersFunction {
  const { features, op, inRows } = checkNTXent(options, 'ntXentLoss');
  const watch = inRows ? watchedForChance('ntXentLoss') : undefined;
  return saveable(options, function ntXentLoss(_, yPred) {
    return tf.tidy(() => {
      const call = ntXentCall(features(yPred), op);
      const loss = lossOf<'mean'>(call);
      // Without a tape nothing is trained.
      if (watch !== undefined && tf.engine().isTapeOn()) watch(trainingStep(call, loss));
      return loss;
    });
  });
}

/** The share of rows whose positive comes first, as a metric for {@link ntXentLoss}. */
export function ntXentTop1(options: NTXentLossOptions = {}): LayersFunction {
  const { features, op } = checkNTXent(options, 'ntXentTop1');
  return saveable(options, function ntXentTop1(_, yPred) {
    return tf.tidy(() => top1Of(ntXentCall(features(yPred), op)));
  });
}

/**
 * SupCon of a model's output [N, D]. `y` holds the classes of the rows: integers, [N] or [N, 1], or one-hot, [N, classes].
 */
export function supConLoss(options: SupConLossOptions = {}): LayersFunction {
  checkOptions(supConDescription, options, 'supConLoss', WITHOUT_MEMORY);
  return saveable(options, function supConLoss(yTrue, yPred) {
    return tf.tidy(() => lossOf<'mean'>(supConCall(yTrue, yPred, options)));
  });
}

/** The share of rows for which a row of their class comes first, as a metric for {@link supConLoss}. */
export function supConTop1(options: SupConLossOptions = {}): LayersFunction {
  checkOptions(supConDescription, options, 'supConTop1', WITHOUT_MEMORY);
  return saveable(options, function supConTop1(yTrue, yPred) {
    return tf.tidy(() => top1Of(supConCall(yTrue, yPred, options)));
  });
}

/**
 * The CLIP loss of a model with two towers, whose output [N, 2 * D] has the image's embedding and the text's side by side.
 * `y` is ignored.
 */
export function clipLoss(options: ClipLossOptions = {}): LayersFunction {
  checkOptions(clipDescription, options, 'clipLoss', WITHOUT_IDS);
  return saveable(options, function clipLoss(_, yPred) {
    return tf.tidy(() => lossOf<'mean'>(clipCall(yPred, options)));
  });
}

/** The share of rows, over both directions, whose partner comes first, as a metric for {@link clipLoss}. */
export function clipTop1(options: ClipLossOptions = {}): LayersFunction {
  checkOptions(clipDescription, options, 'clipTop1', WITHOUT_IDS);
  return saveable(options, function clipTop1(_, yPred) {
    return tf.tidy(() => top1Of(clipCall(yPred, options)));
  });
}

for (const make of [ntXentLoss, ntXentTop1, supConLoss, supConTop1, clipLoss, clipTop1]) canBeMadeAgain(make);

/** Has models that are compiled with the function saved with its options: numbers for tensors, and no context. */
function saveable(options: OpOptions<object>, made: LayersFunction): LayersFunction {
  return canBeSaved(made, () => {
    const { context: _context, ...kept } = options;
    const numbers = Object.entries(kept).map(([name, value]: [string, unknown]) => [
      name,
      value instanceof tf.Tensor ? readScalar(value, name) : value,
    ]);
    return Object.fromEntries(numbers) as Record<string, unknown>;
  });
}

// Options are checked where the model is compiled, not in the middle of fit.

function checkNTXent(options: NTXentLossOptions, name: string) {
  checkOptions(ntXentDescription, options, name, { more: ['views'] });
  const { views, ...op } = options;
  const nViews = checkViews(op.nViews);
  const inColumns = checkChoice(views, 'views', VIEWS) === 'columns';
  if (inColumns && op.layout === 'interleaved') {
    throw new InfoNCEError('ERR_INFONCE_RANGE', {
      argument: 'layout',
      expected: "nothing with views: 'columns'",
      got: "'interleaved'",
      remedy: 'It is the order of rows. In columns the views of a sample share one row.',
    });
  }
  const features = (yPred: tf.Tensor): tf.Tensor =>
    inColumns ? tf.concat(columnsOf(yPred, nViews, 'nViews * D'), 0) : yPred;
  return { features, op, inRows: !inColumns };
}

function trainingStep(call: Call, loss: tf.Scalar): TrainingStep {
  const options = call.problem as NTXentOptions;
  const { data, shape } = (call.problem as { readonly features: Tensor }).features;
  const [rows] = shape as [number, number];
  const views = checkViews(options.nViews);
  return {
    loss: loss.dataSync()[0]!,
    // Of the views of one sample there is nothing to say.
    chance: rows > views ? chanceOf(rows, options) : 0,
    mismatched: () => {
      const features = {
        data: mismatchedRows(data, { rows, views, interleaved: options.layout === 'interleaved' }),
        shape,
      };
      return lossOfNumbers({ ...call, problem: { ...call.problem, features } as Call['problem'] });
    },
  };
}

function checkOptions(
  loss: AnyLoss,
  options: OpOptions<object>,
  name: string,
  { less = [], more = [] }: { readonly less?: readonly string[]; readonly more?: readonly string[] } = {},
): void {
  checkCalled(options, name);
  const known = loss.optionKeys.filter(key => key !== 'reduction' && !less.includes(key));
  checkOpKeys(options, name, [...known, ...more]);
  const given = options as { readonly [option: string]: number | tf.Tensor | undefined };
  const scalars = learnedScalars(loss).map(({ option }) => [option, readScalar(given[option], option)] as const);
  loss.checkOptions({ ...options, ...Object.fromEntries(scalars) });
}

/** `loss: ntXentLoss` in the place of `loss: ntXentLoss()` has TensorFlow.js call it with y. */
function checkCalled(options: unknown, name: string): void {
  if (!(options instanceof tf.Tensor)) return;
  throw new InfoNCEError('ERR_INFONCE_TYPE', {
    argument: name,
    expected: 'an object of options',
    got: 'a tensor',
    remedy: `It makes a function for model.compile: write ${name}().`,
  });
}

function ntXentCall(features: tf.Tensor, options: NTXentOptions): Call {
  return readCall(ntXentDescription, { features }, options);
}

function supConCall(yTrue: tf.Tensor, features: tf.Tensor, options: SupConOptions): Call {
  return readCall(supConDescription, { features, labels: classesOf(yTrue) }, options);
}

function clipCall(yPred: tf.Tensor, options: ClipOptions): Call {
  const [imageFeatures, textFeatures] = columnsOf(yPred, 2, '2 * D');
  return readCall(clipDescription, { imageFeatures, textFeatures }, options);
}

function columnsOf(yPred: tf.Tensor, parts: number, width: string): tf.Tensor2D[] {
  if (yPred.rank !== 2 || yPred.shape[1]! % parts !== 0) {
    throw new InfoNCEError('ERR_INFONCE_SHAPE', {
      argument: "the model's output",
      expected: `[N, ${width}]`,
      got: formatShape(yPred.shape),
      remedy: 'Join the towers: tf.layers.concatenate().apply([first, second]).',
    });
  }
  return tf.split(yPred as tf.Tensor2D, parts, 1);
}

function classesOf(yTrue: tf.Tensor): tf.Tensor1D {
  if (yTrue.rank !== 2) return yTrue as tf.Tensor1D;
  if (yTrue.shape[1] === 1) return yTrue.as1D();
  const numbers = yTrue.toFloat();
  const without = numbers.min(1).equal(numbers.max(1));
  const row = without.dataSync().indexOf(1);
  if (row < 0) return numbers.argMax(1);
  throw new InfoNCEError('ERR_INFONCE_RANGE', {
    argument: 'y',
    expected: 'one-hot classes of the rows',
    got: `equal numbers in row ${row}`,
    remedy: 'They have to say which rows belong together: tf.oneHot(classes, width).',
  });
}
