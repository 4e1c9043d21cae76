/**
 * The losses for jax-js: of its arrays, with gradients to hand to its `vjp`.
 *
 * @module infonce/jax-js
 */
export {
  type CallOptions,
  type ClipOptions,
  clip,
  type Found,
  type InfoNCEOptions,
  infoNCE,
  type LossAndGradients,
  type NTXentOptions,
  ntXent,
  type Scale,
  type SupConOptions,
  supCon,
  type Temperature,
} from './losses.js';
export { type Encoder, valueAndGrad } from './value-and-grad.js';
