import { InfoNCEError } from '../runtime/errors.js';
import { checkInteger } from '../runtime/options.js';
import type { ViewLayout } from './view-layout.js';

const DEFAULT_VIEWS = 2;

/** The number of views of each sample. */
export function checkViews(value: unknown = DEFAULT_VIEWS): number {
  return checkInteger(value, 'nViews', {
    least: 2,
    code: 'ERR_INFONCE_VIEWS',
    remedy: 'A sample without a second view has no positive.',
  });
}

const ORDERS: { readonly [layout in ViewLayout]: string } = {
  viewMajor: 'Rows are view-major: all samples of view 0, then all of view 1, each sample in every view.',
  interleaved: 'Rows are interleaved: all views of sample 0, then all of sample 1.',
};

/** Refuses rows that are not the same number for each view. */
export function checkDivisible(
  rows: number,
  views: number,
  layout: ViewLayout = 'viewMajor',
  argument = 'features',
): void {
  if (rows % views !== 0) {
    throw new InfoNCEError('ERR_INFONCE_VIEWS', {
      argument,
      expected: `rows divisible by nViews = ${views}`,
      got: `${rows} rows`,
      remedy: ORDERS[layout],
    });
  }
}
