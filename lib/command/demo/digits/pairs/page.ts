import { type Chart, type Drawing, grayUri, imageGrid, loadPlot, page } from '../../../charts/index.js';
import type { ScaleHistory } from '../../network/clip.js';
import { type LossSurface, lossSurfaceSection } from '../../report/loss-surface.js';
import { retrievalChart } from '../../report/retrieval-chart.js';
import { scaleChart } from '../../report/scale-chart.js';
import { lossChart, similarityCharts, top1Chart } from '../../report/training-charts.js';
import { footer, whole } from '../../run-figures.js';
import { imageAt, SIDE } from '../data/digits.js';
import { join } from '../data/halves.js';
import { type PairFigures, RETRIEVAL_COLUMNS, retrievalRows } from './figures.js';
import type { PairJudgement } from './retrieval.js';

export interface PairMaterial {
  readonly figures: Omit<PairFigures, 'report'>;
  readonly history: ScaleHistory;
  readonly untrained: PairJudgement;
  readonly trained: PairJudgement;
  /** At the temperature that was learned. */
  readonly surface: LossSurface;
  /** The held-out images, [count, 784]. */
  readonly images: Float32Array;
}

/** Digits in a row of pictures. */
const SHOWN = 6;
/** Height of a chart whose card is beside that of the loss surface. */
const BESIDE_THE_SURFACE = 395;

/** The page of the CLIP-style demonstration. */
export async function pairsPage(material: PairMaterial): Promise<string> {
  const drawing = await loadPlot();
  const { figures, history, untrained, trained } = material;
  const count = trained.leftToRight.ranks.length;
  return page({
    title: 'Two encoders that find the other half of a digit',
    headline:
      `${whole(trained.leftToRight.retrieval.top10)} % of left halves have their own right half among the first 10 of ${count} ` +
      `after ${figures.options.steps} steps; untrained ${whole(untrained.leftToRight.retrieval.top10)} %`,
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
        table: { columns: RETRIEVAL_COLUMNS, rows: retrievalRows(figures.retrieval), marked: 1 },
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
        charts: [
          retrievalChart(
            drawing,
            { untrained: untrained.leftToRight.retrieval, trained: trained.leftToRight.retrieval },
            {
              label: 'Share of right halves among the first 1, 5 and 10, before and after training',
              height: BESIDE_THE_SURFACE,
            },
          ),
        ],
      },
      {
        title: 'The scale that is learned',
        text: 'The factor of the similarities, 1 / temperature: it follows its gradient as the weights do.',
        charts: [scaleChart(drawing, history.scales, BESIDE_THE_SURFACE)],
      },
      lossSurfaceSection(drawing, material.surface),
    ],
    footer: footer(figures, 'digits'),
  });
}

/** Left halves from `first` on with the right halves that were found for them, before and after training. */
function found(drawing: Drawing, { images, untrained, trained }: PairMaterial, first: number): Chart {
  const chosen = Array.from({ length: SHOWN }, (_, i) => first + i);
  const row = (name: string, right: (index: number) => number) => ({
    name,
    images: chosen.map(index => grayUri(join(imageAt(images, index), imageAt(images, right(index))), SIDE)),
  });
  return imageGrid(drawing, {
    label: `${SHOWN} held-out digits, and their left halves with the right halves found before and after training`,
    rows: [
      row('digit', index => index),
      row('before', index => untrained.leftToRight.found[index]![0]!),
      row('after', index => trained.leftToRight.found[index]![0]!),
    ],
  });
}
