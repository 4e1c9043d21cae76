import { checkChoice } from '../runtime/options.js';

/** The logits that the denominator of a row sums over. */
export type Denominator = 'all' | 'negatives' | 'positiveAndNegatives';

const DENOMINATORS = ['all', 'negatives', 'positiveAndNegatives'] as const;

/** The row loss with each of them. */
export const ROW_LOSS_WITH = {
  all: 'crossEntropy',
  negatives: 'decoupled',
  positiveAndNegatives: 'positiveAndNegatives',
} as const satisfies { readonly [denominator in Denominator]: string };

export function checkDenominator(value: unknown): Denominator {
  return checkChoice(value, 'denominator', DENOMINATORS);
}
