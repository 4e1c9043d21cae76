import { infoNCESync } from 'infonce';
import { readEmbeddings } from 'infonce/files';
import { describe, expect, it } from 'vitest';
import { fromHalf, toHalf } from '../support/half.js';
import { temporaryFolder } from '../support/temporary.js';

const { write } = temporaryFolder('packed');

const NUMBERS = Float32Array.of(1, -0.5, 0.25, 2, 3, -4);
const bytesOf = (array: Float32Array | Uint16Array | Float64Array) => Buffer.from(array.buffer.slice(0));

/** Rows with their length before them. */
function vectors(rows: readonly (readonly number[])[], pack: (row: readonly number[]) => Buffer): Buffer {
  return Buffer.concat(rows.flatMap(row => [Buffer.from(Int32Array.of(row.length).buffer), pack(row)]));
}
const floats = (row: readonly number[]) => bytesOf(Float32Array.from(row));

describe('vectors of TEXMEX', () => {
  it('.fvecs', async () => {
    const file = write(
      'a.fvecs',
      vectors(
        [
          [1, -0.5, 0.25],
          [2, 3, -4],
        ],
        floats,
      ),
    );
    const { data, dtype, shape } = await readEmbeddings(file);
    expect([data, dtype, shape]).toEqual([NUMBERS, 'float32', [2, 3]]);
  });

  it('.bvecs, whose rows begin at odd bytes', async () => {
    const rows = Array.from({ length: 5 }, (_, row) => [row, 255 - row, 7]);
    const { data, shape } = await readEmbeddings(
      write(
        'a.bvecs',
        vectors(rows, row => Buffer.from(row)),
      ),
    );
    expect([data, shape]).toEqual([Float32Array.from(rows.flat()), [5, 3]]);
  });

  it('more of them than are read at once', async () => {
    const rows = Array.from({ length: 3000 }, (_, row) => Array.from({ length: 100 }, (_, k) => row - k / 4));
    const { data } = await readEmbeddings(write('many.fvecs', vectors(rows, floats)));
    expect(Buffer.from(data.buffer).equals(floats(rows.flat()))).toBe(true);
  });

  it.each<readonly [string, Buffer, RegExp]>([
    [
      'rows of other lengths',
      vectors([[1, 2], [3, 4, 5], [6]], floats),
      /expected 2 numbers in each row, as in the first, got 3 in row 1/,
    ],
    [
      'a last row that was cut off',
      vectors(
        [
          [1, 2],
          [3, 4],
        ],
        floats,
      ).subarray(0, 22),
      /expected rows of 12 bytes, for 2 numbers each, got 22 bytes/,
    ],
    ['another format', Buffer.from('embedding'), /expected the dimension of the first row, got 1\d+/],
    ['no rows', Buffer.alloc(0), /expected embeddings, got an empty file/],
    ['a dimension of 0', Buffer.alloc(8), /expected the dimension of the first row, got 0/],
  ])('with %s are an error', async (_what, content, message) => {
    await expect(readEmbeddings(write('bad.fvecs', content))).rejects.toMatchObject({
      code: 'ERR_INFONCE_FILE',
      message: expect.stringMatching(message),
    });
  });
});

describe('numbers alone', () => {
  it.each(['a.f32', 'a.raw', 'a.bin'])('%s', async name => {
    const { data, shape } = await readEmbeddings(write(name, bytesOf(NUMBERS)), { dim: 3 });
    expect([data, shape]).toEqual([NUMBERS, [2, 3]]);
  });

  it('need a dim that divides them', async () => {
    const file = write('a.f32', bytesOf(NUMBERS));
    await expect(readEmbeddings(file)).rejects.toMatchObject({ code: 'ERR_INFONCE_TYPE', argument: 'dim' });
    await expect(readEmbeddings(file, { dim: 4 })).rejects.toThrow(
      /rows of 16 bytes, for 4 float32 numbers each, got 24/,
    );
    await expect(readEmbeddings(write('a.f32', ''), { dim: 4 })).rejects.toThrow(/got an empty file/);
  });
});

