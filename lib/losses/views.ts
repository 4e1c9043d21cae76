import { InfoNCEError } from '../runtime/errors.js';
import { checkNumber } from '../runtime/options.js';

const DEFAULT_VIEWS = 2;

/** The number of views of each sample. */
export function checkViews(value: unknown): number {
  const views = value === undefined ? DEFAULT_VIEWS : checkNumber(value, 'nViews', 'an integer of at least 2');
  if (!Number.isInteger(views) || views < 2) {
    throw new InfoNCEError('ERR_INFONCE_VIEWS', {
      argument: 'nViews',
      expected: 'an integer of at least 2',
      got: String(views),
      remedy: 'A sample without a second view has no positive.',
    });
  }
  return views;
}

/** Refuses rows that are not the same number for each view. */
export function checkDivisible(rows: number, views: number, argument = 'features'): void {
  if (rows % views !== 0) {
    throw new InfoNCEError('ERR_INFONCE_VIEWS', {
      argument,
      expected: `rows divisible by nViews = ${views}`,
      got: `${rows} rows`,
      remedy: 'Rows are view-major: all samples of view 0, then all of view 1, each sample in every view.',
    });
  }
}
