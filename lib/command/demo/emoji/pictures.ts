import { randomSource } from '../../../reference/random.js';
import type { Emoji } from './data.js';
import { CELL } from './sheet.js';

/** Pixels a side of what the encoder sees: the mean of each four of a picture. */
const SIDE = CELL / 2;
/** Red, green, blue, each times alpha, and alpha. */
const CHANNELS = 4;
/** Numbers in a picture. */
export const PICTURE = SIDE * SIDE * CHANNELS;

/** A picture is moved by up to so many pixels each way, mirrored half the time, and its colours change by so much. */
const MAX_SHIFT = 3;
const MAX_GAIN = 0.2;

/** Added to deviations: pixels at the edge are nearly always clear. */
const LEAST_DEVIATION = 0.1;

/** Pictures as an encoder sees them, [count, PICTURE]: each number less its mean, by its deviation, over some emoji. */
export class Pictures {
  readonly #mean = new Float32Array(PICTURE);
  readonly #factor = new Float32Array(PICTURE);

  constructor(emoji: readonly Emoji[]) {
    const drawn = draw(emoji, () => PLAIN);
    const meanOver = (of: (value: number, place: number) => number, into: Float32Array) =>
      drawn.forEach((value, i) => {
        into[i % PICTURE]! += of(value, i % PICTURE) / emoji.length;
      });
    const variance = new Float32Array(PICTURE);
    meanOver(value => value, this.#mean);
    meanOver((value, place) => (value - this.#mean[place]!) ** 2, variance);
    variance.forEach((value, place) => {
      this.#factor[place] = 1 / (Math.sqrt(value) + LEAST_DEVIATION);
    });
  }

  /** As they are. */
  plain(emoji: readonly Emoji[]): Float32Array {
    return this.#standard(draw(emoji, () => PLAIN));
  }

  /** Draws one random view of each, by a seed. */
  views(seed: number): (emoji: readonly Emoji[]) => Float32Array {
    const random = randomSource(seed);
    const shift = () => Math.floor(random() * (2 * MAX_SHIFT + 1)) - MAX_SHIFT;
    const gain = () => 1 + MAX_GAIN * (2 * random() - 1);
    const view = (): View => ({
      right: shift(),
      down: shift(),
      mirrored: random() < 0.5,
      gains: [gain(), gain(), gain(), 1],
    });
    return emoji => this.#standard(draw(emoji, view));
  }

  #standard(drawn: Float32Array): Float32Array {
    return drawn.map((value, i) => (value - this.#mean[i % PICTURE]!) * this.#factor[i % PICTURE]!);
  }
}

interface View {
  readonly right: number;
  readonly down: number;
  readonly mirrored: boolean;
  /** Of each channel. */
  readonly gains: readonly number[];
}

const PLAIN: View = { right: 0, down: 0, mirrored: false, gains: [1, 1, 1, 1] };

function draw(emoji: readonly Emoji[], viewOf: () => View): Float32Array {
  const drawn = new Float32Array(emoji.length * PICTURE);
  emoji.forEach(({ pixels }, i) => {
    drawView(pixels, drawn.subarray(i * PICTURE, (i + 1) * PICTURE), viewOf());
  });
  return drawn;
}

function drawView(pixels: Uint8Array, drawn: Float32Array, { right, down, mirrored, gains }: View): void {
  for (let y = 0; y < CELL; y++) {
    for (let x = 0; x < CELL; x++) {
      const [fromX, fromY] = [(mirrored ? CELL - 1 - x : x) - right, y - down];
      if (fromX < 0 || fromY < 0 || fromX >= CELL || fromY >= CELL) continue;
      const source = CHANNELS * (fromY * CELL + fromX);
      const target = CHANNELS * ((y >> 1) * SIDE + (x >> 1));
      const alpha = pixels[source + 3]! / 255;
      for (let channel = 0; channel < CHANNELS; channel++) {
        const value = channel === 3 ? alpha : (alpha * pixels[source + channel]!) / 255;
        drawn[target + channel]! += (value * gains[channel]!) / 4;
      }
    }
  }
}
