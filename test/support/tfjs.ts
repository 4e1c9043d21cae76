import '@tensorflow/tfjs-backend-wasm';
import * as tf from '@tensorflow/tfjs';
import type { Tensor } from 'infonce';
import { clip, infoNCE, type LossTensor, ntXent, supCon } from 'infonce/tfjs';
import './contexts.js'; // the device under test
import { type FUNCTIONS, type Named, tensorsOf } from './problems.js';

tf.enableProdMode(); // says nothing about tfjs-node

/** The backends that run here. */
export const BACKENDS = ['cpu', 'wasm'] as const;

/** The same tensor in TensorFlow.js. */
export function toTf({ data, shape }: Tensor): tf.Tensor {
  return tf.tensor(data, [...shape]);
}

/** The options of a problem: all that is no tensor. */
function optionsOf(problem: Named): Named {
  const tensors = tensorsOf(problem);
  return Object.fromEntries(Object.entries(problem).filter(([key]) => !(key in tensors) && key !== 'labels'));
}

export type LossKind = keyof typeof FUNCTIONS;

function kindOf(problem: Named): LossKind {
  if ('query' in problem) return 'infoNCE';
  if ('imageFeatures' in problem) return 'clip';
  return 'labels' in problem ? 'supCon' : 'ntXent';
}

/** What the scale of a problem is called, and its value. */
export function scaleOf(problem: Named): readonly [name: 'temperature' | 'logitScale', value: number] {
  const name = 'logitScale' in problem ? 'logitScale' : 'temperature';
  return [name, problem[name] as number];
}

/** The plug-in's loss of a problem whose tensors are those of TensorFlow.js. */
export function pluginLoss(problem: Named, inputs: readonly tf.Tensor[], scale: tf.Tensor): tf.Tensor {
  const options = { ...optionsOf(problem), [scaleOf(problem)[0]]: scale } as object;
  const [first, second, negativeKeys] = inputs as tf.Tensor2D[];
  switch (kindOf(problem)) {
    case 'ntXent':
      return ntXent(first!, options);
    case 'supCon':
      return supCon(first!, problem.labels as Int32Array, options);
    case 'clip':
      return clip(first!, second!, options);
    default:
      return infoNCE(first!, second!, { ...options, ...(negativeKeys && { negativeKeys }) }) as LossTensor<'mean'>;
  }
}

/** The same in the operations of TensorFlow.js, which differentiates it by itself. */
export function plainLoss(problem: Named, inputs: readonly tf.Tensor[], scale: tf.Tensor): tf.Tensor {
  const unit = problem.normalize === false ? inputs : inputs.map(x => x.div(x.square().sum(-1, true).sqrt()));
  const factor = scaleOf(problem)[0] === 'logitScale' ? scale : scale.reciprocal();
  const rows = plainRows(problem, unit as tf.Tensor2D[], factor);
  if (problem.reduction === 'none') return rows;
  return problem.reduction === 'sum' ? rows.sum() : rows.mean();
}

