import { Worker } from 'node:worker_threads';
import { accumulate, infoNCE } from 'infonce';
import { afterAll, describe, expect, it } from 'vitest';
import { DEVICE } from '../support/contexts.js';
import { normal } from '../support/random.js';
import { errorsOn, expectUsable, leaveAll, onRanks, ranksOf } from '../support/ranks.js';
import { wrong } from '../support/thrown.js';

afterAll(leaveAll);

const DIM = 5;
const ROWS = [3, 1];
const queryOf = (rank: number) => normal([ROWS[rank]!, DIM], rank);
const keyOf = (rank: number) => normal([ROWS[rank]!, DIM], rank + 10);
const OPTIONS = { temperature: 0.5 };

/** What the call itself gives on each rank. */
const expected = (): ReturnType<typeof onRanks<object>> =>
  onRanks(2, ({ rank, group, context }) =>
    infoNCE({ query: queryOf(rank), positiveKey: keyOf(rank), ...OPTIONS }, { group, context }),
  );

/** Synchronous calls wait for the other ranks, each in a thread of its own. `work` answers with numbers. */
function inWorkers(key: string, work: string): Promise<unknown[]> {
  const source = `
    process.env.INFONCE_DEVICE = '${DEVICE}';
    const { parentPort, workerData } = require('node:worker_threads');
    const { rank, query, positiveKey, options } = workerData;
    (async () => {
      const { createProcessGroup } = await import('infonce');
      const group = await createProcessGroup({ engine: 'local', key: '${key}', rank, size: 2 });
      const errors = [];
      const failing = call => { try { call(); } catch (error) { errors.push(error.code); } };
      ${work}
      await group.dispose();
    })();
  `;
  const ranks = [0, 1].map(rank => {
    const workerData = { rank, query: queryOf(rank), positiveKey: keyOf(rank), options: OPTIONS };
    const worker = new Worker(source, { eval: true, workerData });
    return new Promise((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
    });
  });
  return Promise.all(ranks);
}

it('ops of TensorFlow.js compute over a group, and tell of inputs that they refuse', async () => {
  const results = await inWorkers(
    'tfjs',
    `
      const tf = await import('@tensorflow/tfjs');
      const { infoNCE } = await import('infonce/tfjs');
      tf.enableProdMode();
      await tf.setBackend('cpu');
      const [q, k] = [query, positiveKey].map(({ data, shape }) => tf.tensor(data, shape));
      const t = tf.scalar(options.temperature);
      const of = (q, k, temperature) => infoNCE(q, k, { temperature, group });
      const grads = tf.grads(of)([q, k, t]);
      const loss = of(q, k, options.temperature).dataSync()[0];
      failing(() => of(rank === 1 ? tf.zeros([2]) : q, k, 0.4));
      failing(() => of(q, rank === 0 ? tf.zeros([9, 5]) : k, 0.4));
      // In two halves, each a step.
      const inRows = q => infoNCE(q, k, { ...options, reduction: 'none', group }).mul(tf.range(0, q.shape[0])).sum();
      failing(() => infoNCE(rank === 1 ? q : tf.zeros([2]), k, { ...options, reduction: 'none', group }));
      const gradOfRows = tf.grad(inRows)(q).dataSync();
      parentPort.postMessage({ loss, gradQuery: grads[0].dataSync(), gradPositiveKey: grads[1].dataSync(), gradTemperature: grads[2].dataSync()[0], gradOfRows, errors });
    `,
  );
  const ofRows = await onRanks(2, ({ rank, group, context }) => {
    const gradOutput = Float32Array.from({ length: ROWS[rank]! }, (_, row) => row);
    const problem = {
      query: queryOf(rank),
      positiveKey: keyOf(rank),
      ...OPTIONS,
      reduction: 'none',
      gradOutput,
    } as const;
    return infoNCE(problem, { group, context });
  });
  const [shape, peer] = ['ERR_INFONCE_SHAPE', 'ERR_INFONCE_PEER'];
  (await expected()).forEach((result, rank) => {
    const { loss, gradQuery, gradPositiveKey, gradTemperature } = result as { readonly [name: string]: number };
    expect(results[rank]).toEqual({
      loss: Math.fround(loss!),
      gradQuery,
      gradPositiveKey,
      gradTemperature: Math.fround(gradTemperature!),
      gradOfRows: ofRows[rank]!.gradQuery,
      errors: rank === 1 ? [shape, peer, peer] : [peer, shape, shape],
    });
  });
});

it('functions for jax-js compute over a group, and tell of inputs that they refuse', async () => {
  const results = await inWorkers(
    'jax',
    `
      const { init, defaultDevice, numpy: np } = await import('@jax-js/jax');
      const { infoNCE } = await import('infonce/jax-js');
      await init('cpu');
      defaultDevice('cpu');
      const [q, k] = [query, positiveKey].map(({ data, shape }) => np.array(data, { shape }));
      const of = (q, k) => infoNCE(q, k, undefined, { ...options, group });
      const [value, [gradQuery, gradPositiveKey]] = of(q.ref, k.ref);
      failing(() => of(rank === 1 ? 7 : q.ref, k.ref));
      failing(() => of(q.ref, rank === 0 ? np.zeros([9, 5]) : k.ref));
      parentPort.postMessage({ ...value, gradQuery: gradQuery.dataSync(), gradPositiveKey: gradPositiveKey.dataSync(), errors });
    `,
  );
  (await expected()).forEach((result, rank) => {
    expect(results[rank]).toEqual({
      ...result,
      errors: rank === 1 ? ['ERR_INFONCE_TYPE', 'ERR_INFONCE_PEER'] : ['ERR_INFONCE_PEER', 'ERR_INFONCE_SHAPE'],
    });
  });
});

describe('accumulate', () => {
  const chunksOf = (rank: number) =>
    rank === 1
      ? [{ query: queryOf(1), positiveKey: keyOf(1) }]
      : [0, 1, 2].map(row => {
          const cut = (data: Float32Array) => ({ data: data.slice(row * DIM, (row + 1) * DIM), shape: [1, DIM] });
          return { query: cut(queryOf(0).data), positiveKey: cut(keyOf(0).data) };
        });

  it('takes the chunks of each rank', async () => {
    const results = await onRanks(2, ({ rank, group, context }) =>
      accumulate(infoNCE, chunksOf(rank), OPTIONS, { group, context }),
    );
    (await expected()).forEach((result, rank) => {
      const { gradQuery, gradPositiveKey, ...shared } = result as { readonly [name: string]: Float32Array };
      const { chunks, ...rest } = results[rank]!;
      expect(rest).toEqual(shared);
      expect(chunks.flatMap(chunk => [...chunk.gradQuery])).toEqual([...gradQuery!]);
      expect(chunks.flatMap(chunk => [...chunk.gradPositiveKey])).toEqual([...gradPositiveKey!]);
    });
  });

  it('tells the other ranks of chunks that it refuses, or that the loss does', async () => {
    const ranks = await ranksOf(2);
    for (const chunks of [[], [{ query: queryOf(0) }], [{ query: queryOf(0), positiveKey: keyOf(1) }]]) {
      const errors = await errorsOn(ranks, ({ rank, group, context }) =>
        accumulate(infoNCE, rank === 0 ? wrong(chunks) : chunksOf(1), OPTIONS, { group, context }),
      );
      expect(errors[0]!.code).toMatch(/^ERR_INFONCE_(TYPE|SHAPE)$/);
      expect(errors[1]!.code).toBe('ERR_INFONCE_PEER');
      await expectUsable(ranks);
    }
  });
});
