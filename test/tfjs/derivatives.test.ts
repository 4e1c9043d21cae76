import * as tf from '@tensorflow/tfjs';
import { infoNCESync, NegativeQueue, ntXentSync, sigLipSync } from 'infonce';
import { clip, infoNCE, ntXent, sigLip, supCon } from 'infonce/tfjs';
import { beforeAll, expect, it } from 'vitest';
import { newContext } from '../support/contexts.js';
import { normal, randomLabels } from '../support/random.js';
import { toTf } from '../support/tfjs.js';
import { thrownBy } from '../support/thrown.js';

const features = normal([8, 5], 1);
const matrix = () => toTf(features) as tf.Tensor2D;

beforeAll(() => tf.setBackend('cpu'));

it('computes the gradient only where a tape is on', () => {
  const context = newContext({ threads: 1 });
  const calls: boolean[] = [];
  const withTape = tf.valueAndGrad(x => {
    calls.push(tf.engine().isTapeOn());
    return ntXent(x as tf.Tensor2D, { context });
  })(matrix());
  const { loss, gradFeatures } = ntXentSync({ features }, { context });
  expect(calls).toEqual([true]);
  expect(withTape.value.dataSync()[0]).toBe(Math.fround(loss));
  expect(withTape.grad.dataSync()).toEqual(gradFeatures);
  expect(ntXent(matrix(), { context }).dataSync()[0]).toBe(Math.fround(loss));
  context.dispose();
});

it('multiplies by what comes after the loss', () => {
  const { gradFeatures } = ntXentSync({ features });
  const gradient = tf.grad(x => ntXent(x as tf.Tensor2D).mul(-2.5))(matrix());
  expect(gradient.dataSync()).toEqual(gradFeatures.map(value => -2.5 * value));
});

it('adds up where one tensor is given twice', () => {
  const once = tf.grads((a, b) => clip(a as tf.Tensor2D, b as tf.Tensor2D))([matrix(), matrix()]);
  const twice = tf.grad(x => clip(x as tf.Tensor2D, x as tf.Tensor2D))(matrix());
  expect(twice.dataSync()).toEqual(once[0]!.add(once[1]!).dataSync());
});

it('passes gradients on to a temperature that is computed', () => {
  const logScale = tf.scalar(1.5).variable();
  const { grads } = tf.variableGrads(() => clip(matrix(), matrix(), { logitScale: logScale.exp() }));
  const direct = tf.grad(s => clip(matrix(), matrix(), { logitScale: s }))(tf.scalar(Math.exp(1.5)));
  expect(grads[logScale.name]!.dataSync()[0]).toBeCloseTo(direct.dataSync()[0]! * Math.exp(1.5), 5);
  logScale.dispose();
});

it('passes gradients on to a logit scale and a bias that are learned together', () => {
  const other = normal([8, 5], 2);
  const expected = sigLipSync({ imageFeatures: features, textFeatures: other, logitScale: 4, logitBias: -2 });
  const [byScale, byBias] = tf.grads((logitScale, logitBias) =>
    sigLip(matrix(), toTf(other) as tf.Tensor2D, { logitScale, logitBias }),
  )([tf.scalar(4), tf.tensor1d([-2])]);
  expect(byScale!.dataSync()[0]).toBe(Math.fround(expected.gradLogitScale));
  expect(byBias!.dataSync()[0]).toBe(Math.fround(expected.gradLogitBias));
  expect(byBias!.shape).toEqual([1]);
  const alone = tf.grad(logitBias => sigLip(matrix(), toTf(other) as tf.Tensor2D, { logitScale: 4, logitBias }));
  expect(alone(tf.scalar(-2)).dataSync()).toEqual(byBias!.dataSync());
});

it('takes ids as tensors', () => {
  const imageIds = randomLabels(8, 3, 2);
  const textIds = randomLabels(8, 3, 3);
  const expected = sigLip(matrix(), matrix(), { imageIds, textIds }).dataSync();
  const tensors = { imageIds: tf.tensor1d(imageIds, 'int32'), textIds: tf.tensor1d([...textIds]) };
  expect(sigLip(matrix(), matrix(), tensors).dataSync()).toEqual(expected);
});

it('gives a temperature of shape [1] a gradient of that shape', () => {
  const gradient = tf.grad(t => ntXent(matrix(), { temperature: t }))(tf.tensor1d([0.3]));
  expect(gradient.shape).toEqual([1]);
});

