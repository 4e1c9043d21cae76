/** What targets, ids, biases, lists and `detach` have to do with problems that have none of them. */
import {
  accumulate,
  Clip,
  clipSync,
  InfoNCE,
  type InfoNCERows,
  infoNCE,
  infoNCESync,
  memoryRequired,
  NegativeQueue,
  type Tensor,
} from 'infonce';
import { describe, expect, it } from 'vitest';
import { expectClose, expectResultAndRanks, HIGHEST } from './support/compare.js';
import { effort, newContext } from './support/contexts.js';
import { toHalf } from './support/half.js';
import { infoNCECase, type Named } from './support/problems.js';
import { near, normal, randomLabels } from './support/random.js';
import { thrownBy } from './support/thrown.js';

const DIM = 6;
const ROWS = effort([1, 7, 130, 700], [7, 130]);

function rowsOf({ data }: Tensor, first: number, end: number): Tensor {
  return { data: data.slice(first * DIM, end * DIM), shape: [end - first, DIM] };
}

function joined(...tensors: readonly Tensor[]): Tensor {
  return {
    data: Float32Array.of(...tensors.flatMap(({ data }) => [...data])),
    shape: [tensors.reduce((sum, { shape }) => sum + shape[0]!, 0), DIM],
  };
}

const upTo = (count: number, first = 0) => Int32Array.from({ length: count }, (_, i) => first + i);

function sum(a: Float32Array, b: Float32Array): Float64Array {
  return Float64Array.from(a, (value, i) => value + b[i]!);
}

