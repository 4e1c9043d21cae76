import * as tf from '@tensorflow/tfjs';
import { groupOf, OwnedProcessGroup } from '../distributed/owned-group.js';
import { type ClipOptions as ClipCore, type ClipRows, clipLoss } from '../losses/clip.js';
import { type FalseNegativesOf, withGuideRead } from '../losses/false-negatives.js';
import { infoNCELoss } from '../losses/info-nce.js';
import type { InfoNCEOptions as InfoNCECore } from '../losses/info-nce-options.js';
import type { InfoNCERows } from '../losses/info-nce-rows.js';
import type { NegativeQueue } from '../losses/negative-queue.js';
import { type NTXentOptions as NTXentCore, ntXentLoss } from '../losses/nt-xent.js';
import type { Reduction } from '../losses/options.js';
import { type SigLipOptions as SigLipCore, sigLipLoss } from '../losses/sig-lip.js';
import { type SupConOptions as SupConCore, supConLoss } from '../losses/sup-con.js';
import { type GroupOptions, type LossTensor, lossOf, type OpOptions, readCall } from './differentiable.js';
import { readTensor, type TensorArgument } from './tensor.js';

export interface NTXentOptions<R extends Reduction = Reduction> extends OpOptions<NTXentCore<R>>, GroupOptions {
  /** At least 1e-30; a tensor of one number gets its gradient. Default 0.1. */
  readonly temperature?: number | tf.Tensor | undefined;
}

/**
 * The library's `ntXent` as an op.
 *
 * @param features [nViews * B, D]; row v * B + b is view v of sample b, unless `layout` is `'interleaved'`.
 * @returns the loss, which can be differentiated once by `features` and by `temperature`.
 * @throws `InfoNCEError` for what cannot be computed.
 */
export function ntXent<R extends Reduction = 'mean'>(
  features: TensorArgument,
  options: NTXentOptions<R> = {},
): LossTensor<R> {
  const advice = 'It takes no labels. For model.compile there is ntXentLoss().';
  return lossOf<R>(readCall(ntXentLoss, { features }, options, advice));
}

export interface SupConOptions<R extends Reduction = Reduction> extends OpOptions<SupConCore<R>>, GroupOptions {
  /** At least 1e-30; a tensor of one number gets its gradient. Default 0.07. */
  readonly temperature?: number | tf.Tensor | undefined;
}

/**
 * The library's `supCon` as an op.
 *
 * @param features [N, D], or [B, V, D]: V views of each of B samples.
 * @param labels The class of each of N rows, or of each of B samples. Integers.
 * @returns the loss, which can be differentiated once by `features` and by `temperature`.
 * @throws `InfoNCEError` for what cannot be computed.
 */
export function supCon<R extends Reduction = 'mean'>(
  features: TensorArgument,
  labels: Int32Array | TensorArgument,
  options: SupConOptions<R> = {},
): LossTensor<R> {
  return lossOf<R>(readCall(supConLoss, { features, labels }, options));
}

export interface ClipOptions<R extends Reduction = Reduction> extends OpOptions<ClipCore<R>>, ClipRows, GroupOptions {
  /**
   * The factor itself, 1 / temperature, not its logarithm. Above 0, at most 1e30; a tensor of one number gets its
   * gradient: CLIP learns the logarithm, `logitScale: logScale.exp()`. Default 1 / 0.07.
   */
  readonly logitScale?: number | tf.Tensor | undefined;
  /** [M, D]. Further texts that belong to no image: candidates of every image. Default: none. */
  readonly negativeTexts?: TensorArgument | undefined;
}

/**
 * The library's `clip` as an op.
 *
 * @param imageFeatures [N, D]
 * @param textFeatures [N, D]. Row i belongs to image i.
 * @returns the loss, which can be differentiated once by both, by `negativeTexts` and by `logitScale`.
 * @throws `InfoNCEError` for what cannot be computed.
 */
export function clip<R extends Reduction = 'mean'>(
  imageFeatures: TensorArgument,
  textFeatures: TensorArgument,
  options: ClipOptions<R> = {},
): LossTensor<R> {
  return lossOf<R>(readCall(clipLoss, { imageFeatures, textFeatures }, options));
}

export interface SigLipOptions<R extends Reduction = Reduction> extends OpOptions<SigLipCore<R>>, GroupOptions {
  /** The factor itself, not its logarithm. Above 0, at most 1e30; a tensor of one number gets its gradient. Default 10. */
  readonly logitScale?: number | tf.Tensor | undefined;
  /** Added to every logit; a tensor of one number gets its gradient. Default -10. */
  readonly logitBias?: number | tf.Tensor | undefined;
  /** [N]. Pairs of equal ids are the positives, instead of pairs of equal index. Integers. Requires `textIds`. */
  readonly imageIds?: Int32Array | tf.Tensor | undefined;
  /** [N]. Requires `imageIds`. */
  readonly textIds?: Int32Array | tf.Tensor | undefined;
}

/**
 * The library's `sigLip` as an op.
 *
 * @param imageFeatures [N, D]
 * @param textFeatures [N, D]. Row i belongs to image i. With `positives: 'none'` [M, D].
 * @returns the loss, which can be differentiated once by both, by `logitScale` and by `logitBias`.
 * @throws `InfoNCEError` for what cannot be computed.
 */
export function sigLip<R extends Reduction = 'mean'>(
  imageFeatures: TensorArgument,
  textFeatures: TensorArgument,
  options: SigLipOptions<R> = {},
): LossTensor<R> {
  return lossOf<R>(readCall(sigLipLoss, { imageFeatures, textFeatures }, options));
}

export interface InfoNCEOptions<R extends Reduction = Reduction>
  extends Omit<OpOptions<InfoNCECore<R>>, 'falseNegatives'>,
    InfoNCERows,
    GroupOptions {
  /** Leaves out candidates that are likely to be positives. The guide's tensors are constants. */
  readonly falseNegatives?: FalseNegativesOf<TensorArgument> | undefined;
  /** At least 1e-30; a tensor of one number gets its gradient. Default 0.1. */
  readonly temperature?: number | tf.Tensor | undefined;
  /**
   * [M, D] or, with `negativeMode: 'paired'`, [N, M, D]; or a queue, whose rows have no gradient; or a list of queues and
   * tensors [N, D]. Default: the other rows of `positiveKey` are the negatives.
   */
  readonly negativeKeys?: TensorArgument | NegativeQueue | readonly (TensorArgument | NegativeQueue)[] | undefined;
}

/**
 * The library's `infoNCE` as an op.
 *
 * @param query [N, D]
 * @param positiveKey [N, D]. Row i is the positive of query i. With `targets` [K, D].
 * @returns the loss, which can be differentiated once by both, by the tensors of `negativeKeys` and by `temperature`. What
 * `detach` names is a constant.
 * @throws `InfoNCEError` for what cannot be computed.
 */
export function infoNCE<R extends Reduction = 'mean'>(
  query: TensorArgument,
  positiveKey: TensorArgument,
  options: InfoNCEOptions<R> = {},
): LossTensor<R> {
  const advice = 'Negative keys are an option: { negativeKeys }.';
  // What is no object of options is refused there.
  const read = OwnedProcessGroup.before(groupOf(options), () =>
    options instanceof tf.Tensor ? options : withGuideRead(options, readTensor),
  );
  return lossOf<R>(readCall(infoNCELoss, { query, positiveKey }, read, advice));
}
