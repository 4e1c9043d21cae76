import { type Chart, type Drawing, histogram, lineChart } from '../../charts/index.js';
import type { Geometry } from '../judging/geometry.js';
import { type History, last, smoothed } from '../network/training.js';

/** A chart that stands alone is as high as the pair of charts beside its card. */
const BESIDE_A_PAIR = 320;

const overSteps = (values: readonly number[]) => values.map((value, step) => [step + 1, value] as const);

/** The loss of every step, pale, and its running mean. */
export function lossChart(drawing: Drawing, { losses }: History, height = BESIDE_A_PAIR): Chart {
  return lineChart(drawing, {
    label: `The loss at every step of training, from ${losses[0]!.toFixed(2)} to ${last(losses).toFixed(2)}`,
    height,
    x: { title: 'step' },
    y: { title: 'loss' },
    series: [
      { name: 'each step', points: overSteps(losses), faint: true, color: 0 },
      { name: 'running mean', points: overSteps(smoothed(losses)), color: 0 },
    ],
  });
}

/** The share of rows whose positive is ranked first, at every step, pale, and its running mean. */
export function top1Chart(drawing: Drawing, { top1 }: History): Chart {
  const percentages = top1.map(share => 100 * share);
  return lineChart(drawing, {
    label: `Top-1 at every step of training, from ${percentages[0]!.toFixed(0)} % to ${last(percentages).toFixed(0)} %`,
    height: BESIDE_A_PAIR,
    x: { title: 'step' },
    y: { title: 'top-1 (%)' },
    series: [
      { name: 'each step', points: overSteps(percentages), faint: true, color: 2 },
      { name: 'running mean', points: overSteps(smoothed(percentages)), color: 2 },
    ],
  });
}

/** The distributions of cosines before and after training, on the same axes. */
export function similarityCharts(
  drawing: Drawing,
  { untrained, trained }: { readonly untrained: Geometry; readonly trained: Geometry },
  names: { readonly positives: string; readonly negatives: string },
): Chart[] {
  const chart = (caption: string, { positives, negatives }: Geometry) =>
    histogram(drawing, {
      label: `Cosines of ${names.positives} and of ${names.negatives}: ${caption.toLowerCase()}`,
      caption,
      x: { title: 'cosine', domain: [-1, 1] },
      y: { title: 'share of pairs (%)' },
      series: [
        { name: names.positives, values: positives },
        { name: names.negatives, values: negatives },
      ],
    });
  return [chart('Before training', untrained), chart('After training', trained)];
}
