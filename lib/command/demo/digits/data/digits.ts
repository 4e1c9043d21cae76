import { importOptional } from '../../../terminal/optional.js';
import { shuffled } from '../../shuffled.js';

/** Pixels a side of a digit. */
export const SIDE = 28;
/** Pixels of a digit. */
export const PIXELS = SIDE * SIDE;

/** Handwritten digits: images [count, 784] in 0..1, labels [count] in 0..9. */
export interface Digits {
  readonly images: Float32Array;
  readonly labels: Uint8Array;
  readonly count: number;
}

interface MnistModule {
  readonly default: readonly { readonly raw: readonly number[]; readonly length: number }[];
}

/** The 10,000 digits of the package `mnist`, shuffled by the seed and split in two. */
export async function loadDigits(heldOut: number, seed: number): Promise<{ train: Digits; test: Digits }> {
  const { default: byDigit } = await importOptional<MnistModule>('mnist');
  const all = byDigit.flatMap(({ raw, length }, label) =>
    Array.from({ length }, (_, i) => ({ label, pixels: raw.slice(i * PIXELS, (i + 1) * PIXELS) })),
  );
  const order = shuffled(all.length, seed);
  const gather = (chosen: Uint32Array): Digits => {
    const images = new Float32Array(chosen.length * PIXELS);
    chosen.forEach((index, row) => {
      images.set(all[index]!.pixels, row * PIXELS);
    });
    return { images, labels: Uint8Array.from(chosen, index => all[index]!.label), count: chosen.length };
  };
  return { train: gather(order.subarray(heldOut)), test: gather(order.subarray(0, heldOut)) };
}

/** One image of images [count, 784]. */
export function imageAt(images: Float32Array, index: number): Float32Array {
  return images.subarray(index * PIXELS, (index + 1) * PIXELS);
}

/** The first digits of some. */
export function firstOf({ images, labels }: Digits, count: number): Digits {
  return { images: images.subarray(0, count * PIXELS), labels: labels.subarray(0, count), count };
}
