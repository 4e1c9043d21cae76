import { table } from '../../../terminal/table.js';
import type { Retrieval } from '../../judging/retrieval.js';
import { layersOf } from '../../network/encoder.js';
import { percent, type RunFigures, runLines } from '../../run-figures.js';
import { HALF_PIXELS } from '../data/halves.js';

export interface PairFigures extends RunFigures {
  /** The factor of the similarities that the model has learned: 1 / temperature. */
  readonly logitScale: { readonly first: number; readonly last: number };
  /** Of held-out halves. */
  readonly retrieval: { readonly untrained: Directions; readonly trained: Directions };
  /** The path of the page. */
  readonly report: string;
}

export interface Directions {
  readonly leftToRight: Retrieval;
  readonly rightToLeft: Retrieval;
}

/** The figures for people. */
export function formatFigures(figures: PairFigures, heldOut: number): string {
  const { options, logitScale, retrieval, report } = figures;
  return [
    ...runLines(figures, `two of ${layersOf(HALF_PIXELS, options.dim)}`, 'digits'),
    `scale      ${logitScale.first.toFixed(1)} at first, ${logitScale.last.toFixed(1)} learned`,
    '',
    `Of ${heldOut} held-out halves, % that find their own other half among ${heldOut}`,
    table(RETRIEVAL_COLUMNS, retrievalRows(retrieval)),
    '',
    `report     ${report}`,
  ].join('\n');
}

export const RETRIEVAL_COLUMNS = [
  { title: 'from' },
  { title: 'left to right: top-1', align: 'right' },
  { title: 'top-5', align: 'right' },
  { title: 'top-10', align: 'right' },
  { title: 'right to left: top-1', align: 'right' },
  { title: 'top-5', align: 'right' },
  { title: 'top-10', align: 'right' },
] as const;

export function retrievalRows({ untrained, trained }: PairFigures['retrieval']): string[][] {
  const row = (name: string, { leftToRight, rightToLeft }: Directions) => [
    name,
    ...[leftToRight, rightToLeft].flatMap(({ top1, top5, top10 }) => [top1, top5, top10].map(percent)),
  ];
  return [row('untrained encoders', untrained), row('trained encoders', trained)];
}
