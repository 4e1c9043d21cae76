/** A row's loss and its derivatives by the logits of its candidates. */
import type { Denominator } from '../losses/denominator.js';
import type { PositivesForm } from '../losses/positives-form.js';
import type { Debias, Weighting } from '../losses/row-loss.js';

/** What the loss of a row is made of. */
export interface Row {
  /** Of all candidates, as a level of precision has them. */
  readonly logits: readonly number[];
  /** Positions of the positives among the candidates. */
  readonly positives: readonly number[];
  /** The logits of the positives in float64. */
  readonly exact: readonly number[];
  /** Whether all positives are the same pair. */
  readonly areCopies?: boolean | undefined;
  /** What the mean logit of the positives is multiplied by, with weights. */
  readonly weight?: number | undefined;
}

/** Options of a row's loss. */
export interface RowLossOptions {
  readonly denominator?: Denominator | undefined;
  readonly form?: PositivesForm | undefined;
  readonly labelSmoothing?: number | undefined;
  readonly debias?: Debias | undefined;
  readonly weighting?: Weighting | undefined;
}

export interface RowResult extends Slopes {
  readonly loss: number;
}

interface Slopes {
  /** The derivative by each candidate's logit. */
  readonly slopes: readonly number[];
  /** The size of what was added up in each of them. */
  readonly sizes: readonly number[];
}

/** `exactLogits`: of all candidates, in float64. */
export function rowLoss(
  row: Row,
  exactLogits: readonly number[],
  scale: number,
  { denominator = 'all', form = 'out', labelSmoothing = 0, debias }: RowLossOptions,
): RowResult {
  if (debias !== undefined) return debiased(row, scale, debias);
  const result = form === 'in' ? meanInside(row) : ROW_LOSSES[denominator](row);
  if (labelSmoothing === 0) return result;
  // ε (positive − mean): linear in the logits.
  const isPositive = flagsOf(row.positives, row.logits.length);
  const spread = exactLogits.map((_, j) => {
    const target = isPositive[j] ? 1 / row.positives.length : 0;
    return labelSmoothing * (target - 1 / exactLogits.length);
  });
  return {
    loss: result.loss + spread.reduce((sum, weight, j) => sum + weight * exactLogits[j]!, 0),
    slopes: result.slopes.map((slope, j) => slope + spread[j]!),
    sizes: result.sizes.map((size, j) => size + Math.abs(spread[j]!)),
  };
}

/** The row losses by what their logarithm sums over. */
const ROW_LOSSES: { readonly [denominator in Denominator]: (row: Row) => RowResult } = {
  all: ({ logits, positives, exact, areCopies = positives.length === 1 }) => ({
    loss: meanOf(crossEntropies(logits, positives, exact)),
    ...softmaxSlopes(logits, positives, areCopies),
  }),
  negatives: decoupled,
  positiveAndNegatives: perPositive,
};

/** For each of `count` positions whether it is among those. */
export function flagsOf(positions: readonly number[], count: number): boolean[] {
  const flags: boolean[] = new Array(count).fill(false);
  for (const position of positions) flags[position] = true;
  return flags;
}

/** Small arrays of numbers cost a fraction of what typed ones do. */
function zeros(count: number): number[] {
  return new Array<number>(count).fill(0);
}

/** The logits of candidates that are no positives. */
function negativesOf(row: Row): number[] {
  const isPositive = flagsOf(row.positives, row.logits.length);
  return row.logits.filter((_, j) => !isPositive[j]);
}

/** log Σ_j exp(s_j) − `exact`, the positive's logit, without cancellation when that is by far the largest. */
function crossEntropy(logits: readonly number[], positive: number, exact: number): number {
  const own = logits[positive]!;
  let largest = 0;
  for (let j = 0; j < logits.length; j++) if (logits[j]! - own > largest) largest = logits[j]! - own;
  let sum = 0;
  for (let j = 0; j < logits.length; j++) if (j !== positive) sum += Math.exp(logits[j]! - own - largest);
  const loss = largest === 0 ? Math.log1p(sum) : largest + Math.log(Math.exp(-largest) + sum);
  return loss + (own - exact);
}

