import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { noBrowser, openBrowser } from '../support/browser.js';
import { infonce } from '../support/command.js';

const MINUTES = 60_000;
const WIDTHS = [1280, 400];
const SCHEMES = ['light', 'dark'] as const;

/** The drawings of each page. */
const CHARTS = { 'simclr.html': 12, 'pairs.html': 9, 'bench.html': 2 };

const folder = mkdtempSync(path.join(tmpdir(), 'infonce-report-'));
afterAll(() => rmSync(folder, { recursive: true }));

function run(...words: string[]): void {
  const { exit, stderr } = infonce(words);
  expect({ exit, stderr }).toMatchObject({ exit: 0 });
}

/** What `measure-page.js` gives. */
interface Measured {
  readonly texts: readonly { readonly text: string; readonly size: number; readonly contrast: number }[];
  readonly charts: readonly {
    readonly label: string;
    readonly title: string;
    readonly width: number;
    readonly height: number;
    /** Marks of data, without axes, that can be seen, and the shares of the drawing that they reach over. */
    readonly marks: number;
    readonly filled: { readonly across: number; readonly down: number };
    /** Texts that leave their card. */
    readonly cut: readonly string[];
  }[];
  /** The share of a card's height that lies under its content. */
  readonly cards: readonly { readonly title: string; readonly blank: number }[];
  readonly scrollWidth: number;
  readonly clientWidth: number;
  /** Luminance of the background, 0 to 1. */
  readonly bright: number;
}

const MEASURE = readFileSync(new URL('../support/measure-page.js', import.meta.url), 'utf8');

describe.skipIf(noBrowser)(`pages in a browser${noBrowser ? ` (skipped: ${noBrowser})` : ''}`, () => {
  let browser: Browser;
  beforeAll(async () => {
    run('demo', '--steps', '4', '--batch', '32', '--out', folder);
    run('demo', '--pairs', '--steps', '40', '--batch', '128', '--out', path.join(folder, 'pairs'));
    run('bench', '--rows', '16,32', '--dim', '8', '--time', '0.01', '--chart', path.join(folder, 'bench.html'));
    browser = await openBrowser();
  }, 5 * MINUTES);
  afterAll(() => browser?.close());

  it.each([
    [
      'simclr.html',
      'trained encoder',
      /^A linear classifier names \d+ % of held-out digits right after 4 steps; untrained \d+ %$/,
    ],
    ['pairs.html', 'trained encoders', /^\d+ % of left halves have .* of 1000 after 40 steps; untrained \d+ %$/],
  ] as const)('%s begins with its gain, and marks the trained row', async (name, row, headline) => {
    const page = await browser.newPage();
    await page.goto(pathToFileURL(files[name]).href);
    expect(await page.innerText('h1')).toMatch(headline);
    expect(await page.locator('.marked td:first-child').allInnerTexts()).toEqual([row]);
    await page.close();
  });

  const files = {
    'simclr.html': path.join(folder, 'report.html'),
    'pairs.html': path.join(folder, 'pairs', 'report.html'),
    'bench.html': path.join(folder, 'bench.html'),
  };
  const cases = (Object.keys(files) as (keyof typeof files)[]).flatMap(name =>
    WIDTHS.flatMap(width => SCHEMES.map(scheme => [name, width, scheme] as const)),
  );

  describe.each(cases)('%s, %i pixels wide, %s', (name, width, colorScheme) => {
    let page: Page;
    let measured: Measured;
    const complaints: string[] = [];
    const requests: string[] = [];
    beforeAll(async () => {
      page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme });
      page.on('console', message => complaints.push(message.text()));
      page.on('pageerror', error => complaints.push(error.message));
      page.on('request', request => requests.push(request.url()));
      await page.goto(pathToFileURL(files[name]).href);
      measured = (await page.evaluate(MEASURE)) as Measured;
    }, MINUTES);
    afterAll(() => page.close());

    it('has nothing to complain of and fetches nothing', () => {
      expect(complaints).toEqual([]);
      expect(requests.filter(url => !url.startsWith('data:'))).toEqual([pathToFileURL(files[name]).href]);
    });

    it('shows every chart, with marks, a name and no text beside its card', () => {
      expect(measured.charts).toHaveLength(CHARTS[name]);
      for (const { label, title, width, height, marks, filled, cut } of measured.charts) {
        expect(label).toMatch(/\w+ \w+/);
        expect(title).toBe(label);
        expect(width).toBeGreaterThan(250);
        expect(height).toBeGreaterThan(60);
        expect(marks, label).toBeGreaterThan(0);
        expect(Math.min(filled.across, filled.down), label).toBeGreaterThan(0.1);
        expect(cut, label).toEqual([]);
      }
    });

    it('fills its cards', () => {
      expect(measured.cards.length).toBeGreaterThan(0);
      expect(measured.cards.filter(({ blank }) => !(blank <= 0.15))).toEqual([]);
    });

    it('never scrolls sideways', () => {
      expect(measured.scrollWidth).toBeLessThanOrEqual(measured.clientWidth);
    });

    it('can be read: text of 10 pixels at least, with a contrast of 4.5 at least', () => {
      expect(measured.texts.length).toBeGreaterThan(20);
      expect(measured.texts.filter(({ size }) => size < 10)).toEqual([]);
      expect(measured.texts.filter(({ contrast }) => !(contrast >= 4.5))).toEqual([]);
    });

    it(`is ${colorScheme}`, () => {
      expect(measured.bright > 0.5).toBe(colorScheme === 'light');
    });
  });
});
