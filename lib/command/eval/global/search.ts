import { infoNCELoss } from '../../../losses/info-nce.js';
import type { LossValue } from '../../../losses/results.js';
import { runAsync } from '../../../losses/run.js';
import type { Context } from '../../../runtime/handles.js';
import type { PlacedRows } from '../evaluation.js';
import type { Figures } from '../figures.js';
import type { Question } from '../losses.js';
import { type Numbers, tensorOf } from '../matrix.js';

/** The rows of one part, looking for their positives among the rows of all parts. */
export interface Search {
  /** Among the part's own rows: before all others. */
  within(): Promise<void>;
  /** Among the rows of another part. */
  across(other: PlacedRows): Promise<void>;
  /** Adds losses, ranks and alignment, when all parts have been seen. */
  addTo(figures: Figures): void;
}

/** Rows of which each looks for its positive, row i of `positives`. */
export interface Looking {
  readonly question: Question;
  readonly context: Context;
  readonly anchors: Numbers;
  readonly positives: Numbers;
  /** Numbers of the anchors and of candidates: those of the same number are no candidates. */
  readonly ids?: { readonly anchors: Int32Array; readonly candidates: Int32Array };
}

/**
 * The loss log (1 + Σ exp(s_ij − s_ip)) of each row over these candidates, and how many of them are above its positive.
 * Without `candidates` they are the other rows' positives.
 */
export async function look(
  { question: { dim, normalize }, context, anchors, positives, ids }: Looking,
  candidates: Numbers | undefined,
  temperature: number,
): Promise<{ readonly loss: Float32Array; readonly above: Int32Array }> {
  const tensor = (numbers: Numbers) => tensorOf(numbers, numbers.length / dim, dim);
  const above = new Int32Array(anchors.length / dim);
  const problem = {
    query: tensor(anchors),
    positiveKey: tensor(positives),
    ...(candidates !== undefined && { negativeKeys: tensor(candidates) }),
    ...(ids !== undefined && { queryIds: ids.anchors, negativeIds: ids.candidates }),
    temperature,
    normalize,
    gradient: false,
    reduction: 'none',
  };
  const { loss } = (await runAsync(infoNCELoss.describe(problem), { context }, [above])) as LossValue<'none'>;
  return { loss, above };
}

/** Shares of rows with fewer than 1 and 5 candidates above their positive, times their weight. */
export function addRanks(figures: Figures, above: Int32Array, weight: number): void {
  figures.add('top1', weight * above.reduce((sum, count) => sum + Number(count < 1), 0));
  figures.add('top5', weight * above.reduce((sum, count) => sum + Number(count < 5), 0));
}

export function addCounts(sums: Int32Array, counts: Int32Array): void {
  for (let i = 0; i < sums.length; i++) sums[i]! += counts[i]!;
}
