import { Worker } from 'node:worker_threads';
import { ntXentSync } from 'infonce';
import { expect, it } from 'vitest';
import { DEVICE, effort } from './support/contexts.js';
import { normal } from './support/random.js';

const source = `
const { parentPort, workerData } = require('node:worker_threads');
const { createContext, ntXent, ntXentSync } = require('infonce');
const { calls, device, features } = workerData;
const context = createContext({ device });
(async () => {
  const problem = { features };
  const results = [];
  for (let i = 0; i < calls; i++) results.push(ntXentSync(problem, { context }).loss);
  for (let i = 0; i < calls; i++) results.push((await ntXent(problem)).loss);
  parentPort.postMessage(results);
})();
`;

/** Calls that each of the workers makes in a context of its own, and again in the default one. */
const CALLS = effort(20, 2);

function run(features: object, program = source): Promise<number[]> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(program, { eval: true, workerData: { calls: CALLS, device: DEVICE, features } });
    let results: number[] = [];
    worker.on('message', (message: number[]) => {
      results = message;
    });
    worker.on('error', reject);
    worker.on('exit', code => (code === 0 ? resolve(results) : reject(new Error(`exit code ${code}`))));
  });
}

it('computes in several worker threads at once', async () => {
  const features = normal(effort([200, 16], [40, 16]), 1);
  const expected = new Array(2 * CALLS).fill(ntXentSync({ features }).loss);
  const results = await Promise.all([run(features), run(features), run(features), run(features)]);
  expect(results).toEqual([expected, expected, expected, expected]);
});

/** Several contexts with device tensors, whose calls are all in flight at once; some disposed before they end. */
const manyContexts = `
const { parentPort, workerData } = require('node:worker_threads');
const { createContext, ntXent } = require('infonce');
const { device, features } = workerData;
(async () => {
  const contexts = Array.from({ length: 3 }, () => createContext({ device, ...(device === 'cpu' && { threads: 2 }) }));
  const results = contexts.flatMap((context, k) => {
    const tensor = context.tensor(features.data, features.shape);
    const calls = [ntXent({ features: tensor }), ntXent({ features }, { context }), ntXent({ features: tensor })];
    if (k > 0) context.dispose();
    return calls;
  });
  parentPort.postMessage((await Promise.all(results)).map(({ loss }) => loss));
})();
`;

it('computes in many contexts at once, in each of several threads', async () => {
  const features = normal(effort([600, 32], [40, 16]), 2);
  const expected = new Array(9).fill(ntXentSync({ features }).loss);
  const results = await Promise.all(Array.from({ length: 4 }, () => run(features, manyContexts)));
  expect(results).toEqual([expected, expected, expected, expected]);
});

it('survives a worker that ends with calls in flight', async () => {
  const features = normal(effort([2048, 64], [140, 64]), 1);
  const ending = `
    const { workerData } = require('node:worker_threads');
    const { ntXent } = require('infonce');
    for (let i = 0; i < 5; i++) ntXent({ features: workerData });
    setTimeout(() => process.exit(0), 5);
  `;
  for (let i = 0; i < 3; i++) {
    const worker = new Worker(ending, { eval: true, workerData: features });
    expect(await new Promise(resolve => worker.on('exit', resolve))).toBe(0);
  }
  expect(ntXentSync({ features }).loss).toBeGreaterThan(0);
});
