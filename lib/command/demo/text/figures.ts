import { type Column, table } from '../../terminal/table.js';
import type { Retrieval } from '../judging/retrieval.js';
import { retrievalCells, retrievalColumns } from '../judging/retrieval-table.js';
import { type RunFigures, runLines } from '../run-figures.js';
import { wordsEncoderLayers } from '../words/encoder.js';

export interface TextFigures extends RunFigures {
  readonly definitions: { readonly train: number; readonly heldOut: number };
  /** Of held-out definitions, among the words of all of them. Untrained: the mean of the vectors of their words. */
  readonly retrieval: { readonly untrained: Retrieval; readonly trained: Retrieval };
  /** The path of the page. */
  readonly report: string;
}

/** The figures for people. */
export function formatFigures(figures: TextFigures): string {
  const { definitions, options, retrieval, report } = figures;
  return [
    ...runLines(figures, wordsEncoderLayers(options.dim), 'definitions'),
    '',
    `Of ${definitions.heldOut} held-out definitions, % that find their word among ${definitions.heldOut}`,
    table(RETRIEVAL_COLUMNS, retrievalRows(retrieval)),
    '',
    `report     ${report}`,
  ].join('\n');
}

export const RETRIEVAL_COLUMNS: readonly Column[] = [{ title: 'from' }, ...retrievalColumns()];

export function retrievalRows({ untrained, trained }: TextFigures['retrieval']): string[][] {
  return [
    ['mean of word vectors', ...retrievalCells(untrained)],
    ['trained encoder', ...retrievalCells(trained)],
  ];
}
