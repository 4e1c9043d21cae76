import { mock } from 'node:test';
import { type Context, ntXent, ntXentSync } from 'infonce';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { newContext } from './support/contexts.js';
import { normal } from './support/random.js';

/** More than is copied to JavaScript's arrays in one turn of the event loop, several times over. */
const NUMBERS = 6 << 20;
/** Gradients of as many numbers, for little work. */
const problem = { features: normal([16, NUMBERS / 16], 1), ranks: false };

let context: Context;
beforeEach(() => {
  context = newContext();
  return () => context.dispose();
});

describe.each([
  ['Sinon', () => vi.useFakeTimers({ toFake: ['setImmediate', 'setTimeout', 'setInterval', 'performance', 'Date'] })],
  ['Sinon, of queueMicrotask too', () => vi.useFakeTimers({ toFake: ['setImmediate', 'queueMicrotask', 'hrtime'] })],
  ['node:test', () => mock.timers.enable()],
] as const)('under the timers of %s', (_name, replace) => {
  afterEach(() => {
    vi.useRealTimers();
    mock.timers.reset();
  });

  it('the first large results of a context settle, and those after the timers are back', async () => {
    const expected = ntXentSync(problem, { context });
    replace();
    const real = setImmediate;
    const { loss, gradFeatures } = await ntXent(problem, { context });
    const numbers = await context.tensor(gradFeatures, [1, NUMBERS]).toArray();
    expect(setImmediate).toBe(real);
    vi.useRealTimers();
    mock.timers.reset();
    expect(loss).toBe(expected.loss);
    expect(Buffer.compare(bytes(gradFeatures), bytes(expected.gradFeatures))).toBe(0);
    expect(Buffer.compare(bytes(numbers), bytes(expected.gradFeatures))).toBe(0);
    expect((await ntXent(problem, { context })).loss).toBe(expected.loss);
  });
});

function bytes(numbers: Float32Array): Uint8Array {
  return new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);
}

it('others have their turns while a large result is copied', async () => {
  const tensor = context.tensor(new Float32Array(2 * NUMBERS).fill(7), [1, 2 * NUMBERS]);
  let settled = false;
  const read = tensor.toArray().finally(() => {
    settled = true;
  });
  // Waits for the device: what is left to do then is copying, by the thread of this test.
  tensor.toArraySync();
  let turns = 0;
  for (; !settled; turns++) await new Promise(resolve => setImmediate(resolve));
  expect((await read).every(number => number === 7)).toBe(true);
  expect(turns).toBeGreaterThan(5);
});
