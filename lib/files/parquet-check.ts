/**
 * What hyparquet believes of a Parquet file, checked before it reads: it loses track of columns that it began to read when it
 * finds another damaged, and a wrong length of a run makes it end the process.
 */
import type { FileHandle } from 'node:fs/promises';
import type { ColumnMetaData, Compressors, FileMetaData, RowGroup, SchemaTree } from 'hyparquet';
import { readAt } from './bytes.js';
import { checkPages } from './parquet-pages.js';

/** Checks what a file says twice, and throws an `Error` that says what is wrong. */
export function checkMetadata(
  { num_rows: rows, row_groups: groups }: FileMetaData,
  columns: readonly SchemaTree[],
): void {
  const counts = groups.map(group => Number(group.num_rows));
  const all = counts.reduce((sum, count) => sum + count, 0);
  if (all !== Number(rows) || counts.some(count => count < 0)) {
    throw new Error(`${rows} rows, but row groups of ${counts.join(', ')}`);
  }
  const expected = columns.flatMap(storedIn).map(({ column }) => `${column.path.join('.')} ${column.element.type}`);
  for (const group of groups) {
    const found = group.columns.map(({ meta_data: data }) => data && `${data.path_in_schema.join('.')} ${data.type}`);
    const agree = found.length === expected.length && found.every((column, i) => column === expected[i]);
    if (!agree) throw new Error('a row group with other columns than the schema');
  }
}

/** A column that is stored, and the largest levels of its values. */
interface Stored {
  readonly column: SchemaTree;
  readonly repetition: number;
  readonly definition: number;
}

/** The columns that are stored, of a column and those within it. */
function storedIn(column: SchemaTree): readonly Stored[] {
  const kind = column.element.repetition_type;
  const [repetition, definition] = [kind === 'REPEATED' ? 1 : 0, kind === 'REQUIRED' ? 0 : 1];
  if (column.children.length === 0) return [{ column, repetition, definition }];
  return column.children.flatMap(storedIn).map(inner => ({
    column: inner.column,
    repetition: repetition + inner.repetition,
    definition: definition + inner.definition,
  }));
}

export interface GroupReading {
  readonly columns: readonly SchemaTree[];
  /** Of the columns that are read. */
  readonly names: readonly string[];
  readonly compressors: Compressors;
}

/** Checks the pages of a row group's columns that are read. */
export async function checkGroup(handle: FileHandle, group: RowGroup, reading: GroupReading): Promise<void> {
  const stored = reading.columns.flatMap(storedIn);
  for (const [i, { meta_data: data }] of group.columns.entries()) {
    if (data === undefined || !reading.names.includes(data.path_in_schema[0]!)) continue;
    const unpack = (bytes: Uint8Array, size: number) => unpacked(bytes, size, data.codec, reading.compressors);
    checkPages(await columnOf(handle, data), { ...stored[i]!, unpack });
  }
}

async function columnOf(handle: FileHandle, data: ColumnMetaData): Promise<Buffer> {
  const [dictionary, first] = [Number(data.dictionary_page_offset ?? 0), Number(data.data_page_offset)];
  const begin = dictionary > 0 ? Math.min(dictionary, first) : first;
  const length = Number(data.total_compressed_size);
  const { size } = await handle.stat();
  if (begin >= 0 && length >= 0 && begin + length <= size) return readAt(handle, begin, length);
  throw new Error('a column that lies outside the file');
}

function unpacked(bytes: Uint8Array, size: number, codec: string, compressors: Compressors): Uint8Array {
  const page = codec === 'UNCOMPRESSED' ? bytes : compressors[codec as keyof Compressors]?.(bytes, size);
  if (page?.length === size) return page;
  throw new Error(
    page === undefined ? `pages packed with ${codec}` : `a page of ${page.length} bytes instead of ${size}`,
  );
}