/** A file of tensors, one after the other. */
function safetensors(tensors: Readonly<Record<string, { dtype: string; shape: number[]; bytes: Buffer }>>): Buffer {
  let end = 0;
  const entries = Object.entries(tensors).map(([name, { dtype, shape, bytes }]) => {
    const begin = end;
    end += bytes.length;
    return [name, { dtype, shape, data_offsets: [begin, end] }] as const;
  });
  const header = Buffer.from(JSON.stringify({ __metadata__: { format: 'pt' }, ...Object.fromEntries(entries) }));
  const length = Buffer.from(BigUint64Array.of(BigInt(header.length)).buffer);
  return Buffer.concat([length, header, ...Object.values(tensors).map(({ bytes }) => bytes)]);
}

describe('safetensors', () => {
  const f32 = { dtype: 'F32', shape: [2, 3], bytes: bytesOf(NUMBERS) };
  const halfOf = (dtype: 'float16' | 'bfloat16') => toHalf({ data: NUMBERS, shape: [2, 3] }, dtype).data;

  it.each([
    ['F32', bytesOf(NUMBERS), 'float32'],
    ['F64', bytesOf(Float64Array.from(NUMBERS)), 'float32'],
    ['F16', bytesOf(halfOf('float16')), 'float16'],
    ['BF16', bytesOf(halfOf('bfloat16')), 'bfloat16'],
  ] as const)('%s', async (dtype, bytes, becomes) => {
    const read = await readEmbeddings(write('a.safetensors', safetensors({ e: { dtype, shape: [2, 3], bytes } })));
    expect([read.dtype, read.shape]).toEqual([becomes, [2, 3]]);
    const values = read.dtype === 'float32' ? read.data : fromHalf(read).data;
    expect(values).toEqual(NUMBERS);
  });

  it('the only matrix, or the one that is named', async () => {
    const bias = { dtype: 'F32', shape: [2], bytes: Buffer.alloc(8) };
    const file = write(
      'several.safetensors',
      safetensors({ bias, e: f32, ids: { ...bias, dtype: 'I64', shape: [1] } }),
    );
    expect((await readEmbeddings(file)).data).toEqual(NUMBERS);
    const both = write('both.safetensors', safetensors({ other: { ...f32, bytes: Buffer.alloc(24) }, e: f32 }));
    expect((await readEmbeddings(both, { column: 'e' })).data).toEqual(NUMBERS);
    await expect(readEmbeddings(both)).rejects.toThrow(/expected one matrix, got "other", "e"\. .*--column/);
    await expect(readEmbeddings(both, { column: 'othr' })).rejects.toThrow("Did you mean 'other'?");
  });

  it.each<readonly [string, Buffer, RegExp]>([
    ['another format', Buffer.from('[1, 2, 3, 4, 5, 6]'), /expected the header of a safetensors file, got none/],
    ['nothing', Buffer.alloc(0), /got an empty file/],
    ['a length alone', Buffer.alloc(8), /expected the header/],
    ['a header that is cut off', safetensors({ e: f32 }).subarray(0, 30), /expected the header/],
    [
      'numbers that are cut off',
      safetensors({ e: f32 }).subarray(0, -4),
      /expected 24 bytes for shape \[2, 3\], got 20/,
    ],
    ['another shape', safetensors({ e: { ...f32, shape: [2, 4] } }), /expected 32 bytes for shape \[2, 4\], got 24/],
    ['one dimension', safetensors({ e: { ...f32, shape: [6] } }), /expected a matrix as tensor "e", got shape \[6\]/],
    [
      'integers',
      safetensors({ e: { ...f32, dtype: 'I32' } }),
      /one of the types F32, F16, BF16, F64 of the tensor "e", got I32/,
    ],
    ['no tensors', safetensors({}), /expected one matrix, got none/],
  ])('with %s is an error', async (_what, content, message) => {
    await expect(readEmbeddings(write('bad.safetensors', content))).rejects.toMatchObject({
      code: 'ERR_INFONCE_FILE',
      message: expect.stringMatching(message),
    });
  });
});

it('what is read is a tensor that the losses take', async () => {
  const query = await readEmbeddings(write('a.f32', bytesOf(NUMBERS)), { dim: 3 });
  const tensor = { data: NUMBERS, shape: [2, 3] };
  const { loss } = infoNCESync({ query, positiveKey: query, temperature: 0.5 });
  expect(loss).toBe(infoNCESync({ query: tensor, positiveKey: tensor, temperature: 0.5 }).loss);
});
