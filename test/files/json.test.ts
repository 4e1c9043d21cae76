import { gzipSync } from 'node:zlib';
import { readEmbeddings } from 'infonce/files';
import { describe, expect, it } from 'vitest';
import { temporaryFolder } from '../support/temporary.js';

const { write } = temporaryFolder('json');

/** Three rows of two numbers. */
const ROWS = [
  [1, -0.5],
  [0.25, 2],
  [3, 1e-3],
] as const;
const NUMBERS = Float32Array.from(ROWS.flat());
const lines = (rows: readonly unknown[]) => rows.map(row => JSON.stringify(row)).join('\n');
const base64 = (row: readonly number[]) => Buffer.from(Float32Array.from(row).buffer).toString('base64');

describe('JSON lines', () => {
  it.each<readonly [string, string]>([
    ['arrays', lines(ROWS)],
    ['objects', lines(ROWS.map((embedding, i) => ({ id: i, text: 'a', embedding })))],
    ['another usual name', lines(ROWS.map(vector => ({ tags: ['a'], vector })))],
    ['the only array', lines(ROWS.map(mine => ({ mine, text: 'a' })))],
    ['typed arrays, as JSON.stringify() writes them', lines(ROWS.map(row => ({ embedding: Float32Array.from(row) })))],
    ['typed arrays alone', lines(ROWS.map(row => Float64Array.from(row)))],
    ['Buffers', lines(ROWS.map(row => ({ embedding: Buffer.from(Float32Array.from(row).buffer) })))],
    ['base64', lines(ROWS.map(row => ({ embedding: base64(row) })))],
    ['JSON within JSON', lines(ROWS.map(row => ({ embedding: JSON.stringify(row) })))],
    ['text of numbers', lines(ROWS.map(row => ({ embedding: row.map(String) })))],
    ['matrices of one row', lines(ROWS.map(row => [row]))],
    ['line ends of Windows and at the end', `${lines(ROWS).replaceAll('\n', '\r\n')}\r\n`],
    ['empty lines', `\n${lines(ROWS).replaceAll('\n', '\n\n')}\n\n`],
    ['a byte order mark', `\uFEFF${lines(ROWS)}`],
    // JSON allows these in strings; they end no line.
    ['other line ends in texts', lines(ROWS.map(embedding => ({ text: 'a\u2028b\u2029\u0085', embedding })))],
  ])('%s', async (_what, content) => {
    const { data, dtype, shape } = await readEmbeddings(write('rows.jsonl', content));
    expect([data, dtype, shape]).toEqual([NUMBERS, 'float32', [3, 2]]);
  });

  it('a field by its name, and by the path to it', async () => {
    const file = write(
      'named.ndjson',
      lines(ROWS.map(row => ({ embedding: [7], 'a.b': row, response: [{ x: row }] }))),
    );
    for (const column of ['a.b', 'response.0.x', ['a.b']]) {
      expect((await readEmbeddings(file, { column })).data).toEqual(NUMBERS);
    }
  });

  it('packed with gzip', async () => {
    const file = write('rows.jsonl.gz', gzipSync(lines(ROWS)));
    expect((await readEmbeddings(file)).data).toEqual(NUMBERS);
  });

  it('lines longer than what is read at once, and characters across its borders', async () => {
    const long = ROWS.map((embedding, i) => ({ text: 'ä€😀'.repeat(70_000 + i), embedding }));
    expect((await readEmbeddings(write('long.jsonl', lines(long)))).data).toEqual(NUMBERS);
  });

  it('ids and labels, where each row has them', async () => {
    const rows = ROWS.map((embedding, i) => ({ id: `doc${i}`, label: ['cat', 'dog', 'cat'][i], embedding }));
    const { ids, labels, ...tensor } = await readEmbeddings(write('labels.jsonl', lines(rows)));
    expect([ids, labels]).toEqual([['doc0', 'doc1', 'doc2'], Int32Array.of(0, 1, 0)]);
    // What is left is a tensor and no more.
    expect(Object.keys(tensor).sort()).toEqual(['data', 'dtype', 'shape']);
    const numbered = ROWS.map((embedding, i) => ({ _id: i, class: 5 - i, embedding }));
    const read = await readEmbeddings(write('labels.jsonl', lines(numbered)));
    expect([read.ids, read.labels]).toEqual([['0', '1', '2'], Int32Array.of(5, 4, 3)]);
    const some = ROWS.map((embedding, i) => ({ id: i === 1 ? null : i, label: i === 2 ? undefined : i, embedding }));
    const partly = await readEmbeddings(write('labels.jsonl', lines(some)));
    expect([partly.ids, partly.labels]).toEqual([undefined, undefined]);
  });

  it.each<readonly [string, string, RegExp]>([
    ['no rows', '\n\n', /expected an embedding in each row, got no rows/],
    [
      'shorter rows',
      '[1,2]\n[3]',
      /expected 2 numbers in each row, as in the first, got 1 in row 1 \(counted from 0\), line 2/,
    ],
    ['longer rows', '\n[1,2]\n\n[3,4,5]', /got 3 in row 1 \(counted from 0\), line 4 of the file/],
    ['empty rows', '[]\n[]', /expected numbers in each row, got none in row 0/],
    ['NaN', '[1,2]\n[NaN,1]', /expected JSON in each line, got "\[NaN,1\]" in line 2: .*JSON has no NaN/],
    ['null', '[1,2]\n[3,null]', /expected finite numbers, got null in row 1, column 1 \(counted from 0\), line 2/],
    ['text', '[1,2]\n["NaN",1]', /got "NaN" in row 1, column 0/],
    ['empty text', '["",2]', /got "" in row 0, column 0/],
    ['truth', '[true,2]', /got true in row 0, column 0/],
    ['arrays of arrays', '[[1,2],[3,4]]', /expected finite numbers, got an array in row 0, column 0/],
    ['too large a number', '[1,2]\n[1,1e300]', /got 1e\+300, which is too large for float32, in row 1, column 1/],
    [
      'a missing field',
      '{"embedding":[1]}\n{"text":"a"}',
      /a field "embedding", got none in row 1 .*line 2.*There are: "text"/,
    ],
    ['an empty field', '{"embedding":[1]}\n{"embedding":null}', /a field "embedding", got none in row 1/],
    ['no array', '{"text":"a","n":1}', /an object with one array of numbers, got the fields "text", "n"\. .*--column/],
    ['several arrays', '{"a":[1],"b":[2]}', /got the fields "a", "b"/],
    ['words as the embedding', '{"embedding":"to be"}', /an array of numbers, got "to be" in row 0/],
    ['base64 of another length', '{"embedding":"AAAAAAA="}', /an array of numbers, got "AAAAAAA="/],
    ['an object as the embedding', '{"embedding":{"x":1}}', /an array of numbers, got an object of "x" in row 0/],
    ['a number', '3', /an array of numbers, got 3 in row 0/],
    ['one document over several lines', '[\n[1,2],\n[3,4]\n]', /got "\[" in line 1.*its format is 'json'/],
    ['something else', 'a,b\n1,2', /expected JSON in each line, got "a,b" in line 1/],
  ])('%s are an error with file and row', async (_what, content, message) => {
    const file = write('bad.jsonl', content);
    await expect(readEmbeddings(file)).rejects.toMatchObject({
      code: 'ERR_INFONCE_FILE',
      argument: file,
      message: expect.stringMatching(message),
    });
  });

  it.each<readonly [string, string, string | Uint8Array, RegExp]>([
    ['UTF-16', 'u.jsonl', Buffer.from('\uFEFF[1,2]', 'utf16le'), /expected text in UTF-8, got UTF-16/],
    ['gzip under another name', 'g.jsonl', gzipSync('[1,2]'), /got a file packed with gzip\. Unpack it/],
    ['what is not packed', 'n.jsonl.gz', '[1,2]', /expected a file packed with gzip, got incorrect header check/],
    [
      'what was cut off',
      'c.jsonl.gz',
      gzipSync('[1,2]'.repeat(99)).subarray(0, 20),
      /gzip, got unexpected end of file/,
    ],
  ])('%s', async (_what, name, content, message) => {
    await expect(readEmbeddings(write(name, content))).rejects.toThrow(message);
  });

  it('a misspelt field', async () => {
    const file = write('named.jsonl', lines(ROWS.map(embedding => ({ embedding }))));
    await expect(readEmbeddings(file, { column: 'embeding' })).rejects.toThrow("Did you mean 'embedding'?");
    await expect(readEmbeddings(file, { column: ['a', 'b'] })).rejects.toMatchObject({ code: 'ERR_INFONCE_TYPE' });
  });
});

