import { checkChoice } from '../runtime/options.js';
import type { Denominator } from './denominator.js';
import { refuseBeside } from './row-loss.js';

/** Whether the mean over a row's positives is taken outside of the logarithm or inside. */
export type PositivesForm = 'out' | 'in';

const FORMS = ['out', 'in'] as const;

/** Refuses a mean inside of another logarithm than that of all candidates. */
export function checkPositivesForm(value: unknown, denominator: Denominator): PositivesForm {
  const form = checkChoice(value, 'form', FORMS);
  if (form === 'in' && denominator !== 'all') {
    const remedy =
      "L_in is the logarithm of a mean of probabilities, of which each has all candidates: denominator 'all'.";
    refuseBeside('form', "'in'", `denominator '${denominator}'`, remedy);
  }
  return form;
}
