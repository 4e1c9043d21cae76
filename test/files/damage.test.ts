/** Files that a disk, a copy or an editor has damaged: an error that names the file, or what stands in it. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { InfoNCEError } from 'infonce';
import { type Embeddings, type ReadOptions, readEmbeddings } from 'infonce/files';
import { describe, expect, it, vi } from 'vitest';
import { damaged } from '../support/damage.js';
import { fromHalf } from '../support/half.js';
import { temporaryFolder } from '../support/temporary.js';

/** Of each file; thousands where there is time: INFONCE_TEST_DAMAGE=5000. */
const CASES = Number(process.env.INFONCE_TEST_DAMAGE ?? 40);

const { write } = temporaryFolder('damage');
const golden = (name: string) => readFileSync(path.resolve(import.meta.dirname, '../golden/files', name));

const ROWS = [
  [1, -0.5],
  [0.25, 2],
  [3, 1e-3],
];
const NUMBERS = Float32Array.from(ROWS.flat());
const WORDS = ['a', 'b', 'c'];
const LINES = `${ROWS.map((embedding, i) => JSON.stringify({ id: WORDS[i], embedding })).join('\n')}\n`;
const TABLE = `id,x,y\n${ROWS.map((row, i) => [WORDS[i], ...row].join(',')).join('\n')}\n`;

/** What a file must give: these numbers, an error, or either where it is another file now that may make sense. */
type Trusted = Float32Array | 'error' | 'either';

interface Sample {
  readonly name: string;
  readonly bytes: Buffer;
  readonly options?: ReadOptions;
  readonly trusted: (bytes: Buffer) => Trusted;
}

const SAMPLES: readonly Sample[] = [
  { name: 'a.f32', bytes: Buffer.from(NUMBERS.buffer), options: { dim: 2 }, trusted: bytes => floats(bytes, 8) },
  { name: 'a.fvecs', bytes: vectors(4, (row, place, bytes) => bytes.writeFloatLE(row, place)), trusted: ofVectors(4) },
  {
    name: 'a.bvecs',
    bytes: vectors(1, (row, place, bytes) => bytes.writeUInt8(9 * row + 5, place)),
    trusted: ofVectors(1),
  },
  { name: 'numpy.npy', bytes: golden('numpy.npy'), trusted: behind(golden('numpy.npy'), 128) },
  { name: 'a.safetensors', bytes: safetensors(), trusted: behind(safetensors(), safetensors().length - 24) },
  { name: 'a.jsonl', bytes: Buffer.from(LINES), trusted: bytes => ofDocuments(bytes.toString().split('\n')) },
  { name: 'a.json', bytes: Buffer.from(JSON.stringify(ROWS)), trusted: bytes => ofDocuments([bytes.toString()], true) },
  { name: 'a.csv', bytes: Buffer.from(TABLE), trusted: bytes => ofTable(bytes.toString()) },
  { name: 'a.jsonl.gz', bytes: gzipSync(LINES), trusted: packed },
  ...[
    'none.parquet',
    'groups.parquet',
    'pandas-gzip.parquet',
    'batches.arrow',
    'double.arrow',
    'polars.arrow',
    'dictionary.feather',
  ].map((name): Sample => ({ name, bytes: golden(name), trusted: bytes => whole(golden(name), bytes) })),
  // The format lets a stream end where a batch does.
  { name: 'stream.arrow', bytes: golden('stream.arrow'), trusted: () => 'either' },
];

it('no file is left open', { skip: process.platform !== 'linux' }, async () => {
  const open = () => readdirSync('/proc/self/fd').length;
  const before = open();
  for (const { name, bytes, options } of SAMPLES) {
    for (const part of [bytes, bytes.subarray(0, bytes.length >> 1)]) {
      await readEmbeddings(write(name, part), options).catch(() => undefined);
    }
  }
  await vi.waitFor(() => expect(open()).toBeLessThanOrEqual(before), { timeout: 20_000 });
});

describe.each(SAMPLES)('$name', ({ name, bytes, options, trusted }) => {
  it('is read as it is', async () => {
    expect(numbersOf(await readEmbeddings(write(name, bytes), options))).toHaveLength(6);
  });

  it('cut off at any place', async () => {
    const step = Math.ceil(bytes.length / Math.max(CASES, 60));
    for (let end = 0; end < bytes.length; end += step) await check(bytes.subarray(0, end), `the first ${end} bytes`);
  });

  it('damaged in any way', async () => {
    for (let seed = 0; seed < CASES; seed++) await check(damaged(bytes, seed), `seed ${seed}`);
  });

  async function check(content: Buffer, what: string): Promise<void> {
    const file = write(name, content);
    const result = await readEmbeddings(file, options).then(numbersOf, (error: unknown) => error);
    const expected = trusted(content);
    if (expected === 'error') expect(result, what).toBeInstanceOf(Error);
    if (!(result instanceof Error)) {
      expect(result, what).toBeInstanceOf(Float32Array);
      if (expected instanceof Float32Array) expect(result, what).toEqual(expected);
      return;
    }
    expect(result, what).toBeInstanceOf(InfoNCEError);
    expect(result, what).toMatchObject({ code: 'ERR_INFONCE_FILE', argument: file });
    if (expected instanceof Float32Array) expect(expected.every(Number.isFinite), what).toBe(false);
  }
});

