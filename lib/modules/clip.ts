import {
  type ClipGradientName,
  type ClipNegativesResult,
  type ClipOptions,
  type ClipResult,
  type ClipRows,
  clip,
  clipLoss,
  clipSync,
} from '../losses/clip.js';
import { fixedOptions } from '../losses/loss.js';
import type { Reduction } from '../losses/options.js';
import type { Output } from '../losses/results.js';
import type { RunOptions, SyncRunOptions } from '../losses/run.js';
import type { TensorLike } from '../runtime/tensor.js';

/** {@link clip} with its options fixed. */
export class Clip<R extends Reduction = 'mean', G extends boolean = true, K extends boolean = true> {
  /** The options that the constructor was given. */
  readonly options: ClipOptions<R, G, K>;

  /** @throws {@link InfoNCEError} for a bad option. `forward` checks what depends on the rows. */
  constructor(options: ClipOptions<R, G, K> = {}) {
    this.options = fixedOptions(clipLoss, options);
  }

  /**
   * `imageFeatures` and `textFeatures` [N, D]; `rows` holds the batch's ids, `negativeTexts` [M, D] further texts. Resolves
   * to the result of {@link clip}. A `logitScale` given here, such as one that is learned, overrides that of the options.
   */
  forward<O extends Output = 'host'>(
    imageFeatures: TensorLike,
    textFeatures: TensorLike,
    logitScale: number | undefined,
    run: RunOptions<O, ClipGradientName> | undefined,
    rows: ClipRows | undefined,
    negativeTexts: TensorLike,
  ): Promise<ClipNegativesResult<R, G, O, K>>;
  forward<O extends Output = 'host'>(
    imageFeatures: TensorLike,
    textFeatures: TensorLike,
    logitScale?: number,
    run?: RunOptions<O, ClipGradientName>,
    rows?: ClipRows,
    negativeTexts?: TensorLike,
  ): Promise<ClipResult<R, G, O, K>>;
  forward<O extends Output = 'host'>(
    imageFeatures: TensorLike,
    textFeatures: TensorLike,
    logitScale: number | undefined = this.options.logitScale,
    run?: RunOptions<O, ClipGradientName>,
    rows?: ClipRows,
    negativeTexts?: TensorLike,
  ): Promise<unknown> {
    return clip({ ...rows, ...this.options, imageFeatures, textFeatures, negativeTexts, logitScale }, run);
  }

  /** {@link forward}, computed before it returns. */
  forwardSync<O extends Output = 'host'>(
    imageFeatures: TensorLike,
    textFeatures: TensorLike,
    logitScale: number | undefined,
    run: SyncRunOptions<O, ClipGradientName> | undefined,
    rows: ClipRows | undefined,
    negativeTexts: TensorLike,
  ): ClipNegativesResult<R, G, O, K>;
  forwardSync<O extends Output = 'host'>(
    imageFeatures: TensorLike,
    textFeatures: TensorLike,
    logitScale?: number,
    run?: SyncRunOptions<O, ClipGradientName>,
    rows?: ClipRows,
    negativeTexts?: TensorLike,
  ): ClipResult<R, G, O, K>;
  forwardSync<O extends Output = 'host'>(
    imageFeatures: TensorLike,
    textFeatures: TensorLike,
    logitScale: number | undefined = this.options.logitScale,
    run?: SyncRunOptions<O, ClipGradientName>,
    rows?: ClipRows,
    negativeTexts?: TensorLike,
  ): unknown {
    return clipSync({ ...rows, ...this.options, imageFeatures, textFeatures, negativeTexts, logitScale }, run);
  }
}
