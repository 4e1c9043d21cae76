import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { readEmbeddings, writeNpy } from 'infonce/files';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fromHalf, toHalf } from '../support/half.js';
import { writeNpy as save } from '../support/npy.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'infonce-npy-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const at = (name: string) => path.join(folder, name);

/** Numbers that every type holds exactly. */
const VALUES = Float32Array.of(1, -2, 0.5, 1024, -0.25, 3);
const header = (text: string) => save(at('header.npy'), [2, 3], VALUES, { header: text });

// Each was loaded or refused by np.load of NumPy 2.4.6. Its rules: the header is a literal, read by ast.literal_eval, "a
// dictionary of three keys", and "a reader MUST NOT depend on" their order (numpy/lib/format.py, "Format Version 1.0").
describe('a header', () => {
  it.each<readonly [string, string]>([
    ['as NumPy writes it', "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"],
    ['in another order', "{'shape': (2, 3), 'fortran_order': False, 'descr': '<f4'}"],
    ['in double quotes', '{"descr": "<f4", "fortran_order": False, "shape": (2, 3)}'],
    ['in three quotes', "{'descr': '''<f4''', \"\"\"fortran_order\"\"\": False, 'shape': (2, 3)}"],
    ['without spaces', "{'descr':'<f4','fortran_order':False,'shape':(2,3)}"],
    ['over several lines', " {'descr': '<f4',\n\t'fortran_order': False,\r\n 'shape': (2,\n 3)}"],
    ['with commas at the end', "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3,),}"],
    ['with a comment', "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)} # saved by hand"],
    ['in parentheses', "({'descr': ('<f4'), 'fortran_order': (False), 'shape': ((2), 3)})"],
    ['with the long integers of Python 2', "{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 3L)}"],
    ['with integers of other bases and a sign', "{'descr': '<f4', 'fortran_order': False, 'shape': (0x2, +0b1_1)}"],
    ['with a prefix of strings', "{u'descr': r'<f4', U'fortran_order': False, 'shape': (2, 3)}"],
    ['with a string in parts', "{'descr': '<' \"f4\", 'fortran_order': False, 'shape': (2, 3)}"],
    ['with escapes', "{'d\\x65scr': '\\u003cf\\064', 'fortran_order': False, 'shape': (2, 3)}"],
    ['with a key twice', "{'descr': '<f8', 'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}"],
    ...['=f4', 'f4', '|f4', 'float32', 'single', 'f', '<f'].map(
      type => [`with the type ${type}`, `{'descr': '${type}', 'fortran_order': False, 'shape': (2, 3)}`] as const,
    ),
  ])('%s is read', async (_what, text) => {
    const { data, dtype, shape } = await readEmbeddings(header(text));
    expect([data, dtype, shape]).toEqual([VALUES, 'float32', [2, 3]]);
  });

  it.each([
    ['with another key', "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), 'more': 1}"],
    ['without one', "{'descr': '<f4', 'shape': (2, 3)}"],
    ['with a list as shape', "{'descr': '<f4', 'fortran_order': False, 'shape': [2, 3]}"],
    ['with one number as shape', "{'descr': '<f4', 'fortran_order': False, 'shape': (6)}"],
    ['with fractions as shape', "{'descr': '<f4', 'fortran_order': False, 'shape': (2.0, 3)}"],
    ['with a negative shape', "{'descr': '<f4', 'fortran_order': False, 'shape': (-2, -3)}"],
    ['with a truth as shape', "{'descr': '<f4', 'fortran_order': False, 'shape': (2, True)}"],
    ['with zeros before a number', "{'descr': '<f4', 'fortran_order': False, 'shape': (02, 3)}"],
    ['with a number as order', "{'descr': '<f4', 'fortran_order': 0, 'shape': (2, 3)}"],
    ['with nothing as order', "{'descr': '<f4', 'fortran_order': None, 'shape': (2, 3)}"],
    ['with words of JSON', '{"descr": "<f4", "fortran_order": false, "shape": (2, 3)}'],
    ['with a sum', "{'descr': '<f4', 'fortran_order': False, 'shape': (1+1, 3)}"],
    ['with something behind', "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)} x"],
    ['that does not end', "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)"],
    ['with a string that does not end', "{'descr': '<f4"],
    ['of nothing but brackets', '('.repeat(5000)],
    ['that is a list', "['descr', 'fortran_order', 'shape']"],
    ['that is empty', ''],
  ])('%s is refused', async (_what, text) => {
    await expect(readEmbeddings(header(text))).rejects.toMatchObject({
      code: 'ERR_INFONCE_FILE',
      message: expect.stringContaining('expected a header with descr, fortran_order and shape, got none'),
    });
  });

  it.each(["b'<f4'", "'<float32'", "'F4'", "'f4 '", "'f3'", "'__proto__'", "''"])(
    'with the type %s is refused as NumPy does',
    async type => {
      const file = header(`{'descr': ${type}, 'fortran_order': False, 'shape': (2, 3)}`);
      await expect(readEmbeddings(file)).rejects.toMatchObject({
        message: expect.stringMatching(/header\.npy: expected one of the types <f4, <f2, <f8, got /),
      });
    },
  );
});

