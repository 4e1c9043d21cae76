import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EvalReport } from '../../lib/command/eval/report.js';
import { near, normal, randomSource } from '../../lib/reference/random.js';
import { infonce } from '../support/command.js';
import { toHalf } from '../support/half.js';
import { writeNpy } from '../support/npy.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'infonce-warns-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const ROWS = 60;
const DIM = 16;
const SHAPE = [ROWS, DIM] as const;
const healthy = normal(SHAPE, 1).data as Float32Array;
const partner = near({ data: healthy, shape: SHAPE }, 0.5, 2).data as Float32Array;

/** Rows that `row` makes of a number from 0 on. */
function rows(row: (index: number) => ArrayLike<number>): Float32Array {
  const data = new Float32Array(ROWS * DIM);
  for (let i = 0; i < ROWS; i++) data.set(Array.from(row(i)), i * DIM);
  return data;
}

const rowOf = (data: Float32Array, index: number) => data.subarray(index * DIM, (index + 1) * DIM);

async function evaluate(
  first: ArrayBufferView,
  second: ArrayBufferView,
  words: readonly string[] = [],
): Promise<EvalReport> {
  const files = [first, second].map((data, i) => writeNpy(path.join(folder, `${i}.npy`), SHAPE, data));
  const { exit, stdout, stderr } = await infonce(['eval', '--json', ...files, '--loss', 'infonce', ...words]);
  expect(exit, stdout + stderr).toBe(0);
  return JSON.parse(stdout) as EvalReport;
}

/** The kinds of warnings with the files that they name. */
function kinds({ warnings }: EvalReport): string[] {
  return warnings.map(({ kind, message }) => `${kind} ${/(\d)\.npy/.exec(message)?.[1] ?? ''}`.trim());
}

it('says nothing of embeddings that are well', async () => {
  const report = await evaluate(healthy, partner);
  expect(report.warnings).toEqual([]);
  for (const { zeroRows, repeatedRows, meanLength, effectiveRank } of report.spread) {
    expect([zeroRows, repeatedRows]).toEqual([0, 0]);
    expect(meanLength).toBeLessThan(0.3);
    expect(effectiveRank).toBeGreaterThan(10);
  }
  // Cosines of 0.7 on the average, as of text encoders.
  const cone = (data: Float32Array) => data.map(value => value + 1.5);
  expect((await evaluate(cone(healthy), cone(partner))).warnings).toEqual([]);
});

describe('warns of', () => {
  const constant = rows(() => rowOf(healthy, 0));
  const random = randomSource(3);

  it.each<readonly [string, () => ArrayBufferView, () => ArrayBufferView, readonly string[]]>([
    ['rows that are all the same', () => constant, () => constant, ['collapsed 0', 'collapsed 1', 'chance']],
    ['one view whose rows are', () => healthy, () => constant, ['collapsed 1', 'chance']],
    [
      'rows that are the same except for rounding and length',
      () => rows(i => rowOf(healthy, 0).map(value => value * (1 + i) * (1 + 1e-6 * random()))),
      () => constant.map(value => value + 1e-4 * random()),
      ['collapsed 0', 'collapsed 1', 'chance'],
    ],
    [
      'zeros',
      () => new Float32Array(ROWS * DIM),
      () => new Float32Array(ROWS * DIM),
      ['zero-rows 0', 'zero-rows 1', 'chance'],
    ],
    [
      'a row of zeros, and one too short to have a direction',
      () =>
        rows(i =>
          i === 3 ? new Float32Array(DIM) : i === 5 ? rowOf(healthy, 5).map(v => 1e-20 * v) : rowOf(healthy, i),
        ),
      () => partner,
      ['zero-rows 0'],
    ],
    [
      'rows of three directions',
      () => rows(i => rowOf(healthy, i % 3)),
      () => rows(i => rowOf(healthy, i % 3)),
      ['few-directions 0', 'repeated-rows 0', 'few-directions 1', 'repeated-rows 1', 'same-views'],
    ],
    [
      'two opposite directions, whose mean is zero',
      () => rows(i => rowOf(healthy, 0).map(value => (i % 2 === 0 ? value : -value) + 1e-3 * random())),
      () => partner,
      ['few-directions 0', 'chance'],
    ],
    [
      'rows of a plane',
      () => rows(i => rowOf(healthy, 0).map((value, k) => value * Math.cos(i) + healthy[DIM + k]! * Math.sin(i))),
      () => partner,
      ['few-directions 0', 'chance'],
    ],
    ['one file given twice', () => healthy, () => healthy, ['same-views']],
    ['the same rows in another length', () => healthy, () => healthy.map(value => 3.3 * value), ['same-views']],
    ['rows that repeat', () => healthy, () => rows(i => rowOf(partner, i < 50 ? i : 0)), ['repeated-rows 1']],
    ['pairs that do not belong together', () => healthy, () => normal(SHAPE, 9).data as Float32Array, ['chance']],
  ])('%s', async (_what, first, second, expected) => {
    expect(kinds(await evaluate(first(), second()))).toEqual(expected);
  });

  it('the same in float16', async () => {
    const half = (data: Float32Array) => toHalf({ data, shape: SHAPE }, 'float16').data;
    const report = await evaluate(half(constant), half(constant.map(value => 1.7 * value)));
    expect(kinds(report)).toEqual(['collapsed 0', 'collapsed 1', 'chance']);
  });
});

it('tells them to people, and says how many rows they are about', async () => {
  const data = rows(i => (i < 2 ? new Float32Array(DIM) : rowOf(healthy, 7)));
  const file = writeNpy(path.join(folder, 'views.npy'), SHAPE, data);
  const { exit, stdout, stderr } = await infonce(['eval', file]);
  expect([exit, stderr]).toEqual([0, '']);
  expect(stdout).toMatch(/^Warning: 2 of 30 rows of view 1 are zeros: they have no direction/m);
  expect(stdout).toMatch(/^Warning: view 2 has collapsed: all rows point the same way \(mean cosine 1\.0000\)/m);
  expect(stdout).toMatch(/^dimensions +0\.0, 0\.0 in effect, of 16$/m);
});
