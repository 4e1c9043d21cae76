import * as tf from '@tensorflow/tfjs';
import type { NegativeQueue, ProcessGroup } from 'infonce';
import { clip, infoNCE, ntXent, ntXentLoss, sigLip, supCon, supConLoss, viewBatches } from 'infonce/tfjs';
import { expectTypeOf, it } from 'vitest';

declare const matrix: tf.Tensor2D;
declare const temperature: tf.Variable<tf.Rank.R0>;
declare const labels: tf.Tensor1D;
declare const queue: NegativeQueue;
declare const group: ProcessGroup;
declare const reduction: 'mean' | 'none';
declare const model: tf.LayersModel;
declare const encoder: tf.Sequential;
declare const images: tf.Tensor4D;

it('ops give a scalar, or row losses with reduction none', () => {
  expectTypeOf(ntXent(matrix)).toEqualTypeOf<tf.Scalar>();
  expectTypeOf(ntXent(matrix, { temperature, reduction: 'sum' })).toEqualTypeOf<tf.Scalar>();
  expectTypeOf(clip(matrix, matrix, { logitScale: temperature, reduction: 'none' })).toEqualTypeOf<tf.Tensor1D>();
  expectTypeOf(supCon(matrix, labels, { reduction })).toEqualTypeOf<tf.Scalar | tf.Tensor1D>();
  expectTypeOf(infoNCE(matrix, matrix, { negativeKeys: queue })).toEqualTypeOf<tf.Scalar>();
});

it('ops take what encoders return, and what other ops do', () => {
  expectTypeOf(ntXent(encoder.apply(matrix))).toEqualTypeOf<tf.Scalar>();
  const [z] = [model.predict(matrix), tf.tidy(() => matrix.add(1))];
  expectTypeOf(clip(z!, encoder.apply(matrix), { negativeTexts: z })).toEqualTypeOf<tf.Scalar>();
  expectTypeOf(supCon(z!, tf.oneHot(labels, 3).argMax(1))).toEqualTypeOf<tf.Scalar>();
  expectTypeOf(infoNCE(z!, z!, { negativeKeys: [encoder.apply(matrix), queue] })).toEqualTypeOf<tf.Scalar>();
  // @ts-expect-error plain arrays are for 'infonce'
  ntXent([[1, 2]]);
});

it('every op takes a group', () => {
  const run = { group, gradients: 'mean' } as const;
  expectTypeOf(ntXent(matrix, { group })).toEqualTypeOf<tf.Scalar>();
  expectTypeOf(supCon(matrix, labels, run)).toEqualTypeOf<tf.Scalar>();
  expectTypeOf(clip(matrix, matrix, run)).toEqualTypeOf<tf.Scalar>();
  expectTypeOf(sigLip(matrix, matrix, { group })).toEqualTypeOf<tf.Scalar>();
  expectTypeOf(sigLip(matrix, matrix, { ...run, reduction: 'none' })).toEqualTypeOf<tf.Tensor1D>();
  expectTypeOf(infoNCE(matrix, matrix, { group })).toEqualTypeOf<tf.Scalar>();
  expectTypeOf(infoNCE(matrix, matrix, { ...run, negativeKeys: queue })).toEqualTypeOf<tf.Scalar>();
  // @ts-expect-error sums or means
  infoNCE(matrix, matrix, { group, gradients: 'none' });
  // @ts-expect-error a loss of a model takes none
  supConLoss({ group });
});

it('gradients are not asked for', () => {
  // @ts-expect-error the tape decides
  ntXent(matrix, { gradient: true });
  // @ts-expect-error a tensor carries no ranks
  ntXent(matrix, { ranks: true });
});

it('fits model.compile and model.fitDataset', () => {
  model.compile({ optimizer: 'adam', loss: ntXentLoss(), metrics: [ntXentLoss()] });
  model.fitDataset(viewBatches([matrix, matrix]), { epochs: 1 });
  viewBatches([images, images], { augment: rows => tf.image.flipLeftRight(rows) });
  // @ts-expect-error a loss of a model is a scalar
  ntXentLoss({ reduction: 'none' });
});
