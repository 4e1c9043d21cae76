import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EvalReport } from '../../lib/command/eval/report.js';
import { referenceClip, referenceInfoNCE, referenceNTXent, referenceSupCon } from '../../lib/reference/losses.js';
import { randomLabels, viewsOf } from '../../lib/reference/random.js';
import type { ReferenceResult } from '../../lib/reference/terms.js';
import { infonce, spawnInfonce } from '../support/command.js';
import { fromHalf, toHalf } from '../support/half.js';
import { writeNpy, writeSparseFloat16 } from '../support/npy.js';
import { leastGrowth } from '../support/resident.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'infonce-eval-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const at = (name: string) => path.join(folder, name);

async function evaluate(words: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<EvalReport> {
  const { exit, stdout, stderr } = await infonce(['eval', '--json', ...words], { env });
  expect(exit, stdout + stderr).toBe(0);
  return JSON.parse(stdout) as EvalReport;
}

function writeText(text: string): string {
  const file = at('labels.txt');
  writeFileSync(file, text);
  return file;
}

const DIM = 24;

/** Embeddings: `views` blocks of `samples` rows. */
interface Embeddings {
  readonly samples: number;
  readonly views: number;
  readonly data: Float32Array;
}

function embeddings(samples: number, views: number): Embeddings {
  return { samples, views, data: viewsOf(samples, views, DIM, 1.5, samples + views).data };
}

/** Those of samples `first` … */
function slice({ samples, views, data }: Embeddings, first: number, count: number): Embeddings {
  const part = new Float32Array(views * count * DIM);
  for (let view = 0; view < views; view++) {
    const offset = view * samples + first;
    part.set(data.subarray(offset * DIM, (offset + count) * DIM), view * count * DIM);
  }
  return { samples: count, views, data: part };
}

function rowsOf({ data, samples }: Embeddings, view?: number) {
  const rows = view === undefined ? data : data.subarray(view * samples * DIM, (view + 1) * samples * DIM);
  return { data: rows, shape: [rows.length / DIM, DIM] };
}

type Reference = (batch: Embeddings, temperature: number, labels: Int32Array) => ReferenceResult;

const ntXent =
  (options: object = {}): Reference =>
  (batch, temperature) =>
    referenceNTXent({ features: rowsOf(batch), nViews: batch.views, temperature, ...options });
const infoNCE: Reference = (batch, temperature) =>
  referenceInfoNCE({ query: rowsOf(batch, 0), positiveKey: rowsOf(batch, 1), temperature });
const clip: Reference = (batch, temperature) =>
  referenceClip({ imageFeatures: rowsOf(batch, 0), textFeatures: rowsOf(batch, 1), logitScale: 1 / temperature });
const supCon: Reference = (batch, temperature, labels) =>
  referenceSupCon({ features: rowsOf(batch), labels, temperature });

/** Unit rows in float64. */
function units({ data, shape }: { readonly data: Float32Array; readonly shape: readonly number[] }): number[][] {
  return Array.from({ length: shape[0]! }, (_, row) => {
    const values = [...data.subarray(row * DIM, (row + 1) * DIM)];
    const length = Math.hypot(...values);
    return values.map(value => value / (length || 1));
  });
}

function squared(a: readonly number[], b: readonly number[]): number {
  return a.reduce((sum, value, k) => sum + (value - b[k]!) ** 2, 0);
}

/** Pairs i < j of `count`. */
function pairs(count: number): [number, number][] {
  return Array.from({ length: count }, (_, i) => i).flatMap(i =>
    Array.from({ length: count - i - 1 }, (_, j) => [i, i + 1 + j] as [number, number]),
  );
}

const meanOf = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** Everything that eval tells, written from the definitions: slow and plain, batch by batch. */
function expected(
  all: Embeddings,
  sizes: readonly number[],
  reference: Reference,
  temperature: number,
  labels?: Int32Array,
) {
  let weights = 0;
  const sums = { loss: 0, chance: 0, top1: 0, top5: 0 };
  const positives: number[] = [];
  const potentials: number[][] = Array.from({ length: all.views }, () => []);
  let first = 0;
  let alone = 0;
  for (const size of sizes) {
    const batch = slice(all, first, size);
    const own = Int32Array.from({ length: all.views * size }, (_, row) => {
      const view = Math.floor(row / size);
      return labels === undefined ? row % size : labels[view * all.samples + first + (row % size)]!;
    });
    first += size;
    const rows = units(rowsOf(batch));
    const result = reference(batch, temperature, own);
    const single = reference === infoNCE || reference === clip;
    const weight = single ? size : rows.length;
    const others = single ? size : rows.length - 1;
    const lonely = own.filter(label => own.filter(other => other === label).length === 1).length;
    weights += weight;
    alone += lonely;
    sums.loss += weight * result.loss[0]!;
    sums.top1 += weight * result.top1;
    sums.top5 += weight * result.top5;
    sums.chance += (weight - lonely) * Math.log(others);
    for (const [i, j] of pairs(rows.length)) if (own[i] === own[j]) positives.push(squared(rows[i]!, rows[j]!));
    for (let view = 0; view < all.views; view++) {
      for (const [i, j] of pairs(size)) {
        potentials[view]!.push(Math.exp(-2 * squared(rows[view * size + i]!, rows[view * size + j]!)));
      }
    }
  }
  return {
    loss: sums.loss / weights,
    chance: sums.chance / weights,
    top1: sums.top1 / weights,
    top5: sums.top5 / weights,
    alignment: meanOf(positives),
    uniformity: meanOf(potentials.map(values => Math.log(meanOf(values)))),
    alone,
  };
}

function expectReport(report: EvalReport, right: ReturnType<typeof expected>): void {
  for (const key of ['loss', 'chance', 'uniformity'] as const) {
    expect(Math.abs(report[key] - right[key]) / Math.abs(right[key]), key).toBeLessThan(2e-6);
  }
  expect(report.alignment).toBeCloseTo(right.alignment, 10);
  expect([report.top1, report.top5]).toEqual([expect.closeTo(right.top1, 10), expect.closeTo(right.top5, 10)]);
  expect(report.rowsWithoutPositives).toBe(right.alone);
}

const oneFile = ({ data }: Embeddings) => [writeNpy(at('one.npy'), [data.length / DIM, DIM], data)];

/** The views of each sample together. */
function bySample({ samples, views, data }: Embeddings): string[] {
  const mixed = new Float32Array(data.length);
  for (let row = 0; row < samples * views; row++) {
    const place = (row % samples) * views + Math.floor(row / samples);
    mixed.set(data.subarray(row * DIM, (row + 1) * DIM), place * DIM);
  }
  return [writeNpy(at('mixed.npy'), [samples * views, DIM], mixed), '--layout', 'samples'];
}

const files = (all: Embeddings) =>
  Array.from({ length: all.views }, (_, view) => {
    const { data, shape } = rowsOf(all, view);
    return writeNpy(at(`view-${view}.npy`), shape, data);
  });

const TWO = embeddings(53, 2);
const THREE = embeddings(31, 3);
/** 53 samples in batches, with what is left over. */
const BATCHES: readonly (readonly [words: readonly string[], sizes: readonly number[]])[] = [
  [[], [53]],
  [
    ['--batch', '20'],
    [20, 20, 13],
  ],
  // One sample has no negatives and joins the last batch.
  [
    ['--batch', '26'],
    [26, 27],
  ],
];

describe.each(BATCHES)('batches %j', (batch, sizes) => {
  it.each<readonly [string, (all: Embeddings) => string[], readonly string[], Reference]>([
    ['ntxent of one file', oneFile, [], ntXent()],
    ['ntxent of samples with their views together', bySample, [], ntXent()],
    ['ntxent of a file for each view', files, [], ntXent()],
    ['ntxent of rows as they are', oneFile, ['--no-normalize'], ntXent({ normalize: false })],
    ['infonce of one file', oneFile, ['--loss', 'infonce'], infoNCE],
    ['infonce of two files', files, ['--loss', 'infonce'], infoNCE],
    ['clip of two files', files, ['--loss', 'clip'], clip],
  ])('%s', async (_what, write, words, reference) => {
    // Rows as they are have larger logits: a colder temperature would leave nothing of the loss.
    const temperature = words.includes('--no-normalize') ? 20 : 0.1;
    const report = await evaluate([...write(TWO), ...words, ...batch, '--temperature', String(temperature)]);
    expectReport(report, expected(TWO, sizes, reference, temperature));
    expect(report).toMatchObject({ samples: 53, views: 2, temperature });
    expect(report.batches).toEqual({ samples: sizes[0], count: sizes.length, last: sizes.at(-1) });
  });
});

it.each(['first', 'all'] as const)('three views, %s', async positives => {
  for (const write of [oneFile, bySample, files]) {
    const words = write === files ? [] : ['--views', '3'];
    const report = await evaluate([...write(THREE), ...words, '--positives', positives, '--batch', '12']);
    expectReport(report, expected(THREE, [12, 12, 7], ntXent({ positives }), 0.07));
    expect(report.uniformityOfViews).toHaveLength(3);
  }
});

it('takes rows of zeros for what they are, in the middle of the sphere', async () => {
  const data = TWO.data.slice();
  for (const row of [3, 4, 20, 60]) data.fill(0, row * DIM, (row + 1) * DIM);
  const some = { ...TWO, data };
  expectReport(await evaluate(oneFile(some)), expected(some, [53], ntXent(), 0.07));
  const labels = randomLabels(106, 5, 1);
  const words = ['--loss', 'supcon', '--labels', writeNpy(at('labels.npy'), [106], labels), '--temperature', '0.2'];
  expectReport(await evaluate([...oneFile(some), ...words, '--views', '2']), expected(some, [53], supCon, 0.2, labels));
});

describe('types', () => {
  it('float16 is taken as it is, subnormal numbers too', async () => {
    const small = TWO.data.map((value, i) => (i % (2 * DIM) < DIM ? value : value * 2 ** -15));
    const half = toHalf({ data: small, shape: [106, DIM] }, 'float16');
    const file = writeNpy(at('half.npy'), [106, DIM], half.data);
    const rounded = { ...TWO, data: fromHalf(half).data };
    const report = await evaluate([file, '--batch', '20', '--temperature', '0.1']);
    expectReport(report, expected(rounded, [20, 20, 13], ntXent(), 0.1));
    expect(report.files).toEqual([{ file, rows: 106, dim: DIM, dtype: 'float16' }]);
  });

  it('float64 is read as float32', async () => {
    const doubles = Float64Array.from(TWO.data, value => value * (1 + 1e-9));
    const report = await evaluate([writeNpy(at('double.npy'), [106, DIM], doubles), '--temperature', '0.1']);
    expectReport(report, expected(TWO, [53], ntXent(), 0.1));
    expect(report.files[0]!.dtype).toBe('float64');
  });

  it.each([2, 3] as const)('version %i of the format', async version => {
    const { data, shape } = rowsOf(TWO);
    const file = writeNpy(at('version.npy'), shape, data, { version });
    expect((await evaluate([file])).loss).toBe((await evaluate(oneFile(TWO))).loss);
  });
});

describe('supcon', () => {
  const labels = randomLabels(106, 30, 5);
  const shape = [106, DIM] as const;
  const file = () => writeNpy(at('supcon.npy'), shape, TWO.data);
  const one = { ...TWO, samples: 106, views: 1 };
  const wanted = () => expected(one, [40, 40, 26], supCon, 0.07, labels);
  const words = ['--loss', 'supcon', '--batch', '40', '--labels'];

  it.each<readonly [string, () => string]>([
    ['int32', () => writeNpy(at('labels.npy'), [106], labels)],
    ['int8, as a column', () => writeNpy(at('labels.npy'), [106, 1], Int8Array.from(labels))],
    [
      'int64 beyond 32 bits',
      () =>
        writeNpy(
          at('labels.npy'),
          [106],
          BigInt64Array.from(labels, label => (BigInt(label) << 40n) - 7n),
        ),
    ],
    [
      'int32 of big-endian machines',
      () => writeNpy(at('labels.npy'), [106], Buffer.from(labels.slice().buffer).swap32(), { type: '>i4' }),
    ],
    ['text', () => writeText(`${labels.join('\n')}\n`)],
    ['text beyond 32 bits, of Windows', () => writeText([...labels].map(label => 2 ** 40 * label).join('\r\n'))],
  ])('with labels of %s', async (_what, write) => {
    const report = await evaluate([file(), ...words, write()]);
    expectReport(report, wanted());
    expect(report.rowsWithoutPositives).toBeGreaterThan(0);
  });

  it('with a label for each sample of two views', async () => {
    const ofSamples = randomLabels(53, 9, 6);
    const ofRows = Int32Array.from({ length: 106 }, (_, row) => ofSamples[row % 53]!);
    const right = expected(TWO, [25, 25, 3], supCon, 0.07, ofRows);
    const labelled = ['--loss', 'supcon', '--views', '2', '--batch', '25', '--labels'];
    expectReport(await evaluate([file(), ...labelled, writeNpy(at('samples.npy'), [53], ofSamples)]), right);
    expectReport(await evaluate([file(), ...labelled, writeNpy(at('rows.npy'), [106], ofRows)]), right);
    expectReport(
      await evaluate([
        ...files(TWO),
        ...labelled.filter(word => word !== '--views' && word !== '2'),
        at('samples.npy'),
      ]),
      right,
    );
  });

  it('with a label for each row of two views, in the order of the rows', async () => {
    const ofRows = randomLabels(106, 20, 7);
    const right = expected(TWO, [25, 25, 3], supCon, 0.07, ofRows);
    const labelled = ['--loss', 'supcon', '--batch', '25', '--labels'];
    const label = writeNpy(at('rows.npy'), [106], ofRows);
    expectReport(await evaluate([file(), '--views', '2', ...labelled, label]), right);
    expectReport(await evaluate([...files(TWO), ...labelled, label]), right);
    const mixed = Int32Array.from({ length: 106 }, (_, row) => ofRows[(row % 2) * 53 + (row >> 1)]!);
    const mixedLabel = writeNpy(at('mixed-rows.npy'), [106], mixed);
    expectReport(await evaluate([...bySample(TWO), '--views', '2', ...labelled, mixedLabel]), right);
  });

  it('fails where no batch has two rows of a class', async () => {
    const file = writeNpy(
      at('apart.npy'),
      [106],
      Int32Array.from({ length: 106 }, (_, row) => row),
    );
    const { exit, stderr } = await infonce(['eval', at('supcon.npy'), ...words, file]);
    expect([exit, stderr]).toEqual([
      1,
      expect.stringMatching(/apart\.npy: expected rows of the same class in a batch/),
    ]);
  });
});

it('tells the losses of several temperatures', async () => {
  const report = await evaluate([...oneFile(TWO), '--temperature', '0.2', '--temperatures', '0.5,0.05,0.2']);
  expect(report.temperatures.map(({ temperature }) => temperature)).toEqual([0.05, 0.2, 0.5]);
  for (const { temperature, loss } of report.temperatures) {
    const right = expected(TWO, [53], ntXent(), temperature).loss;
    expect(Math.abs(loss - right) / right).toBeLessThan(2e-6);
  }
  expect(report.loss).toBe(report.temperatures[1]!.loss);
});

it('takes the device and its options from the environment where no option says them', async () => {
  const env = { INFONCE_DEVICE: 'cpu', INFONCE_PRECISION: 'medium', INFONCE_THREADS: '1' };
  expect((await evaluate(oneFile(TWO), env)).device).toMatchObject({ id: 'cpu', precision: 'medium' });
  expect((await evaluate([...oneFile(TWO), '--precision', 'high'], env)).device).toMatchObject({ precision: 'high' });
});

it('is readable', async () => {
  const { exit, stdout, stderr } = await infonce([
    'eval',
    ...oneFile(TWO),
    '--batch',
    '20',
    '--temperatures',
    '0.1,0.5',
  ]);
  expect([exit, stderr]).toEqual([0, '']);
  expect(stdout).toMatch(
    /one\.npy: 106 × 24, float32\nntxent of 53 samples with 2 views, in 3 batches of 20, the last of 13/,
  );
  expect(stdout).toMatch(/^loss +\d\.\d{6} at temperature 0\.07; 3\.\d{6} by chance$/m);
  expect(stdout).toMatch(/^top-1 .*\n^top-5 .*\n^alignment .*\n^uniformity /m);
  expect(stdout).toMatch(/^temperature +loss +chance +chance − loss\n─+\n( +0\.\d+( +-?\d\.\d{6}){3}\n){3}/m);
  expect(stdout).toMatch(/rows\/s, [\d.]+ MB\/s, [\d.]+ GFLOP\/s\n$/);
});

describe('numbers that are not finite end with 1 and where they are', () => {
  const spoiled = (index: number, value: number) => {
    const data = Float32Array.from(TWO.data);
    data[index] = value;
    return { ...TWO, data };
  };

  it.each<readonly [string, (all: Embeddings) => string[], readonly string[], RegExp]>([
    ['one file', oneFile, [], /one\.npy: expected finite numbers, got NaN in row 94, column 7 /],
    ['interleaved rows', bySample, [], /mixed\.npy: expected finite numbers, got NaN in row 83, column 7 /],
    ['two files', files, ['--loss', 'clip'], /view-1\.npy: expected finite numbers, got NaN in row 41, column 7 /],
  ])('in %s', async (_what, write, words, message) => {
    const named = write(spoiled(94 * DIM + 7, Number.NaN));
    for (const batch of [[], ['--batch', '20']]) {
      const { exit, stderr, stdout } = await infonce(['eval', ...named, ...words, ...batch, '--json']);
      expect([exit, stderr]).toEqual([1, expect.stringMatching(message)]);
      expect(JSON.parse(stdout).error).toMatchObject({ exit: 1, message: expect.stringMatching(message) });
    }
  });

  it('in float16', async () => {
    const { data } = toHalf({ data: TWO.data, shape: [106, DIM] }, 'float16');
    data[3] = 0xfc00;
    const { exit, stderr } = await infonce(['eval', writeNpy(at('half.npy'), [106, DIM], data)]);
    expect([exit, stderr]).toEqual([1, expect.stringMatching(/got -Infinity in row 0, column 3 /)]);
  });

  it('in float64 that float32 cannot hold', async () => {
    const doubles = Float64Array.from(TWO.data);
    doubles[DIM] = 1e300;
    const { exit, stderr } = await infonce(['eval', writeNpy(at('double.npy'), [106, DIM], doubles)]);
    expect([exit, stderr]).toEqual([1, expect.stringMatching(/got 1e\+300, which is too large for float32 in row 1,/)]);
  });
});

/** Megabytes that a process has held at most. */
function peakMemory(words: readonly string[]): number {
  const report = at('memory.txt');
  const program = `import fs from 'node:fs';
    process.on('exit', () => fs.writeFileSync(${JSON.stringify(report)}, String(process.resourceUsage().maxRSS / 1024)));`;
  const NODE_OPTIONS = `--import=data:text/javascript,${encodeURIComponent(program)}`;
  const { exit, stderr } = spawnInfonce(['eval', '--json', ...words], { env: { NODE_OPTIONS } });
  expect(exit, stderr).toBe(0);
  return Number(readFileSync(report, 'utf8'));
}

it.runIf(process.platform === 'linux')(
  'takes the memory of two batches, however large the file',
  () => {
    const words = ['--batch', '64', '--threads', '1'];
    const files = [writeSparseFloat16(at('small.npy'), 4096, 1024), writeSparseFloat16(at('large.npy'), 131_072, 1024)];
    // 8 MB and 256 MB. What is needed at least: garbage that is collected late comes on top.
    expect(
      leastGrowth(
        files.map(file => () => peakMemory([file, ...words])),
        64,
      ),
    ).toBeLessThan(64);
  },
  120_000,
);
