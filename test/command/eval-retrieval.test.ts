import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EvalReport, JudgedReport } from '../../lib/command/eval/report.js';
import { type Relevant, type Retrieval, RetrievalSum } from '../../lib/command/eval/retrieval/measures.js';
import { idsInRows, type RowIds, readIds, readQrels } from '../../lib/command/eval/retrieval/qrels.js';
import { near, normal, randomSource } from '../../lib/reference/random.js';
import { infonce } from '../support/command.js';
import { writeNpy } from '../support/npy.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'infonce-retrieval-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const at = (name: string) => path.join(folder, name);

async function evaluate<Report = EvalReport>(words: readonly string[]): Promise<Report> {
  const { exit, stdout, stderr } = await infonce(['eval', '--json', ...words]);
  expect(exit, stdout + stderr).toBe(0);
  return JSON.parse(stdout) as Report;
}

function text(name: string, content: string): string {
  writeFileSync(at(name), content);
  return at(name);
}

/** Rows in float64, of unit length unless they are taken as they are. */
function rowsIn(data: Float32Array, dim: number, unit = true): number[][] {
  return Array.from({ length: data.length / dim }, (_, row) => {
    const values = [...data.subarray(row * dim, (row + 1) * dim)];
    const length = unit ? Math.hypot(...values) : 1;
    return values.map(value => value / length);
  });
}

const dot = (a: readonly number[], b: readonly number[]) => a.reduce((sum, value, k) => sum + value * b[k]!, 0);

/** By the definition: documents that the query is strictly closer to than to the relevant one. */
function countAbove(query: readonly number[], documents: readonly (readonly number[])[], relevant: number): number {
  const scores = documents.map(document => dot(query, document));
  return scores.filter(score => score > scores[relevant]!).length;
}

/** The measures of queries with one relevant document, from how many are above it. */
function ofPairs(above: readonly number[]): Retrieval {
  const mean = (value: (rank: number) => number) =>
    expect.closeTo(above.reduce((sum, count) => sum + value(count + 1), 0) / above.length, 12) as number;
  const within = (most: number) => mean(rank => Number(rank <= most));
  return {
    queries: above.length,
    recall1: within(1),
    recall5: within(5),
    recall10: within(10),
    mrr: mean(rank => 1 / rank),
    ndcg10: mean(rank => (rank <= 10 ? 1 / Math.log2(1 + rank) : 0)),
    success1: within(1),
    success5: within(5),
    success10: within(10),
  };
}

function bothWays(first: readonly (readonly number[])[], second: readonly (readonly number[])[]) {
  return {
    firstToSecond: ofPairs(first.map((row, i) => countAbove(row, second, i))),
    secondToFirst: ofPairs(second.map((row, i) => countAbove(row, first, i))),
  };
}

describe('pairs', () => {
  const SHAPE = [53, 24] as const;
  const queries = normal(SHAPE, 1);
  const documents = near(queries, 2.5, 2);
  const files = () => [writeNpy(at('q.npy'), SHAPE, queries.data), writeNpy(at('d.npy'), SHAPE, documents.data)];
  const expected = (unit = true) =>
    bothWays(rowsIn(queries.data as Float32Array, 24, unit), rowsIn(documents.data as Float32Array, 24, unit));

  it('of queries and documents are ranked both ways, consistently with top-1', async () => {
    const { retrieval, top1, top5 } = await evaluate([...files(), '--loss', 'infonce']);
    expect(retrieval).toEqual(expected());
    expect([retrieval!.firstToSecond.recall1, retrieval!.firstToSecond.recall5]).toEqual([top1, top5]);
    expect(retrieval!.firstToSecond.recall1).toBeLessThan(retrieval!.firstToSecond.recall10);
  });

  it('of images and texts are ranked among all rows, whatever the batches', async () => {
    expect((await evaluate([...files(), '--loss', 'clip', '--batch', '20'])).retrieval).toEqual(expected());
  });

  it('of rows as they are are ranked by dot products', async () => {
    expect((await evaluate([...files(), '--loss', 'clip', '--no-normalize'])).retrieval).toEqual(expected(false));
  });

  it('of two files are ranked whatever the loss', async () => {
    expect((await evaluate(files())).retrieval).toEqual(expected());
  });

  it('of one file with ntxent, or where it is not wanted, are not ranked', async () => {
    const even = writeNpy(at('even.npy'), [52, 24], queries.data.subarray(24));
    expect(await evaluate([even])).not.toHaveProperty('retrieval');
    expect(await evaluate([...files(), '--loss', 'clip', '--no-retrieval'])).not.toHaveProperty('retrieval');
  });

  it('in several parts have the same ranks; ties do not worsen a rank', async () => {
    // Rows of ±1, whose dot products are exact and mostly tie.
    const shape = [4101, 16] as const;
    const random = randomSource(3);
    const signs = () => (random() < 0.5 ? -1 : 1);
    const first = Float32Array.from({ length: shape[0] * shape[1] }, signs);
    const second = first.map(sign => (random() < 0.2 ? -sign : sign));
    // Whole parts of the file, in which the pair of a row is a duplicate of others.
    second.copyWithin(4090 * 16, 0, 11 * 16);
    const words = [writeNpy(at('first.npy'), shape, first), writeNpy(at('second.npy'), shape, second)];
    const { retrieval } = await evaluate([...words, '--loss', 'infonce', '--batch', '1024']);
    const [above, below] = [new Array<number>(shape[0]).fill(0), new Array<number>(shape[0]).fill(0)];
    const bits = (signs: Float32Array) =>
      Int32Array.from({ length: shape[0] }, (_, row) =>
        signs.subarray(row * 16, row * 16 + 16).reduce((word, sign, k) => word | (Number(sign > 0) << k), 0),
      );
    const ones = Int32Array.from({ length: 1 << 16 }, (_, word) => word.toString(2).replaceAll('0', '').length);
    const [a, b] = [bits(first), bits(second)];
    for (let i = 0; i < shape[0]; i++) {
      const own = ones[a[i]! ^ b[i]!]!;
      for (let j = 0; j < shape[0]; j++) {
        if (ones[a[i]! ^ b[j]!]! < own) above[i]!++;
        if (ones[a[j]! ^ b[i]!]! < own) below[i]!++;
      }
    }
    expect(retrieval).toEqual({ firstToSecond: ofPairs(above), secondToFirst: ofPairs(below) });
  });
});

