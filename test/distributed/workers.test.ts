import { spawn } from 'node:child_process';
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { createProcessGroup, infoNCE, infoNCESync } from 'infonce';
import { expect, it } from 'vitest';
import { DEVICE } from '../support/contexts.js';

/** What a rank in a worker starts with. It answers what it gets in `work`. */
const RANK = `
  const { parentPort, workerData, threadId } = require('node:worker_threads');
  const { isDeepStrictEqual } = require('node:util');
  const { createProcessGroup, createContext, infoNCE, infoNCESync, matryoshkaSync } = require('infonce');
  process.env.INFONCE_DEVICE = '${DEVICE}';
  const { key, rank, size } = workerData;
  const joined = createProcessGroup({ engine: 'local', key, rank, size });
  const rows = rank => ({ data: Float32Array.from({ length: 6 * (rank + 1) }, (_, k) => Math.sin(k * k + rank)), shape: [2 * (rank + 1), 3] });
  const problem = { query: rows(rank), positiveKey: rows(rank) };
`;

function startRank(key: string, rank: number, size: number, work: string): Worker {
  return new Worker(`${RANK}(async () => { const group = await joined; ${work} })();`, {
    eval: true,
    workerData: { key, rank, size },
  });
}

function answerOf(worker: Worker): Promise<unknown> {
  return new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
}

function codeOf(worker: Worker): Promise<number> {
  return new Promise(resolve => worker.once('exit', resolve));
}

it('ranks in workers compute synchronously, in contexts that share the processors', async () => {
  const work = `
    const result = infoNCESync(problem, { group });
    const again = await infoNCE(problem, { group });
    const refused = (() => { try { infoNCESync(rank === 1 ? {} : problem, { group }); } catch (error) { return error.code; } })();
    const pass = infoNCE.forwardSync(problem, { group });
    const halves = { ...result, ...pass.backwardSync() };
    pass.dispose();
    const inDims = matryoshkaSync(infoNCE, problem, { dims: [3] }, { group });
    const same = [again, halves, inDims].every(other => isDeepStrictEqual(other, result));
    parentPort.postMessage({ ...result, same, refused });
    await group.dispose();
  `;
  const workers = [0, 1, 2].map(rank => startRank('sync', rank, 3, work));
  const exits = Promise.all(workers.map(codeOf));
  const answers = (await Promise.all(workers.map(answerOf))) as {
    readonly loss: number;
    readonly gradQuery: Float32Array;
    readonly same: boolean;
    readonly refused: string;
  }[];
  expect(await exits).toEqual([0, 0, 0]);
  const rows = [0, 1, 2].flatMap(rank => Array.from({ length: 6 * (rank + 1) }, (_, k) => Math.sin(k * k + rank)));
  const all = { data: Float32Array.from(rows), shape: [12, 3] };
  const whole = infoNCESync({ query: all, positiveKey: all });
  for (const [rank, { loss, same, refused }] of answers.entries()) {
    expect(loss).toBe(answers[0]!.loss);
    expect(loss).toBeCloseTo(whole.loss, 6);
    expect(same).toBe(true);
    expect(refused).toBe(rank === 1 ? 'ERR_INFONCE_TYPE' : 'ERR_INFONCE_PEER');
  }
  answers
    .flatMap(({ gradQuery }) => [...gradQuery])
    .forEach((number, k) => {
      expect(number).toBeCloseTo(whole.gradQuery[k]!, 6);
    });
});

it('a worker that ends well has left its group', async () => {
  const joined = createProcessGroup({ engine: 'local', key: 'well', rank: 0, size: 2 });
  const worker = startRank('well', 1, 2, 'await group.barrier(); await infoNCE(problem, { group });');
  const exit = codeOf(worker);
  const group = await joined;
  await group.barrier();
  const rows = { data: Float32Array.of(1, 2, 3), shape: [1, 3] };
  await infoNCE({ query: rows, positiveKey: rows }, { group });
  await expect(group.barrier()).rejects.toMatchObject({ code: 'ERR_INFONCE_GROUP_LOST' });
  expect(group.lost).toBe('rank 1 of 2 left after 2 steps');
  expect(await exit).toBe(0);
  await group.dispose();
});

