import type { FileHandle } from 'node:fs/promises';
import { InfoNCEError } from '../runtime/errors.js';
import { readArrow } from './arrow.js';
import { badFile, openFile, readAt, whileReading } from './bytes.js';
import { readCsv } from './csv.js';
import { type Format, formatOfName, isText } from './formats.js';
import { openVectors } from './fvecs.js';
import { readJson } from './json.js';
import { readJsonLines } from './jsonl.js';
import { isNpy } from './npy.js';
import { openNpy } from './npy-rows.js';
import { readParquet } from './parquet.js';
import { openRaw } from './raw.js';
import { RowStore } from './row-store.js';
import type { RowsFile } from './rows-file.js';
import { openSafetensors } from './safetensors.js';

/** What a file does not say of itself. */
export interface OpenOptions {
  readonly format?: Format | undefined;
  readonly column?: string | readonly string[] | undefined;
  readonly dim?: number | undefined;
  /** How many numbers of a file that is read once stay in memory; those before them go to the disk. Undefined: all. */
  readonly inMemory?: number | undefined;
  /** Whether its ids of rows are kept. Default: where all numbers stay in memory. */
  readonly keepIds?: boolean | undefined;
}

/** Opens a file of embeddings. Those with rows at fixed places are read where they are, all others now. */
export async function openRows(file: string, options: OpenOptions = {}): Promise<RowsFile> {
  const handle = await openFile(file);
  let kept = false;
  try {
    if ((await readAt(handle, 0, 1)).length === 0) {
      throw badFile(file, 'embeddings', 'an empty file', 'Was it written to its end?');
    }
    const format = await formatOf(file, handle, options.format);
    const rows = (await openPacked(file, handle, format, options)) ?? (await readStored(file, handle, format, options));
    kept = !(rows instanceof RowStore);
    if (options.dim === undefined || rows.dim === options.dim) return rows;
    kept = false;
    throw badFile(file, `${options.dim} numbers in each row`, String(rows.dim), 'Leave dim out: the file says it.');
  } catch (error) {
    throw whileReading(file, error);
  } finally {
    if (!kept) await handle.close();
  }
}

/** The format that is asked for, else what the file begins with, else the ending of its name. */
async function formatOf(file: string, handle: FileHandle, asked: Format | undefined): Promise<Format> {
  if (asked !== undefined) return asked;
  if (await isNpy(handle)) return 'npy';
  return formatOfName(file).format ?? 'npy';
}

/** Rows at fixed places. */
async function openPacked(
  file: string,
  handle: FileHandle,
  format: Format,
  { column, dim }: OpenOptions,
): Promise<RowsFile | undefined> {
  if (format === 'npy') return openNpy(file, handle);
  if (format === 'fvecs') return openVectors(file, handle, 'float32');
  if (format === 'bvecs') return openVectors(file, handle, 'uint8');
  if (format === 'raw') return openRaw(file, handle, dim);
  if (format === 'safetensors') return openSafetensors(file, handle, singleOf(column, format));
  return undefined;
}

async function readStored(
  file: string,
  handle: FileHandle,
  format: Format,
  { column, dim, inMemory, keepIds }: OpenOptions,
): Promise<RowStore> {
  const store = new RowStore(file, { dim, inMemory, keepIds });
  const text = { file, handle, gzipped: isText(format) && formatOfName(file).gzipped };
  try {
    if (format === 'jsonl') await readJsonLines(text, store, singleOf(column, format));
    else if (format === 'json') await readJson(text, store, singleOf(column, format));
    else if (format === 'csv') await readCsv(text, store, { column });
    else if (format === 'tsv') await readCsv(text, store, { column, delimiter: '\t' });
    else if (format === 'parquet') await readParquet(file, handle, store, column);
    else await readArrow(file, handle, store, column);
    return store.finish();
  } catch (error) {
    await store.close();
    throw error;
  }
}

/** Records have the embedding in one field. */
function singleOf(column: OpenOptions['column'], format: Format): string | undefined {
  if (column === undefined || typeof column === 'string') return column;
  if (column.length === 1) return column[0];
  throw new InfoNCEError('ERR_INFONCE_TYPE', {
    argument: 'column',
    expected: `one name with the format ${format}`,
    got: `${column.length} names`,
    remedy: 'Only tables (csv, tsv, parquet, arrow) have a column for each number.',
  });
}
