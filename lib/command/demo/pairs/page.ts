import { type Chart, type Drawing, imageGrid, lineChart, loadPlot, page } from '../../charts/index.js';
import { imageAt, SIDE } from '../data/digits.js';
import { join } from '../data/halves.js';
import { type LossSurface, lossSurfaceSection } from '../report/loss-surface.js';
import { lossChart, similarityCharts, top1Chart } from '../report/training-charts.js';
import { footer } from '../run-figures.js';
import { type PairFigures, RETRIEVAL_COLUMNS, retrievalRows } from './figures.js';
import type { PairJudgement } from './retrieval.js';
import type { PairHistory } from './training.js';

export interface PairMaterial {
  readonly figures: Omit<PairFigures, 'report'>;
  readonly history: PairHistory;
  readonly untrained: PairJudgement;
  readonly trained: PairJudgement;
  /** At the temperature that was learned. */
  readonly surface: LossSurface;
  /** The held-out images, [count, 784]. */
  readonly images: Float32Array;
}

/** Digits in a row of pictures. */
const SHOWN = 6;

/** The page of the CLIP-style demonstration. */
export async function pairsPage(material: PairMaterial): Promise<string> {
  const drawing = await loadPlot();
  const { figures, history, untrained, trained } = material;
  const count = trained.found.length;
  return page({
    title: 'Two encoders that find the other half of a digit',
    intro:
      'The loss of CLIP on handwritten digits: one encoder sees left halves, another right ones. They learn to put the ' +
      'halves of a digit together, and the scale of their similarities, from shifted, turned and noisy digits.',
    sections: [
      {
        title: 'Other halves found, in percent',
        text:
          `Each of ${count} held-out halves looks for its own other half among ${count}. In the pictures, left halves ` +
          'beside the right half that was found most similar.',
        charts: [0, SHOWN].map(first => found(drawing, material, first)),
        table: { columns: RETRIEVAL_COLUMNS, rows: retrievalRows(figures.retrieval) },
      },
      {
        title: 'Loss',
        text: 'Mean of both directions: which right half belongs to a left one, and which left to a right one.',
        charts: [lossChart(drawing, history)],
      },
      {
        title: 'Similarity of embeddings',
        text: 'Cosines between held-out left and right halves: of the same digit, and of different ones.',
        charts: similarityCharts(
          drawing,
          { untrained: untrained.geometry, trained: trained.geometry },
          { positives: 'same digit', negatives: 'different digits' },
        ),
      },
      {
        title: 'Top-1',
        text: 'How often the other half is the most similar of all in the batch.',
        charts: [top1Chart(drawing, history)],
      },
      {
        title: 'Within the first k',
        text: `How often a left half has its own right half among the k most similar of ${count}.`,
        charts: [nearest(drawing, material)],
      },
      {
        title: 'The scale that is learned',
        text: 'The factor of the similarities, 1 / temperature: it follows its gradient as the weights do.',
        charts: [
          lineChart(drawing, {
            label: `The scale at every step, from ${history.scales[0]!.toFixed(1)} to ${history.scales.at(-1)!.toFixed(1)}`,
            x: { title: 'step' },
            y: { title: 'logit scale' },
            series: [
              { name: 'scale', points: history.scales.map((scale, step) => [step + 1, scale] as const), color: 3 },
            ],
          }),
        ],
      },
      lossSurfaceSection(drawing, material.surface),
    ],
    footer: footer(figures),
  });
}

/** Left halves from `first` on with the right halves that were found for them, before and after training. */
function found(drawing: Drawing, { images, untrained, trained }: PairMaterial, first: number): Chart {
  const chosen = Array.from({ length: SHOWN }, (_, i) => first + i);
  const row = (name: string, right: (index: number) => number) => ({
    name,
    images: chosen.map(index => join(imageAt(images, index), imageAt(images, right(index)))),
  });
  return imageGrid(drawing, {
    label: `${SHOWN} held-out digits, and their left halves with the right halves found before and after training`,
    side: SIDE,
    rows: [
      row('digit', index => index),
      row('before', index => untrained.found[index]!),
      row('after', index => trained.found[index]!),
    ],
  });
}

function nearest(drawing: Drawing, { untrained, trained }: PairMaterial): Chart {
  const points = ({ leftToRight: { top1, top5, top10 } }: PairJudgement) =>
    [
      [1, 100 * top1],
      [5, 100 * top5],
      [10, 100 * top10],
    ] as const;
  return lineChart(drawing, {
    label: 'Share of right halves among the first 1, 5 and 10, before and after training',
    x: { title: 'k', ticks: [1, 5, 10] },
    y: { title: 'found (%)', domain: [0, 100] },
    series: [
      { name: 'before training', points: points(untrained), dots: true, color: 1 },
      { name: 'after training', points: points(trained), dots: true, color: 0 },
    ],
  });
}
