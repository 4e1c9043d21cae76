import type { Setting } from '../run.js';
import { loadDigits } from './data/digits.js';
import type { DigitsOptions } from './options.js';
import { runPairs } from './pairs/run.js';
import { runSimclr } from './simclr/run.js';

/** Digits that no training sees. */
const HELD_OUT = 1000;

/** Trains, judges, prints the figures and writes the report. */
export async function run(setting: Setting<DigitsOptions>): Promise<void> {
  const { options } = setting;
  const digits = await loadDigits(HELD_OUT, options.seed);
  await (options.pairs ? runPairs : runSimclr)({ ...setting, ...digits });
}
