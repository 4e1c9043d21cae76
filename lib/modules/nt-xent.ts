import { fixedOptions } from '../losses/loss.js';
import { type NTXentOptions, type NTXentResult, ntXent, ntXentLoss, ntXentSync } from '../losses/nt-xent.js';
import type { Reduction } from '../losses/options.js';
import type { Output } from '../losses/results.js';
import type { RunOptions, SyncRunOptions } from '../losses/run.js';
import type { TensorLike } from '../runtime/tensor.js';

/** {@link ntXent} with its options fixed. */
export class NTXent<R extends Reduction = 'mean', G extends boolean = true, K extends boolean = true> {
  /** The options that the constructor was given. */
  readonly options: NTXentOptions<R, G, K>;

  /** @throws {@link InfoNCEError} for a bad option. `forward` checks what depends on the rows. */
  constructor(options: NTXentOptions<R, G, K> = {}) {
    this.options = fixedOptions(ntXentLoss, options);
  }

  /** `features` [nViews * B, D], in the `layout` of the options. Resolves to the result of {@link ntXent}. */
  forward<O extends Output = 'host'>(
    features: TensorLike,
    run?: RunOptions<O, 'gradFeatures'>,
  ): Promise<NTXentResult<R, G, O, K>> {
    return ntXent({ ...this.options, features }, run);
  }

  /** {@link forward}, computed before it returns. */
  forwardSync<O extends Output = 'host'>(
    features: TensorLike,
    run?: SyncRunOptions<O, 'gradFeatures'>,
  ): NTXentResult<R, G, O, K> {
    return ntXentSync({ ...this.options, features }, run);
  }
}
