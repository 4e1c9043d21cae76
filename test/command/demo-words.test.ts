import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type * as emojiData from '../../lib/command/demo/emoji/data.js';
import type { EmojiFigures } from '../../lib/command/demo/emoji/figures.js';
import type * as definitions from '../../lib/command/demo/text/definitions.js';
import type { TextFigures } from '../../lib/command/demo/text/figures.js';
import { infonce } from '../support/command.js';

const MINUTES = 60_000;
const folder = mkdtempSync(path.join(tmpdir(), 'infonce-demo-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** What `infonce demo NAME --json` prints, its report in a folder of that name. */
function figures<Figures>(name: string, words: readonly string[]): Figures {
  const { exit, stdout, stderr } = infonce(['demo', name, '--json', '--out', path.join(folder, name), ...words]);
  expect({ exit, stderr }).toEqual({ exit: 0, stderr: '' });
  return JSON.parse(stdout) as Figures;
}

const load = <Module>(file: string) =>
  import(new URL(`../../dist/esm/command/demo/${file}.js`, import.meta.url).href) as Promise<Module>;

const PAGE = readFileSync(new URL('../../docs/command/demo.md', import.meta.url), 'utf8');

/** Fields that the page does not describe. */
function undescribed(figures: object): string[] {
  const names = (value: object): string[] =>
    Object.entries(value).flatMap(([name, inner]) => [name, ...(typeof inner === 'object' ? names(inner) : [])]);
  const section = PAGE.split('## JSON')[1]!;
  return names(figures).filter(name => !section.includes(`\`${name}\``));
}

/** The page of a run: one file that fetches nothing. */
function pageOf(name: string): string {
  const file = path.join(folder, name, 'report.html');
  expect(statSync(file).size).toBeLessThan(2e6);
  const html = readFileSync(file, 'utf8');
  expect(html).not.toMatch(/<script|<link rel="stylesheet"|@import|url\(|(src|href)="https?:/);
  return html;
}

describe('infonce demo text', () => {
  let run: TextFigures;
  beforeAll(() => {
    run = figures('text', ['--steps', '30', '--batch', '256']);
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
    const html = pageOf('text');
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
});

describe('infonce demo emoji', () => {
  let run: EmojiFigures;
  beforeAll(() => {
    run = figures('emoji', ['--steps', '60', '--batch', '128']);
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
    expect(pageOf('emoji').match(/data:image\/png;base64,iVBOR/g)!.length).toBeGreaterThan(50);
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
});
