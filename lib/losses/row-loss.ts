/** Options of the row loss, besides {@link Denominator}. */
import { describeValue, InfoNCEError } from '../runtime/errors.js';
import { checkChoice, checkKeys, checkNumber } from '../runtime/options.js';

/** Options of the debiased contrastive loss. */
export interface Debias {
  /** The expected share of a row's negatives that belong to its own class: at least 0, below 1. Default 0. */
  readonly tauPlus?: number | undefined;
  /**
   * The concentration on hard negatives: each has weight exp(beta * logit). 0 to 1000. Default 0, equal weights; any other
   * is computed in float64.
   */
  readonly beta?: number | undefined;
}

const DEBIAS_KEYS = new Set(['tauPlus', 'beta']);

const MOST_BETA = 1000;

/** Undefined without debiasing. */
export function checkDebias(value: unknown): Required<Debias> | undefined {
  if (value === undefined) return undefined;
  checkKeys(value, 'debias', DEBIAS_KEYS);
  const { tauPlus = 0, beta = 0 } = value as Debias;
  const expected = `a number from 0 to ${MOST_BETA}`;
  const weight = checkNumber(beta, 'debias.beta', expected);
  if (!(weight >= 0 && weight <= MOST_BETA)) {
    throw new InfoNCEError('ERR_INFONCE_RANGE', {
      argument: 'debias.beta',
      expected,
      got: describeValue(weight),
      remedy: 'Usual values are 0.5 to 2.',
    });
  }
  return {
    tauPlus: checkShare(tauPlus, 'debias.tauPlus', 'It is the chance of a class, 0.1 for ten classes.'),
    beta: weight,
  };
}

/** Weights of the positives in a decoupled loss of two views. */
export interface Weighting {
  /**
   * `'vonMisesFisher'`: the logit of row i's positive is multiplied by 2 − e_i / mean(e), where e is exp(cosine / sigma)
   * of each row with its positive and the mean is that over all rows. The gradient takes these weights as constants.
   */
  readonly kind: 'vonMisesFisher';
  /** The width of the weighting: from 1e-30 to 1e30. Default 0.5. */
  readonly sigma?: number | undefined;
}

const WEIGHTING_KEYS = new Set(['kind', 'sigma']);
const WEIGHTING_KINDS = ['vonMisesFisher'] as const;
const LEAST_SIGMA = 1e-30;
const GREATEST_SIGMA = 1e30;

/** The sigma of the weights; undefined without any. */
export function checkWeighting(value: unknown): number | undefined {
  if (value === undefined) return undefined;
  checkKeys(value, 'weighting', WEIGHTING_KEYS);
  const { kind, sigma = 0.5 } = value as { readonly kind?: unknown; readonly sigma?: unknown };
  if (kind === undefined) {
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: 'weighting.kind',
      expected: "'vonMisesFisher'",
      got: 'undefined',
    });
  }
  checkChoice(kind, 'weighting.kind', WEIGHTING_KINDS);
  const expected = `a number from ${LEAST_SIGMA} to ${GREATEST_SIGMA}`;
  const checked = checkNumber(sigma, 'weighting.sigma', expected);
  if (checked >= LEAST_SIGMA && checked <= GREATEST_SIGMA) return checked;
  throw new InfoNCEError('ERR_INFONCE_RANGE', {
    argument: 'weighting.sigma',
    expected,
    got: describeValue(checked),
    remedy: 'It divides cosines; 0.5 is usual.',
  });
}

export function checkLabelSmoothing(value: unknown = 0): number {
  return checkShare(value, 'labelSmoothing', 'Usual values are 0.05 to 0.2.');
}

function checkShare(value: unknown, argument: string, remedy: string): number {
  const expected = 'a number of at least 0 and below 1';
  const share = checkNumber(value, argument, expected);
  if (share >= 0 && share < 1) return share;
  throw new InfoNCEError('ERR_INFONCE_RANGE', { argument, expected, got: describeValue(share), remedy });
}

const GREATEST_MARGIN = 1e30;

export function checkMargin(value: unknown = 0): number {
  const margin = checkNumber(value, 'margin', 'a finite number');
  if (Math.abs(margin) <= GREATEST_MARGIN) return margin;
  throw new InfoNCEError('ERR_INFONCE_RANGE', {
    argument: 'margin',
    expected: `a number from -${GREATEST_MARGIN} to ${GREATEST_MARGIN}`,
    got: describeValue(margin),
    remedy: 'It is subtracted from a cosine; usual values are 0 to 0.3.',
  });
}

/** Refuses the combination of two options. */
export function refuseBeside(argument: string, got: string, other: string, remedy?: string): never {
  throw new InfoNCEError('ERR_INFONCE_RANGE', { argument, expected: `none with ${other}`, got, remedy });
}
