import type { DeviceTensor } from '../runtime/device-tensor.js';
import type { Reduction } from './options.js';

/** Where a call leaves its gradients: in the host's memory, or in that of the context's device. */
export type Output = 'host' | 'device';

/** A gradient in the layout of its input. */
export type Gradient<O extends Output = 'host'> = O extends 'device' ? DeviceTensor<'float32'> : Float32Array;

/** What every loss returns. */
export interface LossValue<R extends Reduction = Reduction> {
  /** A number, or with `reduction: 'none'` the loss of each row. */
  readonly loss: R extends 'none' ? Float32Array : number;
  /** The share of rows whose (first) positive is beaten by no logit of the row's denominator. */
  readonly top1: number;
  /** The share of rows whose (first) positive is beaten by fewer than five logits of the row's denominator. */
  readonly top5: number;
}

/** A loss with its gradients when they were asked for, without when not, with optional ones when that is unknown. */
export type LossResult<R extends Reduction, G extends boolean, Gradients> = LossValue<R> &
  ([G] extends [true] ? Gradients : [G] extends [false] ? unknown : Partial<Gradients>);
