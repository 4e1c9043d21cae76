import { readFileSync } from 'node:fs';
import { beforeAll, expect, it } from 'vitest';
import type { PairFigures } from '../../lib/command/demo/digits/pairs/figures.js';
import { figures, MINUTES, undescribed } from '../support/demo.js';
import { describeInABrowser } from '../support/page-in-a-browser.js';
import { temporaryFolder } from '../support/temporary.js';

const { at } = temporaryFolder('demo');
const WORDS = ['--pairs', '--steps', '60'];

let run: PairFigures;
beforeAll(async () => {
  run = await figures(at('pairs'), WORDS);
}, 5 * MINUTES);

it('finds other halves of held-out digits with --pairs, and learns the scale', () => {
  const { retrieval, logitScale, training, report } = run;
  expect(undescribed(run)).toEqual([]);
  for (const direction of ['leftToRight', 'rightToLeft'] as const) {
    expect(retrieval.untrained[direction].top10).toBeLessThan(0.03); // chance is 0.01
    expect(retrieval.trained[direction].top10).toBeGreaterThan(0.2);
    expect(retrieval.trained[direction].top1).toBeLessThanOrEqual(retrieval.trained[direction].top5);
  }
  expect(training.lastLoss).toBeLessThan(training.firstLoss - 1);
  expect(logitScale.first).toBeCloseTo(1 / 0.07, 5);
  expect(logitScale.last).not.toBeCloseTo(1 / 0.07, 2);
  expect(readFileSync(report, 'utf8')).toContain('Two encoders');
});

it(
  'differs for another seed',
  async () => {
    const other = await figures<PairFigures>(at('seed'), ['--pairs', '--steps', '1', '--seed', '2']);
    expect(other.training.firstLoss).not.toBe(run.training.firstLoss);
    expect(other.retrieval.untrained).not.toEqual(run.retrieval.untrained);
  },
  5 * MINUTES,
);

describeInABrowser('its page', () => run.report, {
  charts: 9,
  gain: {
    headline: /^\d+ % of left halves have .* of 1000 after 60 steps; untrained \d+ %$/,
    row: 'trained encoders',
  },
});
