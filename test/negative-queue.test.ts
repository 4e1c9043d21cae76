import fc from 'fast-check';
import { infoNCE, infoNCESync, NegativeQueue, ntXent, supCon, supConSync } from 'infonce';
import { describe, expect, it } from 'vitest';
import { type Memory, referenceInfoNCE, referenceSupCon } from '../lib/reference/losses.js';
import { expectResult, HIGH, HIGHEST } from './support/compare.js';
import { effort, newContext, sharedContext, TARGETS } from './support/contexts.js';
import { fromHalf, toHalf } from './support/half.js';
import { normal, randomLabels } from './support/random.js';
import { thrownBy, wrong } from './support/thrown.js';

const context = sharedContext(TARGETS[0]!);
const RUNS = { numRuns: effort(100, 15), seed: 20_240_607 };

/** The same queue as plain arrays. */
class Model {
  rows: { readonly row: Float32Array; readonly label: number }[] = [];
  readonly capacity: number;

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  enqueue(data: Float32Array, dim: number, labels: Int32Array): void {
    labels.forEach((label, i) => {
      this.rows.push({ row: data.slice(i * dim, (i + 1) * dim), label });
    });
    this.rows = this.rows.slice(-this.capacity);
  }

  get data(): Float32Array {
    return Float32Array.from(this.rows.flatMap(({ row }) => [...row]));
  }

  memory(dim: number): Memory {
    const labels = Int32Array.from(this.rows, ({ label }) => label);
    return { features: { data: this.data, shape: [this.rows.length, dim] }, labels };
  }
}

/** What happens to a queue: keys come, of the host or the device, awaited or not, or it is cleared. */
const events = fc.array(
  fc.record({
    rows: fc.integer({ min: 1, max: 14 }),
    how: fc.constantFrom('sync', 'async', 'device', 'clear'),
    seed: fc.nat(1_000_000),
  }),
  { minLength: 1, maxLength: 8 },
);

describe('a queue', () => {
  it('holds the last rows, whatever comes in whatever way', async () => {
    const sizes = fc.record({ capacity: fc.integer({ min: 1, max: 9 }), dim: fc.integer({ min: 1, max: 5 }) });
    await fc.assert(
      fc.asyncProperty(sizes, events, async ({ capacity, dim }, happened) => {
        const queue = new NegativeQueue({ capacity, dim, labels: true, context });
        const model = new Model(capacity);
        const pending: Promise<void>[] = [];
        for (const { rows, how, seed } of happened) {
          const keys = normal([rows, dim], seed);
          const labels = randomLabels(rows, 3, seed);
          if (how === 'clear') {
            queue.clear();
            model.rows = [];
            continue;
          }
          if (how === 'sync') queue.enqueueSync(keys, labels);
          else if (how === 'async') pending.push(queue.enqueue(keys, labels));
          else pending.push(queue.enqueue(context.tensor(keys.data, keys.shape), labels));
          model.enqueue(keys.data, dim, labels);
          expect(queue.size).toBe(model.rows.length);
          const features = normal([2, dim], seed + 1);
          const problem = { features, labels: Int32Array.of(0, 1) };
          const expected = referenceSupCon(problem, 'exact', model.memory(dim));
          if (how !== 'sync') expectResult(await supCon({ ...problem, memory: queue }), expected, HIGHEST);
        }
        expect(queue.toArraySync()).toEqual(model.data);
        expect(await queue.toArray()).toEqual(model.data);
        await Promise.all(pending);
        queue.dispose();
      }),
      RUNS,
    );
  });

  it.each(['float16', 'bfloat16'] as const)('of %s numbers keeps their bits', async dtype => {
    const queue = new NegativeQueue({ capacity: 5, dim: 4, dtype, context });
    const first = toHalf(normal([3, 4], 1), dtype);
    const second = toHalf(normal([4, 4], 2), dtype);
    await queue.enqueue(first);
    await queue.enqueue(context.tensor(second.data, second.shape, dtype));
    const kept = Uint16Array.of(...first.data.subarray(8), ...second.data);
    expect(await queue.toArray()).toEqual(kept);
    const pair = { query: normal([3, 4], 3), positiveKey: normal([3, 4], 4) };
    const negativeKeys = fromHalf({ data: kept, dtype, shape: [5, 4] });
    const { gradNegativeKeys: _, ...gradients } = referenceInfoNCE({ ...pair, negativeKeys }).gradients;
    const expected = { ...referenceInfoNCE({ ...pair, negativeKeys }), gradients };
    expectResult(await infoNCE({ ...pair, negativeKeys: queue }), expected, HIGHEST);
    queue.dispose();
  });

  it('is the negatives of infoNCE, without a gradient of its own', async () => {
    const pair = { query: normal([6, 5], 1), positiveKey: normal([6, 5], 2) };
    const queue = new NegativeQueue({ capacity: 8, dim: 5, context });
    const model = new Model(8);
    for (let step = 0; step < 5; step++) {
      const keys = normal([3, 5], 10 + step);
      await queue.enqueue(keys);
      model.enqueue(keys.data, 5, new Int32Array(3));
      const given = { ...pair, negativeKeys: model.memory(5).features, reduction: 'sum' } as const;
      const { gradNegativeKeys, ...gradients } = referenceInfoNCE(given).gradients;
      expect(gradNegativeKeys!.values).toHaveLength(queue.size * 5);
      const results = [
        infoNCESync({ ...given, negativeKeys: queue }),
        await infoNCE({ ...given, negativeKeys: queue }),
      ];
      for (const result of results) {
        expect(result).not.toHaveProperty('gradNegativeKeys');
        expectResult(result, { ...referenceInfoNCE(given), gradients }, HIGHEST);
      }
    }
    queue.dispose();
  });

  it('is seen as it was when a call was made, and kept by a forward pass', async () => {
    const pair = { query: normal([6, 5], 1), positiveKey: normal([6, 5], 2) };
    const queue = new NegativeQueue({ capacity: 4, dim: 5, context });
    await queue.enqueue(normal([4, 5], 3));
    const before = infoNCESync({ ...pair, negativeKeys: queue });
    const pass = await infoNCE.forward({ ...pair, negativeKeys: queue });
    const promise = infoNCE({ ...pair, negativeKeys: queue });
    const enqueued = queue.enqueue(normal([4, 5], 4));
    const after = infoNCE({ ...pair, negativeKeys: queue });
    expect(await promise).toEqual(before);
    await enqueued;
    expect((await after).loss).not.toBe(before.loss);
    const { gradQuery } = await pass.backward();
    gradQuery.forEach((value, i) => {
      expect(value).toBeCloseTo(before.gradQuery[i]!, 5);
    });
    pass.dispose();
    queue.dispose();
  });
});

