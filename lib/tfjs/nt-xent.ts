import * as tf from '@tensorflow/tfjs';
import {
  describeNTXent,
  NT_XENT_OPTION_KEYS,
  type NTXentProblem,
  type NTXentOptions as Options,
} from '../losses/nt-xent.js';
import type { Reduction } from '../losses/options.js';
import { type Call, checkOpKeys, type Input, type LossTensor, lossOf, type OpOptions } from './differentiable.js';
import { readScale, readTensor } from './tensor.js';

export interface NTXentOptions<R extends Reduction = Reduction> extends OpOptions<Options<R>> {
  /** Above 0; a tensor of one number gets its gradient. Default 0.1. */
  readonly temperature?: number | tf.Tensor | undefined;
}

/**
 * The library's `ntXent` as an op.
 *
 * @param features [nViews * B, D], view-major: row v * B + b is view v of sample b.
 * @returns the loss, which can be differentiated once by `features` and by `temperature`.
 * @throws `InfoNCEError` for what cannot be computed.
 */
export function ntXent<R extends Reduction = 'mean'>(
  features: tf.Tensor2D,
  options: NTXentOptions<R> = {},
): LossTensor<R> {
  return lossOf(ntXentCall(features, options)) as LossTensor<R>;
}

/** Reads the tensors. */
export function ntXentCall(features: tf.Tensor2D, options: NTXentOptions): Call<NTXentProblem> {
  checkOpKeys(options, 'ntXent', NT_XENT_OPTION_KEYS);
  const { context, temperature, ...rest } = options;
  const problem = {
    ...rest,
    features: readTensor(features, 'features'),
    temperature: readScale(temperature, 'temperature'),
  };
  const inputs: Input[] = [{ tensor: features, gradient: 'gradFeatures' }];
  if (temperature instanceof tf.Tensor) inputs.push({ tensor: temperature, gradient: 'gradTemperature' });
  return { describe: describeNTXent, problem, inputs, context };
}
