import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { noBrowser, openBrowser } from './browser.js';

const MINUTES = 60_000;
/** Pixels: three columns of cards, two and one. */
const CASES = [
  [1280, 'light'],
  [1280, 'dark'],
  [900, 'light'],
  [400, 'light'],
  [400, 'dark'],
] as const;

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

const MEASURE = readFileSync(new URL('./measure-page.js', import.meta.url), 'utf8');

export interface ExpectedPage {
  /** Its drawings. */
  readonly charts: number;
  /** Its headline and the row that is marked, of pages that have them. */
  readonly gain?: { readonly headline: RegExp; readonly row: string };
}

/** Tests of a page at every width and in every scheme of colours. `file` is asked for it when the first of them runs. */
export function describeInABrowser(name: string, file: () => string, { charts, gain }: ExpectedPage): void {
  describe.skipIf(noBrowser)(`${name} in a browser${noBrowser ? ` (skipped: ${noBrowser})` : ''}`, () => {
    let browser: Browser;
    let url: string;
    beforeAll(async () => {
      url = pathToFileURL(file()).href;
      browser = await openBrowser();
    }, MINUTES);
    afterAll(() => browser?.close());

    it.runIf(gain)('begins with its gain, and marks the trained row', async () => {
      const page = await browser.newPage();
      await page.goto(url);
      expect(await page.innerText('h1')).toMatch(gain!.headline);
      expect(await page.locator('.marked td:first-child').allInnerTexts()).toEqual([gain!.row]);
      await page.close();
    });

    describe.each(CASES)('%i pixels wide, %s', (width, colorScheme) => {
      let page: Page;
      let measured: Measured;
      const complaints: string[] = [];
      const requests: string[] = [];
      beforeAll(async () => {
        page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme });
        page.on('console', message => complaints.push(message.text()));
        page.on('pageerror', error => complaints.push(error.message));
        page.on('request', request => requests.push(request.url()));
        await page.goto(url);
        measured = (await page.evaluate(MEASURE)) as Measured;
      }, MINUTES);
      afterAll(() => page.close());

      it('logs no errors and fetches nothing', () => {
        expect(complaints).toEqual([]);
        expect(requests.filter(url => !url.startsWith('data:'))).toEqual([url]);
      });

      it('shows every chart, with marks, a name and no text beside its card', () => {
        expect(measured.charts).toHaveLength(charts);
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
}
