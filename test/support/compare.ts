import { expect } from 'vitest';
import { norm2, type ReferenceResult } from './reference.js';

/** What a level of precision promises. */
export interface Accuracy {
  /** ‖out − ref‖ / ‖ref‖ of the loss and every gradient. */
  readonly tolerance: number;
  /** The relative error of one rounding in the products it uses. */
  readonly rounding: number;
}

/** `'highest'`: float32. */
export const HIGHEST: Accuracy = { tolerance: 2e-5, rounding: 2 ** -24 };

/** `'high'`: three bfloat16 products, 16 bits. From temperature 0.05. */
export const HIGH: Accuracy = { tolerance: 2e-4, rounding: 2 ** -17 };

/**
 * `'medium'`: one bfloat16 product, 8 bits. From temperature 0.05 and dimension 64: a logit is off by the temperature's
 * inverse times the roundings of its products, which average out over the dimension.
 */
export const MEDIUM: Accuracy = { tolerance: 2e-2, rounding: 2 ** -9 };

const FLOAT64_ROUNDING = 2 ** -53;

/** What float32 cannot hold at full precision: a loss of e^-100 may come out as 0. */
const FLOAT32_SMALLEST_NORMAL = 2 ** -126;
/**
 * Where almost everything added up in a gradient cancels (identical rows, dimension 1: the true gradient is 0), no
 * result can be nearer than the roundings of what cancelled: four of them, for the unit row, the sum, the radial part and
 * its product. With float32 this is more than the tolerance only where less than one part in 80 is left.
 */
export function cancellationFloor(terms: number, { rounding }: Accuracy): number {
  return 4 * rounding * terms;
}

/**
 * The float64 references take a log-softmax of logits as large as the scale: they too know it only to a few roundings of
 * that size, which is all there is of a loss of 1e-15 or of its gradient.
 */
export function goldenFloor(scale: number, size: number): number {
  return 8 * FLOAT64_ROUNDING * Math.max(scale, 1) * size;
}

/** ‖actual − expected‖, and ‖expected‖. */
export function distance(actual: ArrayLike<number>, expected: ArrayLike<number>): readonly [number, number] {
  const differences = Float64Array.from(expected, (value, i) => actual[i]! - value);
  return [norm2(differences), norm2(expected)];
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
  expect(values.length, `${what}: length`).toBe(expected.length);
  const [error, size] = distance(values, expected);
  const bound = Math.max(tolerance * size, floor, FLOAT32_SMALLEST_NORMAL * Math.sqrt(expected.length));
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

/** The same of one of several references, in everything: a device may compute more exactly than asked. */
export function expectOneOf(result: object, references: readonly ReferenceResult[], accuracy: Accuracy): void {
  const [first, ...others] = references;
  try {
    expectResult(result, first!, accuracy);
  } catch (failure) {
    if (others.length === 0) throw failure;
    expectOneOf(result, others, accuracy);
  }
}
