import type { FileHandle } from 'node:fs/promises';
import type { DataType, RecordBatch, Vector } from 'apache-arrow';
import { fromFloat16 } from '../reference/half.js';
import { InfoNCEError } from '../runtime/errors.js';
import { type Arrow, isWhole } from './arrow-data.js';
import { checkFrames, type Frames } from './arrow-frames.js';
import { badFile, readAt } from './bytes.js';
import { type Column, chooseColumns, fieldsBeside } from './fields.js';
import { loadReader } from './packages.js';
import type { RowStore } from './row-store.js';

const APACHE_ARROW = {
  name: 'apache-arrow',
  load: () => import('apache-arrow'),
  used: ({ DataType, RecordBatchReader, util }: Partial<Arrow>) => [
    DataType?.isLargeList,
    RecordBatchReader,
    util?.compareSchemas,
  ],
} as const;

/** Arrow's IPC format, as a file (Feather) or a stream, one record batch after the other. */
export async function readArrow(
  file: string,
  handle: FileHandle,
  store: RowStore,
  column: string | readonly string[] | undefined,
): Promise<void> {
  const arrow = await loadReader(APACHE_ARROW, file);
  const wrong = (cause: unknown) => {
    const { message } = cause as Error;
    const compressed = message.includes('codec not found');
    const remedy = compressed
      ? "apache-arrow unpacks nothing by itself: save it with compression='uncompressed' (Feather), or set a codec in its compressionRegistry."
      : 'It is of another format, or damaged: save it again.';
    return badFile(file, 'an Arrow file or stream', compressed ? 'one that is compressed' : message, remedy, cause);
  };
  try {
    const frames = await checkFrames(handle);
    let take: ((batch: RecordBatch) => Promise<void>) | undefined;
    for await (const batch of batchesOf(arrow, handle, frames)) {
      take ??= takerOf(arrow, store, batch, column);
      await take(batch);
    }
  } catch (error) {
    throw error instanceof InfoNCEError ? error : wrong(error);
  }
}

async function* batchesOf(arrow: Arrow, handle: FileHandle, { schema }: Frames): AsyncGenerator<RecordBatch> {
  const reader = await arrow.RecordBatchReader.from(handle);
  await reader.open();
  if (!reader.isFile()) {
    for await (const batch of reader) yield batch;
    return;
  }
  if (schema !== undefined) {
    const first = arrow.Message.decode(await readAt(handle, schema.begin, schema.end - schema.begin)).header();
    const agree = arrow.util.compareSchemas(reader.schema, first as typeof reader.schema);
    if (!agree) throw new Error('a footer with other columns than the begin');
  }
  // By their places: to go through them, the reader begins anew at one that is damaged, without end.
  for (let i = 0; i < reader.numRecordBatches; i++) {
    const batch = await reader.readRecordBatch(i);
    if (batch === null) throw new Error(`no record batch ${i} of ${reader.numRecordBatches}`);
    yield batch;
  }
}

function takerOf(
  arrow: Arrow,
  store: RowStore,
  { schema }: RecordBatch,
  wanted: string | readonly string[] | undefined,
) {
  const columns = schema.fields.map(({ name, type }): Column => ({ name, holds: holdsOf(arrow, type) }));
  const chosen = chooseColumns(store.file, columns, wanted);
  const { id, label } = fieldsBeside(columns.map(({ name }) => name));
  return async (batch: RecordBatch) => {
    const child = (name: string | undefined) => (name === undefined ? null : batch.getChild(name));
    const [ids, labels] = [child(id), child(label)];
    const numbers = 'array' in chosen ? [] : chosen.numbers.map(name => child(name)!);
    const arrays = 'array' in chosen ? child(chosen.array) : null;
    for (const column of [ids, labels, arrays, ...numbers]) {
      const whole = column?.data.every(data => data.length === batch.numRows && isWhole(arrow, data)) ?? true;
      if (!whole) throw new Error('a column with less in it than the rows need');
    }
    for (let row = 0; row < batch.numRows; row++) {
      const values =
        arrays === null ? numbers.map(vector => vector.get(row) as unknown) : arrayIn(arrow, store, arrays.get(row));
      const full = store.add(values, { id: ids?.get(row) as unknown, label: labels?.get(row) as unknown });
      if (full !== undefined) await full;
    }
  };
}

function holdsOf({ DataType }: Arrow, type: DataType): Column['holds'] {
  if (DataType.isFloat(type) || DataType.isInt(type)) return 'number';
  const isList = DataType.isFixedSizeList(type) || DataType.isList(type) || DataType.isLargeList(type);
  const [inner] = isList ? type.children : [];
  return inner !== undefined && (DataType.isFloat(inner.type) || DataType.isInt(inner.type)) ? 'array' : 'other';
}

function arrayIn({ DataType, Precision }: Arrow, store: RowStore, value: Vector | null): ArrayLike<unknown> {
  if (value === null) {
    const got = `null in row ${store.rows} (counted from 0)`;
    throw badFile(store.file, 'an array of numbers', got, 'Remove rows without an embedding.');
  }
  // What is null in an array is a number like others in its bytes.
  if (value.nullCount > 0) return [...value] as unknown[];
  const { type } = value;
  const numbers = value.toArray() as Float32Array | Uint16Array;
  const isHalf = DataType.isFloat(type) && type.precision === Precision.HALF;
  return isHalf ? Float32Array.from(numbers, fromFloat16) : numbers;
}
