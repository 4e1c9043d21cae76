import { beforeAll, describe, expect, it } from 'vitest';
import type { SimclrFigures } from '../../lib/command/demo/digits/simclr/figures.js';
import { figures, htmlOf, MINUTES, undescribed } from '../support/demo.js';
import { temporaryFolder } from '../support/temporary.js';

const { at } = temporaryFolder('demo');

const WORDS = ['--steps', '60', '--no-sweep'];

describe('infonce demo', () => {
  let run: SimclrFigures;
  beforeAll(async () => {
    run = await figures(at('simclr'), WORDS);
  }, 5 * MINUTES);

  it('names held-out views better by at least 25 points after 60 steps, as its page says', () => {
    const { untrained, trained, pixels } = run.accuracy;
    expect(trained.views.knn - untrained.views.knn).toBeGreaterThanOrEqual(0.25);
    expect(trained.views.linear - untrained.views.linear).toBeGreaterThanOrEqual(0.25);
    expect(trained.views.linear).toBeGreaterThan(pixels.views.linear);
  });

  it('lowers the loss from that of chance, and ranks more positives first', () => {
    const { firstLoss, lastLoss, lastTop1 } = run.training;
    expect(Math.abs(firstLoss - Math.log(2 * 256 - 1))).toBeLessThan(1);
    expect(lastLoss).toBeLessThan(firstLoss - 1.5);
    expect(lastTop1).toBeGreaterThan(10 / 511);
  });

  it('brings views of a digit together and spreads digits', () => {
    const { untrained, trained } = run.geometry;
    expect(trained.alignment).toBeLessThan(untrained.alignment);
    expect(trained.uniformity).toBeLessThan(untrained.uniformity);
  });

  it('prints nothing that its page does not describe', () => {
    expect(undescribed(run)).toEqual([]);
  });

  it('writes a page of one file', () => {
    expect(run.report).toBe(at('simclr/report.html'));
    const html = htmlOf(run.report);
    for (const word of [run.accuracy.trained.views.knn, run.accuracy.pixels.clean.linear]) {
      expect(html).toContain(`>${(100 * word).toFixed(1)}</td>`);
    }
  });

  it('repeats for a seed', { timeout: 5 * MINUTES }, async () => {
    expect(withoutTimes(await figures(at('again'), WORDS))).toEqual(withoutTimes(run));
  });
});

/** The parts of a run that the clock has no say in. */
function withoutTimes({ training, report: _, ...rest }: SimclrFigures) {
  const { firstLoss, lastLoss, lastTop1 } = training;
  return { ...rest, firstLoss, lastLoss, lastTop1 };
}
