import {
  type Drawing,
  grayUri,
  imageGrid,
  lineChart,
  loadPlot,
  page,
  pointMap,
  type Section,
} from '../../../charts/index.js';
import type { Geometry } from '../../judging/geometry.js';
import type { History } from '../../network/training.js';
import { type LossSurface, lossSurfaceSection } from '../../report/loss-surface.js';
import { lossChart, similarityCharts, top1Chart } from '../../report/training-charts.js';
import { footer, percent, whole } from '../../run-figures.js';
import { imageAt, SIDE } from '../data/digits.js';
import { ACCURACY_COLUMNS, accuracyRows, type SimclrFigures } from './figures.js';
import { KNOWN } from './judge.js';
import type { SweepEntry } from './sweep.js';

export interface SimclrMaterial {
  readonly figures: Omit<SimclrFigures, 'report'>;
  readonly history: History;
  readonly geometry: { readonly untrained: Geometry; readonly trained: Geometry };
  /** Held-out digits, [count, 784] each: clean, and two views of them. */
  readonly images: { readonly clean: Float32Array; readonly views: readonly [Float32Array, Float32Array] };
  /** Places in the plane of the first held-out digits. */
  readonly maps: { readonly labels: Uint8Array; readonly untrained: Places; readonly trained: Places };
  readonly surface: LossSurface;
}

/** Digits in a row of pictures. */
const SHOWN = 6;

type Places = readonly (readonly [x: number, y: number])[];

/** The page of the SimCLR demonstration. */
export async function simclrPage(material: SimclrMaterial): Promise<string> {
  const drawing = await loadPlot();
  const { figures, history, geometry } = material;
  const { untrained, trained } = figures.geometry;
  const { accuracy, sweep } = figures;
  return page({
    title: 'What NT-Xent teaches an encoder',
    headline:
      `A linear classifier names ${whole(accuracy.trained.views.linear)} % of held-out digits right after ` +
      `${figures.options.steps} steps; untrained ${whole(accuracy.untrained.views.linear)} %`,
    intro:
      'SimCLR on handwritten digits: no label is used in training. Two random views of each digit, shifted, turned and ' +
      'noisy, have to find each other among those of all others in the batch.',
    sections: [
      {
        title: 'Held-out digits named right, in percent',
        text:
          `By the 20 nearest of ${KNOWN} labelled neighbours and by a linear classifier trained on those, from pixels and ` +
          'from the encoder’s representations. Views are as in training; clean digits are as they were written.',
        charts: views(drawing, material),
        table: { columns: ACCURACY_COLUMNS, rows: accuracyRows(accuracy), marked: 2 },
      },
      {
        title: 'Loss',
        text: 'How hard it is to tell the other view of a digit from the rest of the batch.',
        charts: [lossChart(drawing, history)],
      },
      {
        title: 'Similarity of embeddings',
        text:
          'Cosines between two views of a held-out digit, and between views of different ones. Alignment, the mean squared ' +
          `distance of a pair, goes from ${untrained.alignment.toFixed(2)} to ${trained.alignment.toFixed(2)}; uniformity ` +
          `from ${minus(untrained.uniformity)} to ${minus(trained.uniformity)} (lower is better for both).`,
        charts: similarityCharts(drawing, geometry, { positives: 'same digit', negatives: 'different digits' }),
      },
      {
        title: 'Top-1',
        text: 'How often the other view of a digit is the most similar of all rows in the batch.',
        charts: [top1Chart(drawing, history)],
      },
      {
        title: 'Map of held-out digits',
        text:
          'Representations of one view of each of 500 digits, laid out in the plane by UMAP. Each is drawn as the digit it ' +
          'is, which neither the encoder nor the map was told.',
        charts: maps(drawing, material.maps),
      },
      lossSurfaceSection(drawing, material.surface),
      ...sweepSections(drawing, sweep),
    ],
    footer: footer(figures, 'digits'),
  });
}

/** Held-out digits with two views of each, in two halves that stand beside or under each other. */
function views(drawing: Drawing, { images }: SimclrMaterial) {
  return [0, 1].map(half => {
    const chosen = Array.from({ length: SHOWN }, (_, i) => half * SHOWN + i);
    const row = (name: string, of: Float32Array) => ({
      name,
      images: chosen.map(index => grayUri(imageAt(of, index), SIDE)),
    });
    return imageGrid(drawing, {
      label: `${SHOWN} held-out digits, and two random views of each`,
      rows: [row('clean', images.clean), row('view', images.views[0]), row('view', images.views[1])],
    });
  });
}

function maps(drawing: Drawing, { labels, untrained, trained }: SimclrMaterial['maps']) {
  const map = (caption: string, places: Places) =>
    pointMap(drawing, {
      label: `Map of ${places.length} held-out digits: ${caption.toLowerCase()}`,
      caption,
      points: places.map(([x, y], i) => ({ x, y, category: labels[i]! })),
    });
  return [map('Before training', untrained), map('After training', trained)];
}

function sweepSections(drawing: Drawing, { steps, entries }: SimclrFigures['sweep']): Section[] {
  if (entries.length === 0) return [];
  const temperatures = entries.map(({ temperature }) => temperature);
  const x = { title: 'temperature', scale: 'log', ticks: temperatures, format: '~g' } as const;
  const line = (name: string, value: (entry: SweepEntry) => number, color: number) => ({
    name,
    points: entries.map(entry => [entry.temperature, value(entry)] as const),
    dots: true,
    color,
  });
  const chart = (what: string, y: string, ...series: ReturnType<typeof line>[]) =>
    lineChart(drawing, {
      label: `${what} at temperatures ${temperatures.join(', ')}`,
      // One of them stands beside the surface where there are two columns; those of one series have no legend above them.
      height: series.length > 1 ? 370 : 395,
      x,
      y: { title: y },
      series,
    });
  const best = entries.reduce((a, b) => (b.accuracy.knn > a.accuracy.knn ? b : a));
  return [
    {
      title: 'Temperature and accuracy',
      text:
        `Views of held-out digits named right after ${steps} steps from the same start. Here ${best.temperature} is best ` +
        `for neighbours (${percent(best.accuracy.knn)} %).`,
      charts: [
        chart(
          'Accuracy',
          'named right (%)',
          line('k-NN', ({ accuracy }) => 100 * accuracy.knn, 0),
          line('linear', ({ accuracy }) => 100 * accuracy.linear, 1),
        ),
      ],
    },
    {
      title: 'Temperature and alignment',
      text: 'Mean squared distance of two views of a digit on the unit sphere: 0 where they coincide.',
      charts: [
        chart(
          'Alignment',
          'alignment',
          line('alignment', ({ alignment }) => alignment, 2),
        ),
      ],
    },
    {
      title: 'Temperature and uniformity',
      text: 'Logarithm of a mean potential between different digits: the lower, the more evenly they cover the sphere.',
      charts: [
        chart(
          'Uniformity',
          'uniformity',
          line('uniformity', ({ uniformity }) => uniformity, 3),
        ),
      ],
    },
  ];
}

const minus = (value: number) => value.toFixed(2).replace('-', '−');
