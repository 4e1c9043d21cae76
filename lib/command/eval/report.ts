import type { DeviceId } from '../../runtime/backends/backend.js';
import type { Precision } from '../../runtime/handles.js';
import type { LossName } from '../losses.js';

/** What `infonce eval --json` prints. docs/command/eval.md describes it. */
export interface EvalReport {
  readonly objective: LossName;
  /** ntxent. */
  readonly positives?: 'first' | 'all';
  readonly normalize: boolean;
  readonly files: readonly {
    readonly file: string;
    readonly rows: number;
    readonly dim: number;
    readonly dtype: string;
  }[];
  readonly samples: number;
  readonly views: number;
  /** Rows that have a loss. */
  readonly rows: number;
  readonly batches: { readonly samples: number; readonly count: number; readonly last: number };
  readonly device: { readonly id: DeviceId; readonly name: string; readonly precision: Precision };
  readonly temperature: number;
  /** The mean over the rows, at `temperature`. */
  readonly loss: number;
  /** The loss where all logits are equal. */
  readonly chance: number;
  readonly top1: number;
  readonly top5: number;
  readonly alignment: number;
  readonly uniformity: number;
  readonly uniformityOfViews: readonly number[];
  /** supcon: rows without another of their class in their batch. */
  readonly rowsWithoutPositives: number;
  readonly temperatures: readonly { readonly temperature: number; readonly loss: number }[];
  readonly seconds: number;
  readonly rowsPerSecond: number;
  readonly bytesPerSecond: number;
  readonly flopsPerSecond: number;
}
