import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import type { EvalReport } from '../../lib/command/eval/report.js';
import { referenceClip, referenceInfoNCE, referenceNTXent, referenceSupCon } from '../../lib/reference/losses.js';
import { randomLabels, viewsOf } from '../../lib/reference/random.js';
import type { ReferenceResult } from '../../lib/reference/terms.js';
import { infonce, spawnInfonce } from '../support/command.js';
import { toHalf } from '../support/half.js';
import { writeNpy, writeSparseFloat16 } from '../support/npy.js';
import { leastGrowth } from '../support/resident.js';
import { temporaryFolder } from '../support/temporary.js';

const { at } = temporaryFolder('global-batch');

const SAMPLES = 53;
const DIM = 24;

const two = viewsOf(SAMPLES, 2, DIM, 1.5, 1).data as Float32Array;
const three = viewsOf(SAMPLES, 3, DIM, 1.5, 2).data as Float32Array;

/** With rows of zeros, one in each part, and rows that repeat another of another part. */
const odd = two.slice();
for (const row of [3, 30, 31, 60]) odd.fill(0, row * DIM, (row + 1) * DIM);
for (const row of [10, 25, 50]) odd.set(odd.subarray(0, DIM), row * DIM);

async function evaluate(words: readonly string[]): Promise<EvalReport> {
  const { exit, stdout, stderr } = await infonce(['eval', '--json', ...words]);
  expect(exit, stdout + stderr).toBe(0);
  return JSON.parse(stdout) as EvalReport;
}

const matrix = (data: Float32Array) => ({ data, shape: [data.length / DIM, DIM] });

let written = 0;

function npy(shape: readonly number[], data: Float32Array | Int32Array | Uint16Array): string {
  return writeNpy(at(`${written++}.npy`), shape, data);
}

function oneFile(data: Float32Array): string[] {
  return [npy([data.length / DIM, DIM], data)];
}

function twoFiles(data: Float32Array): string[] {
  const half = data.length / 2;
  return [0, 1].map(view => npy([SAMPLES, DIM], data.subarray(view * half, (view + 1) * half)));
}

/** The views of each sample together. */
function bySample(data: Float32Array): string[] {
  const views = data.length / DIM / SAMPLES;
  const mixed = new Float32Array(data.length);
  for (let row = 0; row < SAMPLES * views; row++) {
    const place = (row % SAMPLES) * views + Math.floor(row / SAMPLES);
    mixed.set(data.subarray(row * DIM, (row + 1) * DIM), place * DIM);
  }
  return [npy([SAMPLES * views, DIM], mixed), '--layout', 'samples'];
}

/** Of the figures that parts add up: as one call on all rows has them, to the roundings of float32. */
function expectSame(parts: EvalReport, whole: EvalReport): void {
  const near = (value: number) => expect.closeTo(value, 5) as number;
  const nearAll = (values: object): object =>
    Object.fromEntries(
      Object.entries(values).map(([name, value]) => [
        name,
        typeof value === 'number' ? near(value) : value !== null && typeof value === 'object' ? nearAll(value) : value,
      ]),
    );
  const figures = ({ loss, chance, alignment, uniformity, uniformityOfViews, spread, temperatures }: EvalReport) => ({
    ...{ loss, chance, alignment, uniformity },
    uniformityOfViews: { ...uniformityOfViews },
    spread: { ...spread },
    temperatures: { ...temperatures },
  });
  expect(figures(parts)).toEqual(nearAll(figures(whole)));
  for (const key of ['top1', 'top5', 'rowsWithoutPositives', 'rows'] as const) {
    expect(parts[key], key).toBeCloseTo(whole[key], 12);
  }
  expect(parts.retrieval).toEqual(whole.retrieval === undefined ? undefined : nearAll(whole.retrieval));
  expect(parts.warnings.map(({ kind }) => kind)).toEqual(whole.warnings.map(({ kind }) => kind));
  expect(parts.batches).toEqual(whole.batches);
}

const randomClasses = randomLabels(2 * SAMPLES, 40, 5);
const ofSamples = Int32Array.from({ length: SAMPLES }, (_, sample) => -sample);
const views = () => [two.subarray(0, two.length / 2), two.subarray(two.length / 2)].map(matrix);

const CASES: readonly (readonly [string, () => readonly string[], () => ReferenceResult])[] = [
  ['ntxent', () => oneFile(two), () => referenceNTXent({ features: matrix(two), nViews: 2, temperature: 0.1 })],
  [
    'ntxent with zeros and repeated rows',
    () => oneFile(odd),
    () => referenceNTXent({ features: matrix(odd), nViews: 2, temperature: 0.1 }),
  ],
  [
    'ntxent of three views, the first one positive',
    () => [...bySample(three), '--views', '3'],
    () => referenceNTXent({ features: matrix(three), nViews: 3, temperature: 0.1 }),
  ],
  [
    'ntxent of three views, all positives',
    () => [...oneFile(three), '--views', '3', '--positives', 'all'],
    () => referenceNTXent({ features: matrix(three), nViews: 3, temperature: 0.1, positives: 'all' }),
  ],
  [
    'ntxent of two files, with retrieval',
    () => twoFiles(odd),
    () => referenceNTXent({ features: matrix(odd), nViews: 2, temperature: 0.1 }),
  ],
  [
    'infonce',
    () => [...oneFile(two), '--loss', 'infonce'],
    () => referenceInfoNCE({ query: views()[0]!, positiveKey: views()[1]!, temperature: 0.1 }),
  ],
  [
    'clip of rows as they are',
    () => [...twoFiles(two), '--loss', 'clip', '--no-normalize'],
    () => referenceClip({ imageFeatures: views()[0]!, textFeatures: views()[1]!, logitScale: 10, normalize: false }),
  ],
  // Of some classes there is one row, of others two, of most several.
  [
    'supcon',
    () => [...oneFile(two), '--loss', 'supcon', '--labels', npy([2 * SAMPLES], randomClasses)],
    () => referenceSupCon({ features: matrix(two), labels: randomClasses, temperature: 0.1 }),
  ],
  [
    'supcon of rows as they are',
    () => [...oneFile(two), '--loss', 'supcon', '--labels', npy([2 * SAMPLES], randomClasses), '--no-normalize'],
    () => referenceSupCon({ features: matrix(two), labels: randomClasses, temperature: 0.1, normalize: false }),
  ],
  [
    'supcon with a label for each sample of two views',
    () => [...bySample(odd), '--views', '2', '--loss', 'supcon', '--labels', npy([SAMPLES], ofSamples)],
    () =>
      referenceSupCon({ features: matrix(odd), labels: Int32Array.of(...ofSamples, ...ofSamples), temperature: 0.1 }),
  ],
];

