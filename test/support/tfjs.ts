import '@tensorflow/tfjs-backend-wasm';
import * as tf from '@tensorflow/tfjs';
import type { InfoNCERows, Tensor } from 'infonce';
import { clip, infoNCE, type LossTensor, ntXent, sigLip, supCon } from 'infonce/tfjs';
import './contexts.js'; // the device under test
import { type FUNCTIONS, type Named, tensorsOf } from './problems.js';

tf.enableProdMode(); // says nothing about tfjs-node

/** The backends that run here. */
export const BACKENDS = ['cpu', 'wasm'] as const;

/** The same tensor in TensorFlow.js. */
export function toTf({ data, shape }: Tensor): tf.Tensor {
  return tf.tensor(data, [...shape]);
}

/** The options of a problem: all properties except tensors. */
function optionsOf(problem: Named): Named {
  const tensors = tensorsOf(problem);
  const options = Object.entries(problem).filter(([key]) => !(key in tensors) && key !== 'labels');
  return { ...Object.fromEntries(options), ...guideOf(problem) };
}

interface Guided {
  readonly falseNegatives?: { readonly margin: number; readonly guide: Readonly<Record<string, Tensor>> };
}

/** The option with a guide, whose tensors are those of TensorFlow.js. */
function guideOf(problem: Named): Named {
  const { falseNegatives } = problem as Guided;
  if (falseNegatives === undefined) return {};
  const guide = Object.fromEntries(Object.entries(falseNegatives.guide).map(([name, rows]) => [name, toTf(rows)]));
  return { falseNegatives: { ...falseNegatives, guide } };
}

/** Whether a guide takes a candidate, of the keys and then the negatives, for a positive. */
function isClose(problem: Named): (i: number, j: number) => boolean {
  const { falseNegatives } = problem as Guided;
  if (falseNegatives === undefined) return () => false;
  const { margin, guide } = falseNegatives;
  const unit = (rows: Tensor) => tf.tidy(() => tf.div(toTf(rows), toTf(rows).norm(2, 1, true)));
  const candidates = tf.concat([unit(guide.positiveKey!), unit(guide.negativeKeys!)]);
  const cosines = tf.matMul(unit(guide.query!), candidates, false, true).arraySync() as number[][];
  return (i, j) => i !== j && cosines[i]![j]! > cosines[i]![i]! - margin;
}

type LossKind = keyof typeof FUNCTIONS;

function kindOf(problem: Named): LossKind {
  if ('query' in problem) return 'infoNCE';
  if ('imageFeatures' in problem) return 'logitBias' in problem ? 'sigLip' : 'clip';
  return 'labels' in problem ? 'supCon' : 'ntXent';
}

/** The names and values of a problem's scale and, if it has one, its bias. */
export function scalarsOf(problem: Named): readonly (readonly [name: string, value: number])[] {
  const names = ['temperature', 'logitScale', 'logitBias'].filter(name => name in problem);
  return names.map(name => [name, problem[name] as number]);
}

/** The plug-in's loss of a problem whose tensors are those of TensorFlow.js. */
export function pluginLoss(problem: Named, inputs: readonly tf.Tensor[], scalars: readonly tf.Tensor[]): tf.Tensor {
  const learned = Object.fromEntries(scalarsOf(problem).map(([name], i) => [name, scalars[i]]));
  const options = { ...optionsOf(problem), ...learned } as object;
  return LOSSES[kindOf(problem)].plugin(inputs as tf.Tensor2D[], options, problem);
}

/** The same in the operations of TensorFlow.js, which differentiates it by itself. */
export function plainLoss(problem: Named, inputs: readonly tf.Tensor[], scalars: readonly tf.Tensor[]): tf.Tensor {
  const unit = problem.normalize === false ? inputs : inputs.map(x => x.div(x.square().sum(-1, true).sqrt()));
  const [scale, bias] = scalars;
  const factor = 'logitScale' in problem ? scale! : scale!.reciprocal();
  const rows = LOSSES[kindOf(problem)].rows(problem, unit as tf.Tensor2D[], factor, bias);
  if (problem.reduction === 'none') return rows;
  return problem.reduction === 'sum' ? rows.sum() : rows.mean();
}

