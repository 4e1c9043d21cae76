import { expect, it } from 'vitest';
import type { EvalReport } from '../../lib/command/eval/report.js';
import { randomLabels, viewsOf } from '../../lib/reference/random.js';
import { infonce } from '../support/command.js';
import { toHalf } from '../support/half.js';
import { writeNpy } from '../support/npy.js';
import { temporaryFolder } from '../support/temporary.js';

const { at, write } = temporaryFolder('eval-files');

const [SAMPLES, DIM] = [20, 8];
/** Numbers that bfloat16 holds exactly. */
const data = viewsOf(SAMPLES, 2, DIM, 1.5, 3).data.map(value => Math.round(16 * value) / 16);
const rows = Array.from({ length: 2 * SAMPLES }, (_, row) => [...data.subarray(row * DIM, (row + 1) * DIM)]);

async function evaluate(...words: string[]): Promise<EvalReport> {
  const { exit, stdout, stderr } = await infonce(['eval', '--json', '--batch', '8', ...words]);
  expect([exit, stderr]).toEqual([0, '']);
  return JSON.parse(stdout) as EvalReport;
}

/** All that does not depend on the file's name and the time. */
function figuresOf({ files, spread, ...report }: EvalReport) {
  const figures = Object.entries(report).filter(([name]) => !/econd/.test(name));
  return {
    ...Object.fromEntries(figures),
    files: files.map(({ rows: count, dim }) => [count, dim]),
    ranks: spread.map(each => each.effectiveRank),
  };
}

const wanted = async () => figuresOf(await evaluate(writeNpy(at('rows.npy'), [2 * SAMPLES, DIM], data)));
const lengths = (row: readonly number[]) =>
  Buffer.concat([Buffer.from(Int32Array.of(row.length).buffer), Buffer.from(Float32Array.from(row).buffer)]);

it('every format gives the figures of .npy', async () => {
  const bits = toHalf({ data, shape: [2 * SAMPLES, DIM] }, 'bfloat16').data;
  const columns = Float32Array.from(data, (_, i) => rows[i % rows.length]![Math.floor(i / rows.length)]!);
  const right = await wanted();
  for (const words of [
    [write('rows.jsonl', rows.map(vector => JSON.stringify({ text: '', vector })).join('\n'))],
    [
      write(
        'rows.csv',
        rows
          .map((row, i) => `${i},${row.join(',')}`)
          .join('\n')
          .replace(/^/, 'n,a,b,c,d,e,f,g,h\n'),
      ),
      '--column',
      'a,b,c,d,e,f,g,h',
    ],
    [write('rows.fvecs', Buffer.concat(rows.map(lengths)))],
    [write('rows.dat', Buffer.from(data.buffer)), '--format', 'raw', '--dim', String(DIM)],
    [writeNpy(at('bfloat16.npy'), [2 * SAMPLES, DIM], bits, { type: '<V2' })],
    [writeNpy(at('fortran.npy'), [2 * SAMPLES, DIM], columns, { fortran: true })],
  ]) {
    expect(figuresOf(await evaluate(...words)), words.join(' ')).toEqual(right);
  }
});

it('labels in the rows are those of --labels, words too, and across files', async () => {
  const labels = randomLabels(2 * SAMPLES, 4, 5);
  const word = (i: number) => `class ${labels[i]}`;
  const text = write('labels.txt', labels.join('\n'));
  const npy = writeNpy(at('rows.npy'), [2 * SAMPLES, DIM], data);
  const line = (row: number) => JSON.stringify({ label: word(row), embedding: rows[row] });
  const lines = rows.map((_, row) => line(row));
  const [all, first, second] = [
    write('all.jsonl', lines.join('\n')),
    write('first.jsonl', lines.slice(0, SAMPLES).join('\n')),
    write('second.jsonl', lines.slice(SAMPLES).join('\n')),
  ];
  const supcon = ['--loss', 'supcon'];
  expect(figuresOf(await evaluate(all, ...supcon))).toEqual(
    figuresOf(await evaluate(npy, ...supcon, '--labels', text)),
  );
  const byFile = await evaluate(first, second, ...supcon);
  expect(byFile.loss).toBe((await evaluate(npy, '--views', '2', ...supcon, '--labels', text)).loss);
});

it('a bad row ends with 1, its file, row and line', async () => {
  const file = write('bad.jsonl', '[1,2]\n[3,NaN]\n');
  const { exit, stderr } = await infonce(['eval', file]);
  expect([exit, stderr]).toEqual([
    1,
    expect.stringMatching(/bad\.jsonl: expected JSON in each line, got .* in line 2/),
  ]);
});
