import type { Reduction } from '../losses/options.js';
import type { RunOptions, SyncRunOptions } from '../losses/run.js';
import { SUP_CON_OPTION_KEYS, type SupConOptions, type SupConResult, supCon, supConSync } from '../losses/sup-con.js';
import { checkKeys } from '../runtime/options.js';
import type { Tensor } from '../runtime/tensor.js';

const KEYS: ReadonlySet<string> = new Set(SUP_CON_OPTION_KEYS);

/** {@link supCon} with its options fixed. */
export class SupCon<R extends Reduction = 'mean', G extends boolean = true> {
  readonly options: SupConOptions<R, G>;

  constructor(options: SupConOptions<R, G> = {}) {
    checkKeys(options, 'SupCon', KEYS);
    this.options = { ...options };
  }

  forward(features: Tensor, labels: Int32Array, run?: RunOptions): Promise<SupConResult<R, G>> {
    return supCon({ ...this.options, features, labels }, run);
  }

  forwardSync(features: Tensor, labels: Int32Array, run?: SyncRunOptions): SupConResult<R, G> {
    return supConSync({ ...this.options, features, labels }, run);
  }
}