describe('supCon with a memory', () => {
  const sizes = fc.record({
    samples: fc.integer({ min: 1, max: 40 }),
    remembered: fc.integer({ min: 1, max: 90 }),
    dim: fc.integer({ min: 2, max: 40 }),
    classes: fc.integer({ min: 1, max: 12 }),
    normalize: fc.boolean(),
    reduction: fc.constantFrom('mean', 'sum', 'none'),
    temperature: fc.double({ min: 0.05, max: 2, noNaN: true }),
    seed: fc.nat(1_000_000),
  });

  it.each([
    ['highest', HIGHEST],
    ['high', HIGH],
  ] as const)("has the loss and gradients of the formulas at precision '%s'", (precision, accuracy) => {
    fc.assert(
      fc.property(sizes, ({ samples, remembered, dim, classes, seed, ...options }) => {
        const where = sharedContext(TARGETS[0]!, { precision });
        const scale = options.normalize ? 1 : 1 / Math.sqrt(dim);
        const features = normal([samples, dim], seed);
        const rows = normal([remembered, dim], seed + 1);
        for (const data of [features.data, rows.data])
          data.forEach((value, i) => {
            data[i] = value * scale;
          });
        const labels = randomLabels(samples, classes, seed);
        const remember = randomLabels(remembered, classes, seed + 2);
        const memory = new NegativeQueue({ capacity: remembered, dim, labels: true, context: where });
        memory.enqueueSync(rows, remember);
        const problem = { features, labels, ...options };
        const expected = referenceSupCon(problem, 'exact', { features: rows, labels: remember });
        const result = supConSync({ ...problem, memory });
        expectResult(result, expected, accuracy);
        if (precision === 'highest') expect(result).toMatchObject({ top1: expected.top1, top5: expected.top5 });
        const { gradient: _, ...halves } = { ...problem, memory, gradient: undefined };
        const pass = supCon.forwardSync(halves);
        expectResult({ ...pass, ...pass.backwardSync() }, expected, accuracy);
        pass.dispose();
        memory.dispose();
      }),
      RUNS,
    );
  });

  it('takes the views of a sample for rows of its class', () => {
    const memory = new NegativeQueue({ capacity: 6, dim: 4, labels: true, context });
    memory.enqueueSync(normal([6, 4], 1), randomLabels(6, 3, 1));
    const { data } = normal([4, 2, 4], 2);
    const labels = randomLabels(4, 3, 2);
    const repeated = Int32Array.from({ length: 8 }, (_, row) => labels[row >> 1]!);
    const byView = supConSync({ features: { data, shape: [4, 2, 4] }, labels, memory });
    expect(byView).toEqual(supConSync({ features: { data, shape: [8, 4] }, labels: repeated, memory }));
    memory.dispose();
  });

  it('is plain supCon while that is empty', () => {
    const memory = new NegativeQueue({ capacity: 6, dim: 4, labels: true, context });
    const problem = { features: normal([5, 4], 1), labels: randomLabels(5, 2, 1) };
    expect(supConSync({ ...problem, memory })).toEqual(supConSync(problem, { context }));
    memory.enqueueSync(normal([2, 4], 1), Int32Array.of(0, 1));
    expect(supConSync({ ...problem, memory }).loss).not.toBe(supConSync(problem, { context }).loss);
    memory.clear();
    expect(supConSync({ ...problem, memory })).toEqual(supConSync(problem, { context }));
    memory.dispose();
  });

  it('computes in the context of its queue, of an empty one too', () => {
    const other = newContext();
    const memory = new NegativeQueue({ capacity: 6, dim: 4, labels: true, context: other });
    const problem = { features: normal([5, 4], 1), labels: randomLabels(5, 2, 1), memory };
    const elsewhere = () => supConSync(problem, { context });
    expect(elsewhere).toThrow(/memory: expected .* of the context in which the call runs, got one of another context/);
    memory.enqueueSync(normal([2, 4], 1), Int32Array.of(0, 1));
    expect(elsewhere).toThrow(/memory: expected .* of the context in which the call runs, got one of another context/);
    other.dispose();
  });
});

