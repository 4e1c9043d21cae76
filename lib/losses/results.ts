import type { DeviceTensor } from '../runtime/handles.js';
import type { Reduction } from './options.js';

/** Where gradients are returned: in the host's memory, or in that of the context's device. */
export type Output = 'host' | 'device';

/** A gradient in the layout of its input. */
export type Gradient<O extends Output = 'host'> = O extends 'device' ? DeviceTensor<'float32'> : Float32Array;

/** What every loss returns. */
export interface LossValue<R extends Reduction = Reduction> {
  /** A number, or with `reduction: 'none'` the loss of each row. */
  readonly loss: R extends 'none' ? Float32Array : number;
}

/** Accuracy of the positives' ranks. Absent with `ranks: false`. */
export interface Ranks {
  /** The share of rows for which no logit of the denominator is larger than the (first) positive's. */
  readonly top1: number;
  /** The share of rows for which fewer than five logits of the denominator are larger than the (first) positive's. */
  readonly top5: number;
}

/** A part of a result: present if requested, absent if not, optional if that is unknown. */
export type Asked<B extends boolean, Part> = [B] extends [true] ? Part : [B] extends [false] ? unknown : Partial<Part>;

/** A loss with its ranks and gradients, each if requested. */
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
