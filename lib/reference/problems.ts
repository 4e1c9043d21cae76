import type { LossDescription, Variant } from '../losses/loss.js';
import type { CommonOptions } from '../losses/options.js';
import { near, normal, randomLabels, randomSource, scaled, viewsOf } from './random.js';

/** The numbers a random problem is drawn from; `samples` becomes more rows where there are views. */
export interface Sizes {
  readonly samples: number;
  readonly dim: number;
  readonly views: number;
  readonly negatives: number;
  readonly temperature: number;
  /** How far the views of a sample lie apart: 0 makes them equal. */
  readonly noise: number;
  readonly seed: number;
}

/** A loss in one of its variants. */
export interface LossVariant<Loss extends LossDescription = LossDescription> {
  readonly loss: Loss;
  readonly variant: Variant;
}

/** Every variant of every loss, those of one tower first. */
export function variantsOf<Loss extends LossDescription>(losses: readonly Loss[]): LossVariant<Loss>[] {
  const towers = ({ tensors }: Loss) => Object.keys(tensors).length;
  return [...losses]
    .sort((a, b) => towers(a) - towers(b))
    .flatMap(loss => loss.variants.map(variant => ({ loss, variant })));
}

/** What logits are moved by, in losses that do that: as far as SigLIP's, and less. */
const BIASES = [-10, 0, 2.5];

/** A random problem for a loss. Without normalisation rows are made about 1 long, so that logits keep their size. */
export function randomProblem(
  { loss, variant }: LossVariant,
  { samples: drawn, dim, views: drawnViews, negatives, temperature, noise, seed }: Sizes,
  options: CommonOptions = {},
): Record<string, unknown> {
  const samples = Math.max(drawn, variant.fewestSamples ?? 1);
  const views = variant.views ?? drawnViews;
  const length = options.normalize === false ? 1 / Math.sqrt(dim) : 1;
  const [first, second] = Object.keys(loss.tensors);
  const anchors = loss.viewMajor ? viewsOf(samples, views, dim, noise, seed) : normal([samples, dim], seed);
  const problem: Record<string, unknown> = { [first!]: scaled(anchors, length) };
  if (second !== undefined) problem[second] = scaled(near(anchors, noise, seed + 1), length);
  for (const [name, shape] of Object.entries(variant.shapes?.(samples, negatives, dim) ?? {})) {
    problem[name] = scaled(normal(shape, seed + 2), length);
  }
  Object.assign(problem, variant.rowArrays?.(samples, negatives, randomSource(seed + 3)));
  if (loss.viewMajor) problem.nViews = views;
  if (loss.labels) {
    const labels = randomLabels(samples, Math.ceil(samples / 3), seed);
    // A variant that needs more than one sample needs more than one class.
    if (variant.fewestSamples !== undefined) labels[samples - 1] = -1;
    problem.labels = labels;
  }
  if (loss.bias !== undefined) problem[loss.bias.option] = BIASES[seed % BIASES.length];
  return { ...problem, ...variant.options, [loss.scale.option]: loss.scale.at(temperature), ...options };
}

/** Rows in the loss of a random problem, which is how many upstream gradients it takes. */
export function rowsOf({ loss, variant }: LossVariant, { samples: drawn, views }: Sizes): number {
  const samples = Math.max(drawn, variant.fewestSamples ?? 1);
  return loss.viewMajor ? samples * (variant.views ?? views) : samples;
}
