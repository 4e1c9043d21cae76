import path from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import type * as comparison from '../../lib/command/bench/comparison.js';
import type * as gpuLimits from '../../lib/command/bench/gpu-limits.js';
import type * as infonceEngine from '../../lib/command/bench/infonce.js';
import type { CannotRun, Peer } from '../../lib/command/bench/peers/peer.js';
import type { Answer, Problem } from '../../lib/command/bench/problem.js';
import type * as timing from '../../lib/command/bench/timing.js';
import type * as runtime from '../../lib/runtime/create-context.js';

/** A module as it was built: the addon is found from there. */
async function built<Module>(name: string): Promise<Module> {
  return (await import(path.resolve(import.meta.dirname, '../../dist/esm', name))) as Module;
}

const { compare } = await built<typeof comparison>('command/bench/comparison.js');
const { tensorTflops } = await built<typeof gpuLimits>('command/bench/gpu-limits.js');
const { openInfonce } = await built<typeof infonceEngine>('command/bench/infonce.js');
const { CannotRun: CannotRunHere } = await built<{ CannotRun: typeof CannotRun }>('command/bench/peers/peer.js');
const { time } = await built<typeof timing>('command/bench/timing.js');
const { createContext } = await built<typeof runtime>('runtime/create-context.js');

let context: ReturnType<typeof createContext>;
beforeAll(() => {
  context = createContext({ device: 'cpu', threads: 1 });
  return () => context.dispose();
});

/** infonce itself under another name, with its answer changed. */
function peer(change: (answer: Answer, problem: Problem) => Answer | Promise<Answer>): Peer {
  const open = async (problem: Problem) => {
    const engine = openInfonce(problem, context);
    return { ...engine, name: 'peer 1.0', run: async () => change(await engine.run(), problem) };
  };
  return { id: 'peer', packages: [], open };
}

async function outcomesOf(candidate: Peer, sizes: readonly number[] = [8]): Promise<comparison.Row[]> {
  const question = { loss: 'clip', dim: 4, threads: 1, budgetMs: 1 } as const;
  const results = await compare({ ...question, sizes, context, peers: [candidate] }, () => {});
  return results.map(({ results: [ours, row] }) => {
    expect(ours).toMatchObject({ id: 'infonce', outcome: 'timed' });
    return row!;
  });
}

it('an engine that agrees is timed', async () => {
  const [row] = await outcomesOf(peer(answer => answer));
  expect(row).toMatchObject({ outcome: 'timed', engine: 'peer 1.0', difference: 0 });
});

it.each<[string, (answer: Answer) => Answer]>([
  ['another loss', answer => ({ ...answer, loss: answer.loss * 1.001 })],
  ['another gradient', ({ loss, gradients: [first, second] }) => ({ loss, gradients: [first!, second!.map(x => -x)] })],
  ['one gradient too few', ({ loss, gradients }) => ({ loss, gradients: gradients.slice(1) })],
  ['a gradient that is too short', ({ loss, gradients }) => ({ loss, gradients: gradients.map(all => all.slice(1)) })],
  ['NaN', answer => ({ ...answer, loss: Number.NaN })],
])('an engine with %s is not timed', async (_what, change) => {
  const [row] = await outcomesOf(peer(change));
  expect(row!.outcome).toBe('disagrees');
  expect(row).not.toHaveProperty('medianMs');
});

it('an engine that breaks down, or finds no device, is shown with its reason', async () => {
  const breaking = peer(() => Promise.reject(new Error('out of shaders')));
  expect(await outcomesOf(breaking)).toEqual([
    expect.objectContaining({ outcome: 'failed', reason: 'it broke down: out of shaders' }),
  ]);
  const open = () => Promise.reject(new CannotRunHere('no device'));
  expect(await outcomesOf({ ...breaking, open })).toEqual([
    expect.objectContaining({ outcome: 'failed', reason: 'no device' }),
  ]);
});

it('an engine is left out of a size that would take it long, by its time at the size before', async () => {
  const slow = peer(async answer => {
    await new Promise(resolve => setTimeout(resolve, 20));
    return answer;
  });
  const [timed, skipped] = await outcomesOf(slow, [8, 256]);
  expect(timed!.outcome).toBe('timed');
  expect(skipped).toMatchObject({ outcome: 'skipped', engine: 'peer 1.0' });
  expect(skipped).toHaveProperty(
    'reason',
    expect.stringMatching(/^a call would take about .* s, by its time at 8 rows$/),
  );
});

it('a process that measures what never waits still hears its signals and timers', async () => {
  let heard = false;
  setTimeout(() => {
    heard = true;
  });
  const busy = () => {
    for (const end = performance.now() + 1; performance.now() < end; );
  };
  await time(busy, { budgetMs: 500 });
  expect(heard).toBe(true);
});

// Name, compute capability, multiprocessors, boost clock, and dense bfloat16 TFLOP/s as NVIDIA publishes them.
it.each([
  ['NVIDIA A100-SXM4-80GB', '8.0', 108, 1410, 312],
  ['NVIDIA A40', '8.6', 84, 1740, 149.7],
  ['NVIDIA GeForce RTX 3090', '8.6', 82, 1695, 71],
  ['NVIDIA L4', '8.9', 58, 2040, 121],
  ['NVIDIA L40', '8.9', 142, 2490, 181],
  ['NVIDIA GeForce RTX 4090', '8.9', 128, 2520, 165.2],
  ['NVIDIA H100 80GB HBM3', '9.0', 132, 1830, 989.4],
  ['NVIDIA GeForce RTX 5090', '12.0', 170, 2407, 209.5],
])('%s has its published peak', (name, capability, multiprocessors, megahertz, published) => {
  const peak = tensorTflops(name, capability, multiprocessors, megahertz * 1000)!;
  expect(Math.abs(peak / published - 1)).toBeLessThan(0.01);
});

it('a GPU has no peak where its generation or clock is not known', () => {
  expect(tensorTflops('a GPU of the future', '99.0', 100, 2_000_000)).toBeUndefined();
  expect(tensorTflops('NVIDIA A100-SXM4-80GB', '8.0', 108, 0)).toBeUndefined();
});
