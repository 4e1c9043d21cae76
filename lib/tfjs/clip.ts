import * as tf from '@tensorflow/tfjs';
import { CLIP_OPTION_KEYS, type ClipProblem, describeClip, type ClipOptions as Options } from '../losses/clip.js';
import type { Reduction } from '../losses/options.js';
import { type Call, checkOpKeys, type Input, type LossTensor, lossOf, type OpOptions } from './differentiable.js';
import { readScale, readTensor } from './tensor.js';

export interface ClipOptions<R extends Reduction = Reduction> extends OpOptions<Options<R>> {
  /**
   * The factor itself, 1 / temperature, not its logarithm. Above 0; a tensor of one number gets its gradient: CLIP learns
   * the logarithm, `logitScale: logScale.exp()`. Default 1 / 0.07.
   */
  readonly logitScale?: number | tf.Tensor | undefined;
}

/**
 * The library's `clip` as an op.
 *
 * @param imageFeatures [N, D]
 * @param textFeatures [N, D]. Row i belongs to image i.
 * @returns the loss, which can be differentiated once by both and by `logitScale`.
 * @throws `InfoNCEError` for what cannot be computed.
 */
export function clip<R extends Reduction = 'mean'>(
  imageFeatures: tf.Tensor2D,
  textFeatures: tf.Tensor2D,
  options: ClipOptions<R> = {},
): LossTensor<R> {
  return lossOf(clipCall(imageFeatures, textFeatures, options)) as LossTensor<R>;
}

/** Reads the tensors. */
export function clipCall(
  imageFeatures: tf.Tensor2D,
  textFeatures: tf.Tensor2D,
  options: ClipOptions,
): Call<ClipProblem> {
  checkOpKeys(options, 'clip', CLIP_OPTION_KEYS);
  const { context, logitScale, ...rest } = options;
  const problem = {
    ...rest,
    imageFeatures: readTensor(imageFeatures, 'imageFeatures'),
    textFeatures: readTensor(textFeatures, 'textFeatures'),
    logitScale: readScale(logitScale, 'logitScale'),
  };
  const inputs: Input[] = [
    { tensor: imageFeatures, gradient: 'gradImageFeatures' },
    { tensor: textFeatures, gradient: 'gradTextFeatures' },
  ];
  if (logitScale instanceof tf.Tensor) inputs.push({ tensor: logitScale, gradient: 'gradLogitScale' });
  return { describe: describeClip, problem, inputs, context };
}