describe.each(ROWS)('with %i queries', rows => {
  const query = normal([rows, DIM], 1);
  const positiveKey = near(query, 0.7, 2);
  const negativeKeys = normal([2 * rows, DIM], 3);
  const problem = { query, positiveKey, negativeKeys, inBatch: true } as const;
  const plain = infoNCESync(problem);

  it('each row for its target is the plain loss, bit for bit', () => {
    expect(infoNCESync({ ...problem, targets: upTo(rows) })).toEqual(plain);
  });

  function expectPlain(rowArrays: InfoNCERows): void {
    const result = infoNCESync({ ...problem, ...rowArrays });
    expectClose(result.loss, [plain.loss], 2e-6, 0, 'loss');
    for (const name of ['gradQuery', 'gradPositiveKey', 'gradNegativeKeys'] as const) {
      expectClose(result[name], plain[name], HIGHEST.tolerance, 1e-7, name);
    }
    expect(result).toMatchObject({ top1: plain.top1, top5: plain.top5 });
  }

  it('ids that are all different are none', () => {
    expectPlain({ queryIds: upTo(rows), keyIds: upTo(rows, rows), negativeIds: upTo(2 * rows, 2 * rows) });
  });

  it("ids are ignored with duplicates: 'negative', bit for bit", () => {
    const ids = { queryIds: new Int32Array(rows), keyIds: new Int32Array(rows), negativeIds: new Int32Array(2 * rows) };
    expect(infoNCESync({ ...problem, ...ids, duplicates: 'negative' })).toEqual(plain);
  });

  it('a bias of 0 is none', () => {
    expectPlain({ keyBias: new Float32Array(rows), negativeBias: new Float32Array(2 * rows) });
  });

  it('the positive stays where all else has its id: the loss and the gradients are 0', () => {
    const ids = { queryIds: new Int32Array(rows), keyIds: new Int32Array(rows), negativeIds: new Int32Array(2 * rows) };
    const { loss, gradQuery, gradNegativeKeys, top1 } = infoNCESync({ ...problem, ...ids });
    expect([loss, top1]).toEqual([0, 1]);
    expect([...gradQuery, ...gradNegativeKeys].every(value => value === 0)).toBe(true);
  });

  it('a list has the bits of its tensors in one', () => {
    const list = [rowsOf(negativeKeys, 0, rows), rowsOf(negativeKeys, rows, 2 * rows)];
    const { gradNegativeKeys, ...rest } = infoNCESync({ ...problem, negativeKeys: list });
    expect({ ...rest, gradNegativeKeys: Float32Array.of(...gradNegativeKeys.flatMap(part => [...part])) }).toEqual(
      plain,
    );
  });

  it('negatives in another order change nothing but the order of their gradients', () => {
    const list = [rowsOf(negativeKeys, 0, rows), rowsOf(negativeKeys, rows, 2 * rows)] as const;
    const { loss, gradQuery, gradNegativeKeys } = infoNCESync({ ...problem, negativeKeys: joined(list[1], list[0]) });
    expectClose(loss, [plain.loss], 2e-6, 0, 'loss');
    expectClose(gradQuery, plain.gradQuery, HIGHEST.tolerance, 1e-7, 'gradQuery');
    const there = Float32Array.of(
      ...plain.gradNegativeKeys.slice(rows * DIM),
      ...plain.gradNegativeKeys.slice(0, rows * DIM),
    );
    expectClose(gradNegativeKeys, there, HIGHEST.tolerance, 1e-7, 'gradNegativeKeys');
  });

  it('queries in two calls against all keys add up to the whole', () => {
    const half = Math.floor(rows / 2);
    if (half === 0) return;
    const options = { positiveKey, negativeKeys, inBatch: true, reduction: 'sum' } as const;
    const whole = infoNCESync({ query, ...options });
    const first = infoNCESync({ query: rowsOf(query, 0, half), targets: upTo(half), ...options });
    const second = infoNCESync({ query: rowsOf(query, half, rows), targets: upTo(rows - half, half), ...options });
    expectClose(first.loss + second.loss, [whole.loss], 2e-6, 0, 'loss');
    const gradQuery = Float32Array.of(...first.gradQuery, ...second.gradQuery);
    expectClose(gradQuery, whole.gradQuery, HIGHEST.tolerance, 0, 'gradQuery');
    for (const name of ['gradPositiveKey', 'gradNegativeKeys'] as const) {
      expectClose(sum(first[name], second[name]), whole[name], HIGHEST.tolerance, 0, name);
    }
    expectClose(
      first.gradTemperature + second.gradTemperature,
      [whole.gradTemperature],
      HIGHEST.tolerance,
      0,
      'scalar',
    );
  });

  it('a duplicate of the positive does not change the rank of the query', () => {
    for (const row of [0, Math.floor(rows / 2), rows - 1]) {
      const one = { query: rowsOf(query, row, row + 1), targets: Int32Array.of(row) };
      const alone = infoNCESync({ ...one, positiveKey });
      const twice = { ...one, positiveKey: joined(positiveKey, rowsOf(positiveKey, row, row + 1)) };
      const excluded = infoNCESync({ ...twice, queryIds: one.targets, keyIds: Int32Array.of(...upTo(rows), row) });
      for (const { top1, top5 } of [excluded, infoNCESync(twice)]) {
        expect({ top1, top5 }).toEqual({ top1: alone.top1, top5: alone.top5 });
      }
      expectClose(excluded.loss, [alone.loss], 2e-6, 0, 'loss');
    }
  });

  it('what -Infinity leaves out might as well not be there, whatever its type', () => {
    const negativeBias = Float32Array.from({ length: 2 * rows }, (_, j) => (j < rows ? 0.5 : Number.NEGATIVE_INFINITY));
    const halves = (tensor: Tensor) => toHalf(tensor, 'float16');
    const sixteen = { query: halves(query), positiveKey: halves(positiveKey), inBatch: true };
    const all = infoNCESync({ ...sixteen, negativeKeys: halves(negativeKeys), negativeBias });
    const kept = halves(rowsOf(negativeKeys, 0, rows));
    const few = infoNCESync({ ...sixteen, negativeKeys: kept, negativeBias: negativeBias.slice(0, rows) });
    expectClose(all.loss, [few.loss], 2e-6, 0, 'loss');
    expectClose(all.gradQuery, few.gradQuery, HIGHEST.tolerance, 1e-7, 'gradQuery');
    expect(all.gradNegativeKeys.slice(rows * DIM).every(value => value === 0)).toBe(true);
  });

  it('clip leaves out the same pairs in both directions', () => {
    const ids = randomLabels(rows, Math.ceil(rows / 2), 4);
    const others = randomLabels(rows, Math.ceil(rows / 2), 5);
    const clip = clipSync({
      imageFeatures: query,
      textFeatures: positiveKey,
      imageIds: ids,
      textIds: others,
      logitScale: 5,
    });
    const there = infoNCESync({ query, positiveKey, queryIds: ids, keyIds: others, temperature: 0.2 });
    const back = infoNCESync({
      query: positiveKey,
      positiveKey: query,
      queryIds: others,
      keyIds: ids,
      temperature: 0.2,
    });
    expectClose(clip.loss, [(there.loss + back.loss) / 2], 2e-6, 0, 'loss');
    const expected = sum(there.gradQuery, back.gradPositiveKey).map(value => value / 2);
    expectClose(clip.gradImageFeatures, expected, HIGHEST.tolerance, 1e-7, 'gradImageFeatures');
    expect(clip.top1).toBeCloseTo((there.top1 + back.top1) / 2, 9);
  });
});

