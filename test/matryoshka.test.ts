import { matryoshka, matryoshkaSync, NegativeQueue, ntXent, ntXentSync, type Tensor } from 'infonce';
import { describe, expect, it } from 'vitest';
import { referenceMatryoshka } from '../lib/reference/matryoshka.js';
import { expectClose, expectResult, HIGHEST } from './support/compare.js';
import { sharedContext, TARGETS } from './support/contexts.js';
import { toHalf } from './support/half.js';
import { FUNCTIONS, isRanked, LOSSES, type Named, randomCase } from './support/problems.js';
import { near, normal } from './support/random.js';
import { thrownBy, wrong } from './support/thrown.js';

const run = { context: sharedContext(TARGETS[0]!) };
const SIZES = { samples: 7, dim: 12, views: 2, negatives: 3, temperature: 0.2, noise: 0.6, seed: 3 };

type Untyped = (loss: unknown, problem: Named, options: object, run?: object) => Named;
const sync = matryoshkaSync as unknown as Untyped;

const query = normal([5, 6], 1);
const positiveKey = near(query, 0.6, 2);
const pair = { query, positiveKey };
const features = normal([8, 6], 3);

/** The first numbers of each row. */
function leading({ data, shape }: Tensor, dim: number): Tensor {
  const whole = shape.at(-1)!;
  return { data: data.filter((_, k) => k % whole < dim), shape: [...shape.slice(0, -1), dim] };
}

describe.each(LOSSES)('matryoshka of %s', name => {
  const { functions, problem } = randomCase(name, SIZES, { gradOutput: -1.5 });
  const options = { dims: [5, 12, 1], weights: [0.5, -2, 3] };

  it('is the weighted sum of the formulas', () => {
    const expected = referenceMatryoshka(functions.reference, problem, options);
    const result = sync(functions.runSync, problem, options, run);
    expectResult(isRanked(name) ? result : { ...result, top1: expected.top1, top5: expected.top5 }, expected, HIGHEST);
  });

  it('of all dimensions alone is the loss, bit for bit', () => {
    expect(sync(functions.run, problem, { dims: [12] }, run)).toEqual(functions.runSync(problem, run));
  });

  it('has row losses, and an upstream gradient for each', () => {
    const rows = { ...problem, reduction: 'none', gradOutput: 1 };
    const { loss } = sync(functions.run, rows, options, run) as { readonly loss: Float32Array };
    const given = { ...rows, gradOutput: loss.map((_, row) => row - 2.5) };
    const expected = referenceMatryoshka(functions.reference, given, options);
    expectClose(loss, expected.loss, HIGHEST.tolerance, 0, 'loss');
    const result = sync(functions.run, given, options, run);
    for (const [gradient, { values }] of Object.entries(expected.gradients)) {
      const actual = result[gradient] as Float32Array | number;
      // In one dimension cosines are 1 or -1, and gradients of rows 0.
      expectClose(actual, values, HIGHEST.tolerance, 1e-6, gradient);
    }
  });
});

