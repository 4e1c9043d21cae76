import * as tf from '@tensorflow/tfjs';
import type { Reduction } from '../losses/options.js';
import {
  describeSupCon,
  type SupConOptions as Options,
  SUP_CON_OPTION_KEYS,
  type SupConProblem,
} from '../losses/sup-con.js';
import { type Call, checkOpKeys, type Input, type LossTensor, lossOf, type OpOptions } from './differentiable.js';
import { readLabels, readScale, readTensor } from './tensor.js';

export interface SupConOptions<R extends Reduction = Reduction> extends OpOptions<Options<R>> {
  /** Above 0; a tensor of one number gets its gradient. Default 0.07. */
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
  features: tf.Tensor2D | tf.Tensor3D,
  labels: Int32Array | tf.Tensor1D,
  options: SupConOptions<R> = {},
): LossTensor<R> {
  return lossOf(supConCall(features, labels, options)) as LossTensor<R>;
}

/** Reads the tensors. */
export function supConCall(
  features: tf.Tensor2D | tf.Tensor3D,
  labels: Int32Array | tf.Tensor1D,
  options: SupConOptions,
): Call<SupConProblem> {
  checkOpKeys(options, 'supCon', SUP_CON_OPTION_KEYS);
  const { context, temperature, ...rest } = options;
  const problem = {
    ...rest,
    features: readTensor(features, 'features'),
    labels: readLabels(labels),
    temperature: readScale(temperature, 'temperature'),
  };
  const inputs: Input[] = [{ tensor: features, gradient: 'gradFeatures' }];
  if (temperature instanceof tf.Tensor) inputs.push({ tensor: temperature, gradient: 'gradTemperature' });
  return { describe: describeSupCon, problem, inputs, context };
}
