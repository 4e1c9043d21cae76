import { beforeAll, describe, expect, it } from 'vitest';
import type * as emojiData from '../../lib/command/demo/emoji/data.js';
import type { EmojiFigures } from '../../lib/command/demo/emoji/figures.js';
import type * as definitions from '../../lib/command/demo/text/definitions.js';
import type { TextFigures } from '../../lib/command/demo/text/figures.js';
import { figures, htmlOf, MINUTES, undescribed } from '../support/demo.js';
import { describeInABrowser } from '../support/page-in-a-browser.js';
import { temporaryFolder } from '../support/temporary.js';

const { at } = temporaryFolder('demo');

const load = <Module>(file: string) =>
  import(new URL(`../../dist/esm/command/demo/${file}.js`, import.meta.url).href) as Promise<Module>;

describe('infonce demo text', () => {
  let run: TextFigures;
  beforeAll(async () => {
    run = await figures(at('text'), ['--steps', '30', '--batch', '256'], ['text']);
  }, 5 * MINUTES);

  it('finds more words of held-out definitions after 30 steps than the mean of their vectors does', () => {
    const { untrained, trained } = run.retrieval;
    expect(trained.top10 - untrained.top10).toBeGreaterThanOrEqual(0.25);
    expect(trained.top1 - untrained.top1).toBeGreaterThanOrEqual(0.05);
    expect(trained.medianRank).toBeLessThan(untrained.medianRank / 5);
    expect(run.training.lastLoss).toBeLessThan(run.training.firstLoss);
  });

  it('prints nothing that its page does not describe, and writes a page of charts', () => {
    expect(undescribed(run)).toEqual([]);
    const html = htmlOf(at('text/report.html'));
    for (const { top10 } of Object.values(run.retrieval)) expect(html).toContain(`>${(100 * top10).toFixed(1)}</td>`);
  });

  it('has held out words of which nothing is trained on', { timeout: MINUTES }, async () => {
    const { loadDefinitions } = await load<typeof definitions>('text/definitions');
    const { train, test, vocabulary } = await loadDefinitions(1000, 1);
    expect([train.length, test.length]).toEqual([run.definitions.train, run.definitions.heldOut]);
    for (const of of ['word', 'meaning', 'text'] as const) {
      const seen = new Set(train.map(definition => definition[of]));
      expect(test.filter(definition => seen.has(definition[of]))).toEqual([]);
    }
    expect(new Set(test.map(({ meaning }) => meaning)).size).toBe(test.length);
    for (const { rows, row } of test) expect(rows).not.toContain(row);
    // What the files say.
    expect(train.concat(test).find(({ word }) => word === 'hound')?.text).toMatch(
      /^any of several breeds of dog used for hunting/,
    );
    expect(vocabulary.places[vocabulary.row('the')!]).toBe(0);
  });

  describeInABrowser('its page', () => at('text/report.html'), { charts: 7 });
});

describe('infonce demo emoji', () => {
  let run: EmojiFigures;
  beforeAll(async () => {
    run = await figures(at('emoji'), ['--steps', '60', '--batch', '128'], ['emoji']);
  }, 5 * MINUTES);

  it('finds pictures of emoji never seen by their words, and words by pictures, after 60 steps', () => {
    const { untrained, trained } = run.retrieval;
    for (const direction of ['pictureToWords', 'wordsToPicture'] as const) {
      expect(untrained[direction].top10).toBeLessThan(0.1); // chance is 0.04
      expect(trained[direction].top10).toBeGreaterThanOrEqual(0.2);
      expect(trained[direction].medianRank).toBeLessThan(untrained[direction].medianRank / 2);
    }
    expect(run.logitScale.first).toBeCloseTo(1 / 0.07, 5);
    expect(run.logitScale.last).not.toBeCloseTo(1 / 0.07, 2);
  });

  it('prints nothing that its page does not describe, and writes a page with pictures', () => {
    expect(undescribed(run)).toEqual([]);
    expect(htmlOf(at('emoji/report.html')).match(/data:image\/png;base64,iVBOR/g)!.length).toBeGreaterThan(50);
  });

  it('has held out emoji of which neither picture nor name is trained on', { timeout: MINUTES }, async () => {
    const { loadEmoji } = await load<typeof emojiData>('emoji/data');
    const { train, test } = await loadEmoji(250, 1);
    expect([train.length, test.length]).toEqual([run.emoji.train, run.emoji.heldOut]);
    const seen = new Set(train.flatMap(({ name, pixels }) => [name, Buffer.from(pixels).toString('latin1')]));
    for (const { name, pixels } of test) {
      expect(seen.has(name)).toBe(false);
      expect(seen.has(Buffer.from(pixels).toString('latin1'))).toBe(false);
    }
  });

  describeInABrowser('its page', () => at('emoji/report.html'), { charts: 10 });
});