it('a worker that ends with steps under way and queued ends those of the other ranks', async () => {
  const busy = `
    const context = createContext({ device: '${DEVICE}' });
    for (let k = 0; k < 3; k++) infoNCE(problem, { group, context }).catch(() => {});
    group.barrier().catch(() => {});
    infoNCE(problem, { context }).then(() => {});
    infoNCE(problem, { group }).catch(() => {});
    parentPort.postMessage('waiting');
  `;
  for (const ending of ['terminate', 'exit', 'error'] as const) {
    const joined = createProcessGroup({ engine: 'local', key: ending, rank: 0, size: 2 });
    const ends = {
      terminate: '',
      exit: 'process.exit(0);',
      error: 'setImmediate(() => { throw new Error("over"); });',
    };
    const worker = startRank(ending, 1, 2, busy + ends[ending]);
    worker.on('error', () => {});
    const exit = codeOf(worker);
    const group = await joined;
    if (ending === 'terminate') {
      await answerOf(worker);
      await worker.terminate();
    }
    await exit;
    // Steps that the worker was waiting in may have ended before it did.
    const settled = await Promise.allSettled([1, 2, 3].map(() => group.allReduce(new Float32Array(2), 'sum')));
    expect(settled.at(-1)).toMatchObject({ reason: { code: 'ERR_INFONCE_GROUP_LOST' } });
    expect(group.lost).toBeTypeOf('string');
    await group.dispose();
  }
});

/** Programs whose ranks wait for one that never comes: nothing but their end is left to do. */
const ENDINGS: readonly (readonly [string, string, number])[] = [
  [
    'while a group is made',
    `createProcessGroup({ engine: 'local', key: 'a', rank: 0, size: 2 }); setTimeout(() => process.exit(3), 50);`,
    3,
  ],
  [
    'while steps wait, in several contexts',
    `Promise.all([0, 1].map(rank => createProcessGroup({ engine: 'local', key: 'a', rank, size: 2 }))).then(([group]) => {
       for (const context of [createContext(), createContext()]) for (let k = 0; k < 3; k++) infoNCE(problem, { group, context }).catch(() => {});
       group.barrier().catch(() => {});
       setTimeout(() => process.exit(4), 30);
     });`,
    4,
  ],
  [
    'while a worker waits in a synchronous call',
    `const { Worker } = require('node:worker_threads');
     new Worker(\`
       const { createProcessGroup, infoNCESync } = require('infonce');
       createProcessGroup({ engine: 'local', key: 'a', rank: 1, size: 2 }).then(group => {
         const tensor = { data: Float32Array.of(1, 2, 3, 4), shape: [2, 2] };
         infoNCESync({ query: tensor, positiveKey: tensor }, { group });
       });
     \`, { eval: true });
     createProcessGroup({ engine: 'local', key: 'a', rank: 0, size: 2 }).then(() => setTimeout(() => process.exit(5), 100));`,
    5,
  ],
  [
    'without dispose()',
    `createProcessGroup({ engine: 'local', key: 'a', rank: 0, size: 1 }).then(group => group.barrier());`,
    0,
  ],
];

it.each(ENDINGS)('a process ends as it should: %s', async (_, program, expected) => {
  const source = `
    process.env.INFONCE_DEVICE = '${DEVICE}';
    const { createContext, createProcessGroup, infoNCE } = require('infonce');
    const tensor = { data: Float32Array.of(1, 2, 3, 4), shape: [2, 2] };
    const problem = { query: tensor, positiveKey: tensor };
    ${program}
  `;
  const child = spawn(process.execPath, ['--input-type=commonjs', '--eval', source], {
    cwd: path.resolve(import.meta.dirname, '../..'),
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: 20_000,
  });
  let stderr = '';
  child.stderr.on('data', (data: Buffer) => {
    stderr += data;
  });
  const outcome = await new Promise(resolve => child.on('close', (code, signal) => resolve({ code, signal, stderr })));
  expect(outcome).toEqual({ code: expected, signal: null, stderr: '' });
});
