import { fixedOptions } from '../losses/loss.js';
import type { Reduction } from '../losses/options.js';
import type { Output } from '../losses/results.js';
import type { RunOptions, SyncRunOptions } from '../losses/run.js';
import {
  type SigLipGradientName,
  type SigLipOptions,
  type SigLipPositives,
  type SigLipResult,
  type SigLipRows,
  sigLip,
  sigLipLoss,
  sigLipSync,
} from '../losses/sig-lip.js';
import type { TensorLike } from '../runtime/tensor.js';

/** {@link sigLip} with its options fixed. */
export class SigLip<
  R extends Reduction = 'mean',
  G extends boolean = true,
  K extends boolean = true,
  P extends SigLipPositives = 'sameIndex',
> {
  /** The options that the constructor was given. */
  readonly options: SigLipOptions<R, G, K, P>;

  /** @throws {@link InfoNCEError} for a bad option. `forward` checks what depends on the rows. */
  constructor(options: SigLipOptions<R, G, K, P> = {}) {
    this.options = fixedOptions(sigLipLoss, options);
  }

  /**
   * `imageFeatures` and `textFeatures` [N, D], with `positives: 'none'` [M, D]; `rows` holds the batch's ids. Resolves to
   * the result of {@link sigLip}. A `logitScale` and `logitBias` given here, such as ones that are learned, override those
   * of the options.
   */
  forward<O extends Output = 'host'>(
    imageFeatures: TensorLike,
    textFeatures: TensorLike,
    logitScale: number | undefined = this.options.logitScale,
    logitBias: number | undefined = this.options.logitBias,
    run?: RunOptions<O, SigLipGradientName>,
    rows?: SigLipRows,
  ): Promise<SigLipResult<R, G, O, K, P>> {
    const problem = { ...rows, ...this.options, imageFeatures, textFeatures, logitScale, logitBias };
    return sigLip<R, G, O, K>(problem, run) as Promise<SigLipResult<R, G, O, K, P>>;
  }

  /** {@link forward}, computed before it returns. */
  forwardSync<O extends Output = 'host'>(
    imageFeatures: TensorLike,
    textFeatures: TensorLike,
    logitScale: number | undefined = this.options.logitScale,
    logitBias: number | undefined = this.options.logitBias,
    run?: SyncRunOptions<O, SigLipGradientName>,
    rows?: SigLipRows,
  ): SigLipResult<R, G, O, K, P> {
    const problem = { ...rows, ...this.options, imageFeatures, textFeatures, logitScale, logitBias };
    return sigLipSync<R, G, O, K>(problem, run) as SigLipResult<R, G, O, K, P>;
  }
}
