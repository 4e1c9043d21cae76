import { existsSync } from 'node:fs';
import { beforeAll, expect, it } from 'vitest';
import { type Outcome, spawnInfonce } from '../support/command.js';
import { MINUTES } from '../support/demo.js';
import { describeInABrowser } from '../support/page-in-a-browser.js';
import { temporaryFolder } from '../support/temporary.js';

const { at } = temporaryFolder('demo');

let run: Outcome;
beforeAll(() => {
  run = spawnInfonce(['demo', '--out', at('sweep'), '--steps', '4', '--batch', '32', '--temperature', '0.3']);
}, 5 * MINUTES);

it('infonce demo prints tables, with the temperatures that were swept', () => {
  const { exit, stdout } = run;
  expect(exit).toBe(0);
  expect(stdout).toMatch(/^training {3}4 steps of 32 digits in [\d.]+ s: \d+ samples\/s$/m);
  expect(stdout).toMatch(/^loss {7}[\d.]+ at first, [\d.]+ over the last 20 steps; top-1 [\d.]+ %$/m);
  const accuracy = /^(raw pixels|untrained encoder|trained encoder)( +\d+\.\d){4}$/gm;
  expect(stdout.match(accuracy)).toHaveLength(3);
  expect(stdout).toMatch(/^4 steps at other temperatures$/m);
  const swept = [...stdout.matchAll(/^(\d\.\d+)( +\d+\.\d){2} +\d\.\d{3} +-?\d\.\d{3}$/gm)];
  expect(swept.map(([, temperature]) => temperature)).toEqual(['0.05', '0.1', '0.2', '0.5']);
  expect(existsSync(/^report {5}(.*)$/m.exec(stdout)![1]!)).toBe(true);
});

describeInABrowser('its page', () => at('sweep/report.html'), {
  charts: 12,
  gain: {
    headline: /^A linear classifier names \d+ % of held-out digits right after 4 steps; untrained \d+ %$/,
    row: 'trained encoder',
  },
});
