import {
  checkInfoNCEOptions,
  INFO_NCE_OPTION_KEYS,
  type InfoNCENegativesResult,
  type InfoNCEOptions,
  type InfoNCEResult,
  infoNCE,
  infoNCESync,
} from '../losses/info-nce.js';
import type { Reduction } from '../losses/options.js';
import type { RunOptions, SyncRunOptions } from '../losses/run.js';
import { checkKeys } from '../runtime/options.js';
import type { Tensor } from '../runtime/tensor.js';

const KEYS: ReadonlySet<string> = new Set(INFO_NCE_OPTION_KEYS);

/** {@link infoNCE} with its options fixed, in the shape of info-nce-pytorch's `InfoNCE`. */
export class InfoNCE<R extends Reduction = 'mean', G extends boolean = true> {
  readonly options: InfoNCEOptions<R, G>;

  /** @throws {@link InfoNCEError} for a bad option; what depends on the rows is checked by `forward`. */
  constructor(options: InfoNCEOptions<R, G> = {}) {
    checkKeys(options, 'InfoNCE', KEYS);
    checkInfoNCEOptions(options);
    this.options = { ...options };
  }

  /**
   * `query` and `positiveKey` [N, D], `negativeKeys` [M, D] or, paired, [N, M, D]. Resolves to what {@link infoNCE} does.
   */
  forward(
    query: Tensor,
    positiveKey: Tensor,
    negativeKeys: Tensor,
    run?: RunOptions,
  ): Promise<InfoNCENegativesResult<R, G>>;
  forward(query: Tensor, positiveKey: Tensor, negativeKeys?: Tensor, run?: RunOptions): Promise<InfoNCEResult<R, G>>;
  forward(query: Tensor, positiveKey: Tensor, negativeKeys?: Tensor, run?: RunOptions): Promise<InfoNCEResult<R, G>> {
    return infoNCE({ ...this.options, query, positiveKey, negativeKeys }, run);
  }

  /** {@link forward}, computed before it returns. */
  forwardSync(
    query: Tensor,
    positiveKey: Tensor,
    negativeKeys: Tensor,
    run?: SyncRunOptions,
  ): InfoNCENegativesResult<R, G>;
  forwardSync(query: Tensor, positiveKey: Tensor, negativeKeys?: Tensor, run?: SyncRunOptions): InfoNCEResult<R, G>;
  forwardSync(query: Tensor, positiveKey: Tensor, negativeKeys?: Tensor, run?: SyncRunOptions): InfoNCEResult<R, G> {
    return infoNCESync({ ...this.options, query, positiveKey, negativeKeys }, run);
  }
}
