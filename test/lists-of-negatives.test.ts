/** Lists in which queues, device tensors and arrays of several types are mixed: the loss of all their rows. */
import {
  type DeviceTensor,
  InfoNCE,
  type InfoNCEListProblem,
  type InfoNCEProblem,
  type InfoNCEQueueListProblem,
  infoNCE,
  infoNCESync,
  matryoshkaSync,
  memoryRequired,
  NegativeQueue,
  type Tensor,
} from 'infonce';
import { afterAll, describe, expect, it } from 'vitest';
import { expectClose, expectResultAndRanks, HIGHEST } from './support/compare.js';
import { newContext } from './support/contexts.js';
import { fromHalf, toHalf } from './support/half.js';
import { infoNCECase, type Named } from './support/problems.js';
import { near, normal } from './support/random.js';
import { thrownBy } from './support/thrown.js';

const ROWS = 6;
const DIM = 5;
const SIZE = ROWS * DIM;
const context = newContext();
afterAll(() => context.dispose());

const query = normal([ROWS, DIM], 1);
const positiveKey = near(query, 0.7, 2);
const pair = { query, positiveKey, inBatch: true } as const;
const arrays = [3, 4, 5, 6].map(seed => near(query, 1.5, seed));
const [first, second, third, fourth] = arrays as [Tensor, Tensor, Tensor, Tensor];
const half = toHalf(third, 'float16');
const rounded = fromHalf(half);

function onDevice({ data, shape }: Tensor): DeviceTensor {
  return context.tensor(data, shape);
}

function queueOf(rows: Tensor): NegativeQueue {
  const queue = new NegativeQueue({ capacity: ROWS, dim: DIM, context });
  queue.enqueueSync(rows);
  return queue;
}

function joined(...tensors: readonly Tensor[]): Tensor {
  return { data: Float32Array.of(...tensors.flatMap(({ data }) => [...data])), shape: [tensors.length * ROWS, DIM] };
}

/** Against the reference: the loss of `negativeKeys`, of which `list` has the rows. */
function expectAsJoined(list: InfoNCEProblem['negativeKeys'], negativeKeys: Tensor, options: Named): object[] {
  const result = infoNCESync({ ...pair, ...options, negativeKeys: list } as InfoNCEQueueListProblem, { context });
  const expected = infoNCECase({ ...pair, ...options, negativeKeys }).reference();
  const { values } = expected.gradients.gradNegativeKeys!;
  const gradients = (result.gradNegativeKeys ?? []).map(
    (gradient, index) => gradient ?? values.slice(index * SIZE, (index + 1) * SIZE),
  );
  const gradNegativeKeys = Float32Array.of(...gradients.flatMap(gradient => [...gradient]));
  expectResultAndRanks({ ...result, gradNegativeKeys }, expected, HIGHEST);
  return [...(result.gradNegativeKeys ?? [])].map(gradient => ({ length: gradient?.length }));
}

