import type { NTXentOptions } from '../losses/nt-xent.js';
import type { CommonOptions } from '../losses/options.js';
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
}

/** One anchor, its denominator, and the positions of its positives in that. It counts in the loss of `row`. */
export interface Term {
  readonly row: number;
  readonly anchor: Place;
  readonly candidates: readonly Candidate[];
  readonly positives: readonly number[];
  /** The positions of those that no level of precision takes from the matrix, but treats one by one. */
  readonly apart: readonly number[];
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
  options: CommonOptions & Pick<NTXentOptions, 'denominator'>,
): ReferenceResult {
  const { reduction = 'mean', gradOutput = 1, denominator = 'all' } = options;
  const decoupled = denominator === 'negatives';
  const share = rows / terms.length;
  const rowLoss = new Float64Array(rows);
  let gradScale = 0;
  let gradScaleTerms = 0;
  let foundFirst = 0;
  let foundInFive = 0;
  for (const { row, anchor, candidates, positives, apart, stretches } of terms) {
    if (positives.length === 0) continue;
    const cosines = candidates.map(candidate => dot(anchor, candidate));
    const biases = candidates.map(({ bias = 0 }) => bias);
    const scales = candidates.map((_, j) => scale + (stretches?.[j] ?? 0));
    const exactLogits = cosines.map((cosine, j) => scales[j]! * cosine + biases[j]!);
    const logits = [...exactLogits];
    if (anchor.tower.parts.length > 0) {
      const matrix = range(candidates.length).filter(position => !apart.includes(position));
      for (const position of matrix) {
        logits[position] = scales[position]! * dotOfParts(anchor, candidates[position]!) + biases[position]!;
      }
    }
    const exact = positives.map(positive => exactLogits[positive]!);
    const counts = (j: number) => !decoupled || !positives.includes(j);
    rowLoss[row]! +=
      share *
      (decoupled
        ? logSumExp(logits.filter((_, j) => counts(j))) - meanOf(exact)
        : meanOf(positives.map((positive, i) => crossEntropy(logits, positive, exact[i]!))));

    const better = exactLogits.filter((logit, j) => counts(j) && logit > exact[0]!).length;
    if (better < 1) foundFirst++;
    if (better < 5) foundInFive++;

    const given = typeof gradOutput === 'number' ? gradOutput : gradOutput[gradOutput.length === 1 ? 0 : row]!;
    const upstream = share * given * (reduction === 'mean' ? 1 / rows : 1);
    (decoupled ? decoupledSlopes : slopes)(logits, positives).forEach(({ slope, terms }, j) => {
      const candidate = candidates[j]!;
      accumulate(anchor, upstream * scale * slope, upstream * scale * terms, candidate);
      accumulate(candidate, upstream * scale * slope, upstream * scale * terms, anchor);
      gradScale += upstream * slope * cosines[j]!;
      gradScaleTerms += Math.abs(upstream * terms * cosines[j]!);
    });
  }
  const total = rowLoss.reduce((sum, value) => sum + value, 0);
  const chain = scalarName === 'gradTemperature' ? -scale * scale : 1;
  const gradients: Record<string, ReferenceGradient> = {
    [scalarName]: { values: Float64Array.of(chain * gradScale), terms: Math.abs(chain) * gradScaleTerms },
  };
  for (const [name, tower] of Object.entries(towers)) gradients[name] = throughNormalisation(tower);
  return {
    loss: reduction === 'none' ? rowLoss : Float64Array.of(reduction === 'sum' ? total : total / rows),
    top1: foundFirst / terms.length,
    top5: foundInFive / terms.length,
    gradients,
  };
}

/** log Σ_j exp(s_j) − `exact`, the positive's logit, without cancellation when that is by far the largest. */
function crossEntropy(logits: readonly number[], positive: number, exact: number): number {
  const differences = logits.filter((_, j) => j !== positive).map(logit => logit - logits[positive]!);
  const largest = Math.max(0, ...differences);
  const sum = differences.reduce((total, difference) => total + Math.exp(difference - largest), 0);
  const loss = largest === 0 ? Math.log1p(sum) : largest + Math.log(Math.exp(-largest) + sum);
  return loss + (logits[positive]! - exact);
}

/** d loss / d s_j = softmax_j − [j is one of P positives] / P, and the sum of the two instead of the difference. */
function slopes(logits: readonly number[], positives: readonly number[]): { slope: number; terms: number }[] {
  const largest = Math.max(...logits);
  const exponentials = logits.map(logit => Math.exp(logit - largest));
  const sum = exponentials.reduce((total, value) => total + value, 0);
  return exponentials.map((value, j) => {
    const softmax = value / sum;
    if (!positives.includes(j)) return { slope: softmax, terms: softmax };
    if (positives.length > 1) return { slope: softmax - 1 / positives.length, terms: softmax + 1 / positives.length };
    // softmax − 1 is minus the others' share, and keeps its digits when that is small.
    const others = exponentials.reduce((total, other, k) => (k === j ? total : total + other), 0) / sum;
    return { slope: -others, terms: others };
  });
}

/** d loss / d s_j = softmax_j among the others for those that are no positives, −1 / P for P positives. */
function decoupledSlopes(logits: readonly number[], positives: readonly number[]): { slope: number; terms: number }[] {
  const total = logSumExp(logits.filter((_, j) => !positives.includes(j)));
  return logits.map((logit, j) => {
    const slope = positives.includes(j) ? -1 / positives.length : Math.exp(logit - total);
    return { slope, terms: Math.abs(slope) };
  });
}

function logSumExp(logits: readonly number[]): number {
  const largest = Math.max(...logits);
  return largest + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - largest), 0));
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** 0 … count − 1. */
export function range(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}
