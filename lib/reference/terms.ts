import type { CommonOptions } from '../losses/options.js';
import { flagsOf, type RowLossOptions, range, rowLoss, weightsOf } from './row-losses.js';
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
  /** One for each input, and that of the scale or temperature, under the library's names. */
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
  const { reduction = 'mean', gradOutput = 1, denominator = 'all', margin = 0 } = options;
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
    const anchorOf = (j: number) => candidates[j]!.of ?? anchor;
    const isPositive = flagsOf(positives, candidates.length);
    const cosines = candidates.map((other, j) => dot(anchorOf(j), other) - (isPositive[j] ? margin : 0));
    const biases = candidates.map(({ bias = 0 }) => bias);
    const scales = candidates.map((_, j) => scale + (stretches?.[j] ?? 0));
    const exactLogits = cosines.map((cosine, j) => scales[j]! * cosine + biases[j]!);
    const logits = [...exactLogits];
    if (anchor.tower.parts.length > 0) {
      const isApart = flagsOf(apart, candidates.length);
      for (const position of range(candidates.length)) {
        if (isApart[position]) continue;
        const cosine = dotOfParts(anchorOf(position), candidates[position]!);
        logits[position] = scales[position]! * cosine + biases[position]!;
      }
    }
    const exact = positives.map(positive => exactLogits[positive]!);
    const { loss, slopes } = rowLoss(
      { logits, positives, exact, areCopies, weight: weights?.[index] },
      exactLogits,
      scale,
      options,
    );
    rowLosses[row]! += share * loss;

    const isUnranked = flagsOf(unranked ?? [], candidates.length);
    const counts = (j: number) => (denominator === 'all' || !isPositive[j]) && !isUnranked[j];
    // Hardness does not count.
    const ranked = cosines.map((cosine, j) => scale * cosine + biases[j]!);
    const better = ranked.filter((logit, j) => counts(j) && logit > ranked[positives[0]!]!).length;
    if (better < 1) foundFirst++;
    if (better < 5) foundInFive++;

    const given = typeof gradOutput === 'number' ? gradOutput : gradOutput[gradOutput.length === 1 ? 0 : row]!;
    const upstream = share * given * (reduction === 'mean' ? 1 / rows : 1);
    slopes.forEach(({ slope, terms }, j) => {
      const candidate = candidates[j]!;
      accumulate(anchorOf(j), candidate, upstream * scale * slope, upstream * scale * terms);
      gradScale += upstream * slope * cosines[j]!;
      gradScaleTerms += Math.abs(upstream * terms * cosines[j]!);
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
    gradients,
  };
}