function plainRows(problem: Named, [a, b, negatives]: readonly tf.Tensor2D[], factor: tf.Tensor): tf.Tensor1D {
  const logitsOf = (x: tf.Tensor2D, y: tf.Tensor2D) => tf.matMul(x, y, false, true).mul<tf.Tensor2D>(factor);
  const rows = a!.shape[0];
  const { labelSmoothing = 0, margin = 0 } = problem as { labelSmoothing?: number; margin?: number };
  switch (kindOf(problem)) {
    case 'clip': {
      const logits = logitsOf(a!, b!);
      return crossEntropy(logits, tf.eye(rows), labelSmoothing)
        .add(crossEntropy(logits.transpose(), tf.eye(rows), labelSmoothing))
        .div(2);
    }
    case 'infoNCE': {
      if (negatives === undefined) return crossEntropy(logitsOf(a!, b!), tf.eye(rows));
      if (problem.inBatch) {
        const candidates = tf.concat([b!, negatives]);
        const positives = tf.eye(rows, candidates.shape[0]);
        const logits = logitsOf(a!, candidates).sub<tf.Tensor2D>(positives.mul(margin).mul(factor));
        return crossEntropy(logits, positives, labelSmoothing);
      }
      const own = a!.mul(b!).sum(1, true);
      const others =
        problem.negativeMode === 'paired'
          ? a!.expandDims<tf.Tensor3D>(1).mul(negatives).sum(2)
          : tf.matMul(a!, negatives, false, true);
      const logits = tf.concat([own, others], 1).mul<tf.Tensor2D>(factor);
      const width = logits.shape[1];
      return crossEntropy(logits, tf.tile(tf.oneHot(tf.tensor1d([0], 'int32'), width).toFloat(), [rows, 1]));
    }
    default: {
      const logits = logitsOf(a!, a!).sub<tf.Tensor2D>(tf.eye(rows).mul(1e9));
      const positives = positivesOf(problem, rows);
      const has = positives.sum(1).greater(0).toFloat();
      if (labelSmoothing > 0) {
        // A row is no candidate of its own.
        const others = tf.scalar(1).sub(tf.eye(rows));
        const mean = logits
          .mul(others)
          .sum(1)
          .div(rows - 1);
        const target = logits
          .mul(positives)
          .sum(1)
          .mul(1 - labelSmoothing);
        return logits.logSumExp(1).sub(target).sub(mean.mul(labelSmoothing));
      }
      if (problem.denominator === 'positiveAndNegatives' || problem.debias !== undefined) {
        const isPositive = positives.greater(0).toFloat();
        const exponentials = logits.exp();
        const others = exponentials.mul(tf.scalar(1).sub(isPositive)).sum(1, true);
        const { beta = 0 } = (problem.debias ?? {}) as { beta?: number };
        const isOther = tf.scalar(1).sub(isPositive).sub(tf.eye(rows));
        const sumOf = (power: number) => logits.mul(power).exp().mul(isOther).sum(1, true);
        const all =
          beta === 0
            ? others
            : sumOf(1 + beta)
                .div(sumOf(beta))
                .mul(rows - 2);
        const rest = problem.debias === undefined ? all : debiased(problem, all, exponentials.mul(positives), factor);
        // log (e^s + rest) − s, also of a row without a rest.
        return tf.softplus(rest.add(1e-30).log().sub(logits)).mul(positives).sum(1);
      }
      // What is a positive has no part in the decoupled sum.
      const left = problem.denominator === 'negatives' ? logits.sub(positives.greater(0).toFloat().mul(1e9)) : logits;
      return left.logSumExp(1).sub(logits.mul(positives).sum(1)).mul(has);
    }
  }
}

/** log Σ exp(logits) − the mean of the positives' logits, row by row; `positives` holds their weights. */
function crossEntropy(logits: tf.Tensor2D, positives: tf.Tensor, smoothing = 0): tf.Tensor1D {
  const target = positives.mul(1 - smoothing).add(smoothing / logits.shape[1]);
  return logits.logSumExp(1).sub(logits.mul(target).sum(1));
}

/** The sum over the negatives of rows of one positive each, as the debiased loss estimates it. */
function debiased(problem: Named, others: tf.Tensor, positive: tf.Tensor, factor: tf.Tensor): tf.Tensor {
  const { tauPlus } = problem.debias as { tauPlus: number };
  const negatives = others.shape[0]! - 2;
  const estimate = others.sub(positive.sum(1, true).mul(tauPlus * negatives)).div(1 - tauPlus);
  return tf.maximum(estimate, factor.dataSync().map(scale => negatives * Math.exp(-scale))[0]!);
}

/** The weight of each row as a positive of each other. */
function positivesOf(problem: Named, rows: number): tf.Tensor2D {
  const labels = problem.labels as Int32Array | undefined;
  const views = (problem.nViews as number | undefined) ?? 2;
  const samples = rows / views;
  const isPositive = (i: number, j: number): boolean => {
    if (i === j) return false;
    if (labels !== undefined) return labels[i] === labels[j];
    if (i % samples !== j % samples) return false;
    return problem.positives === 'all' || Math.floor(j / samples) === (i < samples ? 1 : 0);
  };
  const all = Array.from({ length: rows }, (_, i) => {
    const row: number[] = Array.from({ length: rows }, (_, j) => (isPositive(i, j) ? 1 : 0));
    const count = row.reduce((sum, one) => sum + one, 0);
    return row.map(one => one / Math.max(count, 1));
  });
  return tf.tensor2d(all);
}
