/**
 * Contrastive losses with their gradients, computed by native code. A loss is a function ({@link ntXent}, {@link infoNCE},
 * {@link clip}, {@link supCon}, {@link sigLip}) with a synchronous twin and a class whose options are fixed;
 * {@link createContext} says what it runs on.
 *
 * @module infonce
 */

export {
  createProcessGroup,
  type LocalGroupOptions,
  type MpiGroupOptions,
  type NcclGroupOptions,
  type ProcessGroupOptions,
} from './distributed/create-process-group.js';
export { type NcclUniqueIdOptions, ncclUniqueId } from './distributed/nccl.js';
export type { ProcessGroup, Reducible } from './distributed/process-group.js';
export type { CapturedCall, CaptureOptions } from './losses/capture.js';
export {
  type ClipForward,
  type ClipGradientName,
  type ClipGradients,
  type ClipNegativesForward,
  type ClipNegativesGradients,
  type ClipNegativesProblem,
  type ClipNegativesResult,
  type ClipNegativesTypes,
  type ClipOptions,
  type ClipProblem,
  type ClipResult,
  type ClipRows,
  type ClipTypes,
  clip,
  clipSync,
} from './losses/clip.js';
export type { Denominator } from './losses/denominator.js';
export type { Duplicates } from './losses/duplicates.js';
export type { FalseNegatives, Guide } from './losses/false-negatives.js';
export type {
  BackwardOptions,
  ByOutput,
  ForwardOptions,
  ForwardPass,
  SyncBackwardOptions,
  SyncForwardOptions,
  WithoutUpstream,
} from './losses/forward.js';
export type { Hardness } from './losses/hardness.js';
export {
  type InfoNCEDetachedForward,
  type InfoNCEDetachedGradients,
  type InfoNCEDetachedProblem,
  type InfoNCEDetachedResult,
  type InfoNCEDetachedTypes,
  type InfoNCEForward,
  type InfoNCEGradientName,
  type InfoNCEGradients,
  type InfoNCEListForward,
  type InfoNCEListGradients,
  type InfoNCEListProblem,
  type InfoNCEListResult,
  type InfoNCEListTypes,
  type InfoNCENegativesForward,
  type InfoNCENegativesGradients,
  type InfoNCENegativesProblem,
  type InfoNCENegativesResult,
  type InfoNCENegativesTypes,
  type InfoNCEProblem,
  type InfoNCEQueueListForward,
  type InfoNCEQueueListGradients,
  type InfoNCEQueueListProblem,
  type InfoNCEQueueListResult,
  type InfoNCEQueueListTypes,
  type InfoNCEResult,
  type InfoNCETypes,
  infoNCE,
  infoNCESync,
} from './losses/info-nce.js';
export type { Direction, Partition } from './losses/info-nce-directions.js';
export type { InfoNCEOptions } from './losses/info-nce-options.js';
export type { InfoNCERows } from './losses/info-nce-rows.js';
export type { LossFunction, SyncLossFunction } from './losses/loss.js';
export { type MatryoshkaOptions, matryoshka, matryoshkaSync } from './losses/matryoshka.js';
export {
  type LossNamed,
  type MemoryOptions,
  type MemoryProblem,
  type MemoryRequired,
  memoryRequired,
  type Sized,
  type TensorSize,
} from './losses/memory-required.js';
export { NegativeQueue, type NegativeQueueOptions } from './losses/negative-queue.js';
export {
  type NTXentForward,
  type NTXentGradients,
  type NTXentOptions,
  type NTXentProblem,
  type NTXentResult,
  type NTXentTypes,
  ntXent,
  ntXentSync,
} from './losses/nt-xent.js';
export { type NTXentLogits, type NTXentLogitsProblem, ntXentLogits } from './losses/nt-xent-logits.js';
export type { CommonOptions, Reduction } from './losses/options.js';
export type { Out } from './losses/out.js';
export type { PositivesForm } from './losses/positives-form.js';
export type { Asked, Gradient, LossResult, LossValue, Output, Ranks } from './losses/results.js';
export type { Debias, Weighting } from './losses/row-loss.js';
export type { GroupRunOptions, RunOptions, SyncRunOptions } from './losses/run.js';
export {
  type SigLipForward,
  type SigLipGradientName,
  type SigLipGradients,
  type SigLipOptions,
  type SigLipPositives,
  type SigLipProblem,
  type SigLipRanked,
  type SigLipResult,
  type SigLipRows,
  type SigLipTypes,
  sigLip,
  sigLipSync,
} from './losses/sig-lip.js';
export {
  type SupConForward,
  type SupConGradients,
  type SupConOptions,
  type SupConProblem,
  type SupConResult,
  type SupConTypes,
  supCon,
  supConSync,
} from './losses/sup-con.js';
export type { ViewLayout } from './losses/view-layout.js';
export { Clip } from './modules/clip.js';
export { InfoNCE } from './modules/info-nce.js';
export {
  MultipleNegativesRankingLoss,
  type MultipleNegativesRankingOptions,
} from './modules/multiple-negatives-ranking-loss.js';
export { NTXent } from './modules/nt-xent.js';
export { SigLip } from './modules/sig-lip.js';
export { SupCon } from './modules/sup-con.js';
export type { AbortSignalLike } from './runtime/abort.js';
export type { AvailableDevice, Device, DeviceId, UnavailableDevice } from './runtime/backends/backend.js';
export { type ContextOptions, createContext } from './runtime/create-context.js';
export { devices } from './runtime/devices.js';
export { InfoNCEError, type InfoNCEErrorCode } from './runtime/errors.js';
export type { Context, DeviceTensor, Precision, TensorHandle, Timings } from './runtime/handles.js';
export type { DataOf, DType, HalfTensor, Tensor } from './runtime/host-tensor.js';
export type { TensorLike } from './runtime/tensor.js';
export {
  type Accumulated,
  type AccumulateRun,
  accumulate,
  type Chunk,
  type ChunkInput,
  type HostTensor,
} from './training/accumulate.js';
