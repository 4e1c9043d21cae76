/**
 * The pages of a column of a Parquet file, checked before hyparquet reads them: it believes the lengths of runs, and a wrong one
 * makes an array that ends the process. https://parquet.apache.org/docs/file-format/data-pages/
 */
import { checkRuns } from './parquet-runs.js';
import { ThriftReader, type ThriftStruct } from './thrift.js';

/** What a column's pages are read by. */
export interface PageReading {
  /** How deep values lie within lists, and within what may be null: the largest levels. */
  readonly repetition: number;
  readonly definition: number;
  readonly unpack: (bytes: Uint8Array, size: number) => Uint8Array;
}

/** `PageType` of `parquet.thrift`. */
const DATA = 0;
const DATA_V2 = 3;
/** `Encoding`: PLAIN_DICTIONARY and RLE_DICTIONARY. */
const DICTIONARIES: readonly unknown[] = [2, 8];

/** Throws an `Error` that says what is wrong. */
export function checkPages(column: Buffer, reading: PageReading): void {
  for (let at = 0; at < column.length - 1; ) {
    const header = new ThriftReader(column, at);
    const fields = header.struct();
    const [unpacked, packed] = [numberIn(fields, 2), numberIn(fields, 3)];
    const end = header.at + packed;
    if (unpacked < 0 || packed < 0 || end > column.length) throw new Error('a page that lies outside its column');
    const bytes = column.subarray(header.at, end);
    const type = numberIn(fields, 1);
    if (type === DATA) checkData(bytes, unpacked, structIn(fields, 5), reading);
    else if (type === DATA_V2) checkDataV2(bytes, unpacked, structIn(fields, 8), reading);
    at = end;
  }
}

function checkData(bytes: Buffer, size: number, header: ThriftStruct, reading: PageReading): void {
  const count = numberIn(header, 1);
  const page = buffer(reading.unpack(bytes, size));
  let at = 0;
  for (const most of [reading.repetition, reading.definition]) {
    if (most === 0) continue;
    const length = page.readUInt32LE(at);
    checkRuns(page.subarray(at + 4, at + 4 + length), bitsOf(most), count);
    at += 4 + length;
  }
  if (DICTIONARIES.includes(header.get(2))) checkIndices(page.subarray(at), count);
}

function checkDataV2(bytes: Buffer, size: number, header: ThriftStruct, reading: PageReading): void {
  const count = numberIn(header, 1);
  const [definitions, repetitions] = [numberIn(header, 5), numberIn(header, 6)];
  const levels = definitions + repetitions;
  if (definitions < 0 || repetitions < 0 || levels > bytes.length)
    throw new Error('levels that lie outside their page');
  if (reading.repetition > 0) checkRuns(bytes.subarray(0, repetitions), bitsOf(reading.repetition), count);
  if (reading.definition > 0) checkRuns(bytes.subarray(repetitions, levels), bitsOf(reading.definition), count);
  if (!DICTIONARIES.includes(header.get(4))) return;
  const values = bytes.subarray(levels);
  const isPacked = header.get(7) !== false && size > levels;
  checkIndices(isPacked ? buffer(reading.unpack(values, size - levels)) : values, count);
}

/** Indices into a dictionary, behind how many bits each has. */
function checkIndices(bytes: Buffer, count: number): void {
  if (bytes.length > 0 && bytes[0]! > 0) checkRuns(bytes.subarray(1), bytes[0]!, count);
}

function bitsOf(most: number): number {
  return 32 - Math.clz32(most);
}

function buffer({ buffer: bytes, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(bytes, byteOffset, byteLength);
}

function numberIn(fields: ThriftStruct, id: number): number {
  const value = fields.get(id);
  if (typeof value === 'number') return value;
  throw new Error('a page whose header is not whole');
}

function structIn(fields: ThriftStruct, id: number): ThriftStruct {
  const value = fields.get(id);
  if (value instanceof Map) return value as ThriftStruct;
  throw new Error('a page whose header is not whole');
}
