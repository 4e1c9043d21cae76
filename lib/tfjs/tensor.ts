import { types } from 'node:util';
import * as tf from '@tensorflow/tfjs';
import { describeValue, InfoNCEError } from '../runtime/errors.js';
import { foreignNumbers, typedArrayOf } from '../runtime/foreign-tensor.js';
import type { Tensor } from '../runtime/host-tensor.js';
import { formatShape } from '../runtime/shape.js';

/**
 * What an op takes for a tensor: what `apply` and `predict` of an encoder return, in TypeScript's eyes. At run time it has to
 * be one tensor of float32.
 */
export type TensorArgument = tf.Tensor | tf.SymbolicTensor | readonly (tf.Tensor | tf.SymbolicTensor)[];

/** The numbers of a float32 tensor. Nothing is copied beyond what `dataSync` copies: on the cpu backend, nothing. */
export function readTensor(value: unknown, name: string): Tensor {
  const tensor = checkTensor(value, name);
  if (tensor.dtype !== 'float32') {
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: name,
      expected: 'a tensor of dtype float32',
      got: tensor.dtype,
      remedy: tensor.dtype === 'complex64' ? undefined : `Convert it: ${name}.toFloat().`,
    });
  }
  return { data: readSync(tensor, name) as Float32Array, shape: tensor.shape };
}

/** A temperature, logit scale or logit bias, which may be a tensor that is learned. */
export function readScalar(value: number | tf.Tensor | undefined, name: string): number | undefined {
  if (!(value instanceof tf.Tensor)) return value;
  const { data, shape } = readTensor(value, name);
  if (data.length !== 1) {
    throw new InfoNCEError('ERR_INFONCE_SHAPE', {
      argument: name,
      expected: 'a number or a tensor that holds one',
      got: `one of shape ${formatShape(shape)}`,
    });
  }
  return data[0];
}

/** One class or id for each row. */
export function readLabels(value: unknown, name: string): Int32Array {
  if (types.isInt32Array(value)) return value;
  const tensor = checkTensor(value, name, 'an Int32Array or a tf.Tensor1D');
  if (tensor.rank !== 1 || (tensor.dtype !== 'int32' && tensor.dtype !== 'float32')) {
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: name,
      expected: 'an Int32Array or a tf.Tensor1D of int32 or float32',
      got: `a tensor of shape ${formatShape(tensor.shape)} and dtype ${tensor.dtype}`,
      remedy: `It holds the class of each row. For one-hot ${name}: ${name}.argMax(1).`,
    });
  }
  const numbers = readSync(tensor, name);
  const labels = Int32Array.from(numbers);
  const wrong = labels.findIndex((label, row) => label !== numbers[row]);
  if (wrong >= 0) {
    throw new InfoNCEError('ERR_INFONCE_RANGE', {
      argument: name,
      expected: 'integers of 32 bits',
      got: `${numbers[wrong]} for row ${wrong}`,
    });
  }
  return labels;
}

function checkTensor(value: unknown, name: string, expected = 'a tf.Tensor'): tf.Tensor {
  if (!(value instanceof tf.Tensor)) {
    throw new InfoNCEError('ERR_INFONCE_TYPE', { argument: name, expected, ...insteadOfTensor(value, name) });
  }
  if (value.isDisposed) {
    throw new InfoNCEError('ERR_INFONCE_DISPOSED', {
      argument: name,
      expected: 'a tensor in use',
      got: 'one that was disposed',
      remedy: 'Was it made in a tf.tidy() that has ended? Return it from there, or tf.keep() it.',
    });
  }
  return value;
}

/** The expression of a tensor of the same numbers. */
function madeOf(value: unknown, name: string): string {
  const foreign = Array.isArray(value) ? undefined : foreignNumbers(value, name);
  if (foreign === undefined) return `tf.tensor(${name})`;
  const { shape } = foreign;
  return `tf.tensor(${typedArrayOf(foreign, 'Float32Array')}${shape === undefined ? '' : `, ${shape}`})`;
}

/** What is no tensor, and what to do about it. */
function insteadOfTensor(value: unknown, name: string): { readonly got: string; readonly remedy: string } {
  if (value instanceof tf.SymbolicTensor) {
    return {
      got: 'a symbolic tensor, which has no numbers',
      remedy:
        'Apply the encoder to a tensor, not to tf.input(). For model.compile there are ntXentLoss() and similar functions.',
    };
  }
  if (Array.isArray(value) && value[0] instanceof tf.Tensor) {
    return {
      got: `a list of ${value.length}`,
      remedy: `A model with several outputs gives one tensor for each: pass ${name}[0], or join them with tf.concat().`,
    };
  }
  return {
    got: describeValue(value),
    remedy: `Make one: ${madeOf(value, name)}. For plain arrays there is the same loss in 'infonce'.`,
  };
}

function readSync(tensor: tf.Tensor, name: string): ArrayLike<number> {
  try {
    return tensor.dataSync();
  } catch (cause) {
    throw new InfoNCEError('ERR_INFONCE_DEVICE', {
      argument: name,
      expected: 'a tensor whose numbers can be read at once',
      got: `one that the backend '${tf.getBackend()}' cannot read with dataSync()`,
      remedy: "Use the backend 'cpu', 'wasm' or 'tensorflow': await tf.setBackend('wasm').",
      cause,
    });
  }
}