type Rows = (
  problem: Named,
  units: readonly tf.Tensor2D[],
  factor: tf.Tensor,
  bias: tf.Tensor | undefined,
) => tf.Tensor1D;

/** The op of a loss, and the losses of its rows in the operations of TensorFlow.js. */
interface Expressions {
  plugin(inputs: readonly tf.Tensor2D[], options: object, problem: Named): tf.Tensor;
  readonly rows: Rows;
}

const LOSSES: Readonly<Record<LossKind, Expressions>> = {
  ntXent: { plugin: ([features], options) => ntXent(features!, options), rows: rowsOfOneTower },
  supCon: {
    plugin: ([features], options, { labels }) => supCon(features!, labels as Int32Array, options),
    rows: rowsOfOneTower,
  },
  infoNCE: {
    plugin: ([query, key, negativeKeys], options) =>
      infoNCE(query!, key!, { ...options, ...(negativeKeys && { negativeKeys }) }) as LossTensor<'mean'>,
    rows: rowsOfInfoNCE,
  },
  clip: {
    plugin: ([image, text, negativeTexts], options) =>
      clip(image!, text!, { ...options, ...(negativeTexts && { negativeTexts }) }),
    rows: rowsOfClip,
  },
  sigLip: { plugin: ([image, text], options) => sigLip(image!, text!, options), rows: rowsOfSigLip },
};

function logitsBy(factor: tf.Tensor) {
  return (x: tf.Tensor2D, y: tf.Tensor2D) => tf.matMul(x, y, false, true).mul<tf.Tensor2D>(factor);
}

function rowsOfClip(problem: Named, [a, b, negatives]: readonly tf.Tensor2D[], factor: tf.Tensor): tf.Tensor1D {
  const logitsOf = logitsBy(factor);
  const rows = a!.shape[0];
  const { labelSmoothing = 0 } = problem as { labelSmoothing?: number };
  const same = leftOut(problem.imageIds as Int32Array, problem.textIds as Int32Array, i => i);
  const arePositives = problem.duplicates === 'positive';
  const pairs = logitsOf(a!, b!);
  const logits = arePositives ? pairs : pairs.sub<tf.Tensor2D>(maskOf(rows, rows, same));
  const positives = maskOf(rows, rows, (i, j) => i === j || (arePositives && same(i, j))).div<tf.Tensor2D>(LEFT_OUT);
  const others = negatives === undefined ? [] : [logitsOf(a!, negatives)];
  const ofImages = tf.concat<tf.Tensor2D>([logits, ...others], 1);
  const none = [0, negatives?.shape[0] ?? 0] as [number, number];
  return crossEntropy(ofImages, meanOver(positives).pad([[0, 0], none]), labelSmoothing)
    .add(crossEntropy(logits.transpose(), meanOver(positives.transpose()), labelSmoothing))
    .div(2);
}

function rowsOfSigLip(
  problem: Named,
  [a, b]: readonly tf.Tensor2D[],
  factor: tf.Tensor,
  bias: tf.Tensor | undefined,
): tf.Tensor1D {
  const logitsOf = logitsBy(factor);
  const rows = a!.shape[0];
  return tf
    .softplus(
      logitsOf(a!, b!)
        .add(bias!)
        .mul(signsOf(problem, rows, b!.shape[0])),
    )
    .sum(1);
}

