import type { DeviceTensor } from '../runtime/handles.js';
import type { Reduction } from './options.js';

/** Where a call leaves its gradients: in the host's memory, or in that of the context's device. */
export type Output = 'host' | 'device';

/** A gradient in the layout of its input. */
export type Gradient<O extends Output = 'host'> = O extends 'device' ? DeviceTensor<'float32'> : Float32Array;

/** What every loss returns. */
export interface LossValue<R extends Reduction = Reduction> {
  /** A number, or with `reduction: 'none'` the loss of each row. */
  readonly loss: R extends 'none' ? Float32Array : number;
}

/** How often positives come first, unless `ranks: false`. */
export interface Ranks {
  /** The share of rows whose (first) positive is beaten by no logit of the row's denominator. */
  readonly top1: number;
  /** The share of rows whose (first) positive is beaten by fewer than five logits of the row's denominator. */
  readonly top5: number;
}

/** A part of a result: there when it was asked for, not when not, optional when that is unknown. */
export type Asked<B extends boolean, Part> = [B] extends [true] ? Part : [B] extends [false] ? unknown : Partial<Part>;

/** A loss with its ranks and gradients, each as it was asked for. */
export type LossResult<R extends Reduction, G extends boolean, Gradients, K extends boolean = true> = LossValue<R> &
  Asked<K, Ranks> &
  Asked<G, Gradients>;

const GRADIENT_NAMES = new Map<string, string>();

/** `gradFeatures` of `features`. Kept: a call asks for each several times. */
export function gradientName(input: string): string {
  let name = GRADIENT_NAMES.get(input);
  if (name === undefined) {
    name = `grad${input[0]!.toUpperCase()}${input.slice(1)}`;
    GRADIENT_NAMES.set(input, name);
  }
  return name;
}
