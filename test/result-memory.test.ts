import { Worker } from 'node:worker_threads';
import { infoNCE, ntXent, ntXentSync } from 'infonce';
import { expect, it, vi } from 'vitest';
import { openedContexts } from './support/opened-contexts.js';
import { normal } from './support/random.js';
import { collect } from './support/resident.js';

const open = openedContexts();

// Before the package is loaded, which keeps the functions.
vi.hoisted(() => vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] }));

/** 128 KB, 32 pages: allocators ask the system for as much each time. */
const features = normal([512, 64], 1);
const PAGES = features.data.byteLength / 4096;

it.each(['ntXentSync', 'ntXent'])('of %s serves the next calls once results were collected', async name => {
  const context = open();
  const call = async () =>
    void (name === 'ntXent' ? await ntXent({ features }, { context }) : ntXentSync({ features }, { context }));
  // Of the process there are others at times, from a system that takes pages back. Calls that ask for memory fault each time.
  let least = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 4 && least >= PAGES; round++) {
    for (let i = 0; i < 12; i++) await call();
    await collect();
    const before = process.resourceUsage().minorPageFault;
    for (let i = 0; i < 8; i++) await call();
    least = Math.min(least, process.resourceUsage().minorPageFault - before);
  }
  expect(least).toBeLessThan(PAGES);
});

it('is not that of results which are still in use', async () => {
  const context = open();
  const problems = Array.from({ length: 6 }, (_, seed) => normal([512, 64], seed + 2));
  const expected = problems.map(of => ntXentSync({ features: of }).gradFeatures.slice());
  const kept: { readonly gradFeatures: Float32Array }[] = [];
  for (const of of problems) {
    kept.push(ntXentSync({ features: of }, { context }), await ntXent({ features: of }, { context }));
    ntXentSync({ features }, { context });
    await collect();
  }
  for (const [i, { gradFeatures }] of kept.entries()) expect(gradFeatures).toEqual(expected[i >> 1]);
});

it('is apart for each result of a call, and as long as the result', async () => {
  const query = normal([700, 64], 1);
  const { gradQuery, gradPositiveKey } = await infoNCE(
    { query, positiveKey: features, inBatch: true, targets: new Int32Array(700) },
    { context: open() },
  );
  expect(gradQuery.buffer).not.toBe(gradPositiveKey.buffer);
  expect([gradQuery.length, gradPositiveKey.length]).toEqual([700 * 64, 512 * 64]);
});

it('is given back by trim', async () => {
  const context = open();
  ntXentSync({ features }, { context });
  await collect();
  context.trim();
  ntXentSync({ features }, { context });
  const ofCall = context.trim();
  await collect();
  expect(context.trim()).toBeGreaterThanOrEqual(features.data.byteLength);
  expect(ofCall).toBeGreaterThan(0);
});

it('is given back when there was no call for a while', async () => {
  const context = open();
  ntXentSync({ features }, { context });
  context.trim();
  await collect();
  vi.advanceTimersByTime(5000);
  vi.advanceTimersByTime(5000);
  expect(context.trim()).toBe(0);
  expect(vi.getTimerCount()).toBe(0);
  ntXentSync({ features }, { context });
  expect(vi.getTimerCount()).toBe(1);
  context.dispose();
  expect(vi.getTimerCount()).toBe(0);
});

it('is bounded in a loop that never lets the event loop turn', () => {
  const context = open();
  const { loss } = ntXentSync({ features }, { context });
  const before = process.memoryUsage.rss();
  // 384 MB of results, of which 128 MB may wait to be given back.
  for (let i = 0; i < 3072; i++) ntXentSync({ features, ranks: false }, { context });
  expect(process.memoryUsage.rss() - before).toBeLessThan(250 * 2 ** 20);
  expect(ntXentSync({ features }, { context }).loss).toBe(loss);
}, 60_000);

it('can be transferred by a worker', async () => {
  const program = `
    const { parentPort, workerData } = require('node:worker_threads');
    const { ntXentSync } = require('infonce');
    const { gradFeatures } = ntXentSync({ features: workerData });
    parentPort.postMessage(gradFeatures, [gradFeatures.buffer]);
    parentPort.postMessage(gradFeatures.length);
  `;
  const worker = new Worker(program, { eval: true, workerData: features });
  const answers: unknown[] = [];
  await new Promise((resolve, reject) =>
    worker
      .on('message', answer => answers.push(answer))
      .on('exit', resolve)
      .on('error', reject),
  );
  expect(answers).toEqual([ntXentSync({ features }).gradFeatures, 0]);
});
