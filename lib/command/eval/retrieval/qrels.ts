import { createInterface } from 'node:readline';
import { badFile, openFile } from '../../../files/bytes.js';
import type { InfoNCEError } from '../../../runtime/errors.js';

/** Which documents are relevant to which queries, by row. */
export interface Judgements {
  /** Lines of the file that judge a document. */
  readonly count: number;
  /** Those with a grade above 0, in the order of the queries: the row of the query, that of the document, the grade. */
  readonly queries: Int32Array;
  readonly documents: Int32Array;
  readonly grades: Float64Array;
}

/** The rows of a file by their ids. */
export interface RowIds {
  /** Where the ids were read from, or the matrix itself, whose row numbers stand for ids. */
  readonly file: string;
  readonly rows: number;
  /** Absent: row numbers from 0. */
  readonly rowOf?: ReadonlyMap<string, number>;
}

/** The option that names a file of ids. */
const OPTIONS = { query: '--query-ids', document: '--document-ids' } as const;

const REMEDY = 'Lines are "query 0 document grade", as of TREC, or "query document grade" with tabs, as of BEIR.';

/**
 * Reads judgements of TREC's four columns, separated by white space, of which the second says nothing, or of BEIR's three,
 * separated by tabs, under a line of titles or none.
 */
export async function readQrels(file: string, queries: RowIds, documents: RowIds): Promise<Judgements> {
  const relevant: { readonly query: number; readonly document: number; readonly grade: number }[] = [];
  const judged = new Set<number>();
  let columns: number | undefined;
  for await (const { text, line } of linesOf(file)) {
    const fields = fieldsOf(text);
    const isFirst = columns === undefined;
    columns ??= fields.length;
    if (fields.length !== columns || (columns !== 3 && columns !== 4)) {
      const expected = columns === 3 || columns === 4 ? `${columns} columns, as in the lines before` : '3 or 4 columns';
      throw badFile(file, expected, `${fields.length} in line ${line}: ${quoted(text)}`, REMEDY);
    }
    if (isFirst && !isNumber(fields.at(-1)!) && rowWith(fields[0]!, queries) === undefined) continue;
    const [queryId, documentId, gradeText] = [fields[0]!, fields.at(-2)!, fields.at(-1)!];
    if (!isNumber(gradeText))
      throw badFile(file, 'a number as the grade', `${quoted(gradeText)} in line ${line}`, REMEDY);
    const query = rowOf(queryId, queries, 'query', file, line);
    const document = rowOf(documentId, documents, 'document', file, line);
    const pair = query * documents.rows + document;
    if (judged.has(pair)) {
      const got = `another of document ${quoted(documentId)} for query ${quoted(queryId)} in line ${line}`;
      throw badFile(file, 'one grade for each query and document', got, 'Remove one.');
    }
    judged.add(pair);
    const grade = Number(gradeText);
    if (grade > 0) relevant.push({ query, document, grade });
  }
  if (relevant.length === 0) {
    throw badFile(file, 'relevant documents, with a grade above 0', `none in ${judged.size} judgements`, REMEDY);
  }
  relevant.sort((a, b) => a.query - b.query);
  return {
    count: judged.size,
    queries: Int32Array.from(relevant, ({ query }) => query),
    documents: Int32Array.from(relevant, ({ document }) => document),
    grades: Float64Array.from(relevant, ({ grade }) => grade),
  };
}

/** Reads an id for each row: a line of text, or of JSON with `_id` or `id`, as corpora and queries of BEIR have. */
export async function readIds(file: string, matrix: string, rows: number): Promise<RowIds> {
  const rowOf = new Map<string, number>();
  for await (const { text, line } of linesOf(file)) {
    const id = text.trimStart().startsWith('{') ? idInJson(text) : text.trim();
    if (id === undefined) throw badFile(file, 'a string or number as "_id" or "id"', `none in line ${line}`, ID_REMEDY);
    if (rowOf.has(id)) throw badFile(file, 'ids that differ', `${quoted(id)} again in line ${line}`, ID_REMEDY);
    rowOf.set(id, rowOf.size);
  }
  if (rowOf.size === rows) return { file, rows, rowOf };
  throw badFile(file, `${rows} ids, one for each row of ${matrix}`, String(rowOf.size), ID_REMEDY);
}

/** Ids that a file of embeddings has in its rows. */
export function idsInRows(file: string, ids: readonly string[]): RowIds {
  const rowOf = new Map<string, number>();
  ids.forEach((id, row) => {
    if (rowOf.has(id)) {
      const remedy = `Judgements are of one row each: give other ids with ${Object.values(OPTIONS).join(' or ')} FILE.`;
      throw badFile(
        file,
        'ids that differ',
        `${quoted(id)} in rows ${rowOf.get(id)} and ${row} (counted from 0)`,
        remedy,
      );
    }
    rowOf.set(id, row);
  });
  return { file, rows: ids.length, rowOf };
}

const ID_REMEDY = 'Line i is the id of row i.';

function idInJson(text: string): string | undefined {
  try {
    const { _id, id = _id } = JSON.parse(text) as { readonly _id?: unknown; readonly id?: unknown };
    const found = _id ?? id;
    return typeof found === 'string' || typeof found === 'number' ? String(found) : undefined;
  } catch {
    return undefined;
  }
}

function rowOf(id: string, ids: RowIds, kind: keyof typeof OPTIONS, file: string, line: number): number {
  const row = rowWith(id, ids);
  if (row !== undefined) return row;
  throw unknownId(id, ids, kind, file, line);
}

function rowWith(id: string, { rows, rowOf }: RowIds): number | undefined {
  if (rowOf !== undefined) return rowOf.get(id);
  const row = /^\d+$/.test(id) ? Number(id) : Number.NaN;
  return row < rows ? row : undefined;
}

function unknownId(id: string, ids: RowIds, kind: keyof typeof OPTIONS, file: string, line: number): InfoNCEError {
  const got = `${quoted(id)} in line ${line}`;
  if (ids.rowOf !== undefined) {
    return badFile(file, `the id of a ${kind} in ${ids.file}`, got, 'Judgements are of rows that are there.');
  }
  const expected = `a row of ${ids.file} as the ${kind}, from 0 to ${ids.rows - 1}`;
  return badFile(file, expected, got, `If it has ids, give them with ${OPTIONS[kind]} FILE.`);
}

/** Three columns may have spaces in them, if they are separated by tabs. */
function fieldsOf(text: string): string[] {
  const byTab = text.split('\t').map(field => field.trim());
  return byTab.length === 3 ? byTab : text.trim().split(/\s+/);
}

function isNumber(text: string): boolean {
  return text !== '' && Number.isFinite(Number(text));
}

/** Lines that are not empty, numbered from 1. */
async function* linesOf(file: string): AsyncGenerator<{ readonly text: string; readonly line: number }> {
  const handle = await openFile(file);
  try {
    const lines = createInterface({ input: handle.createReadStream({ autoClose: false }), crlfDelay: Infinity });
    let line = 0;
    for await (const text of lines) {
      line++;
      const content = line === 1 ? text.replace(/^\ufeff/, '') : text;
      if (content.trim() !== '') yield { text: content, line };
    }
  } finally {
    await handle.close();
  }
}

function quoted(text: string): string {
  return JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text);
}
