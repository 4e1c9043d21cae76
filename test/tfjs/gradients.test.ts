import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import type { CommonOptions, Tensor } from 'infonce';
import { beforeAll, describe, expect, it } from 'vitest';
import { cancellationFloor, expectClose, HIGHEST } from '../support/compare.js';
import {
  gradientName,
  LOSSES,
  type LossName,
  type Named,
  randomCase,
  rowsOf,
  type Sizes,
  tensorsOf,
} from '../support/problems.js';
import { normal } from '../support/random.js';
import { BACKENDS, plainLoss, pluginLoss, scalarsOf, toTf } from '../support/tfjs.js';

/** ‖out − ref‖ / ‖ref‖, both float32. */
const TOLERANCE = 1e-5;

/** Neither small nor cold: there the formula in float32, a logarithm minus a logit near it, is off by more than this. */
const sizes = fc.record<Sizes>({
  samples: fc.integer({ min: 8, max: 24 }),
  dim: fc.integer({ min: 5, max: 40 }),
  views: fc.integer({ min: 2, max: 4 }),
  negatives: fc.integer({ min: 8, max: 30 }),
  temperature: fc.double({ min: Math.log(0.2), max: Math.log(2), noNaN: true }).map(Math.exp),
  noise: fc.double({ min: 1, max: 3, noNaN: true }),
  seed: fc.nat(1_000_000),
});

const options = fc.record({
  reduction: fc.constantFrom('mean', 'sum', 'none'),
  normalize: fc.boolean(),
});

type Loss = typeof plainLoss;

/** The losses, and the gradients by every input, by the temperature or scale and by the bias for random upstream gradients. */
function differentiate(loss: Loss, problem: Named, upstream: Tensor): readonly Float32Array[] {
  return tf.tidy(() => {
    const tensors = Object.values(tensorsOf(problem)).map(toTf);
    const inputs = [...tensors, ...scalarsOf(problem).map(([, value]) => tf.scalar(value))];
    const count = tensors.length;
    const differentiated = tf.valueAndGrads((...given) => loss(problem, given.slice(0, count), given.slice(count)));
    const { value, grads } = differentiated(inputs, toTf(upstream));
    expect(grads.map(({ shape }) => shape)).toEqual(inputs.map(({ shape }) => shape));
    return [value, ...grads].map(tensor => tensor.dataSync() as Float32Array);
  });
}

/** What is left in a gradient where nearly all cancels is known no better than what cancelled. */
function floorsOf(name: LossName, drawn: Sizes, common: CommonOptions, { data }: Tensor): number[] {
  const { problem, reference } = randomCase(name, drawn, { ...common, gradOutput: data });
  const { gradients } = reference();
  const names = [...Object.keys(tensorsOf(problem)), ...scalarsOf(problem).map(([scalar]) => scalar)];
  return [0, ...names.map(input => cancellationFloor(gradients[gradientName(input)]!.terms, HIGHEST))];
}

describe.each(BACKENDS)('backend %s', backend => {
  beforeAll(async () => {
    await tf.setBackend(backend);
    await tf.ready();
    expect(tf.getBackend()).toBe(backend);
  });

  it.each(LOSSES)('%s has the loss and gradients that TensorFlow.js finds itself', name => {
    fc.assert(
      fc.property(sizes, options, (drawn, common) => {
        const { problem } = randomCase(name, drawn, common);
        const upstream = normal(common.reduction === 'none' ? [rowsOf(name, drawn)] : [], drawn.seed + 7);
        const ours = differentiate(pluginLoss, problem, upstream);
        const theirs = differentiate(plainLoss, problem, upstream);
        const floors = floorsOf(name, drawn, common, upstream);
        expect(floors.length).toBe(ours.length);
        theirs.forEach((expected, i) => {
          expectClose(ours[i]!, expected, TOLERANCE, floors[i]!, i === 0 ? 'loss' : `gradient ${i}`);
        });
      }),
      { numRuns: 25, seed: 20_261_122 },
    );
  });
});
