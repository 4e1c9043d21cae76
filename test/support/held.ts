import { type Context, type NTXentProblem, ntXent } from 'infonce';
import { expect } from 'vitest';
import { DEVICE, effort, SIMULATED } from './contexts.js';
import { normal } from './random.js';

const onDevice = DEVICE !== 'cpu';

/**
 * More than a test may take: only cancelled does it end in time. Of few numbers on the CPU, whose copies take little of
 * that time; a GPU does as many products in a second, a simulator of one a thousandth of them.
 */
const SHAPE = onDevice ? effort([131_072, 128], [2048, 8]) : [262_144, 8];

const features = normal(SHAPE, 4);

/** A call that is under way or waits, whatever the machine does, until its signal fires. */
export const HUGE: NTXentProblem = { features };

/** Soon done, of as many numbers. */
const FLAT: NTXentProblem = { features: normal([8, features.data.length / 8], 5) };

/** That of an aborted call. */
export const ABORTED = { name: 'AbortError', code: 'ABORT_ERR' };

/**
 * Makes these calls all at once, so that memory for their copies is there when they are made again while a call is under
 * way. A simulator has none to give while a kernel runs: who asks waits for the end of what should be cancelled.
 */
export async function warm(context: Context, problems: readonly NTXentProblem[]): Promise<void> {
  if (!SIMULATED || !onDevice) return;
  const quick = problems.map(problem => (problem === HUGE ? FLAT : problem));
  await Promise.all(quick.map(problem => ntXent(problem, { context })));
}

/**
 * Keeps a context busy: no call behind begins before `free`. On devices two calls are in flight at once, so there are as many
 * of these. `behind` are the calls that are made meanwhile.
 */
export async function hold(context: Context, behind: readonly NTXentProblem[]) {
  const problems = [HUGE, HUGE];
  await warm(context, problems);
  await warm(context, behind);
  const controller = new AbortController();
  const calls = problems.map(problem => ntXent(problem, { context, signal: controller.signal }));
  const settled = Promise.allSettled(calls);
  return {
    /** Lets go, and asserts that it held until then. */
    async free(): Promise<void> {
      controller.abort();
      for (const call of await settled) expect(call).toMatchObject({ status: 'rejected', reason: ABORTED });
    },
  };
}