const query = normal([6, DIM], 1);
const positiveKey = near(query, 0.7, 2);
const negativeKeys = normal([6, DIM], 3);
const problem = { query, positiveKey, negativeKeys, inBatch: true } as const;

describe('combinations agree with the reference', () => {
  const ids = { queryIds: Int32Array.of(0, 1, 2, 0, 1, 2), negativeIds: Int32Array.of(0, 0, 1, 3, 4, 5) };
  const more = { positiveKey: normal([11, DIM], 4), targets: Int32Array.of(3, 3, 10, 0, 7, 3) };
  const keyIds = Int32Array.of(0, 1, 2, 0, 1, 2, 0, 1, 2, 3, 4);
  const keyBias = Float32Array.of(1, -2, Number.NEGATIVE_INFINITY, 0, 3, 0, 1, -1, 0.5, Number.NEGATIVE_INFINITY, 2);
  const negativeBias = Float32Array.of(1, Number.NEGATIVE_INFINITY, 0, -1, 2, 30);
  const shared = { ...more, keyBias };
  it.each<readonly [string, Named]>([
    ['targets, ids and biases, in-batch', { query, ...shared, queryIds: ids.queryIds, keyIds }],
    ['targets, ids and biases, in-batch and unpaired', { ...problem, ...shared, ...ids, keyIds, negativeBias }],
    ['targets, ids and biases, unpaired', { ...problem, inBatch: false, ...shared, ...ids, keyIds, negativeBias }],
    ['ids of the negatives alone', { ...problem, ...ids }],
    ['ids of the keys alone', { ...problem, queryIds: ids.queryIds, keyIds: keyIds.slice(0, 6) }],
    ['targets, dot products', { ...problem, ...more, normalize: false, temperature: 1 }],
    [
      'a bias of keys with paired negatives',
      {
        query,
        positiveKey,
        keyBias: negativeBias.map(b => Math.max(b, -1)),
        negativeKeys: normal([6, 3, DIM], 5),
        negativeMode: 'paired',
      },
    ],
    [
      'a row of losses each',
      { ...problem, ...shared, ...ids, keyIds, reduction: 'none', gradOutput: normal([6], 6).data },
    ],
  ])('%s', (_what, given) => {
    const { run, reference } = infoNCECase(given as never);
    expectResultAndRanks(run(), reference(), HIGHEST);
  });
});

describe('detach', () => {
  const whole = infoNCESync(problem);

  it('leaves gradients out, and changes no bit of the rest', async () => {
    const { gradPositiveKey: _, ...query } = whole;
    expect(infoNCESync({ ...problem, detach: ['positiveKey'] })).toEqual(query);
    const { gradNegativeKeys: __, ...alone } = query;
    expect(await infoNCE({ ...problem, detach: ['negativeKeys', 'positiveKey'] })).toEqual(alone);
    expect(infoNCESync({ ...problem, detach: [] })).toEqual(whole);
  });

  it('does so in two passes and on the device', async () => {
    const pass = await infoNCE.forward({ ...problem, detach: ['positiveKey'] });
    expect(pass.backwardSync()).not.toHaveProperty('gradPositiveKey');
    const onDevice = await pass.backward(1, { output: 'device' });
    expect(onDevice.gradQuery.toArraySync()).toEqual(whole.gradQuery);
    expect(Object.keys(onDevice).sort()).toEqual(['gradNegativeKeys', 'gradQuery', 'gradTemperature']);
  });

  it('makes room for no more than is computed', () => {
    const named = { loss: 'infoNCE', ...problem } as const;
    const required = memoryRequired(named);
    const without = memoryRequired({ ...named, detach: ['positiveKey', 'negativeKeys'] });
    expect(without.results).toBe(required.results / 3);
    expect(without.total).toBeLessThan(required.total);
  });

  it('says why there is no such place', () => {
    const out = { gradPositiveKey: new Float32Array(36) };
    expect(thrownBy(() => infoNCESync({ ...problem, detach: ['positiveKey'] }, { out }))).toMatchObject({
      code: 'ERR_INFONCE_TYPE',
      message: expect.stringMatching(/'gradPositiveKey'\. It is left out by detach: \['positiveKey'\]/),
    });
  });
});