function rowsOfInfoNCE(problem: Named, [a, b, negatives]: readonly tf.Tensor2D[], factor: tf.Tensor): tf.Tensor1D {
  const logitsOf = logitsBy(factor);
  const rows = a!.shape[0];
  const { labelSmoothing = 0, margin = 0 } = problem as { labelSmoothing?: number; margin?: number };
  const inBatch = negatives === undefined || problem.inBatch;
  const { targets, queryIds, keyIds, negativeIds, keyBias, negativeBias } = problem as unknown as InfoNCERows;
  if (problem.directions !== undefined) return directedRows(problem, logitsOf, a!, b!, negatives);
  if (inBatch && problem.negativeMode !== 'paired' && problem.hardness === undefined) {
    const candidates = negatives === undefined ? b! : tf.concat([b!, negatives]);
    const all = candidates.shape[0];
    const positive = (i: number) => targets?.[i] ?? i;
    const ids = keyIds && Int32Array.of(...keyIds, ...negativeIds!);
    const same = leftOut(queryIds, ids, positive);
    const arePositives = problem.duplicates === 'positive';
    const biases = Array.from({ length: all }, (_, j) => keyBias?.[j] ?? negativeBias?.[j - b!.shape[0]] ?? 0);
    const logits = logitsOf(a!, candidates)
      .add(biases.map(bias => Math.max(bias, -LEFT_OUT)))
      .sub<tf.Tensor2D>(maskOf(rows, all, (i, j) => !arePositives && same(i, j)))
      .sub<tf.Tensor2D>(maskOf(rows, all, isClose(problem)));
    const isPositive = (i: number, j: number) => j === positive(i) || (arePositives && same(i, j));
    const positives = maskOf(rows, all, isPositive).div<tf.Tensor2D>(LEFT_OUT);
    const withMargin = logits.sub<tf.Tensor2D>(positives.mul(margin).mul(factor));
    return crossEntropy(withMargin, meanOver(positives), labelSmoothing);
  }
  const keys = inBatch ? tf.matMul<tf.Tensor2D>(a!, b!, false, true) : a!.mul(b!).sum<tf.Tensor2D>(1, true);
  const isPositive = inBatch ? tf.eye(rows) : tf.ones<tf.Rank.R2>([rows, 1]);
  if (negatives === undefined) return crossEntropy(keys.mul<tf.Tensor2D>(factor), isPositive);
  const others =
    problem.negativeMode === 'paired'
      ? a!.expandDims<tf.Tensor3D>(1).mul(negatives).sum<tf.Tensor2D>(2)
      : tf.matMul<tf.Tensor2D>(a!, negatives, false, true);
  const positives = isPositive.pad<tf.Tensor2D>([
    [0, 0],
    [0, others.shape[1]!],
  ]);
  const cosines = tf.concat<tf.Tensor2D>([keys, others], 1);
  return crossEntropy(
    cosines.mul<tf.Tensor2D>(factor).add<tf.Tensor2D>(hardnessOf(problem, cosines, positives)),
    positives,
  );
}

function rowsOfOneTower(problem: Named, [a]: readonly tf.Tensor2D[], factor: tf.Tensor): tf.Tensor1D {
  const logitsOf = logitsBy(factor);
  const rows = a!.shape[0];
  const { labelSmoothing = 0 } = problem as { labelSmoothing?: number };
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
    return logits.logSumExp(1).sub(target).sub(mean.mul(labelSmoothing)).mul(has);
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
  if (problem.form === 'in') {
    // log of the weights that the mean gives, far below all logits for what is no positive.
    const weights = positives.add(tf.scalar(1e-30)).log();
    return logits.logSumExp(1).sub(logits.add(weights).logSumExp(1)).mul(has);
  }
  // What is a positive has no part in the decoupled sum.
  const left = problem.denominator === 'negatives' ? logits.sub(positives.greater(0).toFloat().mul(1e9)) : logits;
  const own = logits.mul(positives).sum<tf.Tensor1D>(1);
  const weights = problem.weighting === undefined ? tf.scalar(1) : weightsOf(problem, own, factor);
  return left.logSumExp(1).sub(own.mul(weights)).mul(has);
}

