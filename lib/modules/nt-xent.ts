import { NT_XENT_OPTION_KEYS, type NTXentOptions, type NTXentResult, ntXent, ntXentSync } from '../losses/nt-xent.js';
import type { Reduction } from '../losses/options.js';
import type { RunOptions, SyncRunOptions } from '../losses/run.js';
import { checkKeys } from '../runtime/options.js';
import type { Tensor } from '../runtime/tensor.js';

const KEYS: ReadonlySet<string> = new Set(NT_XENT_OPTION_KEYS);

/** {@link ntXent} with its options fixed. */
export class NTXent<R extends Reduction = 'mean', G extends boolean = true> {
  readonly options: NTXentOptions<R, G>;

  constructor(options: NTXentOptions<R, G> = {}) {
    checkKeys(options, 'NTXent', KEYS);
    this.options = { ...options };
  }

  forward(features: Tensor, run?: RunOptions): Promise<NTXentResult<R, G>> {
    return ntXent({ ...this.options, features }, run);
  }

  forwardSync(features: Tensor, run?: SyncRunOptions): NTXentResult<R, G> {
    return ntXentSync({ ...this.options, features }, run);
  }
}
