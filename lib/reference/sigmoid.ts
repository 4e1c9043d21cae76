import type { SigLipProblem } from '../losses/sig-lip.js';
import { range } from './row-losses.js';
import type { ReferenceResult } from './terms.js';
import { accumulate, dot, dotOfParts, type OnHost, type Operands, throughNormalisation, tower } from './tower.js';

/** The loss of every pair by itself, Σ_j softplus(−y_ij (scale · cosine + bias)) for each image i. */
export function referenceSigLip(problem: OnHost<SigLipProblem>, operands: Operands = 'exact'): ReferenceResult {
  const { logitScale = 10, logitBias = -10, positives = 'sameIndex', imageIds, textIds } = problem;
  const { reduction = 'mean', gradOutput = 1 } = problem;
  const image = tower(problem.imageFeatures, problem, operands);
  const text = tower(problem.textFeatures, problem, operands);
  const isPositive = (i: number, j: number) =>
    imageIds && textIds ? imageIds[i] === textIds[j] : positives === 'sameIndex' && i === j;
  const loss = new Float64Array(image.rows);
  const byScale = { sum: 0, terms: 0 };
  const byBias = { sum: 0, terms: 0 };
  let foundFirst = 0;
  let foundInFive = 0;
  for (const i of range(image.rows)) {
    const anchor = { tower: image, index: i };
    const candidates = range(text.rows).map(index => ({ tower: text, index }));
    const cosines = candidates.map(candidate => dot(anchor, candidate));
    const given = typeof gradOutput === 'number' ? gradOutput : gradOutput[gradOutput.length === 1 ? 0 : i]!;
    const upstream = reduction === 'mean' ? given / image.rows : given;
    candidates.forEach((candidate, j) => {
      const cosine = operands === 'exact' ? cosines[j]! : dotOfParts(anchor, candidate);
      const sign = isPositive(i, j) ? -1 : 1;
      const far = sign * (logitScale * cosine + logitBias);
      loss[i]! += Math.max(far, 0) + Math.log1p(Math.exp(-Math.abs(far)));
      const slope = upstream * sign * sigmoid(far);
      accumulate(anchor, candidate, logitScale * slope, logitScale * slope);
      add(byScale, slope * cosines[j]!);
      add(byBias, slope);
    });
    const better = cosines.filter((cosine, j) => !isPositive(i, j) && cosine > cosines[i]!).length;
    if (better < 1) foundFirst++;
    if (better < 5) foundInFive++;
  }
  const total = loss.reduce((sum, value) => sum + value, 0);
  const ranked = positives === 'sameIndex';
  return {
    loss: reduction === 'none' ? loss : Float64Array.of(reduction === 'sum' ? total : total / image.rows),
    top1: ranked ? foundFirst / image.rows : Number.NaN,
    top5: ranked ? foundInFive / image.rows : Number.NaN,
    gradients: {
      gradLogitScale: { values: Float64Array.of(byScale.sum), terms: byScale.terms },
      gradLogitBias: { values: Float64Array.of(byBias.sum), terms: byBias.terms },
      gradImageFeatures: throughNormalisation(image),
      gradTextFeatures: throughNormalisation(text),
    },
  };
}

/** Without overflow, and with all its digits where it is small. */
function sigmoid(x: number): number {
  return x > 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x));
}

function add(total: { sum: number; terms: number }, value: number): void {
  total.sum += value;
  total.terms += Math.abs(value);
}
