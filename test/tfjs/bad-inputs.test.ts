import * as tf from '@tensorflow/tfjs';
import {
  clip,
  clipLoss,
  infoNCE,
  ntXent,
  ntXentLoss,
  ntXentTop1,
  sigLip,
  supCon,
  supConLoss,
  viewBatches,
} from 'infonce/tfjs';
import { beforeAll, expect, it } from 'vitest';
import { thrownBy, wrong } from '../support/thrown.js';
import '../support/tfjs.js';

const z = (rows = 4, columns = 3) => tf.ones<tf.Rank.R2>([rows, columns]);
const labels = Int32Array.of(0, 0, 1, 1);

function disposed(): tf.Tensor2D {
  const tensor = z();
  tensor.dispose();
  return tensor;
}

beforeAll(() => tf.setBackend('cpu'));

const CASES: [what: string, call: () => unknown, code: string, says: string][] = [
  ['a plain array', () => ntXent(wrong([[1, 2]])), 'TYPE', 'features: expected a tf.Tensor, got a plain array of 1.'],
  ['several outputs', () => ntXent([z(), z()]), 'TYPE', 'features: expected a tf.Tensor, got a list of 2.'],
  [
    'a symbolic tensor',
    () => ntXent(tf.input({ shape: [3] })),
    'TYPE',
    'Apply the encoder to a tensor, not to tf.input()',
  ],
  ['symbolic negatives', () => infoNCE(z(), z(), { negativeKeys: tf.input({ shape: [3] }) }), 'TYPE', 'negativeKeys: '],
  ['a scalar', () => ntXent(tf.scalar(1)), 'SHAPE', 'features.shape: expected [nViews * B, D], got []'],
  [
    'images',
    () => ntXent(tf.ones([4, 2, 2, 3])),
    'SHAPE',
    'got [4, 2, 2, 3]. An embedding is a row: end the encoder with tf.layers.flatten()',
  ],
  ['nothing', () => clip(z(), wrong(undefined)), 'TYPE', 'textFeatures: expected a tf.Tensor, got undefined'],
  ['one dimension', () => ntXent(wrong(tf.ones([4]))), 'SHAPE', 'features.shape: expected [nViews * B, D]'],
  ['three dimensions', () => clip(wrong(tf.ones([2, 2, 2])), z()), 'SHAPE', 'imageFeatures.shape'],
  ['no rows', () => ntXent(z(0)), 'SHAPE', 'every dimension a positive integer'],
  ['integers', () => ntXent(z().toInt()), 'TYPE', 'got int32. Convert it: features.toFloat().'],
  ['booleans', () => ntXent(z().toBool()), 'TYPE', 'got bool'],
  ['complex numbers', () => ntXent(tf.complex(z(), z()) as tf.Tensor2D), 'TYPE', 'float32, got complex64'],
  ['a disposed tensor', () => ntXent(disposed()), 'DISPOSED', 'got one that was disposed. Was it made in a tf.tidy()'],
  ['rows that are no pairs', () => ntXent(z(3)), 'VIEWS', 'rows divisible by nViews = 2'],
  ['towers that differ', () => infoNCE(z(), z(5)), 'SHAPE', 'positiveKey.shape'],
  [
    'paired negatives as [M, D]',
    () => infoNCE(z(), z(), { negativeKeys: z(), negativeMode: 'paired' }),
    'SHAPE',
    "'unpaired'",
  ],
  ['several temperatures', () => ntXent(z(), { temperature: tf.ones([2]) }), 'SHAPE', 'a tensor that holds one'],
  ['a temperature that became negative', () => ntXent(z(), { temperature: tf.scalar(-1) }), 'RANGE', 'temperature'],
  [
    'several biases',
    () => sigLip(z(), z(), { logitBias: tf.ones([2]) }),
    'SHAPE',
    'logitBias: expected a number or a tensor',
  ],
  [
    'ids with fractions',
    () => sigLip(z(), z(), { imageIds: tf.tensor1d([0, 0.5, 1, 1]), textIds: labels }),
    'RANGE',
    'imageIds: expected integers of 32 bits, got 0.5 for row 1',
  ],
  ['a temperature in words', () => ntXent(z(), { temperature: wrong('0.1') }), 'TYPE', 'Number(temperature)'],
  ['too few labels', () => supCon(z(), Int32Array.of(1, 2)), 'SHAPE', 'expected 4 labels'],
  ['labels in a plain array', () => supCon(z(), wrong([0, 0, 1, 1])), 'TYPE', 'an Int32Array or a tf.Tensor1D'],
  ['one-hot labels', () => supCon(z(), wrong(tf.oneHot([0, 1, 1, 0], 2))), 'TYPE', 'labels.argMax(1)'],
  ['labels with fractions', () => supCon(z(), tf.tensor1d([0, 0.5, 1, 1])), 'RANGE', 'got 0.5 for row 1'],
  ['gradient', () => ntXent(z(), wrong<object>({ gradient: true })), 'TYPE', 'It is computed when it is asked for'],
  ['gradOutput', () => supCon(z(), labels, wrong<object>({ gradOutput: 2 })), 'TYPE', 'Multiply the loss'],
  [
    'ranks',
    () => ntXent(z(), wrong<object>({ ranks: false })),
    'TYPE',
    'ntXentTop1() and similar functions are metrics',
  ],
  ['an unknown option', () => ntXent(z(), wrong<object>({ temprature: 1 })), 'TYPE', "Did you mean 'temperature'?"],
  ['NaN', () => ntXent(z().mul(Number.NaN)), 'NON_FINITE', 'features'],
  ['a loss with one view', () => ntXentLoss({ nViews: 1 }), 'VIEWS', 'nViews'],
  ['a loss at temperature 0', () => supConLoss({ temperature: 0 }), 'RANGE', 'temperature'],
  ['a metric with a reduction', () => ntXentTop1(wrong({ reduction: 'sum' })), 'TYPE', "'reduction'"],
  ['views somewhere else', () => ntXentLoss({ views: wrong('column') }), 'RANGE', "Did you mean 'columns'?"],
  [
    'towers that cannot be halved',
    () => clipLoss()(z(), z(4, 3)),
    'SHAPE',
    "the model's output: expected [N, 2 * D], got [4, 3]",
  ],
  ['a loss that was not made', () => ntXentLoss(wrong(z())), 'TYPE', 'write ntXentLoss().'],
  ['an op as the loss of a model', () => ntXent(z(), wrong<object>(z())), 'TYPE', 'there is ntXentLoss().'],
  ['negative keys that are no option', () => infoNCE(z(), z(), wrong<object>(z())), 'TYPE', '{ negativeKeys }'],
  ['classes that say nothing', () => supConLoss()(tf.zeros([4, 3]), z()), 'RANGE', 'got equal numbers in row 0'],
  ['a class for some rows', () => supConLoss()(tf.eye(4, 3), z()), 'RANGE', 'got equal numbers in row 3'],
  ['a single view', () => viewBatches([z()]), 'TYPE', 'at least two tensors'],
  ['no tensors', () => viewBatches(wrong<tf.Tensor[]>([[1], [2]])), 'TYPE', 'at least two tensors'],
  [
    'views of other samples',
    () => viewBatches([z(), z(5)]),
    'SHAPE',
    'tensors of one shape, [4, 3], got one of [5, 3]',
  ],
  ['no batch size', () => viewBatches([z(), z()], { batchSize: 0 }), 'RANGE', 'It counts samples'],
  [
    'augment that is none',
    () => viewBatches([z(), z()], { augment: wrong(tf) }),
    'TYPE',
    'augment: expected a function',
  ],
  ['labels of rows', () => viewBatches([z(), z()], { labels: new Int32Array(8) }), 'SHAPE', '4, one for each sample'],
];

it.each(CASES)('refuses %s', (_, call, code, says) => {
  const error = thrownBy(call);
  expect(error.code).toBe(`ERR_INFONCE_${code}`);
  expect(error.message).toContain(says);
});

it('says which backend cannot be read at once', () => {
  const tensor = z();
  tensor.dataSync = () => {
    throw new Error('not here');
  };
  const error = thrownBy(() => ntXent(tensor));
  expect(error).toMatchObject({ code: 'ERR_INFONCE_DEVICE', cause: expect.objectContaining({ message: 'not here' }) });
  expect(error.message).toContain("await tf.setBackend('wasm')");
});