describe('a list of negative keys', () => {
  const list = [negativeKeys, near(negativeKeys, 1, 4)] as const;
  const expected = infoNCESync({ ...problem, negativeKeys: joined(...list) });

  it('is taken by halves, classes and memoryRequired', async () => {
    const gradients = (await infoNCE.forward({ ...problem, negativeKeys: list })).backwardSync().gradNegativeKeys;
    expect(Float32Array.of(...gradients.flatMap(part => [...part]))).toEqual(expected.gradNegativeKeys);
    const { gradNegativeKeys } = await new InfoNCE({ inBatch: true }).forward(query, positiveKey, list);
    expect(gradNegativeKeys).toEqual(gradients);
    const sizes = { loss: 'infoNCE', query, positiveKey, inBatch: true } as const;
    const size = { shape: [6, DIM] };
    expect(memoryRequired({ ...sizes, negativeKeys: [size, size] }).total).toBe(
      memoryRequired({ ...sizes, negativeKeys: { shape: [12, DIM] } }).total,
    );
  });

  it('tells of a bad row by its tensor', () => {
    const bad = { data: list[1].data.slice().fill(Number.NaN, 2 * DIM), shape: [6, DIM] };
    expect(thrownBy(() => infoNCESync({ ...problem, negativeKeys: [list[0], bad] }))).toMatchObject({
      code: 'ERR_INFONCE_NON_FINITE',
      message: expect.stringMatching(/first in row 2 of negativeKeys\[1\]\./),
    });
  });

  it('has new arrays on the host for its gradients', () => {
    const given = { ...problem, negativeKeys: list };
    const out = { gradNegativeKeys: new Float32Array(72) };
    expect(thrownBy(() => infoNCESync(given, { out }))).toMatchObject({
      message: expect.stringMatching(/'gradNegativeKeys'\. The gradients of a list come in new arrays\./),
    });
    expect(thrownBy(() => infoNCESync(given, { output: 'device' }))).toMatchObject({
      code: 'ERR_INFONCE_RANGE',
      message: expect.stringMatching(
        /output: expected 'host' with arrays in a list of negativeKeys.*detach: \['negativeKeys'\]/,
      ),
    });
    expect(infoNCESync({ ...given, detach: ['negativeKeys'] }, { output: 'device' }).gradQuery.toArraySync()).toEqual(
      expected.gradQuery,
    );
  });
});

