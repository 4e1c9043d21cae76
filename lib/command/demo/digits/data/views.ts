import { normal, randomSource } from '../../../../reference/random.js';
import { type Digits, PIXELS, SIDE } from './digits.js';

/** The digit is moved by up to so many pixels each way, turned by up to so many degrees, and blurred by noise. */
const MAX_SHIFT = 3;
const MAX_ANGLE = 25;
const NOISE = 0.25;

/** Draws one random view of each chosen image: images [count, 784] → [chosen.length, 784]. */
export type Views = (images: Float32Array, chosen: Iterable<number>) => Float32Array;

const NOISE_LENGTH = 1 << 16;

/** Views by a seed. Noise is drawn once and every view begins elsewhere in it, which is faster. */
export function createViews(seed: number): Views {
  const random = randomSource(seed);
  const noise = normal([NOISE_LENGTH], seed + 1).data.map(value => NOISE * value);
  return (images, chosen) => {
    const sources = [...chosen];
    const views = new Float32Array(sources.length * PIXELS);
    sources.forEach((source, row) => {
      const image = images.subarray(source * PIXELS, (source + 1) * PIXELS);
      drawView(image, views.subarray(row * PIXELS, (row + 1) * PIXELS), random, noise);
    });
    return views;
  };
}

/** One view of every digit, the same for the same seed. */
export function oneView({ images, count }: Digits, seed: number): Float32Array {
  return createViews(seed)(
    images,
    Array.from({ length: count }, (_, i) => i),
  );
}

function drawView(image: Float32Array, view: Float32Array, random: () => number, noise: ArrayLike<number>): void {
  const between = (limit: number) => limit * (2 * random() - 1);
  const angle = (between(MAX_ANGLE) * Math.PI) / 180;
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  const center = (SIDE - 1) / 2;
  const [right, down] = [between(MAX_SHIFT), between(MAX_SHIFT)];
  const firstNoise = Math.floor(random() * NOISE_LENGTH);
  for (let y = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++) {
      const [dx, dy] = [x - center - right, y - center - down];
      const ink = sample(image, center + cos * dx + sin * dy, center - sin * dx + cos * dy);
      view[y * SIDE + x] = ink + noise[(firstNoise + y * SIDE + x) % NOISE_LENGTH]!;
    }
  }
}

/** The image between its pixels, bilinearly; nothing beside it. */
function sample(image: Float32Array, x: number, y: number): number {
  const [left, top] = [Math.floor(x), Math.floor(y)];
  if (left < 0 || top < 0 || left >= SIDE - 1 || top >= SIDE - 1) return 0;
  const [a, b] = [x - left, y - top];
  const at = top * SIDE + left;
  const upper = image[at]! * (1 - a) + image[at + 1]! * a;
  const lower = image[at + SIDE]! * (1 - a) + image[at + SIDE + 1]! * a;
  return upper * (1 - b) + lower * b;
}