describe('JSON', () => {
  const api = { object: 'list', data: ROWS.map((embedding, index) => ({ index, embedding })), model: 'm', usage: {} };

  it.each<readonly [string, unknown]>([
    ['an array of arrays', ROWS],
    ['an array of objects', ROWS.map((embedding, id) => ({ id, embedding }))],
    ['an array of typed arrays', ROWS.map(row => Float32Array.from(row))],
    ['an object with the rows', { model: 'm', embeddings: ROWS }],
    ["an API's answer", api],
    ["pandas' columns by row", { id: { 0: 'a', 1: 'b', 2: 'c' }, embedding: { ...ROWS } }],
    ["pandas' rows by row", { ...ROWS.map((embedding, i) => ({ id: `doc${i}`, embedding })) }],
    ['rows by id', Object.fromEntries(ROWS.map((row, i) => [`doc${i}`, row]))],
  ])('%s', async (_what, document) => {
    const { data, shape } = await readEmbeddings(write('rows.json', JSON.stringify(document, null, 1)));
    expect([data, shape]).toEqual([NUMBERS, [3, 2]]);
  });

  it('rows by id have ids', async () => {
    const { ids } = await readEmbeddings(write('rows.json', JSON.stringify({ a: ROWS[0], b: ROWS[1] })));
    expect(ids).toEqual(['a', 'b']);
  });

  it('the rows by the path to them, and the field of each', async () => {
    const file = write('deep.json', JSON.stringify({ out: { texts: [['a']], vectors: ROWS }, other: [[1]] }));
    expect((await readEmbeddings(file, { column: 'out.vectors' })).data).toEqual(NUMBERS);
    const named = write('named.json', JSON.stringify(ROWS.map(row => ({ embedding: [1], mine: row }))));
    expect((await readEmbeddings(named, { column: 'mine' })).data).toEqual(NUMBERS);
  });

  it.each<readonly [string, string, RegExp]>([
    ['lines', '[1,2]\n[3,4]', /expected one JSON document, got .*its format is 'jsonl'/],
    ['NaN', '[[1,2],[NaN,4]]', /expected one JSON document, got .*JSON has no NaN/],
    ['a text', '"abc"', /expected an array or an object, got string/],
    ['one row', '[1,2,3]', /expected an array of numbers, got 1 in row 0/],
    ['nothing in it', '[]', /got no rows/],
    ['an empty object', '{}', /expected an array of rows, got an object of none/],
    ['several arrays of rows', '{"a":[[1]],"b":[[2]]}', /expected one array of rows, got "a", "b"\. .*--column/],
    [
      'a ragged row',
      '[[1,2],[3]]',
      /expected 2 numbers in each row, as in the first, got 1 in row 1 \(counted from 0\)/,
    ],
    ['an empty file', '', /expected embeddings, got an empty file/],
    ['a file of spaces', ' ', /expected one JSON document/],
  ])('%s is an error', async (_what, content, message) => {
    await expect(readEmbeddings(write('bad.json', content))).rejects.toMatchObject({
      code: 'ERR_INFONCE_FILE',
      message: expect.stringMatching(message),
    });
  });
});