describe('a query with several relevant documents', () => {
  const of = (...relevant: readonly (readonly [above: number, gain: number])[]): Retrieval => {
    const sum = new RetrievalSum();
    sum.add(relevant.map(([above, gain]): Relevant => ({ above, gain })));
    return sum.means();
  };
  const discount = (rank: number) => Math.log2(1 + rank);

  it('has recall of all, the rank of the first, and grades as gains', () => {
    // At ranks 2, 6 and 12.
    const got = of([11, 3], [1, 1], [5, 2]);
    expect(got).toMatchObject({ recall1: 0, recall5: 1 / 3, recall10: 2 / 3, mrr: 1 / 2 });
    expect(got).toMatchObject({ success1: 0, success5: 1, success10: 1 });
    const ideal = 3 / discount(1) + 2 / discount(2) + 1 / discount(3);
    expect(got.ndcg10).toBeCloseTo((1 / discount(2) + 2 / discount(6)) / ideal, 14);
  });

  it('has an ideal of ten at most', () => {
    const twelve = Array.from({ length: 12 }, (_, above) => [above, 1] as const);
    expect(of(...twelve)).toMatchObject({ ndcg10: 1, recall10: 10 / 12, recall1: 1 / 12, mrr: 1 });
  });

  it('has one document at each rank where they tie, the more relevant first', () => {
    expect(of([0, 1], [0, 3], [0, 2])).toMatchObject({ ndcg10: 1, recall1: 1 / 3, recall5: 1, mrr: 1 });
    // Two at rank 5 and 6, one at 7.
    const got = of([4, 1], [4, 2], [6, 1]);
    const ideal = 2 / discount(1) + 1 / discount(2) + 1 / discount(3);
    expect(got.ndcg10).toBeCloseTo((2 / discount(5) + 1 / discount(6) + 1 / discount(7)) / ideal, 14);
    expect(got).toMatchObject({ recall5: 1 / 3, recall10: 1, mrr: 1 / 5 });
  });
});

