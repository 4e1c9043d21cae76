import { type Column, table } from '../../terminal/table.js';
import type { Retrieval } from '../judging/retrieval.js';
import { retrievalCells, retrievalColumns } from '../judging/retrieval-table.js';
import { layersOf } from '../network/encoder.js';
import { type RunFigures, runLines } from '../run-figures.js';
import { wordsEncoderLayers } from '../words/encoder.js';
import { PICTURE } from './pictures.js';

export interface EmojiFigures extends RunFigures {
  readonly emoji: { readonly train: number; readonly heldOut: number };
  /** The factor of the similarities that the model has learned: 1 / temperature. */
  readonly logitScale: { readonly first: number; readonly last: number };
  /** Of held-out emoji. */
  readonly retrieval: { readonly untrained: Directions; readonly trained: Directions };
  /** The path of the page. */
  readonly report: string;
}

export interface Directions {
  readonly pictureToWords: Retrieval;
  readonly wordsToPicture: Retrieval;
}

/** The figures for people. */
export function formatFigures(figures: EmojiFigures): string {
  const { emoji, options, logitScale, retrieval, report } = figures;
  const encoders = `pictures ${layersOf(PICTURE, options.dim)}, words ${wordsEncoderLayers(options.dim)}`;
  return [
    ...runLines(figures, encoders, 'emoji'),
    `scale      ${logitScale.first.toFixed(1)} at first, ${logitScale.last.toFixed(1)} learned`,
    '',
    `Of ${emoji.heldOut} held-out emoji, % that find their own words or picture among ${emoji.heldOut}`,
    table(RETRIEVAL_COLUMNS, retrievalRows(retrieval)),
    '',
    `report     ${report}`,
  ].join('\n');
}

export const RETRIEVAL_COLUMNS: readonly Column[] = [
  { title: 'from' },
  ...retrievalColumns('picture to words: '),
  ...retrievalColumns('words to picture: '),
];

export function retrievalRows({ untrained, trained }: EmojiFigures['retrieval']): string[][] {
  const row = (name: string, { pictureToWords, wordsToPicture }: Directions) => [
    name,
    ...[pictureToWords, wordsToPicture].flatMap(retrievalCells),
  ];
  return [row('untrained encoders', untrained), row('trained encoders', trained)];
}