describe('matryoshka', () => {
  it('adds what calls with copies of the leading dimensions give', async () => {
    const whole = await matryoshka(ntXent, { features }, { dims: [2, 6], weights: [1, 0.25] }, run);
    const first = ntXentSync({ features: leading(features, 2) }, run);
    const second = ntXentSync({ features }, run);
    expect(whole.loss).toBe(first.loss + 0.25 * second.loss);
    expect(whole.gradTemperature).toBe(first.gradTemperature + 0.25 * second.gradTemperature);
    const at = (row: number, d: number) => (d < 2 ? first.gradFeatures[2 * row + d]! : 0);
    expectClose(
      whole.gradFeatures,
      second.gradFeatures.map((value, k) => 0.25 * value + at(Math.floor(k / 6), k % 6)),
      1e-7,
      0,
      'gradFeatures',
    );
  });

  it('gives the same from a promise, of either function', async () => {
    const options = { dims: [4, 2] };
    const expected = matryoshkaSync(ntXentSync, { features }, options, run);
    expect(matryoshkaSync(ntXent, { features }, options, run)).toEqual(expected);
    expect(await matryoshka(ntXent, { features }, options, run)).toEqual(expected);
    expect(await matryoshka(ntXentSync, { features }, options, run)).toEqual(expected);
  });

  it('reads arrays before it returns', async () => {
    const data = features.data.slice();
    const promise = matryoshka(ntXent, { features: { data, shape: [8, 6] } }, { dims: [6, 3] }, run);
    data.fill(Number.NaN);
    expect(await promise).toEqual(matryoshkaSync(ntXent, { features }, { dims: [6, 3] }, run));
  });

  it('has the ranks of the first of dims', () => {
    for (const dims of [
      [1, 6],
      [6, 1],
    ]) {
      const { top1, top5 } = matryoshkaSync(ntXent, { features }, { dims }, run);
      expect({ top1, top5 }).toEqual(ranksOf(dims[0]!));
    }
    expect(matryoshkaSync(ntXent, { features, ranks: false }, { dims: [3] }, run)).not.toHaveProperty('top1');
  });

  it('fills the arrays of the caller', () => {
    const out = { gradFeatures: new Float32Array(48).fill(7), loss: new Float32Array(8).fill(7) };
    const problem = { features, reduction: 'none' } as const;
    const expected = matryoshkaSync(ntXent, problem, { dims: [2, 5] }, run);
    const result = matryoshkaSync(ntXent, problem, { dims: [2, 5] }, { ...run, out });
    expect(result.gradFeatures).toBe(out.gradFeatures);
    expect(result.loss).toBe(out.loss);
    expect(result).toEqual(expected);
    expect(result.gradFeatures.filter((_, k) => k % 6 === 5)).toEqual(new Float32Array(8));
  });

  it('tells of an array of the caller that was transferred meanwhile', async () => {
    for (const name of ['gradFeatures', 'loss'] as const) {
      const out = { gradFeatures: new Float32Array(48), loss: new Float32Array(8) };
      const call = matryoshka(ntXent, { features, reduction: 'none' }, { dims: [2, 5] }, { ...run, out });
      structuredClone(out[name], { transfer: [out[name].buffer] });
      await expect(call).rejects.toMatchObject({ code: 'ERR_INFONCE_TYPE', argument: `out.${name}` });
    }
  });

  it('reads the numbers of an array whatever its methods do', () => {
    const data = features.data.slice();
    Object.defineProperty(data, 'constructor', { value: 1 });
    const expected = matryoshkaSync(ntXent, { features }, { dims: [2, 5] }, run);
    expect(matryoshkaSync(ntXent, { features: { ...features, data } }, { dims: [2, 5] }, run)).toEqual(expected);
  });

  it('has no gradients where none are wanted', () => {
    const result = matryoshkaSync(ntXent, { features, gradient: false }, { dims: [2, 5] }, run);
    expect(Object.keys(result).sort()).toEqual(['loss', 'top1', 'top5']);
  });

  it('takes lists, detached inputs and 16-bit numbers', () => {
    const { runSync } = FUNCTIONS.infoNCE;
    const lists = { ...pair, negativeKeys: [normal([5, 6], 4), normal([5, 6], 5)], detach: ['positiveKey'] };
    const result = sync(runSync, lists, { dims: [3, 6] }, run);
    const whole = runSync(lists, run);
    const cut = runSync(
      {
        ...lists,
        query: leading(query, 3),
        positiveKey: leading(positiveKey, 3),
        negativeKeys: lists.negativeKeys.map(part => leading(part, 3)),
      },
      run,
    );
    expect(result).not.toHaveProperty('gradPositiveKey');
    expect(result.loss).toBe((cut.loss as number) + (whole.loss as number));
    const [of, ofWhole, ofCut] = [result, whole, cut].map(({ gradNegativeKeys }) => gradNegativeKeys as Float32Array[]);
    expect(of).toHaveLength(2);
    of!.forEach((gradient, part) => {
      expect(gradient[6]).toBeCloseTo(ofWhole![part]![6]! + ofCut![part]![3]!, 6);
      expect(gradient[11]).toBe(ofWhole![part]![11]);
    });

    const half = toHalf(features, 'float16');
    const widened = matryoshkaSync(ntXent, { features: half }, { dims: [6, 2] }, run).loss;
    expect(widened).toBeCloseTo(matryoshkaSync(ntXent, { features }, { dims: [6, 2] }, run).loss, 2);
  });

  it('names the row that is not finite, of the dimensions that it reads', () => {
    const data = features.data.slice();
    data[6 * 2 + 5] = Number.NaN;
    const bad = { features: { data, shape: [8, 6] } };
    expect(Number.isFinite(matryoshkaSync(ntXent, bad, { dims: [5, 2] }, run).loss)).toBe(true);
    const error = thrownBy(() => matryoshkaSync(ntXent, bad, { dims: [5, 6] }, run));
    expect(error).toMatchObject({ code: 'ERR_INFONCE_NON_FINITE', argument: 'features' });
    expect(error.message).toMatch(/row 2/);
  });

  it('rejects with the error of the call that failed, and can be aborted', async () => {
    const data = new Float32Array(48).fill(Number.NaN);
    const bad = { features: { data, shape: [8, 6] } };
    await expect(matryoshka(ntXent, bad, { dims: [5, 6] }, run)).rejects.toHaveProperty(
      'code',
      'ERR_INFONCE_NON_FINITE',
    );
    const signal = AbortSignal.abort();
    const aborted = matryoshka(ntXent, { features }, { dims: [5, 6] }, { ...run, signal });
    await expect(aborted).rejects.toHaveProperty('name', 'AbortError');
  });

  it.each(['float32', 'float16', 'bfloat16'] as const)('reads %s of arrays and device tensors alike', async dtype => {
    const host = dtype === 'float32' ? features : toHalf(features, dtype);
    const there = run.context.tensor(host.data as Uint16Array, [8, 6], dtype as 'float16');
    const options = { dims: [6, 4, 1], weights: [2, 0.5, -1] };
    const expected = matryoshkaSync(ntXent, { features: host }, options, run);
    expect(matryoshkaSync(ntXent, { features: there }, options, run)).toEqual(expected);
    expect(await matryoshka(ntXent, { features: there }, options)).toEqual(expected);
    there.dispose();
  });

  it('reads pinned arrays where they are', async () => {
    const data = run.context.pinned(48);
    data.set(features.data);
    const expected = matryoshkaSync(ntXent, { features }, { dims: [6, 4] }, run);
    const pinned = { features: { data, shape: [8, 6] } };
    expect(matryoshkaSync(ntXent, pinned, { dims: [6, 4] }, run)).toEqual(expected);
    expect(await matryoshka(ntXent, pinned, { dims: [6, 4] }, run)).toEqual(expected);
  });

  it('takes own negatives and guides of device tensors', () => {
    const { runSync } = FUNCTIONS.infoNCE;
    const negativeKeys = normal([5, 3, 6], 8);
    const guide = { query: normal([5, 2], 9), positiveKey: normal([5, 2], 10) };
    const there = ({ data, shape }: Tensor) => run.context.tensor(data, shape);
    const onDevice = { query: there(query), positiveKey: there(positiveKey) };
    const options = { dims: [2, 6], weights: [1, 0.5] };
    for (const more of [
      { negativeMode: 'paired', inBatch: true, negativeKeys: [negativeKeys, there(negativeKeys)] },
      { negativeMode: 'paired', negativeKeys: [negativeKeys, there(negativeKeys)] },
      { falseNegatives: { margin: 0.1, guide }, negativeKeys: undefined },
    ]) {
      const [ofHost, ofDevice] = more.negativeKeys ?? [];
      const expected = sync(runSync, { ...pair, ...more, negativeKeys: ofHost }, options, run);
      expect(sync(runSync, { ...onDevice, ...more, negativeKeys: ofDevice }, options, run)).toEqual(expected);
    }
  });

  it('takes rows of a queue', async () => {
    const negatives = normal([4, 6], 7);
    const dims = [6, 2];
    const { run: infoNCE } = FUNCTIONS.infoNCE;
    // Of capacity 4 its ring is full; the other has room left.
    for (const capacity of [4, 9]) {
      const queue = new NegativeQueue({ capacity, dim: 6, context: run.context });
      queue.enqueueSync(negatives);
      const { gradNegativeKeys, ...expected } = sync(infoNCE, { ...pair, negativeKeys: negatives }, { dims }, run);
      const problem = { ...pair, negativeKeys: queue };
      expect(sync(infoNCE, problem, { dims }, run)).toEqual(expected);
      const promise = (matryoshka as unknown as Untyped)(infoNCE, problem, { dims }, run);
      const enqueued = queue.enqueue(normal([4, 6], 11));
      expect(await promise).toEqual(expected);
      await enqueued;
      queue.dispose();
      expect(gradNegativeKeys).toHaveLength(24);
    }
    const memory = new NegativeQueue({ capacity: 5, dim: 6, context: run.context, labels: true });
    memory.enqueueSync(negatives, Int32Array.of(0, 1, 2, 0));
    const problem = { features, labels: Int32Array.of(0, 0, 1, 1, 2, 2, 3, 3), memory, gradient: false };
    const { loss } = sync(FUNCTIONS.supCon.run, problem, { dims }, run);
    const cut = new NegativeQueue({ capacity: 5, dim: 2, context: run.context, labels: true });
    cut.enqueueSync(leading(negatives, 2), Int32Array.of(0, 1, 2, 0));
    const { runSync } = FUNCTIONS.supCon;
    const second = runSync({ ...problem, features: leading(features, 2), memory: cut }, run).loss as number;
    expect(loss).toBe((runSync(problem, run).loss as number) + second);
  });

  function ranksOf(dim: number) {
    const { top1, top5 } = ntXentSync({ features: leading(features, dim) }, run);
    return { top1, top5 };
  }
});

