/**
 * The losses for jax-js: of its arrays, with gradients to hand to its `vjp`.
 *
 * @module infonce/jax-js
 */
export type { FalseNegativesOf } from '../losses/false-negatives.js';
export * from './losses.js';
export { type Encoder, valueAndGrad } from './value-and-grad.js';