describe('a list of negative keys', () => {
  const all = joined(first, second, rounded, fourth);

  it.each<readonly [string, Named]>([
    ['in-batch', {}],
    ['alone', { inBatch: false }],
    ['with biases of keys', { keyBias: normal([ROWS], 7).data }],
    ['with all of them harder', { hardness: { mode: 'all', strength: 5 } }],
    ['with label smoothing', { labelSmoothing: 0.2 }],
    ['with thresholds', { falseNegatives: { margin: 0.05 } }],
  ])('may have arrays of two types, a queue and a tensor on the device: %s', (_what, options) => {
    const list = [first, queueOf(second), half, onDevice(fourth)];
    const lengths = [SIZE, undefined, SIZE, SIZE].map(length => ({ length }));
    expect(expectAsJoined(list, all, options)).toEqual(lengths);
  });

  it.each<readonly [string, Named]>([
    [
      'ids',
      {
        queryIds: Int32Array.of(0, 1, 2, 0, 1, 2),
        negativeIds: Int32Array.from(all.data.slice(0, 24), (_, i) => i % 5),
      },
    ],
    ['biases', { negativeBias: normal([4 * ROWS], 8).data }],
    ['the rows of a guide', { falseNegatives: { margin: 0.1, guide: { query, positiveKey, negativeKeys: arrays } } }],
    ['directions', { directions: ['queryToKey', 'keyToQuery', 'queryToQuery', 'keyToKey'] }],
  ])('has %s in the order of the list', (_what, options) => {
    const list = [onDevice(first), second, third, fourth];
    const ofList = { ...pair, ...options, negativeKeys: list };
    const ofArrays = { ...pair, ...options, negativeKeys: arrays };
    const result = infoNCESync(ofList as InfoNCEListProblem<'mean', true>, { context });
    const expected = infoNCESync(ofArrays as InfoNCEListProblem<'mean', true>, { context });
    expectClose(result.loss, [expected.loss], 2e-6, 0, 'loss');
    expectClose(result.gradQuery, expected.gradQuery, HIGHEST.tolerance, 1e-7, 'gradQuery');
    expected.gradNegativeKeys.forEach((gradient, index) => {
      expectClose(result.gradNegativeKeys[index]!, gradient, HIGHEST.tolerance, 1e-7, `gradNegativeKeys[${index}]`);
    });
  });

  it('distinguishes own negatives from others with a queue', () => {
    const hardness = { mode: 'hard', strength: 6 } as const;
    const list = [first, queueOf(second), third];
    const result = infoNCESync({ ...pair, hardness, negativeKeys: list }, { context });
    // Those of the queue come last here and are nobody's own: as keys of which no gradient is asked.
    const hard = infoNCESync({ ...pair, hardness, negativeKeys: [first, third] }, { context });
    expect(result.loss).toBeGreaterThan(hard.loss);
    const none = infoNCESync({ ...pair, hardness: { mode: 'hard', strength: 0 }, negativeKeys: list }, { context });
    expect(none.loss).toBe(infoNCESync({ ...pair, negativeKeys: list }, { context }).loss);
    expect(result.gradNegativeKeys[1]).toBeUndefined();
  });

  it('has gradients on the device where its tensors are', async () => {
    const list = [onDevice(first), queueOf(second)];
    const host = infoNCESync({ ...pair, negativeKeys: list }, { context });
    const there = infoNCESync({ ...pair, negativeKeys: list }, { context, output: 'device' });
    expect(there.gradNegativeKeys[0]!.toArraySync()).toEqual(host.gradNegativeKeys[0]);
    expect(there.gradNegativeKeys[1]).toBeUndefined();
    const pass = await infoNCE.forward({ ...pair, negativeKeys: list }, { context });
    expect((await pass.backward()).gradNegativeKeys).toEqual(host.gradNegativeKeys);
    const { gradNegativeKeys } = await new InfoNCE({ inBatch: true }).forward(query, positiveKey, list, { context });
    expect(gradNegativeKeys).toEqual(host.gradNegativeKeys);
  });

  it('may be of queues alone', () => {
    const negativeKeys = [queueOf(first), queueOf(second)];
    const result = infoNCESync({ ...pair, negativeKeys }, { context });
    expect(result.gradNegativeKeys).toEqual([undefined, undefined]);
    const expected = infoNCESync({ ...pair, negativeKeys: joined(first, second) }, { context });
    expectClose(result.loss, [expected.loss], 2e-6, 0, 'loss');
    expect(infoNCESync({ ...pair, negativeKeys, detach: ['negativeKeys'] }, { context })).not.toHaveProperty(
      'gradNegativeKeys',
    );
    expect(memoryRequired({ loss: 'infoNCE', ...pair, negativeKeys }, { context }).total).toBeGreaterThan(0);
  });

  it('is taken by matryoshka, in as many matrices', () => {
    const negativeKeys = [onDevice(first), second, half, fourth];
    const dims = [DIM, 2];
    const result = matryoshkaSync(infoNCE, { ...pair, negativeKeys }, { dims }, { context });
    const expected = matryoshkaSync(infoNCE, { ...pair, negativeKeys: all }, { dims }, { context });
    expectClose(result.loss, [expected.loss], 2e-6, 0, 'loss');
    result.gradNegativeKeys.forEach((gradient, index) => {
      const part = expected.gradNegativeKeys.subarray(index * SIZE, (index + 1) * SIZE);
      expectClose(gradient, part, HIGHEST.tolerance, 1e-7, `gradNegativeKeys[${index}]`);
    });
  });

  it('names the list in what it says of a bad row', () => {
    const bad = { data: third.data.slice().fill(Number.NaN, 2 * DIM, 3 * DIM), shape: third.shape };
    expect(
      thrownBy(() => infoNCESync({ ...pair, negativeKeys: [onDevice(first), second, bad] }, { context })),
    ).toMatchObject({ code: 'ERR_INFONCE_NON_FINITE', message: expect.stringMatching(/row 2 of negativeKeys\[2\]\./) });
  });

  it.each<readonly [string, () => InfoNCEProblem, RegExp]>([
    [
      'more queues than there is room for',
      () => ({ ...pair, negativeKeys: new Array(7).fill(queueOf(first)) }),
      /negativeKeys: expected at most 6 queues and tensors on a device, got 7\. Put the rows of several into one tensor/,
    ],
    [
      'more than there is room for with directions',
      () => ({
        ...pair,
        negativeKeys: [onDevice(first), second, half],
        directions: ['queryToKey', 'queryToQuery', 'keyToKey'],
      }),
      /negativeKeys: expected fewer queues and tensors on a device with these directions, got 3\. Put the rows/,
    ],
    [
      'own negatives in several matrices',
      () => ({ ...pair, negativeKeys: [first, onDevice(second)], hardness: { mode: 'hard', strength: 1 } }),
      /hardness\.mode: expected 'all' where tensors of a list are on a device or of several types, got "hard"/,
    ],
    [
      'own negatives of queues',
      () => ({ ...pair, negativeKeys: [queueOf(first)], hardness: { mode: 'hard', strength: 1 } }),
      /hardness\.mode: expected 'inBatch' or 'all' where no query has negatives of its own, got 'hard'/,
    ],
    [
      'ids of the rows of a queue',
      () => ({
        ...pair,
        negativeKeys: [first, queueOf(second)],
        queryIds: new Int32Array(ROWS),
        negativeIds: new Int32Array(2 * ROWS),
      }),
      /negativeIds: expected nothing with the rows of a NegativeQueue/,
    ],
    [
      'an empty queue',
      () => ({ ...pair, negativeKeys: [first, new NegativeQueue({ capacity: 2, dim: DIM, context })] }),
      /negativeKeys\[1\]: expected a queue with at least one row, got an empty one/,
    ],
    [
      'a queue of another dimension',
      () => ({ ...pair, negativeKeys: [first, new NegativeQueue({ capacity: 2, dim: 3, context })] }),
      /negativeKeys\[1\]/,
    ],
  ])('refuses %s', (_what, problem, message) => {
    const error = thrownBy(() => infoNCESync(problem(), { context }));
    expect(error).toMatchObject({ name: 'InfoNCEError', message: expect.stringMatching(message) });
  });
});
