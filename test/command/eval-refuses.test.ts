import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { normal } from '../../lib/reference/random.js';
import { infonce, spawnInfonce } from '../support/command.js';
import { writeNpy } from '../support/npy.js';

let folder: string;
let good: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'infonce-eval-'));
  good = writeNpy(at('good.npy'), [12, 4], normal([12, 4], 1).data);
});
afterAll(() => rmSync(folder, { recursive: true }));

const at = (name: string) => path.join(folder, name);
const numbers = new Float32Array(48);

function text(content: string): string {
  writeFileSync(at('text'), content, 'latin1');
  return at('text');
}

async function expectRefusal(words: readonly string[], code: number, message: RegExp): Promise<void> {
  const { exit, stdout, stderr } = await infonce(['eval', ...words, '--json']);
  expect(stderr).toMatch(message);
  expect(stderr).not.toMatch(/^\s+at /m);
  expect(exit).toBe(code);
  expect(JSON.parse(stdout)).toEqual({ error: expect.objectContaining({ exit: code }) });
}

describe('a file', () => {
  it.each<readonly [string, number, RegExp, () => string]>([
    [
      'that is not there',
      3,
      /nowhere\.npy: expected a file that can be read, got none: there is no such file/,
      () => at('nowhere.npy'),
    ],
    [
      'that is a folder',
      1,
      /folder: expected a file, got a folder\. Name the files in it/,
      () => (mkdirSync(at('folder')) === undefined ? at('folder') : ''),
    ],
    ['of another format', 1, /expected a \.npy file, got another format\. .*np\.save/, () => text('1,2,3\n')],
    ['that is empty', 1, /expected embeddings, got an empty file\. Was it written to its end\?/, () => text('')],
    [
      'called -',
      3,
      /-: expected a file that can be read, got none.*\. Files are read more than once.*save it/,
      () => '-',
    ],
    ['that is an archive', 1, /got a \.npz archive\. .*one by one/, () => text('PK\x03\x04')],
    ['of an unknown version', 1, /version 1, 2 or 3 of the \.npy format, got version 52/, () => text('\x93NUMPY4 ')],
    [
      'without a header',
      1,
      /expected a header with descr, fortran_order and shape/,
      () => writeNpy(at('bad.npy'), [], numbers, { header: '{}' }),
    ],
    [
      'that ends in its header',
      1,
      /expected a header/,
      () => {
        writeNpy(at('bad.npy'), [12, 4], numbers);
        truncateSync(at('bad.npy'), 40);
        return at('bad.npy');
      },
    ],
    [
      'that was cut off',
      1,
      /expected 320 bytes for shape \(12, 4\), got 319\. It was cut off/,
      () => {
        writeNpy(at('bad.npy'), [12, 4], numbers);
        truncateSync(at('bad.npy'), 319);
        return at('bad.npy');
      },
    ],
    [
      'with more than its array',
      1,
      /expected 316 bytes for shape \(47, 1\), got 320\. Save one array in a file/,
      () => writeNpy(at('bad.npy'), [47, 1], numbers),
    ],
    [
      'of objects',
      1,
      /types <f4, <f2, <f8, got \|O\. Python objects are no matrix/,
      () => writeNpy(at('bad.npy'), [12, 4], numbers, { type: '|O' }),
    ],
    ['of integers', 1, /got <i4\. Save array\.astype/, () => writeNpy(at('bad.npy'), [12, 4], new Int32Array(48))],
    [
      'of records',
      1,
      /got \[\('x', '<f4'\)\]/,
      () =>
        writeNpy(at('bad.npy'), [], numbers, {
          header: "{'descr': [('x', '<f4')], 'fortran_order': False, 'shape': (48,), }",
        }),
    ],
    ['of one dimension', 1, /got shape \(48\)\. Save it in two/, () => writeNpy(at('bad.npy'), [48], numbers)],
    ['of three dimensions', 1, /got shape \(2, 6, 4\)\. .*reshape/, () => writeNpy(at('bad.npy'), [2, 6, 4], numbers)],
    ['without rows', 1, /got shape \(0, 4\)/, () => writeNpy(at('bad.npy'), [0, 4], new Float32Array(0))],
    ['of one sample', 1, /expected at least two samples/, () => writeNpy(at('bad.npy'), [2, 24], numbers)],
  ])('%s is refused', (_what, code, message, write) => expectRefusal([write()], code, message));

  it.each<readonly [string, RegExp, () => string]>([
    ['of another shape', /expected shape \(12, 4\).*got \(24, 2\)/, () => writeNpy(at('other.npy'), [24, 2], numbers)],
    [
      'of another type',
      /expected float32.*got float16\. Save both in the same type/,
      () => writeNpy(at('other.npy'), [12, 4], new Uint16Array(48)),
    ],
  ])('%s than the first is refused', (_what, message, write) =>
    expectRefusal([good, write(), '--loss', 'clip'], 1, message),
  );
});