/** Of each positive, with one sum for all, but for those that are the largest: their digits are in the sum of the others. */
function crossEntropies(logits: readonly number[], positives: readonly number[], exact: readonly number[]): number[] {
  if (positives.length === 1) return [crossEntropy(logits, positives[0]!, exact[0]!)];
  const total = logSumExp(logits);
  const largest = largestOf(logits);
  return positives.map((positive, i) =>
    logits[positive]! < largest ? total - exact[i]! : crossEntropy(logits, positive, exact[i]!),
  );
}

/** d loss / d s_j = softmax_j − [j is one of P positives] / P, and the sum of the two instead of the difference. */
function softmaxSlopes(logits: readonly number[], positives: readonly number[], areCopies: boolean): Slopes {
  const isPositive = flagsOf(positives, logits.length);
  const largest = largestOf(logits);
  const [slopes, sizes] = [zeros(logits.length), zeros(logits.length)];
  let sum = 0;
  // softmax − 1 is minus the others' share, and keeps its digits when that is small. Each copy has its part of it.
  let others = 0;
  for (let j = 0; j < logits.length; j++) {
    const exponential = Math.exp(logits[j]! - largest);
    slopes[j] = exponential;
    sum += exponential;
    if (!isPositive[j]) others += exponential;
  }
  for (let j = 0; j < logits.length; j++) {
    slopes[j]! /= sum;
    sizes[j] = slopes[j]!;
  }
  for (const j of positives) {
    const softmax = slopes[j]!;
    const share = others / sum / positives.length;
    slopes[j] = areCopies ? -share : softmax - 1 / positives.length;
    sizes[j] = areCopies ? share : softmax + 1 / positives.length;
  }
  return { slopes, sizes };
}

/** d loss / d s_j = softmax_j among the others for those that are no positives, −weight / P for P positives. */
function decoupled(row: Row): RowResult {
  const { logits, positives, exact, weight = 1 } = row;
  const total = logSumExp(negativesOf(row));
  const isPositive = flagsOf(row.positives, row.logits.length);
  const slopes = logits.map((logit, j) => (isPositive[j] ? -weight / positives.length : Math.exp(logit - total)));
  return { loss: total - weight * meanOf(exact), slopes, sizes: slopes.map(slope => Math.abs(slope)) };
}

/** The mean over the positives of a cross-entropy, each among itself and the candidates that are no positives. */
function perPositive(row: Row): RowResult {
  const { logits, positives, exact } = row;
  const isPositive = flagsOf(row.positives, row.logits.length);
  const total = { slopes: zeros(logits.length), sizes: zeros(logits.length) };
  let loss = 0;
  positives.forEach((positive, i) => {
    const kept = range(logits.length).filter(j => j === positive || !isPositive[j]);
    const its = kept.map(j => logits[j]!);
    const at = kept.indexOf(positive);
    loss += crossEntropy(its, at, exact[i]!) / positives.length;
    const { slopes, sizes } = softmaxSlopes(its, [at], true);
    kept.forEach((j, k) => {
      total.slopes[j]! += slopes[k]! / positives.length;
      total.sizes[j]! += sizes[k]! / positives.length;
    });
  });
  return { loss, ...total };
}