/** Constants: their values are read, and not differentiated. */
function weightsOf(problem: Named, own: tf.Tensor1D, factor: tf.Tensor): tf.Tensor1D {
  const { sigma = 0.5 } = problem.weighting as { sigma?: number };
  const softmax = tf.softmax(own.div<tf.Tensor1D>(factor).div<tf.Tensor1D>(sigma));
  return tf.tensor1d(softmax.dataSync().map(share => 2 - own.shape[0] * share));
}

/** Of all directions that the problem names, with negatives that are nobody's own. */
function directedRows(
  { directions, partition }: Named,
  logitsOf: (x: tf.Tensor2D, y: tf.Tensor2D) => tf.Tensor2D,
  a: tf.Tensor2D,
  b: tf.Tensor2D,
  negatives: tf.Tensor2D | undefined,
): tf.Tensor1D {
  const among = (x: tf.Tensor2D) => logitsOf(x, x).sub<tf.Tensor2D>(tf.eye(x.shape[0]).mul(LEFT_OUT));
  const withNegatives = (x: tf.Tensor2D) => (negatives === undefined ? [] : [logitsOf(x, negatives)]);
  const blocks: Readonly<Record<string, () => tf.Tensor2D[]>> = {
    queryToKey: () => [logitsOf(a, b), ...withNegatives(a)],
    keyToQuery: () => [logitsOf(b, a)],
    queryToQuery: () => [among(a)],
    keyToKey: () => [among(b), ...withNegatives(b)],
  };
  const positives = a
    .mul(b)
    .sum(1)
    .mul(logitsOf(tf.ones([1, 1]), tf.ones([1, 1])).reshape([]));
  const all = (directions as readonly string[]).map(direction => blocks[direction]!());
  if (partition !== 'perDirection') return tf.concat(all.flat(), 1).logSumExp(1).sub<tf.Tensor1D>(positives);
  const each = all.map(of => tf.concat(of, 1).logSumExp(1).sub<tf.Tensor1D>(positives));
  return tf.addN(each).div<tf.Tensor1D>(each.length);
}

/** Far below all logits. */
const LEFT_OUT = 1e9;

/** Whether a pair is left out for its ids, but no row's positive. */
function leftOut(ids: Int32Array | undefined, others: Int32Array | undefined, positive: (i: number) => number) {
  return (i: number, j: number): boolean => ids !== undefined && j !== positive(i) && ids[i] === others![j];
}

/** `LEFT_OUT` for the chosen pairs, else 0. */
function maskOf(rows: number, columns: number, isChosen: (i: number, j: number) => boolean): tf.Tensor2D {
  const row = (i: number) => Array.from({ length: columns }, (_, j) => (isChosen(i, j) ? LEFT_OUT : 0));
  return tf.tensor2d(Array.from({ length: rows }, (_, i) => row(i)));
}

/** The weights of the mean over the positives, row by row. `positives`: 1 for each of them, else 0. */
function meanOver(positives: tf.Tensor2D): tf.Tensor2D {
  return positives.div(positives.sum(1, true));
}

/** The term that hardness of all negatives adds to the logits: read out of the graph, it has no gradient. */
function hardnessOf(problem: Named, cosines: tf.Tensor2D, positives: tf.Tensor2D): tf.Tensor {
  const strength = (problem.hardness as { readonly strength: number } | undefined)?.strength ?? 0;
  return tf.tensor2d(cosines.arraySync()).mul(tf.sub(1, positives)).mul(strength);
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

/** -1 for pairs that are positives of the sigmoid loss, 1 for the others. */
function signsOf(problem: Named, rows: number, columns: number): tf.Tensor2D {
  const imageIds = problem.imageIds as Int32Array | undefined;
  const textIds = problem.textIds as Int32Array | undefined;
  const isPositive = (i: number, j: number) =>
    imageIds && textIds ? imageIds[i] === textIds[j] : problem.positives !== 'none' && i === j;
  const sign = (i: number, j: number) => (isPositive(i, j) ? -1 : 1);
  return tf.tensor2d(Array.from({ length: rows }, (_, i) => Array.from({ length: columns }, (_, j) => sign(i, j))));
}
