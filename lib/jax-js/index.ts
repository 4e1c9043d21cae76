/** The losses for jax-js: of its arrays, with gradients to hand to its `vjp`. */
export {
  type ClipOptions,
  clip,
  type InfoNCEOptions,
  infoNCE,
  type LossAndGradients,
  type NTXentOptions,
  ntXent,
  type SupConOptions,
  supCon,
} from './losses.js';
export { type Encoder, valueAndGrad } from './value-and-grad.js';