/** The bytes of each number turned around. */
function turned(array: Float32Array | Float64Array | Uint16Array): Uint8Array {
  const bytes = Buffer.from(array.buffer.slice(0));
  if (array.BYTES_PER_ELEMENT === 2) return bytes.swap16();
  return array.BYTES_PER_ELEMENT === 4 ? bytes.swap32() : bytes.swap64();
}

const halfOf = (dtype: 'float16' | 'bfloat16') => toHalf({ data: VALUES, shape: [2, 3] }, dtype).data;

describe('numbers', () => {
  it.each<readonly [string, string, ArrayBufferView, string]>([
    ['big-endian float32', '>f4', turned(VALUES), 'float32'],
    ['big-endian float64', '>f8', turned(Float64Array.from(VALUES)), 'float32'],
    ['big-endian float16', '>f2', turned(halfOf('float16')), 'float16'],
    ['float64', 'double', Float64Array.from(VALUES), 'float32'],
    ['float16', 'e', halfOf('float16'), 'float16'],
    // np.save of ml_dtypes' bfloat16 writes '<V2', which NumPy writes for no type of its own.
    ['bfloat16', '<V2', halfOf('bfloat16'), 'bfloat16'],
  ])('%s', async (_what, type, data, dtype) => {
    const read = await readEmbeddings(save(at('numbers.npy'), [2, 3], data, { type }));
    expect([read.dtype, read.shape]).toEqual([dtype, [2, 3]]);
    const values = read.dtype === 'float32' ? read.data : fromHalf(read).data;
    expect(values).toEqual(VALUES);
  });

  it.each(['<f4', '>f4', '<f8', '<f2'])('in Fortran order, %s', async type => {
    const columns = Float32Array.of(1, 1024, -2, -0.25, 0.5, 3);
    const stored =
      type === '<f8'
        ? Float64Array.from(columns)
        : type === '<f2'
          ? toHalf({ data: columns, shape: [6] }, 'float16').data
          : columns;
    const data = type === '>f4' ? turned(columns) : stored;
    const read = await readEmbeddings(save(at('fortran.npy'), [2, 3], data, { type, fortran: true }));
    expect(read.dtype === 'float32' ? read.data : fromHalf(read).data).toEqual(VALUES);
  });

  it.each([1, 2, 3] as const)('version %i of the format', async version => {
    expect((await readEmbeddings(save(at('version.npy'), [2, 3], VALUES, { version }))).data).toEqual(VALUES);
  });

  it('are found by the first bytes, whatever the name, and by the format where it is given', async () => {
    const file = save(at('embeddings.txt'), [2, 3], VALUES);
    expect((await readEmbeddings(file)).data).toEqual(VALUES);
    expect((await readEmbeddings(new URL(`file://${file}`), { format: 'npy', dim: 3 })).data).toEqual(VALUES);
    await expect(readEmbeddings(file, { format: 'jsonl' })).rejects.toMatchObject({ code: 'ERR_INFONCE_FILE' });
    await expect(readEmbeddings(file, { dim: 4 })).rejects.toThrow('expected 4 numbers in each row, got 3.');
  });
});

describe('writeNpy', () => {
  it('writes what NumPy writes', async () => {
    await writeNpy(at('written.npy'), { data: VALUES, shape: [2, 3] });
    expect(readFileSync(at('written.npy'))).toEqual(readFileSync(save(at('saved.npy'), [2, 3], VALUES)));
    await writeNpy(at('written.npy'), { data: halfOf('float16'), dtype: 'float16', shape: [6] });
    expect(readFileSync(at('written.npy'))).toEqual(readFileSync(save(at('saved.npy'), [6], halfOf('float16'))));
  });

  it('writes bfloat16 as float32, which loses nothing', async () => {
    await writeNpy(new URL(`file://${at('written.npy')}`), {
      data: halfOf('bfloat16'),
      dtype: 'bfloat16',
      shape: [2, 3],
    });
    const { data, dtype, shape } = await readEmbeddings(at('written.npy'));
    expect([data, dtype, shape]).toEqual([VALUES, 'float32', [2, 3]]);
  });

  it.each<readonly [unknown, unknown, string, RegExp]>([
    [1, {}, 'ERR_INFONCE_TYPE', /file: expected the path of a file, a string or a file: URL, got 1/],
    [new URL('http://localhost/x.npy'), {}, 'ERR_INFONCE_TYPE', /got "http:\/\/localhost\/x\.npy"/],
    ['x.npy', undefined, 'ERR_INFONCE_TYPE', /tensor: expected a tensor/],
    ['x.npy', { data: [1], shape: [1] }, 'ERR_INFONCE_TYPE', /tensor\.data/],
    ['x.npy', { data: VALUES, shape: [7] }, 'ERR_INFONCE_SHAPE', /tensor\.shape: .*which is 6/],
    ['x.npy', { data: VALUES, shape: [6], dim: 6 }, 'ERR_INFONCE_TYPE', /'dim'/],
    [
      'no/such/folder/x.npy',
      { data: VALUES, shape: [6] },
      'ERR_INFONCE_FILE',
      /expected a file that can be written, got ENOENT/,
    ],
  ])('refuses %j, %j', async (file, tensor, code, message) => {
    const named = typeof file === 'string' ? at(file) : file;
    await expect(writeNpy(named as string, tensor as never)).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
    });
  });
});

