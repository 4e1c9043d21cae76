import { type Context, infoNCE, matryoshkaSync, ntXent, ntXentSync } from 'infonce';
import { expect, it } from 'vitest';
import { effort, newContext } from './support/contexts.js';
import { normal, scaled } from './support/random.js';
import { growth, LITTLE, resident } from './support/resident.js';

const MEGABYTE = 2 ** 20;

/** Of as many numbers where a processor is emulated, with fewer products. */
const SMALL = effort([256, 64], [16, 1024]);

it('needs a bounded panel, not a matrix of all pairs', () => {
  const features = normal([16_384, 16], 2);
  const context = newContext({ threads: 2 });
  const before = process.resourceUsage().maxRSS;
  ntXentSync({ features }, { context });
  // 16,384² float32 numbers are a gigabyte.
  expect((process.resourceUsage().maxRSS - before) * 1024).toBeLessThan(256 * MEGABYTE);
  context.dispose();
}, 60_000);

it('reads leading dimensions where they are, without a copy of the inputs', () => {
  const [rows, each, dim] = [32, 1500, 256];
  const data = new Float32Array(rows * each * dim);
  for (let i = 0; i < data.length; i++) data[i] = (i % 97) - 48;
  const inputs = { query: normal([rows, dim], 4), positiveKey: normal([rows, dim], 5) };
  const negatives = { negativeKeys: { data, shape: [rows, each, dim] }, negativeMode: 'paired' } as const;
  const context = newContext({ threads: 1 });
  const before = process.memoryUsage().arrayBuffers;
  const problem = { ...inputs, ...negatives, detach: ['negativeKeys'] as const };
  const { loss } = matryoshkaSync(infoNCE, problem, { dims: [255, 128] }, { context });
  // The negatives are 47 MB, their leading numbers 70 MB.
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(4 * MEGABYTE);
  expect(loss).toBeGreaterThan(0);
  context.dispose();
}, 60_000);

it('gives the panel back when the context is trimmed', async () => {
  const features = normal([6000, 16], 3);
  const context = newContext({ threads: 2 });
  const expected = ntXentSync({ features }, { context });
  const before = await resident();
  const freed = context.trim();
  // Half of 6000² float32 numbers is 72 MB.
  expect(freed).toBeGreaterThan(60 * MEGABYTE);
  if (context.device.type === 'cpu') expect(before - (await resident())).toBeGreaterThan(0.9 * freed - LITTLE);
  expect(ntXentSync({ features }, { context })).toEqual(expected);
  context.dispose();
}, 60_000);

it('stays bounded over many synchronous calls', async () => {
  const features = normal(SMALL, 1);
  const grown = await growth(async () => {
    for (let i = 0; i < 3000; i++) {
      ntXentSync({ features });
      if (i % 100 === 0) await new Promise(setImmediate);
    }
  });
  // The gradients alone are 190 MB.
  expect(grown).toBeLessThan(LITTLE);
}, 60_000);

it('stays bounded over many promises, failed ones too', async () => {
  const features = normal(SMALL, 1);
  const broken = scaled(features, Number.NaN);
  const grown = await growth(async () => {
    for (let round = 0; round < 100; round++) {
      const calls = Array.from({ length: 20 }, (_, i) => ntXent({ features: i % 4 === 0 ? broken : features }));
      await Promise.allSettled(calls);
    }
  });
  expect(grown).toBeLessThan(LITTLE);
}, 60_000);

// This emulator keeps 280 KB of every thread that has ended, whatever its program.
it.skipIf(process.env.INFONCE_TEST_EMULATOR === 'qemu-aarch64')(
  'stays bounded over many contexts',
  async () => {
    const features = normal(SMALL, 1);
    const grown = await growth(async () => {
      for (let i = 0; i < 200; i++) {
        const context = newContext({ threads: 2 });
        ntXentSync({ features }, { context });
        context.dispose();
        await new Promise(setImmediate);
      }
    });
    expect(grown).toBeLessThan(LITTLE);
  },
  60_000,
);

it('stays bounded over many device tensors, disposed or left to the garbage collector', async () => {
  const context = newContext({ threads: 1 });
  const { data, shape } = normal([4096, 64], 1);
  const grown = await growth(async () => {
    for (let i = 0; i < 300; i++) {
      const tensor = context.tensor(data, shape);
      if (i % 2 === 0) await tensor.toArray();
      if (i % 3 === 0) tensor.dispose();
      await new Promise(setImmediate);
    }
  });
  // The tensors that were not disposed are 200 MB, what was read of them 150 MB.
  expect(grown).toBeLessThan(LITTLE);
  context.dispose();
}, 60_000);

it('stays bounded over many pinned arrays', async () => {
  const context = newContext({ threads: 1 });
  const { data, shape } = normal([2048, 64], 1);
  const grown = await growth(async () => {
    for (let i = 0; i < 200; i++) {
      const pinned = context.pinned(data.length);
      pinned.set(data);
      if (i % 20 === 0) await ntXent({ features: { data: pinned, shape } }, { context });
      await new Promise(setImmediate);
    }
  });
  expect(grown).toBeLessThan(LITTLE);
  context.dispose();
}, 60_000);

it('stays bounded over many forward halves, with and without their gradients', async () => {
  const context = newContext({ threads: 1 });
  const features = normal(effort([1024, 64], [32, 2048]), 1);
  const grown = await growth(async () => {
    for (let i = 0; i < 300; i++) {
      const pass =
        i % 2 === 0 ? await ntXent.forward({ features }, { context }) : ntXent.forwardSync({ features }, { context });
      if (i % 5 === 0) await pass.backward(2);
      if (i % 3 === 0) pass.dispose();
      await new Promise(setImmediate);
    }
  });
  expect(grown).toBeLessThan(LITTLE);
  context.dispose();
}, 60_000);

it('stays bounded over many calls that are cancelled', async () => {
  const context = newContext({ threads: 1 });
  const features = normal([8192, 32], 1);
  const grown = await growth(async () => {
    for (let i = 0; i < 60; i++) {
      const controller = new AbortController();
      const calls = [0, 1, 2].map(() => ntXent({ features }, { context, signal: controller.signal }));
      setTimeout(() => controller.abort(), i % 10);
      await Promise.allSettled(calls);
    }
  });
  expect(grown).toBeLessThan(LITTLE);
  context.dispose();
}, 60_000);

/** Disposed contexts, which the garbage collector does not get. */
const disposed: Context[] = [];

it('gives back what calls in flight took when the context is disposed', async () => {
  const features = normal([16_384, 128], 1);
  const grown = await growth(async () => {
    const context = newContext({ threads: 1 });
    disposed.push(context);
    const controller = new AbortController();
    const calls = Array.from({ length: 6 }, () => ntXent({ features }, { context, signal: controller.signal }));
    setTimeout(() => controller.abort(), 10);
    await Promise.allSettled(calls);
    context.dispose();
  });
  // Copies of the inputs are 50 MB, room for gradients as much.
  expect(grown).toBeLessThan(LITTLE);
}, 60_000);
