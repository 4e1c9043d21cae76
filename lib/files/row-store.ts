import { badFile } from './bytes.js';
import type { ClassName } from './classes.js';
import type { Numbers, RowsFile } from './rows-file.js';
import { Spill } from './spill.js';

/** The line, id and label of a row. */
export interface RowInfo {
  /** Of the file, counted from 1. */
  readonly line?: number;
  readonly id?: unknown;
  readonly label?: unknown;
}

export interface StoreOptions {
  /** How many numbers a row has; undefined: as many as the first. */
  readonly dim?: number | undefined;
  /** How many numbers stay in memory; those before them go to the disk. Undefined: all. */
  readonly inMemory?: number | undefined;
  /** Whether ids of rows are kept. Default: where all numbers are. */
  readonly keepIds?: boolean | undefined;
}

const IN_A_CHUNK = 1 << 20;

/** The rows of a file that is read once, from start to end: its numbers in float32. */
export class RowStore implements RowsFile {
  readonly file: string;
  readonly stored = 'float32';
  readonly dtype = 'float32';
  readonly #inMemory: number;
  readonly #keepsIds: boolean;
  readonly #dimIsGiven: boolean;
  readonly #ids: string[] = [];
  readonly #classes: ClassName[] = [];
  readonly #chunks: Float32Array[] = [];
  #spill: Spill | undefined;
  #dim: number | undefined;
  #rows = 0;
  /** Rows of the last chunk. */
  #filled = 0;
  #inChunk = 1;

  constructor(file: string, { dim, inMemory = Number.POSITIVE_INFINITY, keepIds }: StoreOptions) {
    this.file = file;
    this.#dim = dim;
    this.#dimIsGiven = dim !== undefined;
    this.#inMemory = inMemory;
    this.#keepsIds = keepIds ?? inMemory === Number.POSITIVE_INFINITY;
  }

  get rows(): number {
    return this.#rows;
  }

  get dim(): number {
    return this.#dim ?? 0;
  }

  get ids(): readonly string[] | undefined {
    return this.#ids.length === this.#rows ? this.#ids : undefined;
  }

  get classes(): readonly ClassName[] | undefined {
    return this.#classes.length === this.#rows ? this.#classes : undefined;
  }

  /** Adds a row of numbers, or of their text. What it returns, if anything, is to be waited for. */
  add(values: ArrayLike<unknown>, info: RowInfo = {}): Promise<void> | undefined {
    this.#dim ??= this.#firstDim(values.length, info);
    const dim = this.#dim;
    if (values.length !== dim) throw this.#ragged(values.length, info);
    let full: Promise<void> | undefined;
    if (this.#chunks.length === 0 || this.#filled === this.#inChunk) full = this.#nextChunk(dim);
    const chunk = this.#chunks.at(-1)!;
    const start = this.#filled * dim;
    for (let k = 0; k < dim; k++) {
      const value = values[k];
      chunk[start + k] = typeof value === 'number' ? value : numberOf(value);
      if (!Number.isFinite(chunk[start + k])) throw this.#noNumber(value, k, info);
    }
    this.#filled++;
    this.#note(info);
    this.#rows++;
    return full;
  }

  /** Refuses a file without rows. */
  finish(): this {
    if (this.#rows > 0) return this;
    throw badFile(this.file, 'an embedding in each row', 'no rows', 'The file is empty: was it written to its end?');
  }

  async read(first: number, target: Numbers): Promise<void> {
    if (target instanceof Uint16Array) throw new TypeError('These rows are float32.');
    const dim = this.dim;
    // Chunks that are on the disk are the first ones, and whole.
    const onDisk = this.#spill === undefined ? 0 : this.#rows - this.#rowsInMemory();
    const fromDisk = Math.max(0, Math.min(target.length / dim, onDisk - first));
    if (fromDisk > 0) await this.#spill?.read(first * dim, target.subarray(0, fromDisk * dim));
    for (let done = fromDisk; done < target.length / dim; ) {
      const row = first + done - onDisk;
      const chunk = this.#chunks[Math.floor(row / this.#inChunk)]!;
      const inChunk = row % this.#inChunk;
      const count = Math.min(target.length / dim - done, this.#inChunk - inChunk);
      target.set(chunk.subarray(inChunk * dim, (inChunk + count) * dim), done * dim);
      done += count;
    }
  }

  async describe(row: number, column: number): Promise<string> {
    const numbers = new Float32Array(this.dim);
    await this.read(row, numbers);
    return String(numbers[column]);
  }

  async close(): Promise<void> {
    await this.#spill?.close();
  }

  #rowsInMemory(): number {
    return this.#chunks.length === 0 ? 0 : (this.#chunks.length - 1) * this.#inChunk + this.#filled;
  }

  /** Begins a chunk; those before may go to the disk, which the caller waits for. */
  #nextChunk(dim: number): Promise<void> | undefined {
    this.#inChunk = Math.max(1, Math.floor(IN_A_CHUNK / dim));
    const toDisk = this.#chunks.length * this.#inChunk * dim >= this.#inMemory;
    const full = toDisk ? this.#chunks.splice(0) : [];
    this.#chunks.push(new Float32Array(this.#inChunk * dim));
    this.#filled = 0;
    return toDisk ? this.#toDisk(full) : undefined;
  }

  async #toDisk(chunks: readonly Float32Array[]): Promise<void> {
    this.#spill ??= await Spill.create();
    for (const chunk of chunks) await this.#spill.append(chunk);
  }

  #note({ id, label }: RowInfo): void {
    if (this.#keepsIds && (typeof id === 'string' || typeof id === 'number' || typeof id === 'bigint')) {
      this.#ids.push(String(id));
    }
    if (typeof label === 'string' || typeof label === 'bigint' || Number.isFinite(label)) {
      this.#classes.push(label as ClassName);
    }
  }

  #firstDim(length: number, info: RowInfo): number {
    if (length > 0) return length;
    throw badFile(this.file, 'numbers in each row', `none ${this.#where(info)}`, 'Remove rows without an embedding.');
  }

  #ragged(length: number, info: RowInfo): Error {
    const expected = `${this.#dim} numbers in each row${this.#dimIsGiven ? '' : ', as in the first'}`;
    const remedy = this.#dimIsGiven && this.#rows === 0 ? 'Give the dim that the rows have.' : 'Rows are equally long.';
    return badFile(this.file, expected, `${length} ${this.#where(info)}`, remedy);
  }

  #noNumber(value: unknown, column: number, info: RowInfo): Error {
    const number = typeof value === 'number' ? value : numberOf(value);
    const shown = typeof value === 'string' ? JSON.stringify(value.slice(0, 40)) : describe(value);
    const got = Number.isFinite(number) ? `${shown}, which is too large for float32,` : shown;
    return badFile(
      this.file,
      'finite numbers',
      `${got} ${this.#where(info, column)}`,
      'Remove the row, or compute its embedding again.',
    );
  }

  #where({ line }: RowInfo, column?: number): string {
    const place = `row ${this.#rows}${column === undefined ? '' : `, column ${column}`}`;
    return `in ${place} (counted from 0)${line === undefined ? '' : `, line ${line} of the file`}`;
  }
}

/** Of text and large integers; NaN for all else. */
function numberOf(value: unknown): number {
  if (typeof value === 'bigint') return Number(value);
  return typeof value === 'string' && value.trim() !== '' ? Number(value) : Number.NaN;
}

function describe(value: unknown): string {
  if (Array.isArray(value)) return 'an array';
  return typeof value === 'object' && value !== null ? 'an object' : String(value);
}
