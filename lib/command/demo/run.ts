import { contextFor } from '../terminal/context.js';
import { loadDigits } from './data/digits.js';
import { startTensorFlow } from './network/backend.js';
import type { DemoOptions } from './options.js';
import { runPairs } from './pairs/run.js';
import { placeForReport } from './report/write.js';
import { runSimclr } from './simclr/run.js';

/** Digits that no training sees. */
const HELD_OUT = 1000;

/** Trains, judges, prints the figures and writes the report. */
export async function runDemo(options: DemoOptions): Promise<void> {
  const context = contextFor(options);
  try {
    const report = await placeForReport(options.out);
    const backend = await startTensorFlow();
    const digits = await loadDigits(HELD_OUT, options.seed);
    const setting = { options, context, backend, report, ...digits };
    await (options.pairs ? runPairs(setting) : runSimclr(setting));
  } finally {
    context.dispose();
  }
}
