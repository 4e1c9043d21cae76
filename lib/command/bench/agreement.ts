import type { Answer } from './problem.js';

/** How far two engines in float32 may be apart. */
export const TOLERANCE = 1e-4;

/** The larger of the relative errors of the loss and of the gradients, each as a whole. NaN where there is one. */
export function difference(actual: Answer, expected: Answer): number {
  const errors = expected.gradients.map((gradient, i) => relativeError(actual.gradients[i] ?? [], gradient));
  return Math.max(Math.abs(actual.loss - expected.loss) / Math.abs(expected.loss), ...errors);
}

/** ‖actual − expected‖ / ‖expected‖. */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Number.NaN;
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < expected.length; i++) {
    difference += (actual[i]! - expected[i]!) ** 2;
    norm += expected[i]! ** 2;
  }
  return Math.sqrt(difference / norm);
}
