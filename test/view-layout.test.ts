import { init, numpy as np } from '@jax-js/jax';
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import {
  accumulate,
  matryoshka,
  memoryRequired,
  NTXent,
  type NTXentProblem,
  ntXent,
  ntXentLogits,
  ntXentSync,
  type Tensor,
} from 'infonce';
import * as jaxJs from 'infonce/jax-js';
import * as tfjs from 'infonce/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { newContext } from './support/contexts.js';
import { toHalf } from './support/half.js';
import { FUNCTIONS, LOSSES, type Named, randomCase, type Sizes } from './support/problems.js';
import { normal } from './support/random.js';
import { thrownBy } from './support/thrown.js';

const interleaved = { layout: 'interleaved' } as const;

/** Rows in another order: row `sourceOf(i)` in the place of row i. */
function reordered<Data extends Float32Array | Uint16Array>(
  data: Data,
  rows: number,
  sourceOf: (row: number) => number,
): Data {
  const width = data.length / rows;
  const copy = data.slice() as Data;
  for (let row = 0; row < rows; row++) {
    const from = sourceOf(row);
    copy.set(data.subarray(from * width, (from + 1) * width), row * width);
  }
  return copy;
}

/** View v of sample s from row v * B + s to row s * V + v. */
function interleave<Data extends Float32Array | Uint16Array>(data: Data, rows: number, views: number): Data {
  return reordered(data, rows, row => (row % views) * (rows / views) + Math.floor(row / views));
}

interface Drawn {
  /** View-major. */
  readonly problem: NTXentProblem & { readonly features: Tensor };
  readonly rows: number;
  readonly views: number;
  /** The same with its rows, and upstream gradients of rows, interleaved. */
  readonly other: NTXentProblem & { readonly features: Tensor };
}

function draw(loss: string, sizes: Sizes, options: object = {}): Drawn {
  const problem = { ...randomCase(loss, sizes).problem, ...options } as unknown as Drawn['problem'];
  const { features, nViews: views = 2, gradOutput } = problem;
  const [rows] = features.shape as [number, number];
  const upstream = gradOutput instanceof Float32Array && { gradOutput: interleave(gradOutput, rows, views) };
  const data = interleave(features.data, rows, views);
  return { problem, rows, views, other: { ...problem, ...interleaved, ...upstream, features: { ...features, data } } };
}

/** A result with its rows interleaved. */
function inOtherOrder(result: object, { rows, views }: Drawn): object {
  const each = Object.entries(result).filter(([, value]) => typeof value !== 'function' && typeof value !== 'boolean');
  return Object.fromEntries(
    each.map(([name, value]) => [name, value instanceof Float32Array ? interleave(value, rows, views) : value]),
  );
}

/** Without methods. */
const plain = (result: object) => inOtherOrder(result, { rows: 1, views: 1 } as Drawn);

const SIZES: Sizes = { samples: 7, dim: 5, views: 3, negatives: 1, temperature: 0.3, noise: 1, seed: 3 };
const VARIANTS = LOSSES.filter(loss => loss.startsWith('ntXent '));

describe.each(VARIANTS)('%s', loss => {
  it('is bit for bit that of the view-major rows, in the order of the interleaved ones', () => {
    const sizes = fc.record<Sizes>({
      samples: fc.integer({ min: 1, max: 40 }),
      dim: fc.integer({ min: 1, max: 40 }),
      views: fc.integer({ min: 2, max: 5 }),
      negatives: fc.constant(1),
      temperature: fc.double({ min: 0.05, max: 2, noNaN: true }),
      noise: fc.double({ min: 0.1, max: 2, noNaN: true }),
      seed: fc.nat(1_000_000),
    });
    const reductions = fc.constantFrom('mean', 'sum', 'none' as const);
    fc.assert(
      fc.property(sizes, reductions, fc.boolean(), (drawn, reduction, normalize) => {
        const { rows } = draw(loss, drawn);
        const gradOutput = reduction === 'none' ? normal([rows], drawn.seed).data : -1.5;
        const given = draw(loss, drawn, { reduction, normalize, gradOutput });
        expect(ntXentSync(given.other)).toEqual(inOtherOrder(ntXentSync(given.problem), given));
      }),
      { numRuns: 12, seed: 20_261_130 },
    );
  });

  it('is so in two passes, whose upstream gradients are in the same order', async () => {
    const given = draw(loss, SIZES, { reduction: 'none' });
    const upstream = normal([given.rows], 4).data;
    const theirs = interleave(upstream, given.rows, given.views);
    const { forward, forwardSync } = FUNCTIONS.ntXent;
    const [problem, interleavedProblem] = [given.problem, given.other] as object[] as Named[];
    const pass = forwardSync(problem!);
    const passes = [forwardSync(interleavedProblem!), await forward(interleavedProblem!)];
    for (const other of passes) {
      expect(plain(other)).toEqual(inOtherOrder(pass, given));
      const gradients = inOtherOrder(pass.backwardSync(upstream), given);
      expect(other.backwardSync(theirs)).toEqual(gradients);
      expect(await other.backward(theirs)).toEqual(gradients);
    }
  });
});

