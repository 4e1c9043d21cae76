import { type Context, type NTXentProblem, ntXent } from 'infonce';
import { expect } from 'vitest';
import { DEVICE, effort } from './contexts.js';
import { normal } from './random.js';

/**
 * More than a test may take: only cancelled does it end in time. Of few numbers on the CPU, whose copies take little of
 * that time; a GPU does as many products in a second.
 */
const SHAPE = DEVICE === 'cpu' ? [262_144, 8] : [131_072, 128];

/** A call that is under way or waits, whatever the machine does, until its signal fires. */
export const HUGE: NTXentProblem = { features: normal(effort(SHAPE, [280, 64]), 4) };

/** That of an aborted call. */
export const ABORTED = { name: 'AbortError', code: 'ABORT_ERR' };

/**
 * Keeps a context busy: no call behind begins before `free`. On devices two calls are in flight at once, so there are as many
 * of these.
 */
export function hold(context: Context) {
  const controller = new AbortController();
  const calls = [0, 1].map(() => ntXent(HUGE, { context, signal: controller.signal }));
  const settled = Promise.allSettled(calls);
  return {
    /** How many places of the queue it takes. */
    calls: calls.length,
    /** Lets go, and asserts that it held until then. */
    async free(): Promise<void> {
      controller.abort();
      for (const call of await settled) expect(call).toMatchObject({ status: 'rejected', reason: ABORTED });
    },
  };
}
