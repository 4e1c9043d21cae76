import type { Setting } from '../run.js';
import type { Digits } from './data/digits.js';
import type { DigitsOptions } from './options.js';

/** What both trainings with digits run with. */
export interface DigitsSetting extends Setting<DigitsOptions> {
  readonly train: Digits;
  readonly test: Digits;
}