it('a file that the system cannot read is an error of that file', { skip: process.platform !== 'linux' }, async () => {
  // Memory is not mapped at 0.
  for (const format of ['npy', 'jsonl', 'csv', 'parquet', 'arrow', 'safetensors'] as const) {
    await expect(readEmbeddings('/proc/self/mem', { format })).rejects.toMatchObject({
      code: 'ERR_INFONCE_FILE',
      argument: '/proc/self/mem',
    });
  }
});

it('two columns of one name are an error', async () => {
  const names = ['id,x,x\na,1,2\n', 'embedding,embedding\n[1],[2]\n'];
  for (const table of names) {
    await expect(readEmbeddings(write('twice.csv', table))).rejects.toThrow(/expected one column ".*", got several/);
  }
});

/** Rows of a result, which has as many numbers as its shape says. */
function numbersOf(read: Embeddings): Float32Array {
  expect(read.data).toHaveLength(read.shape[0]! * read.shape[1]!);
  return read.dtype === 'float32' ? read.data : fromHalf(read).data;
}

function floats(bytes: Buffer, stride: number): Trusted {
  if (bytes.length === 0 || bytes.length % stride !== 0) return 'error';
  return Float32Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i));
}

function vectors(size: number, put: (value: number, place: number, bytes: Buffer) => void): Buffer {
  return Buffer.concat(
    ROWS.map(row => {
      const bytes = Buffer.alloc(4 + row.length * size);
      bytes.writeInt32LE(row.length);
      for (const [i, value] of row.entries()) put(value, 4 + i * size, bytes);
      return bytes;
    }),
  );
}

function ofVectors(size: number) {
  return (bytes: Buffer): Trusted => {
    const numbers: number[] = [];
    const dim = bytes.length < 4 ? 0 : bytes.readInt32LE();
    for (let at = 0; at < bytes.length; at += 4 + dim * size) {
      if (dim < 1 || at + 4 + dim * size > bytes.length || bytes.readInt32LE(at) !== dim) return 'error';
      for (let i = 0; i < dim; i++) {
        const place = at + 4 + i * size;
        numbers.push(size === 1 ? bytes[place]! : bytes.readFloatLE(place));
      }
    }
    return numbers.length === 0 ? 'error' : Float32Array.from(numbers);
  };
}

function safetensors(): Buffer {
  const header = JSON.stringify({ rows: { dtype: 'F32', shape: [3, 2], data_offsets: [0, 24] } });
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([length, Buffer.from(header), Buffer.from(NUMBERS.buffer)]);
}

/** Where the header is whole, it says which numbers follow. */
function behind(original: Buffer, start: number) {
  return (bytes: Buffer): Trusted => {
    if (!bytes.subarray(0, start).equals(original.subarray(0, start))) return bytes.length < start ? 'error' : 'either';
    return bytes.length === original.length ? floats(bytes.subarray(start), 8) : 'either';
  };
}

/** JSON in each text, or an array of rows in one. */
function ofDocuments(texts: readonly string[], inOne = false): Trusted {
  try {
    const documents = texts.filter(text => text.trim() !== '').map(text => JSON.parse(text) as unknown);
    const rows = (inOne ? documents.flat() : documents).map(row =>
      inOne ? row : (row as Sample & { embedding: unknown }).embedding,
    );
    if (rows.length === 0) return 'error';
    const sound = rows.every(
      row =>
        Array.isArray(row) &&
        row.length === (rows[0] as unknown[]).length &&
        row.length > 0 &&
        row.every(Number.isFinite),
    );
    return sound ? Float32Array.from((rows as number[][]).flat()) : 'either';
  } catch {
    return 'error';
  }
}

/** A table without quotes. */
function ofTable(text: string): Trusted {
  const [first, ...others] = text
    .split('\n')
    .filter(line => line !== '')
    .map(line => line.split(','));
  if (first === undefined || others.length === 0) return 'error';
  if (others.some(cells => cells.length !== first.length)) return 'error';
  const numbers = others.map(([, ...cells]) => cells);
  const sound =
    first.join() === 'id,x,y' &&
    /^[\w.,\n-]*$/.test(text) &&
    numbers.flat().every(cell => /^-?\d+(\.\d+)?$/.test(cell));
  return sound ? Float32Array.from(numbers.flat(), Number) : 'either';
}

/** What gzip has packed has a checksum. */
function packed(bytes: Buffer): Trusted {
  try {
    return ofDocuments(gunzipSync(bytes).toString().split('\n'));
  } catch {
    return 'error';
  }
}

/** A file whose last bytes say where all else is. */
function whole(original: Buffer, bytes: Buffer): Trusted {
  const cut = bytes.length < original.length && original.subarray(0, bytes.length).equals(bytes);
  return cut ? 'error' : 'either';
}
