import { PIXELS, SIDE } from './digits.js';

/** Pixels of half a digit. */
export const HALF_PIXELS = PIXELS / 2;

const HALF = SIDE / 2;

/** Images [count, 784] cut down the middle: left and right halves, [count, 392] each. */
export function cut(images: Float32Array): { readonly left: Float32Array; readonly right: Float32Array } {
  const left = new Float32Array(images.length / 2);
  const right = new Float32Array(images.length / 2);
  for (let line = 0; line < images.length / SIDE; line++) {
    const middle = line * SIDE + HALF;
    left.set(images.subarray(line * SIDE, middle), line * HALF);
    right.set(images.subarray(middle, (line + 1) * SIDE), line * HALF);
  }
  return { left, right };
}

/** The left half of one image [784] beside the right half of another. */
export function join(left: Float32Array, right: Float32Array): Float32Array {
  return left.map((value, i) => (i % SIDE < HALF ? value : right[i]!));
}
