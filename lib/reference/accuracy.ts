/** How near a result of the library has to be to the reference. */
import { norm2 } from './tower.js';

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

/**
 * Where almost everything added up in a gradient cancels (identical rows, dimension 1: the true gradient is 0), no
 * result can be nearer than the roundings of what cancelled: four of them, for the unit row, the sum, the radial part and
 * its product. With float32 this is more than the tolerance only where less than one part in 80 is left.
 */
export function cancellationFloor(terms: number, { rounding }: Accuracy): number {
  return 4 * rounding * terms;
}

/** ‖actual − expected‖, and ‖expected‖. */
export function distance(actual: ArrayLike<number>, expected: ArrayLike<number>): readonly [number, number] {
  const differences = new Float64Array(expected.length);
  for (let k = 0; k < differences.length; k++) differences[k] = actual[k]! - expected[k]!;
  return [norm2(differences), norm2(expected)];
}

/** What float32 cannot hold at full precision: a loss of e^-100 may come out as 0. */
const FLOAT32_SMALLEST_NORMAL = 2 ** -126;

/** The error allowed in `length` numbers whose reference is `size` long. */
export function allowedError(size: number, length: number, tolerance: number, floor: number): number {
  return Math.max(tolerance * size, floor, FLOAT32_SMALLEST_NORMAL * Math.sqrt(length));
}