describe('judgements', () => {
  const DIM = 16;
  const QUERIES = 23;
  const DOCUMENTS = 53;
  const random = randomSource(5);
  const documents = normal([DOCUMENTS, DIM], 6).data as Float32Array;
  const queries = Float32Array.from(documents.subarray(0, QUERIES * DIM), value => value + 2.5 * (random() - 0.5));
  /** Grades by query and document, from -1; queries 3 and 8 have none above 0. */
  const judged = Array.from({ length: QUERIES }, (_, query) =>
    query === 3
      ? []
      : Array.from({ length: 5 }, (_, k) => ({
          query,
          document: (query + 13 * k) % DOCUMENTS,
          grade: query === 8 ? 0 : k === 0 ? 3 : Math.floor(4 * random()) - 1,
        })),
  ).flat();

  const files = () => [
    writeNpy(at('queries.npy'), [QUERIES, DIM], queries),
    writeNpy(at('documents.npy'), [DOCUMENTS, DIM], documents),
  ];

  function expected(temperature: number) {
    const [q, d] = [rowsIn(queries, DIM), rowsIn(documents, DIM)];
    const sum = new RetrievalSum();
    const losses: number[] = [];
    let alignment = 0;
    for (let query = 0; query < QUERIES; query++) {
      const relevant = judged.filter(each => each.query === query && each.grade > 0);
      if (relevant.length === 0) continue;
      sum.add(relevant.map(({ document, grade }) => ({ above: countAbove(q[query]!, d, document), gain: grade })));
      const logits = d.map(document => dot(q[query]!, document) / temperature);
      const total = Math.log(logits.reduce((all, logit) => all + Math.exp(logit), 0));
      for (const { document } of relevant) {
        losses.push(total - logits[document]!);
        alignment += 2 - 2 * dot(q[query]!, d[document]!);
      }
    }
    const loss = losses.reduce((all, each) => all + each, 0) / losses.length;
    return { retrieval: sum.means(), loss, alignment: alignment / losses.length, relevant: losses.length };
  }

  function expectReport(report: JudgedReport, temperature: number): void {
    const right = expected(temperature);
    for (const [name, value] of Object.entries(right.retrieval)) {
      expect(report.retrieval.firstToSecond[name as keyof Retrieval], name).toBeCloseTo(value, 12);
    }
    expect(Math.abs(report.loss - right.loss) / right.loss).toBeLessThan(2e-6);
    expect(report.alignment).toBeCloseTo(right.alignment, 10);
    expect(report.chance).toBeCloseTo(Math.log(DOCUMENTS), 12);
    expect(report.judgements).toMatchObject({
      count: judged.length,
      relevant: right.relevant,
      queriesWithoutRelevant: 2,
    });
    expect(report.retrieval.firstToSecond.queries).toBe(QUERIES - 2);
  }

  it('of TREC, by row number', async () => {
    const lines = judged.map(({ query, document, grade }) => `${query} 0  ${document}\t${grade}`);
    const qrels = text('trec.txt', `${lines.reverse().join('\n')}\n`);
    expectReport(await evaluate([...files(), '--qrels', qrels]), 0.07);
    // All documents at once, of which one is left over, and the pairs in two parts.
    expect(expected(0.07).relevant).toBeGreaterThan(DOCUMENTS - 1);
    expectReport(await evaluate([...files(), '--qrels', qrels, '--batch', String(DOCUMENTS - 1)]), 0.07);
  });

  it('of BEIR, by id, in parts of the queries and documents', async () => {
    const lines = judged.map(({ query, document, grade }) => `q ${query}\tdoc-${document}\t${grade}`);
    const qrels = text('beir.tsv', `\ufeffquery-id\tcorpus-id\tscore\r\n${lines.join('\r\n')}`);
    const ids = (count: number, id: (row: number) => string) => Array.from({ length: count }, (_, row) => id(row));
    const queryIds = text('queries.txt', ids(QUERIES, row => `q ${row}`).join('\n'));
    const corpus = ids(DOCUMENTS, row => JSON.stringify({ _id: `doc-${row}`, title: '', text: 'words' }));
    const documentIds = text('corpus.jsonl', `${corpus.join('\n')}\n`);
    const words = ['--qrels', qrels, '--query-ids', queryIds, '--document-ids', documentIds];
    expectReport(await evaluate([...files(), ...words, '--batch', '12', '--temperature', '0.01']), 0.01);
  });

  it('by the ids in the rows of other formats', async () => {
    const lines = (data: Float32Array, prefix: string) =>
      rowsIn(data, DIM, false).map((embedding, row) => JSON.stringify({ _id: `${prefix}${row}`, embedding }));
    const named = [
      text('q.jsonl', lines(queries, 'q').join('\n')),
      text('d.jsonl', lines(documents, 'd').reverse().join('\n')),
    ];
    const judgements = judged.map(({ query, document, grade }) => `q${query} 0 d${document} ${grade}`);
    expectReport(await evaluate([...named, '--qrels', text('ids.txt', judgements.join('\n'))]), 0.07);
  });

  it('are printed for people', async () => {
    const qrels = text('one.txt', '0 0 0 1\n4 0 4 1\n4 0 5 2\n');
    const { exit, stdout, stderr } = await infonce(['eval', ...files(), '--qrels', qrels]);
    expect([exit, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/infonce of 3 relevant documents of 2 queries, among 53\n/);
    expect(stdout).toMatch(/^21 of 23 queries have no relevant document: no mean has them\.$/m);
    expect(stdout).toMatch(/^retrieval +recall@1 +recall@5 +recall@10 +MRR +nDCG@10\n─+\nquery → document +\d/m);
  });

  it('of numbers that are not finite end with 1 and where they are', async () => {
    const spoiled = documents.slice();
    spoiled[40 * DIM + 3] = Number.NaN;
    const words = [files()[0]!, writeNpy(at('spoiled.npy'), [DOCUMENTS, DIM], spoiled)];
    const { exit, stderr } = await infonce(['eval', ...words, '--qrels', text('nan.txt', '0 0 1 1\n')]);
    expect([exit, stderr]).toEqual([
      1,
      expect.stringMatching(/spoiled\.npy: expected finite numbers, got NaN in row 40, column 3/),
    ]);
  });

  const rows: RowIds = { file: 'q.npy', rows: 4 };
  const named: RowIds = { file: 'd.txt', rows: 2, rowOf: new Map([['x y', 0], ['z', 1]]) }; // biome-ignore format: short

  it('are read in the order of the queries, with or without titles', async () => {
    const bare = text('bare.tsv', '2\tz\t1\n\n0\tx y\t0.5\n1\tz\t0\n2\tx y\t2\n');
    expect(await readQrels(bare, rows, named)).toEqual({
      count: 4,
      queries: Int32Array.of(0, 2, 2),
      documents: Int32Array.of(0, 1, 0),
      grades: Float64Array.of(0.5, 1, 2),
    });
    const titled = text('titled.txt', 'query iteration document grade\n3 0 1 1\n');
    expect(await readQrels(titled, rows, rows)).toMatchObject({ count: 1, queries: Int32Array.of(3) });
  });

  it.each<readonly [string, string, RegExp]>([
    [
      'a row that is not there',
      '0 0 4 1',
      /expected a row of q\.npy as the document, from 0 to 3, got "4" in line 1\. .*--document-ids FILE/,
    ],
    ['a row below 0', '-1 0 0 1', /as the query, from 0 to 3, got "-1" in line 1\. .*--query-ids FILE/],
    ['a row that is a fraction', '0.5 0 0 1', /got "0\.5" in line 1/],
    ['a grade that is a word', '0 0 1 1\n1 0 1 yes', /expected a number as the grade, got "yes" in line 2/],
    ['a grade that is a word at once', '0 0 1 yes', /expected a number as the grade, got "yes" in line 1/],
    ['a grade that is not finite', '0 0 1 Infinity', /expected a number as the grade, got "Infinity"/],
    ['other columns in one line', '0 0 1 1\n1\t1\t1', /expected 4 columns, as in the lines before, got 3 in line 2/],
    ['commas', '0,1,1\n', /expected 3 or 4 columns, got 1 in line 1: "0,1,1"\. Lines are/],
    [
      'a pair judged twice',
      '0 0 1 1\n0 0 1 2',
      /expected one grade .* got another of document "1" for query "0" in line 2/,
    ],
    ['nothing relevant', '0 0 1 0\n0 0 2 -1', /with a grade above 0, got none in 2 judgements/],
    ['nothing', '\n', /got none in 0 judgements/],
  ])('with %s are refused', async (_what, content, message) => {
    await expect(readQrels(text('bad.txt', content), rows, rows)).rejects.toThrow(message);
  });

  it('of ids that are not there are refused', async () => {
    const file = text('bad.txt', '0\tz\t1\n0\tw\t1\n');
    await expect(readQrels(file, rows, named)).rejects.toThrow(/the id of a document in d\.txt, got "w" in line 2/);
  });

  it('of rows with the same id are refused', () => {
    const message = /a\.jsonl: expected ids that differ, got "x" in rows 1 and 2 \(counted from 0\)\. .*--query-ids/;
    expect(() => idsInRows('a.jsonl', ['y', 'x', 'x'])).toThrow(message);
  });

  it.each<readonly [string, string, RegExp]>([
    ['too few', 'a\nb\n', /expected 3 ids, one for each row of q\.npy, got 2/],
    ['the same twice', 'a\nb\na\n', /expected ids that differ, got "a" again in line 3/],
    ['JSON without one', '{"_id": "a"}\n{"text": "b"}', /as "_id" or "id", got none in line 2/],
    ['broken JSON', '{"_id": "a"}\n{"_id": ', /got none in line 2/],
  ])('by ids of which there are %s are refused', async (_what, content, message) => {
    await expect(readIds(text('bad-ids.txt', content), 'q.npy', 3)).rejects.toThrow(message);
  });
});