// What np.load gives and what then can be called was tried with NumPy 2.4.6 and ml_dtypes 0.6.0; the rule is beside each.
describe('advice', () => {
  it.each<readonly [string, string]>([
    // astype() converts all numbers, truth and spans of time.
    ["'<i4'", 'Save array.astype(np.float32).'],
    ["'|b1'", 'Save array.astype(np.float32).'],
    ["'<f16'", 'Save array.astype(np.float32).'],
    // Of complex numbers it drops a part, with a warning.
    ["'<c8'", 'save array.real.astype(np.float32).'],
    // astype() calls float() of text, which fails for words.
    ["'<U8'", 'or, if the text is numbers, array.astype(np.float32).'],
    ["'|S8'", 'or, if the text is numbers, array.astype(np.float32).'],
    // astype() of objects that are arrays: "setting an array element with a sequence"; np.stack() keeps the type object.
    ["'|O'", 'save np.array(array.tolist(), dtype=np.float32).'],
    // np.load gives ml_dtypes' types as void, '|V2', whose astype() fails: view() says what the bytes are.
    ["'|V2'", 'If it is bfloat16, save array.view(ml_dtypes.bfloat16).astype(np.float32).'],
    ["'<V1'", 'If it is float8_e4m3fn, save array.view(ml_dtypes.float8_e4m3fn).astype(np.float32).'],
    ["'|V12'", 'save array.view(np.float32)'],
    // "data type '<f1' not understood": np.load fails.
    ["'<f1'", 'NumPy itself cannot load this type of ml_dtypes'],
    // astype() of records: "Cannot cast array data"; text among the fields fails in structured_to_unstructured().
    ["[('x', '<f4'), ('y', '>f8')]", "recfunctions.structured_to_unstructured(array[['x', 'y']], dtype=np.float32)."],
    ["[('id', '<U3'), ('x', '<f4'), ('y', '<f4')]", "structured_to_unstructured(array[['x', 'y']], dtype=np.float32)."],
    ["[('id', '<i8'), ('emb', '<f4', (4,))]", "save array['emb'].astype(np.float32)."],
    ["[(('title', 'x'), '<f4'), ('', '|V4'), ('y', '<f4')]", "array[['x', 'y']]"],
    ["[('id', '<U3')]", 'save the field with the numbers, array[name].'],
  ])('of %s', async (descriptor, advice) => {
    const file = header(`{'descr': ${descriptor}, 'fortran_order': False, 'shape': (2, 3)}`);
    await expect(readEmbeddings(file)).rejects.toMatchObject({
      message: expect.stringContaining(`got ${descriptor.replace(/^'|'$/g, '')}. `),
    });
    await expect(readEmbeddings(file)).rejects.toMatchObject({ message: expect.stringContaining(advice) });
  });
});

it('says what a file that is none is', async () => {
  await expect(readEmbeddings(at('nowhere.npy'))).rejects.toMatchObject({
    name: 'InfoNCEError',
    code: 'ERR_INFONCE_NOT_FOUND',
    argument: at('nowhere.npy'),
    message: expect.stringContaining('there is no such file'),
  });
  await expect(readEmbeddings(folder)).rejects.toMatchObject({ code: 'ERR_INFONCE_FILE' });
  writeFileSync(at('text'), 'abc');
  await expect(readEmbeddings(at('text'))).rejects.toThrow('or say which format it has');
});

it.each<readonly [unknown, unknown, RegExp]>([
  [undefined, {}, /file: expected the path/],
  ['x', 3, /options: expected an object of options/],
  ['x', { fromat: 'npy' }, /'fromat'\. Did you mean 'format'\?/],
  ['x', { format: 'parqet' }, /format: expected one of .*Did you mean 'parquet'\?/],
  ['x', { dim: 0 }, /dim: expected an integer of at least 1, got 0/],
  ['x', { column: 3 }, /column: expected the name of a column, or names, got 3/],
  ['x', { column: [] }, /column: expected the name of a column, or names/],
])('readEmbeddings refuses %j, %j', async (file, options, message) => {
  await expect(readEmbeddings(file as string, options as never)).rejects.toMatchObject({
    message: expect.stringMatching(message),
  });
});
