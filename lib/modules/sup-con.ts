import { fixedOptions } from '../losses/loss.js';
import type { Reduction } from '../losses/options.js';
import type { Output } from '../losses/results.js';
import type { RunOptions, SyncRunOptions } from '../losses/run.js';
import { type SupConOptions, type SupConResult, supCon, supConLoss, supConSync } from '../losses/sup-con.js';
import type { TensorLike } from '../runtime/tensor.js';

/** {@link supCon} with its options fixed. */
export class SupCon<R extends Reduction = 'mean', G extends boolean = true, K extends boolean = true> {
  /** The options that the constructor was given. */
  readonly options: SupConOptions<R, G, K>;

  /** @throws {@link InfoNCEError} for a bad option. `forward` checks what depends on the rows. */
  constructor(options: SupConOptions<R, G, K> = {}) {
    this.options = fixedOptions(supConLoss, options);
  }

  /** `features` [N, D] or [B, V, D], `labels` [N] or [B]. Resolves to the result of {@link supCon}. */
  forward<O extends Output = 'host'>(
    features: TensorLike,
    labels: Int32Array,
    run?: RunOptions<O, 'gradFeatures'>,
  ): Promise<SupConResult<R, G, O, K>> {
    return supCon({ ...this.options, features, labels }, run);
  }

  /** {@link forward}, computed before it returns. */
  forwardSync<O extends Output = 'host'>(
    features: TensorLike,
    labels: Int32Array,
    run?: SyncRunOptions<O, 'gradFeatures'>,
  ): SupConResult<R, G, O, K> {
    return supConSync({ ...this.options, features, labels }, run);
  }
}