describe('arrays with an entry for each row', () => {
  const rows = {
    targets: Int32Array.of(1, 0, 2, 5, 4, 3),
    queryIds: Int32Array.of(0, 1, 2, 0, 1, 2),
    keyIds: Int32Array.of(0, 1, 2, 3, 4, 5),
    negativeIds: Int32Array.of(0, 0, 1, 3, 4, 5),
    keyBias: Float32Array.of(1, 0, -1, 2, 0, 1),
    negativeBias: Float32Array.of(1, 0, -1, 2, 0, Number.NEGATIVE_INFINITY),
  };
  const expected = infoNCESync({ ...problem, ...rows });

  it('may change as soon as the call was made', async () => {
    const copies = Object.fromEntries(Object.entries(rows).map(([name, array]) => [name, array.slice()]));
    const calls = [infoNCE({ ...problem, ...copies }), infoNCE.forward({ ...problem, ...copies })] as const;
    for (const array of Object.values(copies)) array.fill(1);
    expect(await calls[0]).toEqual(expected);
    expect((await calls[1]).backwardSync().gradPositiveKey).toEqual(expected.gradPositiveKey);
  });

  it('may lie in shared memory', () => {
    const shared = <Data extends Int32Array | Float32Array>(array: Data): Data => {
      const copy = Reflect.construct(array.constructor, [new SharedArrayBuffer(array.byteLength)]) as Data;
      copy.set(array);
      return copy;
    };
    const copies = {
      ...rows,
      keyBias: shared(rows.keyBias),
      targets: shared(rows.targets),
      keyIds: shared(rows.keyIds),
    };
    expect(infoNCESync({ ...problem, ...copies })).toEqual(expected);
  });

  it('go with device tensors and queues', () => {
    const context = newContext();
    const tensor = ({ data, shape }: Tensor) => context.tensor(data, shape);
    const there = { query: tensor(query), positiveKey: tensor(positiveKey), negativeKeys: tensor(negativeKeys) };
    const { gradQuery } = infoNCESync({ ...there, inBatch: true, ...rows }, { output: 'device' });
    expect(gradQuery.toArraySync()).toEqual(expected.gradQuery);
    const queue = new NegativeQueue({ capacity: 6, dim: DIM, context });
    queue.enqueueSync(negativeKeys);
    const { negativeIds: _, negativeBias: __, ...others } = rows;
    const queued = infoNCESync({ ...problem, negativeKeys: queue, ...others });
    expect(queued.loss).toBe(infoNCESync({ ...problem, ...others }, { context }).loss);
    context.dispose();
  });

  it('go with classes, for each batch', async () => {
    const loss = new InfoNCE({ inBatch: true });
    expect(loss.forwardSync(query, positiveKey, negativeKeys, {}, rows)).toEqual(expected);
    expect(await loss.forward(query, positiveKey, negativeKeys, undefined, rows)).toEqual(expected);
    const ids = { imageIds: rows.queryIds, textIds: rows.negativeIds };
    const { loss: value } = clipSync({ imageFeatures: query, textFeatures: positiveKey, ...ids });
    expect(new Clip().forwardSync(query, positiveKey, undefined, {}, ids).loss).toBe(value);
    expect((await new Clip().forward(query, positiveKey, undefined, undefined, ids)).loss).toBe(value);
  });

  it('are those of the whole batch in accumulate, whose chunks may have more keys than queries', async () => {
    const keys = normal([15, DIM], 8);
    const targets = Int32Array.of(0, 2, 8, 9, 12, 14);
    const options = { targets, queryIds: rows.queryIds, keyIds: randomLabels(15, 4, 9) };
    const whole = infoNCESync({ query, positiveKey: keys, ...options });
    const chunks = [
      { query: rowsOf(query, 0, 4), positiveKey: rowsOf(keys, 0, 10) },
      { query: rowsOf(query, 4, 6), positiveKey: rowsOf(keys, 10, 15) },
    ];
    const result = await accumulate(infoNCE, chunks, options);
    expect(result.loss).toBe(whole.loss);
    expect(result.chunks.map(({ gradPositiveKey }) => gradPositiveKey.length)).toEqual([10 * DIM, 5 * DIM]);
    expect(Float32Array.of(...result.chunks.flatMap(({ gradPositiveKey }) => [...gradPositiveKey]))).toEqual(
      whole.gradPositiveKey,
    );
    await expect(accumulate(infoNCE, chunks, { ...options, detach: ['positiveKey'] })).rejects.toMatchObject({
      code: 'ERR_INFONCE_RANGE',
      message: expect.stringMatching(/detach: .*got 'positiveKey'/),
    });
  });

  it('share no memory with results', () => {
    const keyBias = new Float32Array(36);
    const out = { gradQuery: keyBias };
    expect(thrownBy(() => infoNCESync({ ...problem, keyBias: keyBias.subarray(0, 6) }, { out }))).toMatchObject({
      message: expect.stringMatching(/out\.gradQuery: expected memory of its own, got memory of keyBias/),
    });
  });
});
