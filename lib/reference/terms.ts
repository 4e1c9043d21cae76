import type { CommonOptions } from '../losses/options.js';
import { flagsOf, type RowLossOptions, rowLoss, weightsOf } from './row-losses.js';
import {
  accumulate,
  dot,
  dotOfParts,
  type Place,
  type ReferenceGradient,
  type Tower,
  throughNormalisation,
} from './tower.js';

/** A row of the denominator. */
export interface Candidate extends Place {
  /** Added to its logit. Default 0. */
  readonly bias?: number;
  /** Whose logit with it counts instead of the anchor's. */
  readonly of?: Place;
}

/** One anchor, its denominator, and the positions of its positives in that. It counts in the loss of `row`. */
export interface Term {
  readonly row: number;
  readonly anchor: Place;
  readonly candidates: readonly Candidate[];
  readonly positives: readonly number[];
  /** Whether all positives are the same pair. */
  readonly areCopies?: boolean;
  /** The positions of those that no level of precision takes from the matrix, but treats one by one. */
  readonly apart: readonly number[];
  /** The positions of those that do not count in the ranks. Absent: all count. */
  readonly unranked?: readonly number[];
  /** Added to the scale of each candidate's logit, without a gradient. Absent: nothing. */
  readonly stretches?: readonly number[];
}

export interface ReferenceResult {
  readonly loss: Float64Array;
  readonly top1: number;
  readonly top5: number;
  /** One for each input, and that of the scale or temperature, under the library's names. None where `gradient` is false. */
  readonly gradients: Readonly<Record<string, ReferenceGradient>>;
}

/** Loss, ranks and gradients of a list of terms. */
export function evaluate(
  terms: readonly Term[],
  rows: number,
  scale: number,
  towers: Readonly<Record<string, Tower>>,
  scalarName: 'gradTemperature' | 'gradLogitScale',
  options: CommonOptions & RowLossOptions & { readonly margin?: number | undefined },
): ReferenceResult {
  const { reduction = 'mean', gradOutput = 1, denominator = 'all', margin = 0, gradient = true } = options;
  const share = rows / terms.length;
  const rowLosses = new Float64Array(rows);
  const { weighting } = options;
  const cosinesOfPositives = () =>
    terms.map(({ anchor, candidates, positives }) => dot(anchor, candidates[positives[0]!]!));
  const weights = weighting && weightsOf(cosinesOfPositives(), weighting);
  let gradScale = 0;
  let gradScaleTerms = 0;
  let foundFirst = 0;
  let foundInFive = 0;
  for (const [index, term] of terms.entries()) {
    const { row, anchor, candidates, positives, apart, unranked, stretches, areCopies } = term;
    if (positives.length === 0) continue;
    const isPositive = flagsOf(positives, candidates.length);
    const cosines = candidates.map(other => dot(other.of ?? anchor, other));
    if (margin !== 0) for (const j of positives) cosines[j]! -= margin;
    const logitOf = (j: number, cosine: number) =>
      (scale + (stretches?.[j] ?? 0)) * cosine + (candidates[j]!.bias ?? 0);
    const exactLogits = cosines.map((cosine, j) => logitOf(j, cosine));
    const isApart = flagsOf(apart, candidates.length);
    const logits =
      anchor.tower.parts.length === 0
        ? exactLogits
        : candidates.map((other, j) =>
            isApart[j] ? exactLogits[j]! : logitOf(j, dotOfParts(other.of ?? anchor, other)),
          );
    const exact = positives.map(positive => exactLogits[positive]!);
    const { loss, slopes, sizes } = rowLoss(
      { logits, positives, exact, areCopies, weight: weights?.[index] },
      exactLogits,
      scale,
      options,
    );
    rowLosses[row]! += share * loss;

    const isUnranked = flagsOf(unranked ?? [], candidates.length);
    const counts = (j: number) => (denominator === 'all' || !isPositive[j]) && !isUnranked[j];
    // Hardness does not count.
    const ranked = stretches ? cosines.map((cosine, j) => scale * cosine + (candidates[j]!.bias ?? 0)) : exactLogits;
    const first = ranked[positives[0]!]!;
    let better = 0;
    for (let j = 0; j < ranked.length; j++) if (ranked[j]! > first && counts(j)) better++;
    if (better < 1) foundFirst++;
    if (better < 5) foundInFive++;

    if (!gradient) continue;
    const given = typeof gradOutput === 'number' ? gradOutput : gradOutput[gradOutput.length === 1 ? 0 : row]!;
    const upstream = share * given * (reduction === 'mean' ? 1 / rows : 1);
    candidates.forEach((other, j) => {
      accumulate(other.of ?? anchor, other, upstream * scale * slopes[j]!, upstream * scale * sizes[j]!);
      gradScale += upstream * slopes[j]! * cosines[j]!;
      gradScaleTerms += Math.abs(upstream * sizes[j]! * cosines[j]!);
    });
  }
  const total = rowLosses.reduce((sum, value) => sum + value, 0);
  const chain = scalarName === 'gradTemperature' ? -scale * scale : 1;
  const gradients: Record<string, ReferenceGradient> = {
    [scalarName]: { values: Float64Array.of(chain * gradScale), terms: Math.abs(chain) * gradScaleTerms },
  };
  for (const [name, tower] of Object.entries(towers)) gradients[name] = throughNormalisation(tower);
  return {
    loss: reduction === 'none' ? rowLosses : Float64Array.of(reduction === 'sum' ? total : total / rows),
    top1: foundFirst / terms.length,
    top5: foundInFive / terms.length,
    gradients: gradient ? gradients : {},
  };
}