describe('interleaved rows', () => {
  const given = draw('ntXent all', SIZES);
  const { problem, other, rows, views } = given;
  const expected = inOtherOrder(ntXentSync(problem), given);

  it('stay as they are', () => {
    const before = other.features.data.slice();
    ntXentSync(other);
    expect(other.features.data).toEqual(before);
  });

  it('go through promises, classes and arrays of the caller', async () => {
    expect(await ntXent(other)).toEqual(expected);
    const { features, ...options } = other;
    expect(new NTXent(options).forwardSync(features)).toEqual(expected);
    const out = { gradFeatures: new Float32Array(features.data.length), loss: new Float32Array(rows) };
    const result = ntXentSync({ ...other, reduction: 'none' }, { out });
    expect(result.gradFeatures).toBe(out.gradFeatures);
    expect(result).toEqual(inOtherOrder(ntXentSync({ ...problem, reduction: 'none' }), given));
  });

  it('may be of 16 bits', () => {
    const half = ({ data, shape }: Tensor) =>
      ({ data: toHalf({ data, shape }, 'float16').data, shape, dtype: 'float16' }) as const;
    expect(ntXentSync({ ...other, features: half(other.features) })).toEqual(
      inOtherOrder(ntXentSync({ ...problem, features: half(problem.features) }), given),
    );
  });

  it('are cut off to leading dimensions alike', async () => {
    const dims = { dims: [5, 2] };
    const whole = await matryoshka(ntXent, problem, dims);
    expect(await matryoshka(ntXent, other, dims)).toEqual(inOtherOrder(whole, given));
  });

  it('come in chunks one after the other', async () => {
    const { features, ...options } = other;
    const D = features.shape[1]!;
    const chunks = [2, 1, 4].map((samples, i, all) => {
      const first = all.slice(0, i).reduce((sum, count) => sum + count, 0) * views * D;
      const data = features.data.subarray(first, first + samples * views * D);
      return { features: { data, shape: [samples * views, D] } };
    });
    const { chunks: gradients, ...rest } = await accumulate(ntXent, chunks, options);
    const joined = Float32Array.of(...gradients.flatMap(({ gradFeatures }) => [...gradFeatures]));
    expect({ ...rest, gradFeatures: joined }).toEqual(expected);
  });

  it('take their copy in addition', () => {
    const sized = { loss: 'ntXent', features: { shape: [600, 40] } } as const;
    const viewMajor = memoryRequired(sized);
    const both = memoryRequired({ ...sized, ...interleaved });
    expect(both.inputs - viewMajor.inputs).toBe(4 * 600 * 40);
    expect(both.total - viewMajor.total).toBe(4 * 600 * 40);
  });

  it('have logits whose columns are in their order', () => {
    const features = { data: Float32Array.of(1, 0, 0, 1, 0.6, 0.8, -1, 0, 0.8, -0.6, 0, -1), shape: [6, 2] };
    const cosine = (i: number, j: number) => {
      const [a, b] = [i, j].map(row => features.data.subarray(2 * row, 2 * row + 2));
      return a![0]! * b![0]! + a![1]! * b![1]!;
    };
    const expectedRows = [2, 3].map(nViews => {
      const sample = (row: number) => Math.floor(row / nViews);
      return Array.from({ length: 6 }, (_, row) => {
        const columns = Array.from({ length: 6 }, (_, column) => column).filter(column => column !== row);
        const positives = columns.filter(column => sample(column) === sample(row));
        const negatives = columns.filter(column => sample(column) !== sample(row));
        return [...positives, ...negatives].map(column => cosine(row, column));
      }).flat();
    });
    [2, 3].forEach((nViews, k) => {
      const { logits } = ntXentLogits({ features, nViews, temperature: 1, ...interleaved });
      expect(logits.shape).toEqual([6, 5]);
      for (const [i, value] of logits.data.entries()) expect(value).toBeCloseTo(expectedRows[k]![i]!, 6);
    });
  });

  it('are reported with their own rows', async () => {
    const data = other.features.data.slice();
    const D = other.features.shape[1]!;
    data[4 * D + 1] = Number.NaN;
    const bad = { ...other, features: { ...other.features, data } };
    expect(thrownBy(() => ntXentSync(bad)).message).toContain(
      'features: expected finite numbers, got NaN or infinity, in row 4',
    );
    const { features, ...options } = bad;
    const cut = (from: number, to: number) => ({
      features: { data: features.data.subarray(from * D, to * D), shape: [to - from, D] },
    });
    await expect(accumulate(ntXent, [cut(0, 3), cut(3, rows)], options)).rejects.toThrow('chunks[1].features');
    await expect(accumulate(ntXent, [cut(0, 3), cut(3, rows)], options)).rejects.toThrow('row 1.');
    const upstream = new Float32Array(rows).fill(1);
    upstream[5] = Number.POSITIVE_INFINITY;
    const call = () => ntXentSync({ ...other, reduction: 'none', gradOutput: upstream });
    expect(thrownBy(call).message).toContain('gradOutput: expected finite numbers, got NaN or infinity, in row 5');
  });

  it('are refused where the host cannot reorder them, or they do not fit', () => {
    const context = newContext();
    const { data, shape } = other.features;
    const onDevice = { ...other, features: context.tensor(data, shape) };
    expect(thrownBy(() => ntXentSync(onDevice))).toMatchObject({ code: 'ERR_INFONCE_RANGE', argument: 'layout' });
    const toDevice = () => ntXentSync(other, { context, output: 'device' });
    expect(thrownBy(toDevice)).toMatchObject({ code: 'ERR_INFONCE_RANGE', argument: 'output' });
    context.dispose();
    const odd = () => ntXentSync({ features: normal([7, 3], 1), ...interleaved });
    expect(thrownBy(odd)).toMatchObject({
      code: 'ERR_INFONCE_VIEWS',
      message: expect.stringContaining('Rows are interleaved: all views of sample 0'),
    });
    const misspelt = () => ntXentSync({ ...problem, layout: 'interleave' } as Named as never);
    expect(thrownBy(misspelt).message).toContain(
      "layout: expected one of 'viewMajor', 'interleaved', got \"interleave\"",
    );
  });
});