describe('refuses', () => {
  const queue = new NegativeQueue({ capacity: 6, dim: 4, context });
  const labelled = new NegativeQueue({ capacity: 6, dim: 4, labels: true, context });
  const pair = { query: normal([3, 4], 1), positiveKey: normal([3, 4], 2) };

  it.each([
    ['no capacity', 'ERR_INFONCE_TYPE', /capacity/, { dim: 4 }],
    [
      'a capacity of 0',
      'ERR_INFONCE_RANGE',
      /capacity: expected an integer from 1 to 1073741824, got 0/,
      { capacity: 0, dim: 4 },
    ],
    ['a fraction of a number', 'ERR_INFONCE_RANGE', /dim: .*got 1\.5/, { capacity: 4, dim: 1.5 }],
    ['an unknown type', 'ERR_INFONCE_RANGE', /dtype/, { capacity: 4, dim: 4, dtype: 'half' }],
    ['an unknown option', 'ERR_INFONCE_TYPE', /'size'/, { capacity: 4, dim: 4, size: 4 }],
    ['more than there is', 'ERR_INFONCE_OUT_OF_MEMORY', /NegativeQueue/, { capacity: 2 ** 30, dim: 2 ** 17 }],
  ])('%s', (_what, code, message, options) => {
    expect(
      thrownBy(() => new NegativeQueue({ context, ...wrong<{ capacity: number; dim: number }>(options) })),
    ).toMatchObject({
      code,
      message: expect.stringMatching(message),
    });
  });

  it('keys that do not fit, and stays as it was', async () => {
    const { data } = normal([2, 4], 1);
    const other = newContext();
    const refused: readonly (readonly [string, RegExp, unknown, unknown?])[] = [
      ['ERR_INFONCE_SHAPE', /keys\.shape: expected \[rows, 4\], got \[4, 2\]/, { data, shape: [4, 2] }],
      ['ERR_INFONCE_SHAPE', /keys\.shape/, { data, shape: [8] }],
      ['ERR_INFONCE_TYPE', /keys\.dtype: .*dtype: 'float16'/, toHalf({ data, shape: [2, 4] }, 'float16')],
      ['ERR_INFONCE_TYPE', /labels: .*labels: true/, { data, shape: [2, 4] }, Int32Array.of(1, 2)],
      ['ERR_INFONCE_RANGE', /keys: .*another context/, other.tensor(data, [2, 4])],
    ];
    for (const [code, message, keys, labels] of refused) {
      const error = thrownBy(() => queue.enqueueSync(wrong(keys), wrong(labels)));
      expect(error).toMatchObject({ code, message: expect.stringMatching(message) });
      await expect(queue.enqueue(wrong(keys), wrong(labels))).rejects.toMatchObject({ code, message: error.message });
    }
    expect(thrownBy(() => labelled.enqueueSync({ data, shape: [2, 4] }))).toMatchObject({ code: 'ERR_INFONCE_TYPE' });
    expect(thrownBy(() => labelled.enqueueSync({ data, shape: [2, 4] }, Int32Array.of(1)))).toMatchObject({
      code: 'ERR_INFONCE_SHAPE',
    });
    expect([queue.size, labelled.size]).toEqual([0, 0]);
    other.dispose();
  });

  it('to be what it cannot be', async () => {
    const of = (options: object) => thrownBy(() => infoNCESync({ ...pair, negativeKeys: queue, ...options }));
    expect(of({})).toMatchObject({ code: 'ERR_INFONCE_SHAPE', message: expect.stringMatching(/empty.*enqueue/) });
    queue.enqueueSync(normal([2, 4], 1));
    expect(of({ negativeMode: 'paired' })).toMatchObject({ code: 'ERR_INFONCE_RANGE', argument: 'negativeMode' });
    const out = { gradNegativeKeys: new Float32Array(8) };
    expect(thrownBy(() => infoNCESync({ ...pair, negativeKeys: queue }, { out }))).toMatchObject({
      message: expect.stringMatching(/NegativeQueue have no gradient/),
    });
    const wide = { query: normal([3, 5], 1), positiveKey: normal([3, 5], 2) };
    expect(thrownBy(() => infoNCESync({ ...wide, negativeKeys: queue }))).toMatchObject({
      code: 'ERR_INFONCE_SHAPE',
      message: expect.stringMatching(/negativeKeys: expected a queue of dim 5, got one of dim 4/),
    });
    const batch = { features: pair.query, labels: Int32Array.of(0, 0, 1) };
    expect(thrownBy(() => supConSync({ ...batch, memory: queue }))).toMatchObject({
      message: expect.stringMatching(/memory: .*Make it with labels: true/),
    });
    expect(thrownBy(() => supConSync({ ...batch, memory: wrong(pair.query) }))).toMatchObject({
      message: expect.stringMatching(/memory: expected a NegativeQueue/),
    });
    await expect(ntXent({ features: wrong(queue) })).rejects.toMatchObject({ code: 'ERR_INFONCE_TYPE' });
    const other = newContext();
    expect(thrownBy(() => infoNCESync({ ...pair, negativeKeys: queue }, { context: other }))).toMatchObject({
      code: 'ERR_INFONCE_RANGE',
      argument: 'negativeKeys',
    });
    other.dispose();
  });

  it('to be used when it was disposed', async () => {
    const gone = new NegativeQueue({ capacity: 6, dim: 4, labels: true, context });
    await gone.enqueue(normal([2, 4], 1), Int32Array.of(0, 1));
    gone.dispose();
    gone.dispose();
    expect(gone.disposed).toBe(true);
    const disposed = { code: 'ERR_INFONCE_DISPOSED' };
    expect(thrownBy(() => gone.toArraySync())).toMatchObject(disposed);
    await expect(gone.enqueue(normal([2, 4], 1), Int32Array.of(0, 1))).rejects.toMatchObject(disposed);
    const labels = Int32Array.of(0, 0, 1);
    await expect(supCon({ features: pair.query, labels, memory: gone })).rejects.toMatchObject(disposed);
  });
});

it('takes all of a batch or nothing when the context is full', async () => {
  const small = newContext({ queueLimit: 1 });
  const queue = new NegativeQueue({ capacity: 4, dim: 4, context: small });
  const first = normal([3, 4], 1);
  await queue.enqueue(first);
  const busy = ntXent({ features: normal([64, 32], 2) }, { context: small });
  await expect(queue.enqueue(normal([3, 4], 3))).rejects.toMatchObject({ code: 'ERR_INFONCE_QUEUE_FULL' });
  await busy;
  expect(queue.size).toBe(3);
  // It wraps around: two copies, one place in the context's queue.
  await queue.enqueue(normal([3, 4], 3));
  const expected = Float32Array.of(...first.data.subarray(8), ...normal([3, 4], 3).data);
  expect(await queue.toArray()).toEqual(expected);
  small.dispose();
});
