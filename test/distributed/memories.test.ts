import { type Context, NegativeQueue } from 'infonce';
import { afterAll, describe, expect, it } from 'vitest';
import { expectResult, HIGHEST } from '../support/compare.js';
import { DEVICE, sharedContext, TARGETS } from '../support/contexts.js';
import { toHalf } from '../support/half.js';
import { joined, onParts } from '../support/over-ranks.js';
import { evenShares, type Shares } from '../support/parts.js';
import { type Case, infoNCECase, type Named, supConCase } from '../support/problems.js';
import { normal, randomLabels } from '../support/random.js';
import { leaveAll } from '../support/ranks.js';

afterAll(leaveAll);

const [ROWS, DIM, REMEMBERED] = [11, 8, 70];
const features = normal([ROWS, DIM], 1);
const remembered = normal([REMEMBERED, DIM], 2);
/** How many of the rows of the queues, and of the loss, each rank has. */
const SHARES: readonly (readonly [rows: Shares, queues: Shares])[] = [
  [[ROWS], [REMEMBERED]],
  [evenShares(ROWS, 2), evenShares(REMEMBERED, 2)],
  [
    [1, 9, 1],
    [0, 69, 1],
  ],
  [
    [0, 6, 0, 5],
    [40, 0, 30, 0],
  ],
];

/** A queue of these of the rows that are remembered. */
function queueOf(context: Context, labels: Int32Array, from: number, to: number, dtype: 'float32' | 'float16') {
  const queue = new NegativeQueue({ capacity: REMEMBERED, dim: DIM, labels: true, dtype, context });
  const rows = { data: remembered.data.subarray(from * DIM, to * DIM), shape: [to - from, DIM] };
  if (to > from) queue.enqueueSync(dtype === 'float32' ? rows : toHalf(rows, dtype), labels.subarray(from, to));
  return queue;
}

const numbersOf = (value: unknown) => (value instanceof Float32Array ? [...value] : [value as number]);

/** That the ranks' results are those of one call with one queue of all. `name`: of the queue in the problem. */
async function expectOneCall(of: Case, loss: string, name: string, labels: Int32Array, dtype: 'float32' | 'float16') {
  const context = sharedContext(TARGETS[0]!);
  const queue = queueOf(context, labels, 0, REMEMBERED, dtype);
  const whole = (await of.functions.run({ ...of.problem, [name]: queue }, { context })) as Named;
  const { loss: value, top1, top5, ...gradients } = whole;
  const reference = {
    loss: numbersOf(value),
    gradients: Object.fromEntries(
      Object.entries(gradients).map(([key, values]) => [key, { values: numbersOf(values), terms: [] }]),
    ),
  };
  queue.dispose();
  for (const [rows, queues] of SHARES) {
    for (const halves of [false, true]) {
      const results = await onParts(of, loss, rows, async ({ rank, group, context }, part) => {
        const from = queues.slice(0, rank).reduce((sum, count) => sum + count, 0);
        const own = queueOf(context, labels, from, from + queues[rank]!, dtype);
        const problem = { ...part, [name]: own };
        if (!halves) return of.functions.run(problem, { group, context }).finally(() => own.dispose());
        const { gradOutput, ...first } = problem as Named;
        const pass = await of.functions.forward(first, { group, context });
        own.dispose();
        const result = {
          loss: pass.loss,
          top1: (pass as unknown as Named).top1,
          top5: (pass as unknown as Named).top5,
        };
        return { ...result, ...(await pass.backward(gradOutput as number)) };
      });
      const all = joined(of, loss, rows, results);
      expectResult(all, reference as never, HIGHEST, `${rows} ${halves}`);
      expect([all.top1, all.top5]).toEqual([top1, top5]);
    }
  }
}

describe.skipIf(DEVICE === 'cuda')('queues of each rank are one of all', () => {
  const options = [
    {},
    { denominator: 'negatives' },
    { denominator: 'positiveAndNegatives' },
    { form: 'in' },
    { labelSmoothing: 0.2 },
    { normalize: false, temperature: 3 },
  ];
  it.each(options)('supCon %j', async option => {
    // Pairs of rows, and large classes.
    for (const classes of [30, 2]) {
      const labels = randomLabels(ROWS, classes, 3);
      const ofQueue = randomLabels(REMEMBERED, classes, 4);
      const sum = { reduction: 'sum', gradOutput: -0.5 } as const;
      for (const reduction of [{}, sum]) {
        const of = supConCase({ features, labels, temperature: 0.2, ...option, ...reduction } as never);
        await expectOneCall(of, 'supCon', 'memory', ofQueue, classes === 2 ? 'float32' : 'float16');
      }
    }
  });

  it('infoNCE', async () => {
    const pair = { query: features, positiveKey: normal([ROWS, DIM], 5) };
    for (const inBatch of [false, true])
      await expectOneCall(
        infoNCECase({ ...pair, inBatch } as never),
        'infoNCE',
        'negativeKeys',
        randomLabels(REMEMBERED, 3, 6),
        'float32',
      );
  });

  it('of which all are empty change nothing in supCon, and are refused by infoNCE', async () => {
    const of = supConCase({ features, labels: randomLabels(ROWS, 4, 3) });
    const pair = infoNCECase({ query: features, positiveKey: features });
    for (const shares of [[ROWS], [5, 6]]) {
      const without = await onParts(of, 'supCon', shares, ({ group, context }, part) =>
        of.functions.run(part, { group, context }),
      );
      const withNone = await onParts(of, 'supCon', shares, ({ group, context }, part) => {
        const memory = new NegativeQueue({ capacity: 3, dim: DIM, labels: true, context });
        return of.functions.run({ ...part, memory }, { group, context }).finally(() => memory.dispose());
      });
      expect(withNone).toEqual(without);
      const refused = onParts(pair, 'infoNCE', shares, ({ group, context }, part) => {
        const negativeKeys = new NegativeQueue({ capacity: 3, dim: DIM, context });
        return pair.functions.run({ ...part, negativeKeys }, { group, context }).finally(() => negativeKeys.dispose());
      });
      await expect(refused).rejects.toMatchObject({ code: expect.stringMatching(/^ERR_INFONCE/) });
    }
  });
});