describe('the plug-ins', () => {
  const given = draw('ntXent first', SIZES);
  const { features, reduction: _reduction, ...options } = given.other;
  const expected = inOtherOrder(ntXentSync(given.problem), given) as {
    loss: number;
    top1: number;
    gradFeatures: Float32Array;
  };

  beforeAll(async () => {
    await tf.setBackend('cpu');
    await init('cpu');
  });

  it('have it in the ops of TensorFlow.js, its losses and its metrics', () => {
    const x = tf.tensor(features.data, [...features.shape]);
    const { value, grad } = tf.valueAndGrad((x: tf.Tensor) => tfjs.ntXent(x, options))(x);
    expect(value.dataSync()[0]).toBeCloseTo(expected.loss, 5);
    expect(grad.dataSync()).toEqual(expected.gradFeatures);
    const nothing = tf.zeros([1]);
    expect(tfjs.ntXentLoss(options)(nothing, x).dataSync()).toEqual(value.dataSync());
    expect(tfjs.ntXentTop1(options)(nothing, x).dataSync()[0]).toBeCloseTo(expected.top1, 6);
    const twice = () => tfjs.ntXentLoss({ ...options, views: 'columns' });
    expect(thrownBy(twice)).toMatchObject({ code: 'ERR_INFONCE_RANGE', argument: 'layout' });
  });

  it('have it in jax-js', () => {
    const x = np.array(features.data as Float32Array<ArrayBuffer>, { shape: [...features.shape] });
    const [{ loss }, gradient] = jaxJs.ntXent(x, options);
    expect(loss).toBe(expected.loss);
    expect(gradient.dataSync()).toEqual(expected.gradFeatures);
  });
});