it('takes labels as a tensor, and negatives of a queue', () => {
  const labels = randomLabels(8, 3, 2);
  const expected = supCon(matrix(), labels).dataSync();
  expect(supCon(matrix(), tf.tensor1d(labels, 'int32')).dataSync()).toEqual(expected);
  expect(supCon(matrix(), tf.tensor1d([...labels])).dataSync()).toEqual(expected);

  const queue = new NegativeQueue({ capacity: 4, dim: 5 });
  queue.enqueueSync(normal([4, 5], 3));
  const loss = (negativeKeys: tf.Tensor2D | NegativeQueue) => (x: tf.Tensor) =>
    infoNCE(x as tf.Tensor2D, matrix(), { negativeKeys });
  const byQueue = tf.grad(loss(queue))(matrix());
  const byTensor = tf.grad(loss(toTf(normal([4, 5], 3)) as tf.Tensor2D))(matrix());
  expect(byQueue.dataSync()).toEqual(byTensor.dataSync());
});

it.each(['mean', 'none'] as const)("refuses a second derivative instead of giving zeros, reduction '%s'", reduction => {
  const first = (x: tf.Tensor) => tf.grad(y => ntXent(y as tf.Tensor2D, { reduction }).sum())(x);
  const error = thrownBy(() => tf.grad(x => first(x).square().sum())(matrix()));
  expect(error.message).toContain('expected a first derivative of the loss, got a second one');
  const product = (x: tf.Tensor) => x.mul(first(x)).sum(); // whose derivative needs it in part
  expect(thrownBy(() => tf.grad(product)(matrix())).code).toBe('ERR_INFONCE_TYPE');
  // A tape around it is no second derivative: this one's way from x to the loss does not lead through the gradient.
  const around = tf.grad(x => {
    const { value, grad } = tf.valueAndGrad(y => ntXent(y as tf.Tensor2D, { reduction }).sum())(x);
    expect(grad.shape).toEqual([8, 5]);
    return value;
  })(matrix());
  expect(around.dataSync()).toEqual(first(matrix()).dataSync());
});

it('takes a guide of tensors, which are constants', () => {
  const keys = normal([8, 5], 2);
  const rows = { query: normal([8, 3], 3), positiveKey: normal([8, 3], 4) };
  const falseNegatives = { margin: 0.1, strategy: 'relative' } as const;
  const problem = { query: features, positiveKey: keys, falseNegatives: { ...falseNegatives, guide: rows } };
  const expected = infoNCESync(problem);
  expect(expected.loss).not.toBe(infoNCESync({ query: features, positiveKey: keys }).loss);
  const [query, positiveKey] = [rows.query, rows.positiveKey].map(toTf) as [tf.Tensor2D, tf.Tensor2D];
  const options = { falseNegatives: { ...falseNegatives, guide: { query, positiveKey } } };
  const gradient = tf.grad(x => infoNCE(x as tf.Tensor2D, toTf(keys) as tf.Tensor2D, options))(matrix());
  expect(gradient.dataSync()).toEqual(expected.gradQuery);
  const wrong = { falseNegatives: { margin: 0, guide: rows } } as never;
  expect(thrownBy(() => infoNCE(matrix(), matrix(), wrong)).message).toMatch(/guide\.query: expected a tf\.Tensor/);
});

it('takes lists of negatives, ids and biases, and leaves out what is detached', () => {
  const keys = normal([8, 5], 2);
  const lists = [normal([8, 5], 3), normal([8, 5], 4)] as const;
  const rows = {
    targets: Int32Array.of(1, 0, 2, 3, 4, 5, 7, 6),
    queryIds: randomLabels(8, 3, 5),
    keyIds: randomLabels(8, 3, 6),
    negativeBias: normal([16], 7).data,
  };
  const expected = infoNCESync({ query: features, positiveKey: keys, negativeKeys: lists, inBatch: true, ...rows });
  const loss = (detach: readonly 'positiveKey'[]) => (query: tf.Tensor, key: tf.Tensor, a: tf.Tensor, b: tf.Tensor) =>
    infoNCE(query as tf.Tensor2D, key as tf.Tensor2D, {
      negativeKeys: [a, b] as tf.Tensor2D[],
      inBatch: true,
      detach,
      ...rows,
    });
  const inputs = [features, keys, ...lists].map(toTf);
  const gradients = tf
    .grads(loss([]))(inputs)
    .map(gradient => gradient.dataSync());
  expect(gradients).toEqual([expected.gradQuery, expected.gradPositiveKey, ...expected.gradNegativeKeys]);
  const [query, , ...negatives] = inputs;
  const constant = tf.grads((q, a, b) => loss(['positiveKey'])(q!, inputs[1]!, a!, b!))([query!, ...negatives]);
  expect(constant.map(gradient => gradient.dataSync())).toEqual([expected.gradQuery, ...expected.gradNegativeKeys]);
  expect(() => tf.grads(loss(['positiveKey']))(inputs)).toThrow(
    /Cannot compute gradient of y=f\(x\) with respect to x/,
  );
});
