import { gzipSync } from 'node:zlib';
import { readEmbeddings } from 'infonce/files';
import { describe, expect, it } from 'vitest';
import { temporaryFolder } from '../support/temporary.js';

const { write } = temporaryFolder('csv');

const NUMBERS = Float32Array.of(1, -0.5, 0.25, 2, 3, 1e-3);

describe('a table', () => {
  it.each<readonly [string, string]>([
    ['of numbers', '1,-0.5\n0.25,2\n3,1e-3\n'],
    ['with a header', 'x,y\n1,-0.5\n0.25,2\n3,1e-3'],
    ['of pandas, without its own names', '0,1\n1,-0.5\n0.25,2\n3,0.001\n'],
    ['of pandas, with the index', ',0,1\n0,1,-0.5\n1,0.25,2\n2,3,0.001\n'],
    ['of R, with row names', '"","V1","V2"\n"1",1,-0.5\n"2",0.25,2\n"3",3,0.001\n'],
    ['with ids and labels', 'id,label,x,y\na,0,1,-0.5\nb,1,.25,2\nc,0,3,1E-3\n'],
    ['without a header, with ids', 'a,1,-0.5\nb,0.25,2\nc,3,1e-3\n'],
    ['with arrays of JSON', 'text,embedding\n"a,b","[1, -0.5]"\n"c\nd","[0.25,2]"\ne,"[3, 0.001]"\n'],
    ["with arrays of NumPy's print", 'embedding\n[ 1.  -0.5]\n"[0.25 2.  ]"\n"[3.e+00\n 1.e-03]"\n'],
    ['with arrays alone, without a header', '"[1, -0.5]"\n"[0.25, 2]"\n"[3, 0.001]"\n'],
    ['of semicolons', 'x;y\n1;-0.5\n0.25;2\n3;1e-3\n'],
    ['of quoted cells', '"x","y"\n"1","-0.5"\n" 0.25","2 "\n"3","1e-3"\n'],
    ['of Windows, with a byte order mark and empty lines', '\uFEFFx,y\r\n1,-0.5\r\n\r\n0.25,2\r\n3,1e-3\r\n\r\n'],
  ])('%s', async (_what, content) => {
    const { data, dtype, shape } = await readEmbeddings(write('rows.csv', content));
    expect([data, dtype, shape]).toEqual([NUMBERS, 'float32', [3, 2]]);
  });

  it('of tabs, and packed', async () => {
    const content = 'x\ty\n1\t-0.5\n0.25\t2\n3\t1e-3\n';
    for (const file of [
      write('rows.tsv', content),
      write('rows.csv', content),
      write('rows.tsv.gz', gzipSync(content)),
    ]) {
      expect((await readEmbeddings(file)).data).toEqual(NUMBERS);
    }
  });

  it('whose columns are named', async () => {
    const file = write('named.csv', 'n,e0,e1,f\n9,1,-0.5,[7]\n9,0.25,2,[8]\n9,3,1e-3,[9]\n');
    expect((await readEmbeddings(file, { column: ['e0', 'e1'] })).data).toEqual(NUMBERS);
    expect((await readEmbeddings(file, { column: 'e*' })).data).toEqual(NUMBERS);
    expect((await readEmbeddings(file, { column: 'f' })).data).toEqual(Float32Array.of(7, 8, 9));
    expect((await readEmbeddings(file, { column: ['e1', 'n'] })).shape).toEqual([3, 2]);
  });

  it('with ids and labels has them', async () => {
    const { ids, labels } = await readEmbeddings(
      write('labels.csv', 'id,class,x,y\n7,cat,1,2\n8,dog,3,4\n9,cat,5,6\n'),
    );
    expect([ids, labels]).toEqual([['7', '8', '9'], Int32Array.of(0, 1, 0)]);
    const numbered = await readEmbeddings(write('labels.csv', 'label,x\n3,1\n-1,2\n'));
    expect([numbered.ids, numbered.labels]).toEqual([undefined, Int32Array.of(3, -1)]);
  });

  it.each<readonly [string, string, RegExp]>([
    ['nothing in it', '\n', /got no rows/],
    ['no byte', '', /got an empty file/],
    ['a header alone', 'x,y\n', /got no rows/],
    [
      'a shorter row',
      'x,y\n1,2\n3\n',
      /expected 2 cells in each row, as in the first, got 1 in row 1 \(counted from 0\), line 3/,
    ],
    ['a longer row', '1,2\n3,4,5\n', /expected 2 cells in each row, as in the first, got 3 in row 1/],
    [
      'shorter arrays',
      'embedding\n"[1,2]"\n"[3]"\n',
      /expected 2 numbers in each row, as in the first, got 1 in row 1/,
    ],
    ['NaN', 'x,y\n1,2\n3,nan\n', /expected finite numbers, got "nan" in row 1, column 1 \(counted from 0\), line 3/],
    ['an empty cell', 'x,y\n1,\n3,4\n', /got "" in row 0, column 1/],
    ['a word', 'x,y\n1,2\n3,four\n', /got "four" in row 1, column 1/],
    ['a decimal comma', 'x;y\n1;2\n3;4,5\n', /got "4,5" in row 1, column 1/],
    ['too large a number', 'x,y\n1,1e39\n', /got "1e39", which is too large for float32, in row 0, column 1/],
    ['a column of text', 'text,x\nto be,1\n', /something else in the column "text"\. .*--column.*'e\*'/],
    ['two columns of arrays', 'a,b\n[1],[2]\n', /expected one column of arrays, got "a", "b"/],
    ['a shortened array of NumPy', 'embedding\n"[1. 2. ... 3. 4.]"\n', /got "\.\.\." in row 0, column 2/],
    ['no array among arrays', 'embedding\n[1]\nnone\n', /an array of numbers, as in \[0\.5, -1\], got "none" in row 1/],
    ['a quote without an end', 'x,y\n"1,2\n3,4\n', /expected comma-separated values, got .*[Qq]uote/],
  ])('with %s is an error with file and row', async (_what, content, message) => {
    const file = write('bad.csv', content);
    await expect(readEmbeddings(file)).rejects.toMatchObject({
      code: 'ERR_INFONCE_FILE',
      argument: file,
      message: expect.stringMatching(message),
    });
  });

  it('without the column that is named is an error', async () => {
    const file = write('named.csv', 'x0,x1\n1,2\n');
    await expect(readEmbeddings(file, { column: 'x2' })).rejects.toThrow(
      /a column "x2", got none\. Did you mean 'x0'\?/,
    );
    await expect(readEmbeddings(file, { column: 'e*' })).rejects.toThrow(
      /a column "e\*", got none\. There are: "x0", "x1"/,
    );
  });
});
