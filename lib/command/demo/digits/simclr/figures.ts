import { table } from '../../../terminal/table.js';
import { layersOf } from '../../network/encoder.js';
import { percent, type RunFigures, runLines } from '../../run-figures.js';
import { PIXELS } from '../data/digits.js';
import type { Judgement } from './judge.js';
import type { SweepEntry } from './sweep.js';

export interface SimclrFigures extends RunFigures {
  /** Shares of held-out digits named right by 20 nearest neighbours and by a linear classifier. */
  readonly accuracy: { readonly pixels: Judgement; readonly untrained: Judgement; readonly trained: Judgement };
  /** Of embeddings of held-out views. */
  readonly geometry: { readonly untrained: Spread; readonly trained: Spread };
  /** Empty with `--no-sweep`. */
  readonly sweep: { readonly steps: number; readonly entries: readonly SweepEntry[] };
  /** The path of the page. */
  readonly report: string;
}

/** How embeddings lie on the unit sphere. */
export interface Spread {
  readonly alignment: number;
  readonly uniformity: number;
}

/** The figures for people. */
export function formatFigures(figures: SimclrFigures, heldOut: number): string {
  const { accuracy, options, sweep, report } = figures;
  return [
    ...runLines(figures, layersOf(PIXELS, options.dim), 'digits'),
    '',
    `Of ${heldOut} held-out digits, % named right`,
    table(ACCURACY_COLUMNS, accuracyRows(accuracy)),
    ...(sweep.entries.length === 0
      ? []
      : ['', `${sweep.steps} steps at other temperatures`, table(SWEEP_COLUMNS, sweepRows(sweep.entries))]),
    '',
    `report     ${report}`,
  ].join('\n');
}

export const ACCURACY_COLUMNS = [
  { title: 'from' },
  { title: 'views: k-NN', align: 'right' },
  { title: 'linear', align: 'right' },
  { title: 'clean: k-NN', align: 'right' },
  { title: 'linear', align: 'right' },
] as const;

export function accuracyRows({ pixels, untrained, trained }: SimclrFigures['accuracy']): string[][] {
  const row = (name: string, { views, clean }: Judgement) => [
    name,
    ...[views.knn, views.linear, clean.knn, clean.linear].map(percent),
  ];
  return [row('raw pixels', pixels), row('untrained encoder', untrained), row('trained encoder', trained)];
}

const SWEEP_COLUMNS = [
  { title: 'temperature' },
  { title: 'views: k-NN', align: 'right' },
  { title: 'linear', align: 'right' },
  { title: 'alignment', align: 'right' },
  { title: 'uniformity', align: 'right' },
] as const;

function sweepRows(entries: readonly SweepEntry[]): string[][] {
  return entries.map(({ temperature, accuracy, alignment, uniformity }) => [
    String(temperature),
    percent(accuracy.knn),
    percent(accuracy.linear),
    alignment.toFixed(3),
    uniformity.toFixed(3),
  ]);
}
