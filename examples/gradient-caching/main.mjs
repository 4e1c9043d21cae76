/**
 * Gradient caching: the gradient of a batch of 1024 samples with the activations of 128 at a time. The loss compares
 * every sample with every other, so that the gradients of smaller batches do not add up to it; the embeddings of all
 * samples, without activations, are enough for it.
 */
import { accumulate, ntXent } from 'infonce';
import { Encoder } from './encoder.mjs';
import { createRandom, normal } from './random.mjs';

const SAMPLES = 1024;
const CHUNK = 128; // samples whose activations fit
const INPUTS = 48;
const DIM = 16;

const random = createRandom(1);
const encoder = new Encoder({ inputs: INPUTS, hidden: 64, outputs: DIM, random });
// Two noisy views of each sample.
const samples = Float32Array.from({ length: SAMPLES * INPUTS }, () => normal(random));
const views = [0, 1].map(() => samples.map(value => value + 0.5 * normal(random)));

/** Both views of some samples, view-major as the loss wants them. */
function rowsOf(first, count) {
  const parts = views.map(view => view.subarray(first * INPUTS, (first + count) * INPUTS));
  const rows = new Float32Array(2 * count * INPUTS);
  parts.forEach((part, view) => {
    rows.set(part, view * part.length);
  });
  return rows;
}

const embeddings = z => ({ features: { data: z, shape: [z.length / DIM, DIM] } });

// Every activation of the batch at once.
const all = rowsOf(0, SAMPLES);
const { z, activations } = encoder.encode(all);
const whole = await ntXent(embeddings(z));
const wholeGradients = encoder.gradients(all, activations, whole.gradFeatures);

// Chunk by chunk: encode and forget the activations; the loss over all embeddings; encode again and go backward.
const inputs = Array.from({ length: SAMPLES / CHUNK }, (_, i) => rowsOf(i * CHUNK, CHUNK));
const { loss, chunks } = await accumulate(
  ntXent,
  inputs.map(x => embeddings(encoder.encode(x).z)),
);
const gradients = new Float32Array(wholeGradients.length);
for (const [i, x] of inputs.entries()) {
  const part = encoder.gradients(x, encoder.encode(x).activations, chunks[i].gradFeatures);
  for (let j = 0; j < part.length; j++) gradients[j] += part[j];
}

const length = values => Math.hypot(...values);
const difference = length(gradients.map((value, i) => value - wholeGradients[i])) / length(wholeGradients);
console.log(`loss of the batch       ${whole.loss.toFixed(6)}, in ${inputs.length} chunks ${loss.toFixed(6)}`);
console.log(`gradients of the weights differ by ${difference.toExponential(1)} of their length`);
console.log(`activations held at once: ${activations.length} numbers, in chunks ${activations.length / inputs.length}`);
