/** Files that other libraries have written: test/golden/files/write.py. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { type Embeddings, readEmbeddings } from 'infonce/files';
import { describe, expect, it } from 'vitest';
import { fromHalf } from '../support/half.js';
import { temporaryFolder } from '../support/temporary.js';

const { write } = temporaryFolder('tables');
const golden = (name: string) => path.resolve(import.meta.dirname, '../golden/files', name);

const ROWS = [1, -0.5, 0.25, 2, 3, 1e-3];

function valuesOf(read: Embeddings): Float32Array {
  return read.dtype === 'float32' ? read.data : fromHalf(read).data;
}

it.each([
  'pandas.parquet',
  'pandas-gzip.parquet',
  'polars.parquet',
  'groups.parquet',
  'none.parquet',
  'plain.feather',
  'dictionary.feather',
  'batches.arrow',
  'stream.arrow',
  'polars.arrow',
  'pandas.csv',
  'pandas.jsonl',
  'pandas-records.json',
  'pandas-table.json',
])('%s with ids and labels', async name => {
  const read = await readEmbeddings(golden(name));
  expect([valuesOf(read), read.shape]).toEqual([Float32Array.from(ROWS), [3, 2]]);
  expect([read.ids, read.labels]).toEqual([['a', 'b', 'c'], Int32Array.of(4, 5, 4)]);
});

it.each([
  'columns.parquet',
  'columns.arrow',
  'double.parquet',
  'double.arrow',
  'numpy.safetensors',
  'numpy.npy',
  'fortran.npy',
  'numpy.csv',
  'pandas-numbers.csv',
  'polars.csv',
  'pandas.json',
  'pandas-index.json',
  'polars.json',
  'polars.ndjson',
])('%s', async name => {
  const read = await readEmbeddings(golden(name));
  expect([valuesOf(read), read.shape]).toEqual([Float32Array.from(ROWS), [3, 2]]);
});

it.each([
  ['half.parquet', 'float32', 2 ** -11],
  ['half.arrow', 'float32', 2 ** -11],
  ['bfloat16.npy', 'bfloat16', 2 ** -8],
] as const)('%s, rounded', async (name, dtype, unit) => {
  const read = await readEmbeddings(golden(name));
  expect([read.dtype, read.shape]).toEqual([dtype, [3, 2]]);
  for (const [i, value] of valuesOf(read).entries())
    expect(Math.abs(value - ROWS[i]!)).toBeLessThanOrEqual(unit * Math.abs(ROWS[i]!));
});

describe.each(['parquet', 'arrow'])('%s', format => {
  it.each([
    ['null', /expected an array of numbers, got null in row 1 \(counted from 0\)/],
    ['hole', /expected finite numbers, got null in row 1, column 1 \(counted from 0\)/],
    ['ragged', /expected 2 numbers in each row, as in the first, got 1 in row 1 \(counted from 0\)/],
  ])('%s is an error with file and row', async (name, message) => {
    const file = golden(`${name}.${format}`);
    await expect(readEmbeddings(file)).rejects.toMatchObject({
      code: 'ERR_INFONCE_FILE',
      argument: file,
      message: expect.stringMatching(message),
    });
  });

  it.runIf(format === 'arrow')('a damaged batch is an error, and is not read without end', async () => {
    const bytes = readFileSync(golden('batches.arrow'));
    // Within the first batch, so that the second is not where the footer says.
    const longer = Buffer.concat([bytes.subarray(0, 634), Buffer.of(0x10, 0x1d, 0x7e), bytes.subarray(634)]);
    const file = write('damaged.arrow', longer);
    await expect(readEmbeddings(file)).rejects.toMatchObject({ code: 'ERR_INFONCE_FILE', argument: file });
  });

  it.runIf(format === 'arrow').each(['lz4', 'zstd'])('%s is an error that says how to save it', async name => {
    await expect(readEmbeddings(golden(`${name}.feather`))).rejects.toMatchObject({
      code: 'ERR_INFONCE_FILE',
      message: expect.stringMatching(/got one that is compressed\. .*save it with compression='uncompressed'/),
    });
  });

  it.runIf(format === 'arrow')('a wrong length anywhere is an error, or has no say in the numbers', async () => {
    const bytes = readFileSync(golden('double.arrow'));
    const numbers = Float32Array.from(ROWS);
    for (let place = 0; place + 4 <= bytes.length; place += 4) {
      for (const length of [-8, 0x7fffffff]) {
        const spoiled = Buffer.from(bytes);
        spoiled.writeInt32LE(length, place);
        const file = write('length.arrow', spoiled);
        const result = await readEmbeddings(file).then(valuesOf, (error: unknown) => error);
        if (result instanceof Float32Array) {
          // Half of a number in float64.
          expect(result.filter((value, i) => value !== numbers[i]).length, `${place}`).toBeLessThanOrEqual(1);
          expect(result).toHaveLength(numbers.length);
        } else expect(result, `${place}`).toMatchObject({ code: 'ERR_INFONCE_FILE', argument: file });
      }
    }
  });

  it('columns by their names', async () => {
    const file = golden(`columns.${format}`);
    expect((await readEmbeddings(file, { column: ['x1'] })).data).toEqual(Float32Array.of(-0.5, 2, 1e-3));
    expect((await readEmbeddings(file, { column: 'x*' })).shape).toEqual([3, 2]);
    await expect(readEmbeddings(file, { column: 'x2' })).rejects.toThrow(
      /a column "x2", got none\. Did you mean 'x0'\?/,
    );
    await expect(readEmbeddings(file, { column: 'id' })).rejects.toThrow(/expected finite numbers, got "a" in row 0/);
  });

  it.each<readonly [string, (bytes: Buffer) => Buffer]>([
    ['of another format', () => Buffer.from('embedding\n1,2,3,4,5,6,7,8\n')],
    ['that was cut off', bytes => bytes.subarray(0, bytes.length - 20)],
    ['that is empty', () => Buffer.alloc(0)],
  ])('a file %s is an error', async (_what, spoil) => {
    const file = write(`spoiled.${format}`, spoil(readFileSync(golden(`double.${format}`))));
    await expect(readEmbeddings(file)).rejects.toMatchObject({ name: 'InfoNCEError', code: 'ERR_INFONCE_FILE' });
  });
});
