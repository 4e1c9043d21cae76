import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { badFile } from './bytes.js';
import { type Chosen, type Column, chooseColumns, fieldsBeside } from './fields.js';
import { listOfText } from './json-rows.js';
import { loadReader } from './packages.js';
import type { RowStore } from './row-store.js';
import { type TextFile, withBytes } from './text.js';

const CSV_PARSE = {
  name: 'csv-parse',
  load: () => import('csv-parse'),
  used: ({ CsvError, parse }: typeof import('csv-parse')) => [CsvError, parse],
} as const;

export interface CsvOptions {
  readonly column: string | readonly string[] | undefined;
  /** Default: of commas, semicolons and tabs the one that the first line has. */
  readonly delimiter?: string;
}

/** Comma-separated values: a column with arrays, or a column for each number. */
export async function readCsv(text: TextFile, store: RowStore, { column, delimiter }: CsvOptions): Promise<void> {
  const { file } = text;
  const { CsvError, parse } = await loadReader(CSV_PARSE, file);
  const rows = new CsvRows(store, column);
  await withBytes(text, async bytes => {
    const parts = bytes[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    const first = await parts.next();
    if (first.done === true) return;
    const parser = parse({
      bom: true,
      info: true,
      delimiter: delimiter ?? delimiterOf(first.value.toString('utf8')),
      relax_column_count: true,
      skip_empty_lines: true,
    });
    let failure: unknown;
    try {
      await pipeline(Readable.from(joined(first.value, parts)), parser, async parsed => {
        try {
          for await (const { record, info } of parsed as AsyncIterable<Parsed>) {
            const full = rows.add(record, info.lines);
            if (full !== undefined) await full;
          }
        } catch (error) {
          failure = error;
          throw error;
        }
      });
    } catch (error) {
      // The pipeline may tell that it was aborted instead.
      const cause = failure ?? error;
      if (!(cause instanceof CsvError)) throw cause;
      throw badFile(file, 'comma-separated values', cause.message, 'RFC 4180 says how cells are quoted.', cause);
    }
  });
}

/** What csv-parse makes of a record. */
interface Parsed {
  readonly record: readonly string[];
  readonly info: { readonly lines: number };
}

async function* joined(first: Buffer, others: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  yield first;
  for (let part = await others.next(); part.done !== true; part = await others.next()) yield part.value;
}

function delimiterOf(text: string): string {
  const line = text.slice(0, text.search(/[\r\n]|$/));
  return [',', ';', '\t'].find(each => line.includes(each)) ?? ',';
}

/** Takes rows out of records, the first of which may be names. */
class CsvRows {
  readonly #store: RowStore;
  readonly #wanted: string | readonly string[] | undefined;
  #names: readonly string[] | undefined;
  #take: ((record: readonly string[], line: number) => Promise<void> | undefined) | undefined;

  constructor(store: RowStore, wanted: string | readonly string[] | undefined) {
    this.#store = store;
    this.#wanted = wanted;
  }

  add(record: readonly string[], line: number): Promise<void> | undefined {
    if (this.#names === undefined) {
      const header = isHeader(record);
      this.#names = header ? record.map(name => name.trim()) : record.map((_, i) => String(i));
      if (header) return undefined;
      // Without a header, text before the numbers is what names the row.
      if (record.length > 1 && holdsOf(record[0]!) === 'other') this.#names = ['id', ...this.#names.slice(1)];
    }
    const names = this.#names;
    if (record.length !== names.length) {
      const got = `${record.length} in row ${this.#store.rows} (counted from 0), line ${line} of the file`;
      throw badFile(
        this.#store.file,
        `${names.length} cells in each row, as in the first`,
        got,
        'Rows are equally long.',
      );
    }
    this.#take ??= this.#chooser(names, record);
    return this.#take(record, line);
  }

  #chooser(names: readonly string[], record: readonly string[]) {
    const store = this.#store;
    const columns = names.map((name, i): Column => ({ name, holds: holdsOf(record[i]!) }));
    const chosen: Chosen = chooseColumns(store.file, columns, this.#wanted);
    const places = ('array' in chosen ? [chosen.array] : chosen.numbers).map(name => names.indexOf(name));
    const { id, label } = fieldsBeside(names);
    const [idPlace, labelPlace] = [id, label].map(name => (name === undefined ? -1 : names.indexOf(name))) as [
      number,
      number,
    ];
    return (cells: readonly string[], line: number) => {
      const numbers = 'array' in chosen ? arrayIn(store, cells[places[0]!]!, line) : places.map(place => cells[place]!);
      return store.add(numbers, { line, id: cells[idPlace], label: labelOf(cells[labelPlace]) });
    };
  }
}

function arrayIn(store: RowStore, cell: string, line: number): readonly string[] {
  const array = listOfText(cell);
  if (array !== undefined) return array;
  const got = `${JSON.stringify(cell.slice(0, 40))} in row ${store.rows} (counted from 0), line ${line} of the file`;
  throw badFile(store.file, 'an array of numbers, as in [0.5, -1]', got, 'Is it the right column?');
}

function labelOf(cell: string | undefined): number | string | undefined {
  return cell !== undefined && /^[+-]?\d{1,15}$/.test(cell.trim()) ? Number(cell) : cell;
}

const NUMBER = /^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$/;
/** What stands where there is no number, in a column of numbers. */
const NO_NUMBER = /^\s*([+-]?(nan|inf(inity)?)|null|none|na|n\/a)?\s*$/i;

function holdsOf(cell: string): Column['holds'] {
  if (NUMBER.test(cell) || NO_NUMBER.test(cell)) return 'number';
  return /^\s*[[(]/.test(cell) ? 'array' : 'other';
}

/** Whether a record has names: no numbers, or those that pandas gives columns without a name, 0, 1, 2, … */
function isHeader(record: readonly string[]): boolean {
  if (record.some(cell => holdsOf(cell) === 'array')) return false;
  const numbers = record.filter(cell => NUMBER.test(cell));
  if (numbers.length === 0) return record.some(cell => !NO_NUMBER.test(cell));
  return numbers.length > 1 && numbers.every((cell, i) => cell === String(i));
}
