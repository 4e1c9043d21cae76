import { PIXELS, SIDE } from './data.mjs';

const MAX_SHIFT = 2;
const NOISE = 1;

/** Two random views of each chosen digit, view-major as the loss wants them: [2 * B, 784], row v * B + b. */
export function twoViews(images, chosen, random) {
  const views = new Float32Array(2 * chosen.length * PIXELS);
  for (let row = 0; row < 2 * chosen.length; row++) {
    const source = chosen[row % chosen.length] * PIXELS;
    drawView(images.subarray(source, source + PIXELS), views.subarray(row * PIXELS, (row + 1) * PIXELS), random);
  }
  return views;
}

/** One random view of every digit, [count, 784]: what the encoders are judged on. */
export function oneView(images, random) {
  const views = new Float32Array(images.length);
  for (let start = 0; start < images.length; start += PIXELS) {
    drawView(images.subarray(start, start + PIXELS), views.subarray(start, start + PIXELS), random);
  }
  return views;
}

/** The digit moved by up to two pixels each way, with uniform noise on every pixel. */
function drawView(image, view, random) {
  const right = Math.floor(random() * (2 * MAX_SHIFT + 1)) - MAX_SHIFT;
  const down = Math.floor(random() * (2 * MAX_SHIFT + 1)) - MAX_SHIFT;
  for (let y = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++) {
      const fromX = x - right;
      const fromY = y - down;
      const inside = fromX >= 0 && fromX < SIDE && fromY >= 0 && fromY < SIDE;
      const noise = NOISE * (2 * random() - 1);
      view[y * SIDE + x] = (inside ? image[fromY * SIDE + fromX] : 0) + noise;
    }
  }
}