describe('labels', () => {
  it.each<readonly [string, number, RegExp, () => string]>([
    ['that are not there', 3, /nowhere: .*there is no such file/, () => at('nowhere')],
    ['of the wrong number', 1, /expected 12 labels, got 3\./, () => text('1\n2\n3\n')],
    ['that are words', 1, /expected an integer in each line, got "cat" in line 2\./, () => text('1\ncat\n3')],
    ['that are fractions', 1, /got "0\.5" in line 1/, () => text('0.5\n')],
    ['with an empty line', 1, /got nothing in line 2/, () => text('1\n\n3\n')],
    ['beyond what a number holds', 1, /got "9007199254740993" in line 1/, () => text('9007199254740993\n')],
    ['that are none', 1, /expected an integer in each line, got none/, () => text('\n')],
    [
      'of floating point',
      1,
      /got <f4\. Save labels\.astype\(np\.int32\)/,
      () => writeNpy(at('labels.npy'), [12], new Float32Array(12)),
    ],
    // np.unique() numbers text, which astype() calls int() of; objects it compares with each other, so text is made of them.
    [
      'of text',
      1,
      /got <U1\. Number the classes: save np\.unique\(labels, return_inverse=True\)\[1\]/,
      () => writeNpy(at('labels.npy'), [12], new Int32Array(12), { type: '<U1' }),
    ],
    [
      'of objects',
      1,
      /got \|O\. .*np\.unique\(labels\.astype\(str\), return_inverse=True\)\[1\]/,
      () => writeNpy(at('labels.npy'), [12], new Int32Array(12), { type: '|O' }),
    ],
    [
      'in a matrix',
      1,
      /got shape \(3, 4\)\. Save labels\.argmax\(-1\) where each row is one-hot, labels\.reshape\(-1\)/,
      () => writeNpy(at('labels.npy'), [3, 4], new Int32Array(12)),
    ],
  ])('%s are refused', (_what, code, message, write) =>
    expectRefusal([good, '--loss', 'supcon', '--labels', write()], code, message),
  );
});

it.each<readonly [readonly string[], RegExp]>([
  [[], /missing required argument 'file'/],
  [['FILE', '--loss', 'triplet'], /'triplet' is invalid\. Allowed choices are ntxent, infonce, clip, supcon/],
  [['FILE', '--views', '0'], /Expected an integer of at least 1|from 1 to/],
  [['FILE', '--views', '1'], /--loss ntxent needs at least two views/],
  [['FILE', '--views', '5'], /good\.npy has 12 rows, which 5 views do not divide/],
  [['FILE', 'FILE', '--views', '3'], /--views is 3, but there are 2 files/],
  [['FILE', '--loss', 'clip', '--views', '3'], /--loss clip compares two views; there are 3/],
  [['FILE', 'FILE', 'FILE', '--loss', 'infonce'], /--loss infonce compares two views; there are 3/],
  [['FILE', 'FILE', '--layout', 'samples'], /--layout samples is about the rows of one file/],
  [['FILE', '--loss', 'supcon'], /--loss supcon needs --labels/],
  [['FILE', '--format', 'raw'], /dim: expected how many numbers a row of .*good\.npy has, got undefined\. .*--dim/],
  [['FILE', '--format', 'parqet'], /'parqet' is invalid\. Allowed choices are npy, jsonl, /],
  [['FILE', '--format', 'jsonl', '--column', 'a,b'], /column: expected one name with the format jsonl, got 2 names/],
  [['FILE', '--labels', 'FILE'], /--labels goes with --loss supcon/],
  [['FILE', 'FILE', '--loss', 'clip', '--positives', 'all'], /--positives goes with --loss ntxent/],
  [['FILE', '--temperature', '0'], /'--temperature <number>' argument '0' is invalid\. Expected a number from/],
  [['FILE', '--temperature', 'warm'], /argument 'warm' is invalid/],
  [['FILE', '--temperatures', '0.1,,0.2'], /'0\.1,,0\.2' is invalid/],
  [['FILE', '--batch', '1'], /'--batch <samples>' argument '1' is invalid\. Expected an integer/],
  [['FILE', '--threads', '1.5'], /'--threads <count>' argument '1\.5' is invalid/],
  [['FILE', '--device', 'gpu'], /argument 'gpu' is invalid\. Expected 'auto', 'cpu', 'cuda' or 'cuda:N'/],
  [['FILE', '--qrels', 'FILE'], /--qrels needs two files, of queries and of documents; there are 1/],
  [['FILE', 'FILE', '--qrels', 'FILE', '--loss', 'clip'], /--qrels goes with --loss infonce, not clip/],
  [['FILE', 'FILE', '--qrels', 'FILE', '--temperatures', '0.1'], /--temperatures does not go with --qrels/],
  [['FILE', 'FILE', '--query-ids', 'FILE'], /--query-ids goes with --qrels/],
  [['FILE', '--nope'], /unknown option '--nope'\nSee infonce eval --help/],
])('refuses %j', (words, message) =>
  expectRefusal(
    words.map(word => (word === 'FILE' ? good : word)),
    2,
    message,
  ),
);

it('ends with 3 where the device cannot be used', () => {
  const env = { INFONCE_CUDA_LIBRARY: at('no-such.so') };
  const { exit, stderr } = spawnInfonce(['eval', good, '--device', 'cuda'], { env });
  expect([exit, stderr]).toEqual([3, expect.stringMatching(/no-such\.so: there is no such file/)]);
});

it.each([
  ['INFONCE_DEVICE', 'gpu', "expected 'auto', 'cpu', 'cuda' or 'cuda:N', got \"gpu\""],
  ['INFONCE_THREADS', 'abc', `expected an integer from 1 to ${Math.max(64, 4 * availableParallelism())}, got "abc"`],
  ['INFONCE_PRECISION', 'ultra', "expected one of 'highest', 'high', 'medium', got \"ultra\""],
])('names the variable %s where it is wrong', async (name, value, says) => {
  const { exit, stderr } = await infonce(['eval', good], { env: { INFONCE_DEVICE: 'cpu', [name]: value } });
  expect([exit, stderr]).toEqual([1, expect.stringContaining(`${name}: ${says}`)]);
});
