import { Worker } from 'node:worker_threads';
import { ntXent, ntXentSync } from 'infonce';
import { expect, it } from 'vitest';
import { DEVICE, effort, newContext } from './support/contexts.js';
import { normal } from './support/random.js';
import { thrownBy } from './support/thrown.js';

const features = normal(effort([600, 32], [140, 16]), 1);

it('gives back what calls have left, once, and the next call is as ever', () => {
  const context = newContext({ threads: 2 });
  const expected = ntXentSync({ features }, { context });
  expect(context.trim()).toBeGreaterThan(4 * features.data.length);
  expect(context.trim()).toBe(0);
  expect(ntXentSync({ features }, { context })).toEqual(expected);
  expect(context.trim()).toBeGreaterThan(0);
  context.dispose();
});

it('gives back the copies that asynchronous calls have made', async () => {
  const context = newContext({ threads: 2 });
  ntXentSync({ features }, { context });
  const ofSync = context.trim();
  await ntXent({ features }, { context });
  // A copy of the inputs, and room for the gradient.
  expect(context.trim()).toBeGreaterThanOrEqual(ofSync + 2 * features.data.byteLength);
  expect(context.trim()).toBe(0);
  context.dispose();
});

it('leaves calls in flight, tensors, pinned arrays and forward passes alone', async () => {
  const context = newContext({ threads: 2 });
  const expected = ntXentSync({ features }, { context });
  const tensor = context.tensor(features.data, features.shape);
  const pinned = context.pinned(features.data.length);
  pinned.set(features.data);
  const pass = ntXent.forwardSync({ features: tensor }, { context });
  const calls = Array.from({ length: 4 }, (_, i) => {
    const call = ntXent({ features: i % 2 === 0 ? tensor : { data: pinned, shape: features.shape } }, { context });
    context.trim();
    return call;
  });
  for (const result of await Promise.all(calls)) expect(result).toEqual(expected);
  context.trim();
  expect(await tensor.toArray()).toEqual(features.data);
  expect(pass.backwardSync().gradFeatures).toEqual(expected.gradFeatures);
  context.dispose();
});

it('is refused by a disposed context', () => {
  const context = newContext({ threads: 1 });
  context.dispose();
  const error = thrownBy(() => context.trim());
  expect(error).toMatchObject({ code: 'ERR_INFONCE_DISPOSED', argument: 'context' });
});

it('serves in worker threads', async () => {
  const program = `
    const { parentPort, workerData } = require('node:worker_threads');
    const { createContext, ntXentSync } = require('infonce');
    const { device, features } = workerData;
    const context = createContext({ device });
    const first = ntXentSync({ features }, { context }).loss;
    const freed = context.trim();
    parentPort.postMessage([first, freed, context.trim(), ntXentSync({ features }, { context }).loss]);
  `;
  const { loss } = ntXentSync({ features });
  const workers = Array.from({ length: 3 }, () => {
    const worker = new Worker(program, { eval: true, workerData: { device: DEVICE, features } });
    return new Promise((resolve, reject) => worker.on('message', resolve).on('error', reject));
  });
  for (const answer of await Promise.all(workers)) expect(answer).toEqual([loss, expect.any(Number), 0, loss]);
});
