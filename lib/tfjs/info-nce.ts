import * as tf from '@tensorflow/tfjs';
import {
  describeInfoNCE,
  INFO_NCE_OPTION_KEYS,
  type InfoNCEProblem,
  type InfoNCEOptions as Options,
} from '../losses/info-nce.js';
import type { NegativeQueue } from '../losses/negative-queue.js';
import type { Reduction } from '../losses/options.js';
import { type Call, checkOpKeys, type Input, type LossTensor, lossOf, type OpOptions } from './differentiable.js';
import { readScale, readTensor } from './tensor.js';

export interface InfoNCEOptions<R extends Reduction = Reduction> extends OpOptions<Options<R>> {
  /** Above 0; a tensor of one number gets its gradient. Default 0.1. */
  readonly temperature?: number | tf.Tensor | undefined;
  /**
   * [M, D] or, with `negativeMode: 'paired'`, [N, M, D]; or the keys of a queue, which have no gradient. Absent: the other
   * rows of `positiveKey`.
   */
  readonly negativeKeys?: tf.Tensor2D | tf.Tensor3D | NegativeQueue | undefined;
}

/**
 * The library's `infoNCE` as an op.
 *
 * @param query [N, D]
 * @param positiveKey [N, D]. Row i is the positive of query i.
 * @returns the loss, which can be differentiated once by both, by the tensor `negativeKeys` and by `temperature`.
 * @throws `InfoNCEError` for what cannot be computed.
 */
export function infoNCE<R extends Reduction = 'mean'>(
  query: tf.Tensor2D,
  positiveKey: tf.Tensor2D,
  options: InfoNCEOptions<R> = {},
): LossTensor<R> {
  return lossOf(infoNCECall(query, positiveKey, options)) as LossTensor<R>;
}

/** Reads the tensors. */
function infoNCECall(query: tf.Tensor2D, positiveKey: tf.Tensor2D, options: InfoNCEOptions): Call<InfoNCEProblem> {
  checkOpKeys(options, 'infoNCE', INFO_NCE_OPTION_KEYS, 'negativeKeys');
  const { context, temperature, negativeKeys, ...rest } = options;
  const problem = {
    ...rest,
    query: readTensor(query, 'query'),
    positiveKey: readTensor(positiveKey, 'positiveKey'),
    negativeKeys: negativeKeys instanceof tf.Tensor ? readTensor(negativeKeys, 'negativeKeys') : negativeKeys,
    temperature: readScale(temperature, 'temperature'),
  };
  const inputs: Input[] = [
    { tensor: query, gradient: 'gradQuery' },
    { tensor: positiveKey, gradient: 'gradPositiveKey' },
  ];
  if (negativeKeys instanceof tf.Tensor) inputs.push({ tensor: negativeKeys, gradient: 'gradNegativeKeys' });
  if (temperature instanceof tf.Tensor) inputs.push({ tensor: temperature, gradient: 'gradTemperature' });
  return { describe: describeInfoNCE, problem, inputs, context };
}
