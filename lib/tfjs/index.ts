/**
 * The losses for TensorFlow.js: differentiable ops, and losses and metrics for a LayersModel.
 *
 * @module infonce/tfjs
 */
export type { FalseNegativesOf } from '../losses/false-negatives.js';
export type { GroupOptions, LossTensor, OpOptions } from './differentiable.js';
export {
  type ClipLossOptions,
  clipLoss,
  clipTop1,
  type LayersFunction,
  type NTXentLossOptions,
  ntXentLoss,
  ntXentTop1,
  type SupConLossOptions,
  supConLoss,
  supConTop1,
} from './layers-model.js';
export * from './losses.js';
export type { TensorArgument } from './tensor.js';
export { type ViewBatch, type ViewBatchesOptions, viewBatches } from './view-batches.js';
