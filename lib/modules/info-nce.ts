import {
  type InfoNCEGradientName,
  type InfoNCEListResult,
  type InfoNCENegativesResult,
  type InfoNCEQueueListResult,
  type InfoNCEResult,
  infoNCE,
  infoNCELoss,
  infoNCESync,
} from '../losses/info-nce.js';
import type { InfoNCEOptions } from '../losses/info-nce-options.js';
import type { InfoNCERows } from '../losses/info-nce-rows.js';
import { fixedOptions } from '../losses/loss.js';
import type { NegativeQueue } from '../losses/negative-queue.js';
import type { Reduction } from '../losses/options.js';
import type { Output } from '../losses/results.js';
import type { RunOptions, SyncRunOptions } from '../losses/run.js';
import type { TensorLike } from '../runtime/tensor.js';

/** {@link infoNCE} with its options fixed, in the shape of info-nce-pytorch's `InfoNCE`. */
export class InfoNCE<R extends Reduction = 'mean', G extends boolean = true, K extends boolean = true> {
  /** The options that the constructor was given. */
  readonly options: InfoNCEOptions<R, G, K>;

  /** @throws {@link InfoNCEError} for a bad option. `forward` checks what depends on the rows. */
  constructor(options: InfoNCEOptions<R, G, K> = {}) {
    this.options = fixedOptions(infoNCELoss, options);
  }

  /**
   * `query` and `positiveKey` [N, D], `negativeKeys` [M, D] or, paired, [N, M, D], or a queue or a list. `rows` holds the
   * batch's targets, ids and biases. Resolves to the result of {@link infoNCE}; with the option `detach` without those
   * gradients.
   */
  forward<O extends Output = 'host'>(
    query: TensorLike,
    positiveKey: TensorLike,
    negativeKeys: TensorLike,
    run?: RunOptions<O, InfoNCEGradientName>,
    rows?: InfoNCERows,
  ): Promise<InfoNCENegativesResult<R, G, O, K>>;
  forward<O extends Output = 'host'>(
    query: TensorLike,
    positiveKey: TensorLike,
    negativeKeys: readonly TensorLike[],
    run?: RunOptions<O, InfoNCEGradientName>,
    rows?: InfoNCERows,
  ): Promise<InfoNCEListResult<R, G, O, K>>;
  forward<O extends Output = 'host'>(
    query: TensorLike,
    positiveKey: TensorLike,
    negativeKeys: readonly (TensorLike | NegativeQueue)[],
    run?: RunOptions<O, InfoNCEGradientName>,
    rows?: InfoNCERows,
  ): Promise<InfoNCEQueueListResult<R, G, O, K>>;
  forward<O extends Output = 'host'>(
    query: TensorLike,
    positiveKey: TensorLike,
    negativeKeys?: TensorLike | NegativeQueue,
    run?: RunOptions<O, InfoNCEGradientName>,
    rows?: InfoNCERows,
  ): Promise<InfoNCEResult<R, G, O, K>>;
  forward<O extends Output = 'host'>(
    query: TensorLike,
    positiveKey: TensorLike,
    negativeKeys?: TensorLike | NegativeQueue | readonly (TensorLike | NegativeQueue)[],
    run?: RunOptions<O, InfoNCEGradientName>,
    rows?: InfoNCERows,
  ): Promise<unknown> {
    return infoNCE({ ...rows, ...this.options, query, positiveKey, negativeKeys }, run);
  }

  /** {@link forward}, computed before it returns. */
  forwardSync<O extends Output = 'host'>(
    query: TensorLike,
    positiveKey: TensorLike,
    negativeKeys: TensorLike,
    run?: SyncRunOptions<O, InfoNCEGradientName>,
    rows?: InfoNCERows,
  ): InfoNCENegativesResult<R, G, O, K>;
  forwardSync<O extends Output = 'host'>(
    query: TensorLike,
    positiveKey: TensorLike,
    negativeKeys: readonly TensorLike[],
    run?: SyncRunOptions<O, InfoNCEGradientName>,
    rows?: InfoNCERows,
  ): InfoNCEListResult<R, G, O, K>;
  forwardSync<O extends Output = 'host'>(
    query: TensorLike,
    positiveKey: TensorLike,
    negativeKeys: readonly (TensorLike | NegativeQueue)[],
    run?: SyncRunOptions<O, InfoNCEGradientName>,
    rows?: InfoNCERows,
  ): InfoNCEQueueListResult<R, G, O, K>;
  forwardSync<O extends Output = 'host'>(
    query: TensorLike,
    positiveKey: TensorLike,
    negativeKeys?: TensorLike | NegativeQueue,
    run?: SyncRunOptions<O, InfoNCEGradientName>,
    rows?: InfoNCERows,
  ): InfoNCEResult<R, G, O, K>;
  forwardSync<O extends Output = 'host'>(
    query: TensorLike,
    positiveKey: TensorLike,
    negativeKeys?: TensorLike | NegativeQueue | readonly (TensorLike | NegativeQueue)[],
    run?: SyncRunOptions<O, InfoNCEGradientName>,
    rows?: InfoNCERows,
  ): unknown {
    return infoNCESync({ ...rows, ...this.options, query, positiveKey, negativeKeys }, run);
  }
}
