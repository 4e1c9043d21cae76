import type { FileHandle } from 'node:fs/promises';
import { fromBfloat16, fromFloat16 } from '../reference/half.js';
import type { DType } from '../runtime/host-tensor.js';
import { badFile, bytesOf, fillFrom, swapBytes, whileReading } from './bytes.js';
import type { Numbers, RowsFile } from './rows-file.js';
import type { StoredType } from './stored-type.js';

/** Where the numbers of a file stand. */
export interface Packing {
  readonly file: string;
  readonly handle: FileHandle;
  /** Of the first row, in bytes. */
  readonly offset: number;
  readonly rows: number;
  readonly dim: number;
  readonly type: StoredType;
  /** Bytes of a row before its numbers. Default 0. */
  readonly lead?: number;
  /** Columns one after the other instead of rows. */
  readonly byColumn?: boolean;
  /** Checks the lead of a row. */
  readonly checkLead?: (row: Buffer, index: number) => void;
}

/** Of numbers converted at once, in bytes. */
const CONVERTED_AT_ONCE = 1 << 20;

/** Rows of numbers at fixed places of a file: any part is read without the rest. */
export class PackedRows implements RowsFile {
  readonly file: string;
  readonly stored: StoredType['name'];
  readonly dtype: DType;
  readonly rows: number;
  readonly dim: number;
  readonly #packing: Packing;
  readonly #stride: number;
  #scratch: Buffer | undefined;

  constructor(packing: Packing) {
    const { file, rows, dim, type, lead = 0 } = packing;
    this.#packing = packing;
    this.#stride = lead + dim * type.bytes;
    this.file = file;
    this.stored = type.name;
    this.dtype = type.name === 'float16' || type.name === 'bfloat16' ? type.name : 'float32';
    this.rows = rows;
    this.dim = dim;
  }

  close(): Promise<void> {
    return this.#packing.handle.close();
  }

  async read(first: number, target: Numbers): Promise<void> {
    const { type, byColumn = false, lead = 0, offset, checkLead } = this.#packing;
    if (byColumn) return this.#readColumns(first, target);
    if (lead === 0 && type.name === (target instanceof Uint16Array ? this.dtype : 'float32')) {
      await this.#fill(bytesOf(target), offset + first * this.#stride);
      if (type.swapped) swapBytes(bytesOf(target), type.bytes);
      return;
    }
    const atOnce = Math.max(1, Math.floor(CONVERTED_AT_ONCE / this.#stride));
    const count = target.length / this.dim;
    for (let done = 0; done < count; done += atOnce) {
      const rows = Math.min(atOnce, count - done);
      const bytes = this.#scratchOf(rows * this.#stride);
      await this.#fill(bytes, offset + (first + done) * this.#stride);
      if (lead === 0) put(target, done * this.dim, 1, type, bytes);
      for (let row = 0; lead > 0 && row < rows; row++) {
        const own = bytes.subarray(row * this.#stride, (row + 1) * this.#stride);
        checkLead?.(own, first + done + row);
        put(target, (done + row) * this.dim, 1, type, own.subarray(lead));
      }
    }
  }

  /** Column by column, which all go through the whole file: fast where many rows are read at once. */
  async #readColumns(first: number, target: Numbers): Promise<void> {
    const { type, offset } = this.#packing;
    const count = target.length / this.dim;
    const atOnce = Math.floor(CONVERTED_AT_ONCE / type.bytes);
    for (let column = 0; column < this.dim; column++) {
      for (let done = 0; done < count; done += atOnce) {
        const rows = Math.min(atOnce, count - done);
        const bytes = this.#scratchOf(rows * type.bytes);
        await this.#fill(bytes, offset + (column * this.rows + first + done) * type.bytes);
        put(target, done * this.dim + column, this.dim, type, bytes);
      }
    }
  }

  async describe(row: number, column: number): Promise<string> {
    const { type, byColumn = false, lead = 0, offset } = this.#packing;
    const { bytes } = type;
    const place = byColumn ? (column * this.rows + row) * bytes : row * this.#stride + lead + column * bytes;
    const number = this.#scratchOf(bytes);
    await this.#fill(number, offset + place);
    const value = Float64Array.of(0);
    put(value, 0, 1, type, number);
    return Number.isFinite(value[0]) ? `${value[0]}, which is too large for float32` : String(value[0]);
  }

  #scratchOf(bytes: number): Buffer {
    if (this.#scratch === undefined || this.#scratch.length < bytes) this.#scratch = Buffer.alloc(bytes);
    return this.#scratch.subarray(0, bytes);
  }

  async #fill(bytes: Uint8Array, position: number): Promise<void> {
    const got = await fillFrom(this.#packing.handle, bytes, position).catch(error =>
      Promise.reject(whileReading(this.file, error)),
    );
    if (got === bytes.length) return;
    throw badFile(this.file, `${bytes.length} more bytes`, String(got), 'It has become shorter while it was read.');
  }
}

/** Puts the numbers of `bytes` into `target`: from `start` on, each `step` behind the one before. */
function put(target: Numbers | Float64Array, start: number, step: number, type: StoredType, bytes: Uint8Array): void {
  if (type.swapped) swapBytes(bytes, type.bytes);
  const numbers = viewOf(type, bytes);
  const convert = target instanceof Uint16Array ? undefined : HALVES[type.name];
  if (convert === undefined && step === 1) target.set(numbers, start);
  else for (let i = 0; i < numbers.length; i++) target[start + i * step] = convert?.(numbers[i]!) ?? numbers[i]!;
}

const HALVES: Readonly<Record<string, (bits: number) => number>> = {
  float16: fromFloat16,
  bfloat16: fromBfloat16,
};

function viewOf({ name, bytes: size }: StoredType, bytes: Uint8Array) {
  // A typed array begins at a multiple of its numbers' size.
  const aligned = bytes.byteOffset % size === 0 ? bytes : Uint8Array.from(bytes);
  const place = [aligned.buffer, aligned.byteOffset, aligned.byteLength / size] as const;
  if (name === 'float32') return new Float32Array(...place);
  if (name === 'float64') return new Float64Array(...place);
  if (name === 'float16' || name === 'bfloat16') return new Uint16Array(...place);
  if (name === 'uint8') return new Uint8Array(...place);
  throw new TypeError(`Rows of ${name} are not read.`);
}