/** −log (mean over the positives of softmax_p): −log (1 / P) + log (1 + rest / Σ_p e^s_p). */
function meanInside(row: Row): RowResult {
  const { logits, positives, exact } = row;
  const rest = negativesOf(row);
  const ofPositives = logSumExp(exact);
  const ofRest = rest.length === 0 ? Number.NEGATIVE_INFINITY : logSumExp(rest);
  const excess = ofRest - ofPositives;
  const both = excess > 0 ? excess + Math.log1p(Math.exp(-excess)) : Math.log1p(Math.exp(excess));
  const restShare = 1 / (1 + Math.exp(-excess));
  const slopes = logits.map((logit, j) => {
    const at = positives.indexOf(j);
    return restShare * (at < 0 ? Math.exp(logit - ofRest) : -Math.exp(exact[at]! - ofPositives));
  });
  return { loss: both + Math.log(positives.length), slopes, sizes: slopes.map(slope => Math.abs(slope)) };
}

/** log (e^p + max((R − τ M e^p) / (1 − τ), M e^−scale)) − p with R = M Σ e^((1 + β) s_j) / Σ e^(β s_j). */
function debiased({ logits, positives, exact }: Row, scale: number, { tauPlus = 0, beta = 0 }: Debias): RowResult {
  const [positive] = positives;
  const own = exact[0]!;
  const isNegative = (j: number) => j !== positive;
  const negatives = logits.length - 1;
  const hardest = Math.max(...logits.filter((_, j) => isNegative(j)));
  const largest = Math.max(own, -scale, hardest);
  const sumOf = (factor: number) =>
    logits.reduce((total, logit, j) => total + (isNegative(j) ? Math.exp(factor * (logit - hardest)) : 0), 0);
  const hardSum = sumOf(1 + beta);
  const weights = sumOf(beta);
  const sum = negatives === 0 ? 0 : ((negatives * hardSum) / weights) * Math.exp(hardest - largest);
  const least = negatives * Math.exp(-scale - largest);
  const positiveTerm = Math.exp(own - largest);
  const estimate = (sum - tauPlus * negatives * positiveTerm) / (1 - tauPlus);
  const clamped = !(estimate > least);
  const rest = clamped ? least : estimate;
  const total = positiveTerm + rest;
  const ratio = rest / positiveTerm;
  const [slopes, sizes] = [zeros(logits.length), zeros(logits.length)];
  const share = sum / (1 - tauPlus) / total;
  logits.forEach((logit, j) => {
    if (!isNegative(j)) {
      slopes[j] = clamped ? -rest / total : -share;
      sizes[j] = Math.abs(slopes[j]!);
    } else if (!clamped) {
      const more = ((1 + beta) * Math.exp((1 + beta) * (logit - hardest))) / hardSum;
      const less = (beta * Math.exp(beta * (logit - hardest))) / weights;
      slopes[j] = share * (more - less);
      sizes[j] = share * (more + less);
    }
  });
  return { loss: ratio < 1 ? Math.log1p(ratio) : largest - own + Math.log(total), slopes, sizes };
}

/** 2 − N · softmax over the rows of the cosines with positives over sigma, for N rows. */
export function weightsOf(cosines: readonly number[], { sigma = 0.5 }: Weighting): number[] {
  const total = logSumExp(cosines.map(cosine => cosine / sigma));
  return cosines.map(cosine => 2 - cosines.length * Math.exp(cosine / sigma - total));
}

function logSumExp(logits: ArrayLike<number>): number {
  const largest = largestOf(logits);
  let sum = 0;
  for (let j = 0; j < logits.length; j++) sum += Math.exp(logits[j]! - largest);
  return largest + Math.log(sum);
}

function meanOf(values: readonly number[]): number {
  return sumOf(values) / values.length;
}

function sumOf(values: ArrayLike<number>): number {
  let sum = 0;
  for (let j = 0; j < values.length; j++) sum += values[j]!;
  return sum;
}

function largestOf(values: ArrayLike<number>): number {
  let largest = Number.NEGATIVE_INFINITY;
  for (let j = 0; j < values.length; j++) if (values[j]! > largest) largest = values[j]!;
  return largest;
}

/** 0 … count − 1. */
export function range(count: number): number[] {
  const numbers: number[] = [];
  for (let i = 0; i < count; i++) numbers.push(i);
  return numbers;
}