describe('matryoshka refuses', () => {
  it.each<[string, string, RegExp, unknown, object, unknown, object?]>([
    [
      'another function',
      'TYPE',
      /loss: expected ntXent, infoNCE.* or sigLip.* got/,
      Math.max,
      { features },
      { dims: [2] },
    ],
    ['no options', 'TYPE', /options: expected an object/, ntXent, { features }, undefined],
    ['no dims', 'TYPE', /dims: expected an array of integers, got undefined/, ntXent, { features }, {}],
    [
      'empty dims',
      'RANGE',
      /dims: expected at least one integer, got an empty array/,
      ntXent,
      { features },
      { dims: [] },
    ],
    ['a typed array', 'TYPE', /dims: expected an array/, ntXent, { features }, { dims: Int32Array.of(2) }],
    [
      'dims above D',
      'RANGE',
      /dims\[1\]: expected an integer from 1 to 6, got 7/,
      ntXent,
      { features },
      { dims: [2, 7] },
    ],
    ['0 dimensions', 'RANGE', /dims\[0\]: expected an integer from 1 to 6/, ntXent, { features }, { dims: [0] }],
    ['half a dimension', 'RANGE', /dims\[0\]: expected an integer/, ntXent, { features }, { dims: [1.5] }],
    ['a hole', 'TYPE', /dims\[0\]: expected an integer/, ntXent, { features }, { dims: new Array(1) }],
    ['dims twice', 'RANGE', /dims\[2\]: expected .* once, got 2 again/, ntXent, { features }, { dims: [2, 3, 2] }],
    [
      'too few weights',
      'SHAPE',
      /weights: expected 2 numbers.* got 1/,
      ntXent,
      { features },
      { dims: [2, 3], weights: [1] },
    ],
    [
      'a weight that is not finite',
      'RANGE',
      /weights\[1\]: expected a finite number, got NaN/,
      ntXent,
      { features },
      { dims: [2, 3], weights: [1, Number.NaN] },
    ],
    ['names of elsewhere', 'TYPE', /'dimWeights'.*Pass weights/, ntXent, { features }, { dims: [2], dimWeights: [1] }],
    ['a wrong problem', 'TYPE', /features: /, ntXent, {}, { dims: [2] }],
    [
      'results on the device',
      'RANGE',
      /output: expected 'host'.* got "device"/,
      ntXent,
      { features },
      { dims: [2] },
      { output: 'device' },
    ],
    ['unknown run options', 'TYPE', /run: /, ntXent, { features }, { dims: [2] }, { dims: [2] }],
    [
      'an array of the leading dimensions',
      'SHAPE',
      /out\.gradFeatures: expected 48 numbers/,
      ntXent,
      { features },
      { dims: [2] },
      { out: { gradFeatures: new Float32Array(16) } },
    ],
  ])('%s', async (_, code, message, loss, problem, options, more) => {
    const error = thrownBy(() => sync(loss, problem as Named, wrong(options), { ...run, ...more }));
    expect(error.code).toBe(`ERR_INFONCE_${code}`);
    expect(error.message).toMatch(message);
    const rejected = (matryoshka as unknown as Untyped)(loss, problem as Named, wrong(options), { ...run, ...more });
    await expect(rejected).rejects.toMatchObject({ code: error.code, argument: error.argument });
  });
});
