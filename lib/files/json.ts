import { badFile } from './bytes.js';
import { list } from './fields.js';
import { arrayOf, at, isObject, JsonRows } from './json-rows.js';
import type { RowStore } from './row-store.js';
import { type TextFile, withBytes } from './text.js';

/** A JSON document: an array of embeddings or of objects with one, or an object that has such an array, or one by id. */
export async function readJson(text: TextFile, store: RowStore, column: string | undefined): Promise<void> {
  const document = parse(text.file, await textOf(text));
  const { rows, ids, rest } = rowsOf(text.file, document, column);
  const taken = new JsonRows(store, rest);
  for (const [i, row] of rows.entries()) {
    const full = taken.add(row, ids === undefined ? {} : { id: ids[i] });
    if (full !== undefined) await full;
  }
}

async function textOf(file: TextFile): Promise<string> {
  const parts: Buffer[] = [];
  await withBytes(file, async bytes => {
    for await (const part of bytes) parts.push(part as Buffer);
  });
  try {
    return Buffer.concat(parts)
      .toString('utf8')
      .replace(/^\uFEFF/, '');
  } catch (cause) {
    const remedy = 'Save it as JSON lines (.jsonl), which is read line by line.';
    throw badFile(file.file, 'a document that fits in a string', (cause as Error).message, remedy, cause);
  }
}

function parse(file: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const { message } = cause as Error;
    throw badFile(file, 'one JSON document', message, adviceOn(text), cause);
  }
}

function adviceOn(text: string): string {
  if (/[[,:\s]-?(NaN|Infinity)\b/.test(text)) {
    return 'JSON has no NaN and no infinity: remove those rows, or compute them again.';
  }
  return "If it has a document in each line, its format is 'jsonl'.";
}

interface Rows {
  readonly rows: readonly unknown[];
  readonly ids?: readonly string[];
  /** What is left of `column` for each row. */
  readonly rest?: string | undefined;
}

/** Where the rows of a document are. */
function rowsOf(file: string, document: unknown, column: string | undefined): Rows {
  if (Array.isArray(document)) return { rows: document, rest: column };
  if (!isObject(document)) throw badFile(file, 'an array or an object', typeof document, 'Save the rows as an array.');
  const named = column === undefined ? undefined : at(document, column);
  if (Array.isArray(named)) return { rows: named };
  if (isObject(named) && isTable(named)) return { rows: Object.values(named) };
  const arrays = Object.entries(document).filter(([, value]) => isRows(value));
  const [first] = arrays;
  if (first !== undefined && arrays.length === 1) return { rows: first[1] as unknown[], rest: column };
  if (arrays.length > 1) {
    const names = arrays.map(([name]) => name);
    throw badFile(file, 'one array of rows', list(names), 'Name the one with the embeddings: column (--column).');
  }
  const entries = Object.entries(document);
  // pandas writes columns by row, or rows by row: {"embedding": {"0": […]}} or {"0": {"embedding": […]}}.
  const tables = entries.filter(([, value]) => isObject(value) && isTable(value));
  if (tables.length === 1 && column === undefined) return { rows: Object.values(tables[0]![1] as object) };
  if (entries.length > 0 && entries.every(([, value]) => arrayOf(value) !== undefined || isObject(value))) {
    return { rows: entries.map(([, value]) => value), ids: entries.map(([name]) => name), rest: column };
  }
  throw badFile(file, 'an array of rows', `an object of ${list(Object.keys(document))}`, 'Save the rows as an array.');
}

/** An object of arrays. */
function isTable(value: object): boolean {
  const rows = Object.values(value);
  return rows.length > 0 && rows.every(Array.isArray);
}

/** An array of arrays or of objects. */
function isRows(value: unknown): boolean {
  return Array.isArray(value) && value.length > 0 && value.every(row => typeof row === 'object' && row !== null);
}
