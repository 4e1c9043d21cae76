import { expect } from 'vitest';
import { type Accuracy, allowedError, cancellationFloor, distance } from '../../lib/reference/accuracy.js';
import type { ReferenceResult } from '../../lib/reference/terms.js';

export { cancellationFloor, distance, HIGH, HIGHEST, MEDIUM } from '../../lib/reference/accuracy.js';

const FLOAT64_ROUNDING = 2 ** -53;

/**
 * The float64 references take a log-softmax of logits as large as the scale: they too know it only to a few roundings of
 * that size, which is all there is of a loss of 1e-15 or of its gradient.
 */
export function goldenFloor(scale: number, size: number): number {
  return 8 * FLOAT64_ROUNDING * Math.max(scale, 1) * size;
}

/** Asserts ‖actual − expected‖ ≤ max(tolerance · ‖expected‖, floor). */
export function expectClose(
  actual: ArrayLike<number> | number,
  expected: ArrayLike<number>,
  tolerance: number,
  floor: number,
  what: string,
): void {
  const values = typeof actual === 'number' ? [actual] : actual;
  if (values.length !== expected.length) expect(values.length, `${what}: length`).toBe(expected.length);
  const [error, size] = distance(values, expected);
  const bound = allowedError(size, expected.length, tolerance, floor);
  if (error <= bound) return; // A hundred thousand comparisons hold: the message and `expect` take longer than they do.
  expect(
    error <= bound,
    `${what}: ‖out − ref‖ ${error}, ‖ref‖ ${size}, relative ${error / size}, allowed ${bound}`,
  ).toBe(true);
}

/** Asserts that a result of the library agrees with the reference in loss and every gradient. */
export function expectResult(result: object, reference: ReferenceResult, accuracy: Accuracy, what = ''): void {
  const values = result as Readonly<Record<string, number | Float32Array>>;
  expectClose(values.loss!, reference.loss, accuracy.tolerance, 0, `${what} loss`);
  for (const [name, { values: expected, terms }] of Object.entries(reference.gradients)) {
    const floor = cancellationFloor(terms, accuracy);
    expectClose(values[name]!, expected, accuracy.tolerance, floor, `${what} ${name}`);
  }
}

/** The same of one of several references, in everything: a device may compute more exactly than asked. Most need the first alone. */
export function expectOneOf(
  result: object,
  references: readonly (() => ReferenceResult)[],
  accuracy: Accuracy,
  what = '',
): void {
  const [first, ...others] = references;
  try {
    expectResult(result, first!(), accuracy, what);
  } catch (failure) {
    if (others.length === 0) throw failure;
    expectOneOf(result, others, accuracy, what);
  }
}

/** Asserts that two results of the same, computed in different ways, differ by roundings of float32. */
export function expectSame(
  actual: ArrayLike<number> | number,
  expected: ArrayLike<number> | number,
  what: string,
): void {
  expectClose(actual, typeof expected === 'number' ? [expected] : expected, 2e-6, 0, what);
}

/** Asserts that a result agrees with the reference in loss, gradients and ranks. */
export function expectResultAndRanks(result: object, expected: ReferenceResult, accuracy: Accuracy): void {
  expectResult(result, expected, accuracy);
  expect(result).toMatchObject({ top1: expected.top1, top5: expected.top5 });
}
