import type { Column } from '../../terminal/table.js';
import { percent } from '../run-figures.js';
import type { Retrieval } from './retrieval.js';

/** The columns of a retrieval. */
export function retrievalColumns(prefix = ''): Column[] {
  return [`${prefix}top-1`, 'top-5', 'top-10', 'median rank'].map(title => ({ title, align: 'right' }));
}

/** Shares in percent, and the median rank. */
export function retrievalCells({ top1, top5, top10, medianRank }: Retrieval): string[] {
  return [...[top1, top5, top10].map(percent), String(medianRank)];
}
