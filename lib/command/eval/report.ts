import type { DeviceId } from '../../runtime/backends/backend.js';
import type { Precision } from '../../runtime/handles.js';
import type { LossName } from '../losses.js';
import type { Evaluation } from './figures.js';
import type { Retrieval } from './retrieval/measures.js';
import type { PairRetrieval } from './retrieval/pairs.js';
import type { Spread } from './spread.js';
import type { SpreadOfView, Warning } from './warnings.js';

/** How the rows of a view are spread. `name`: what messages call the view. */
type SpreadReport = Pick<SpreadOfView, 'name'> &
  Pick<Spread, 'zeroRows' | 'meanLength' | 'effectiveRank' | 'repeatedRows'>;

export function spreadReport({ name, spread }: SpreadOfView): SpreadReport {
  const { zeroRows, meanLength, effectiveRank, repeatedRows } = spread;
  return { name, zeroRows, meanLength, effectiveRank, repeatedRows };
}

/** What `infonce eval --json` prints. docs/command/eval.md describes it. */
export interface EvalReport extends Pick<Evaluation, 'rows' | 'chance' | 'top1' | 'top5' | 'alignment' | 'seconds'> {
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
  readonly batches: { readonly samples: number; readonly count: number; readonly last: number };
  /** With --global-batch: of the one batch. */
  readonly parts?: { readonly samples: number; readonly count: number; readonly last: number };
  /** With --group: how many processes have computed. */
  readonly ranks?: number;
  readonly device: { readonly id: DeviceId; readonly name: string; readonly precision: Precision };
  readonly temperature: number;
  /** The mean over the rows, at `temperature`. */
  readonly loss: number;
  readonly uniformity: number;
  readonly uniformityOfViews: readonly number[];
  /** Of each view. */
  readonly spread: readonly SpreadReport[];
  readonly warnings: readonly Warning[];
  /** infonce, clip, and two files without labels; absent with --no-retrieval. */
  readonly retrieval?: PairRetrieval;
  /** supcon: rows without another of their class in their batch. */
  readonly rowsWithoutPositives: number;
  readonly temperatures: readonly { readonly temperature: number; readonly loss: number }[];
  readonly rowsPerSecond: number;
  readonly bytesPerSecond: number;
  readonly flopsPerSecond: number;
}

/** What `infonce eval --qrels --json` prints. */
export interface JudgedReport
  extends Pick<
    EvalReport,
    | 'normalize'
    | 'files'
    | 'device'
    | 'temperature'
    | 'loss'
    | 'chance'
    | 'alignment'
    | 'spread'
    | 'warnings'
    | 'seconds'
    | 'rowsPerSecond'
    | 'flopsPerSecond'
  > {
  readonly objective: 'infonce';
  readonly judgements: {
    readonly file: string;
    /** Documents judged for a query, relevant or not. */
    readonly count: number;
    readonly relevant: number;
    /** Queries of the file without a relevant document: they are in no mean. */
    readonly queriesWithoutRelevant: number;
  };
  readonly retrieval: { readonly firstToSecond: Retrieval };
}
