import type { FileHandle } from 'node:fs/promises';
import type { Compressors, FileMetaData, SchemaTree } from 'hyparquet';
import { badFile, readAt } from './bytes.js';
import { type Column, chooseColumns, fieldsBeside } from './fields.js';
import { loadReader } from './packages.js';
import { checkGroup, checkMetadata } from './parquet-check.js';
import type { RowStore } from './row-store.js';

const HYPARQUET = {
  name: 'hyparquet',
  load: () => import('hyparquet'),
  used: (module: typeof import('hyparquet')) => [
    module.parquetMetadataAsync,
    module.parquetReadObjects,
    module.parquetSchema,
    module.snappyUncompress,
  ],
} as const;

const COMPRESSORS = {
  name: 'hyparquet-compressors',
  load: () => import('hyparquet-compressors'),
  used: ({ compressors }: typeof import('hyparquet-compressors')) => [compressors],
} as const;

/** Numbers of Parquet's physical types. */
const NUMBERS: readonly unknown[] = ['FLOAT', 'DOUBLE', 'INT32', 'INT64'];
/** hyparquet unpacks these by itself. */
const UNPACKED: readonly string[] = ['UNCOMPRESSED', 'SNAPPY'];

/** Apache Parquet, one row group after the other. */
export async function readParquet(
  file: string,
  handle: FileHandle,
  store: RowStore,
  column: string | readonly string[] | undefined,
): Promise<void> {
  const { parquetMetadataAsync, parquetReadObjects, parquetSchema, snappyUncompress } = await loadReader(
    HYPARQUET,
    file,
  );
  const { size } = await handle.stat();
  const source = {
    byteLength: size,
    slice: (begin: number, end = size) => {
      const bytes = sliceOf(handle, size, begin, end);
      // hyparquet asks for several at once, and hears of one that fails only.
      bytes.catch(() => undefined);
      return bytes;
    },
  };
  const damaged = (cause: unknown) =>
    badFile(
      file,
      'a Parquet file',
      (cause as Error).message,
      'It is of another format, or damaged: save it again.',
      cause,
    );
  const { metadata, tree, columns } = await parquetMetadataAsync(source)
    .then(read => {
      const { children } = parquetSchema(read);
      checkMetadata(read, children);
      return { metadata: read, tree: children, columns: children.map(columnOf) };
    })
    .catch(cause => Promise.reject(damaged(cause)));
  const chosen = chooseColumns(file, columns, column);
  const names = 'array' in chosen ? [chosen.array] : chosen.numbers;
  const { id, label } = fieldsBeside(columns.map(({ name }) => name));
  const read = [...new Set([...names, id, label].filter(name => name !== undefined))];
  const snappy = (bytes: Uint8Array, length: number) => {
    const page = new Uint8Array(length);
    snappyUncompress(bytes, page);
    return page;
  };
  const compressors = { SNAPPY: snappy, ...(await compressorsFor(file, metadata, read)) };
  let first = 0;
  for (const group of metadata.row_groups) {
    const count = Number(group.num_rows);
    const end = first + count;
    const options = { file: source, metadata, columns: read, rowStart: first, rowEnd: end, compressors };
    const rows = await checkGroup(handle, group, { columns: tree, names: read, compressors })
      .then(() => parquetReadObjects(options))
      .catch(cause => Promise.reject(damaged(cause)));
    if (rows.length !== count) throw damaged(new Error(`${rows.length} rows in a row group of ${count}`));
    for (const row of rows) {
      const numbers = 'array' in chosen ? arrayIn(store, row[chosen.array]) : names.map(name => row[name] as unknown);
      const beside = { id: id && (row[id] as unknown), label: label && (row[label] as unknown) };
      const full = store.add(numbers, beside);
      if (full !== undefined) await full;
    }
    first = end;
  }
}

async function sliceOf(handle: FileHandle, size: number, begin: number, end: number): Promise<ArrayBuffer> {
  if (!(begin >= 0 && begin <= end && end <= size)) throw new Error('a column that lies outside the file');
  const bytes = await readAt(handle, begin, end - begin);
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) as ArrayBuffer;
}

function columnOf({ element, children }: SchemaTree): Column {
  if (children.length > 0) return { name: element.name, holds: leavesOf(children).length === 1 ? 'array' : 'other' };
  const isNumber =
    (NUMBERS.includes(element.type) && element.logical_type?.type !== 'TIMESTAMP') ||
    element.logical_type?.type === 'FLOAT16';
  if (!isNumber) return { name: element.name, holds: 'other' };
  return { name: element.name, holds: element.repetition_type === 'REPEATED' ? 'array' : 'number' };
}

/** The columns of numbers within a column. */
function leavesOf(children: readonly SchemaTree[]): readonly SchemaTree[] {
  return children.flatMap(child =>
    child.children.length > 0 ? leavesOf(child.children) : columnOf(child).holds === 'other' ? [] : [child],
  );
}

function arrayIn(store: RowStore, value: unknown): ArrayLike<unknown> {
  if (Array.isArray(value) || ArrayBuffer.isView(value)) return value as unknown as ArrayLike<unknown>;
  const got = `${value === null || value === undefined ? 'null' : typeof value} in row ${store.rows} (counted from 0)`;
  throw badFile(store.file, 'an array of numbers', got, 'Remove rows without an embedding.');
}

async function compressorsFor(
  file: string,
  { row_groups: groups }: FileMetaData,
  names: readonly string[],
): Promise<Compressors> {
  const codecs = groups.flatMap(({ columns }) =>
    columns.flatMap(({ meta_data: data }) => (data && names.includes(data.path_in_schema[0]!) ? [data.codec] : [])),
  );
  const codec = codecs.find(each => !UNPACKED.includes(each));
  if (codec === undefined) return {};
  const { compressors } = await loadReader(COMPRESSORS, `${file} (${codec})`);
  return compressors;
}