/** Samples of a part. One sample that is left over joins the last one, as of 53 in parts of 4. */
const PARTS = [20, 4] as const;

function partsOf(all: number, samples: number): EvalReport['parts'] {
  const left = all % samples;
  const count = Math.floor(all / samples) + Number(left > 1);
  return { samples, count, last: all - (count - 1) * samples };
}

it.each(CASES)('%s has the figures of one call on all rows, whatever the parts', async (_name, write, reference) => {
  const words = [...write(), '--temperature', '0.1', '--temperatures', '0.5'];
  const whole = await evaluate(words);
  const right = reference();
  for (const samples of PARTS) {
    const report = await evaluate([...words, '--global-batch', '--batch', String(samples)]);
    const { parts, loss, top1, top5 } = report;
    expect(parts).toEqual(partsOf(whole.samples, samples));
    expect(Math.abs(loss - right.loss[0]!) / right.loss[0]!).toBeLessThan(2e-6);
    expect([top1, top5]).toEqual([expect.closeTo(right.top1, 12), expect.closeTo(right.top5, 12)]);
    expectSame(report, whole);
  }
});

it('keeps the digits of confident rows', async () => {
  const near = viewsOf(SAMPLES, 2, DIM, 0.05, 3).data as Float32Array;
  const labels = npy([SAMPLES], ofSamples);
  for (const temperature of [0.05, 0.02]) {
    for (const loss of [['ntxent'], ['clip'], ['supcon', '--labels', labels, '--views', '2']]) {
      const words = [...oneFile(near), '--temperature', String(temperature), '--loss', ...loss];
      const whole = (await evaluate(words)).loss;
      const inParts = (await evaluate([...words, '--global-batch', '--batch', '20'])).loss;
      expect(whole).toBeLessThan(1e-3);
      expect(Math.abs(inParts - whole)).toBeLessThanOrEqual(1e-5 * whole);
    }
  }
});

it('takes float16 as it is, and tells of how many parts', async () => {
  const { data } = toHalf(matrix(odd), 'float16');
  const file = npy([106, DIM], data as Uint16Array);
  expectSame(await evaluate([file, '--global-batch', '--batch', '30']), await evaluate([file]));
  const { stdout } = await infonce(['eval', file, '--global-batch', '--batch', '20']);
  expect(stdout).toContain('ntxent of 53 samples with 2 views, in one batch of 3 parts of 20, the last of 13\n');
  const { parts, batches } = await evaluate([file, '--global-batch']);
  expect([parts, batches]).toEqual(Array(2).fill({ samples: 53, count: 1, last: 53 }));
});

it('names the number that is not finite, in whichever part it is', async () => {
  const data = two.slice();
  data[94 * DIM + 7] = Number.NaN;
  const labels = npy([106], randomLabels(106, 9, 1));
  for (const loss of [['ntxent'], ['infonce'], ['supcon', '--labels', labels]]) {
    const words = ['eval', ...oneFile(data), '--global-batch', '--batch', '20', '--loss', ...loss];
    const { exit, stderr } = await infonce(words);
    expect([exit, stderr]).toEqual([
      1,
      expect.stringMatching(/\d+\.npy: expected finite numbers, got NaN in row 94, column 7 /),
    ]);
  }
});

it('does not go with judged documents', async () => {
  for (const option of [['--global-batch'], ['--group', 'mpi']]) {
    const { exit, stderr } = await infonce(['eval', 'a.npy', 'b.npy', '--qrels', 'c.tsv', ...option]);
    expect([exit, stderr]).toEqual([2, expect.stringContaining(`${option[0]} does not go with --qrels`)]);
  }
});

it.runIf(process.platform === 'linux')(
  'takes the memory of three parts, however large the file',
  () => {
    const report = at('memory.txt');
    const program = `import fs from 'node:fs';
    process.on('exit', () => fs.writeFileSync(${JSON.stringify(report)}, String(process.resourceUsage().maxRSS / 1024)));`;
    const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(program)}` };
    const peakOf = (rows: number) => {
      const file = writeSparseFloat16(at('sparse.npy'), rows, 16_384);
      const words = ['eval', file, '--global-batch', '--batch', '64', '--threads', '1'];
      expect(spawnInfonce(words, { env }).exit).toBe(0);
      return Number(readFileSync(report, 'utf8'));
    };
    // 16 MB and 36 MB, in parts of 4 MB. What is needed at least: garbage that is collected late comes on top.
    expect(leastGrowth([() => peakOf(512), () => peakOf(1152)], 14)).toBeLessThan(14);
  },
  120_000,
);
