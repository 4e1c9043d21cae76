import type { Tensor } from '../runtime/host-tensor.js';

/** Uniform numbers in [0, 1), the same for the same seed (mulberry32). */
export function randomSource(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A tensor of independent standard normal numbers. */
export function normal(shape: readonly number[], seed: number): Tensor {
  const random = randomSource(seed);
  const data = new Float32Array(shape.reduce((product, dimension) => product * dimension, 1));
  for (let i = 0; i < data.length; i++) {
    data[i] = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  }
  return { data, shape };
}

/** `tensor` plus noise, so that rows of the two are near each other as two views of a sample are. */
export function near(tensor: Tensor, noise: number, seed: number): Tensor {
  const other = normal(tensor.shape, seed);
  return { data: tensor.data.map((value, i) => value + noise * other.data[i]!), shape: tensor.shape };
}

/** `views` noisy views of `samples` random samples, view-major: [views * samples, dim]. */
export function viewsOf(samples: number, views: number, dim: number, noise: number, seed: number): Tensor {
  const base = normal([samples, dim], seed);
  const data = new Float32Array(views * samples * dim);
  for (let view = 0; view < views; view++) {
    data.set(near(base, noise, seed + 1 + view).data, view * samples * dim);
  }
  return { data, shape: [views * samples, dim] };
}

/** Random labels in 0 … classes - 1. */
export function randomLabels(count: number, classes: number, seed: number): Int32Array {
  const random = randomSource(seed);
  return Int32Array.from({ length: count }, () => Math.floor(random() * classes));
}

export function scaled(tensor: Tensor, factor: number): Tensor {
  return { data: tensor.data.map(value => value * factor), shape: tensor.shape };
}
