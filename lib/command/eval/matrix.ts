import { type OpenOptions, openRows } from '../../files/open.js';
import type { Numbers, RowsFile } from '../../files/rows-file.js';
import { fromFloat16 } from '../../reference/half.js';
import { InfoNCEError } from '../../runtime/errors.js';
import type { HalfTensor, Tensor } from '../../runtime/host-tensor.js';
import { usage } from './options.js';

export type { Numbers } from '../../files/rows-file.js';

/** Numbers of a file that cannot be read in parts: 256 MB. Those before them go to the disk. */
const IN_MEMORY = 1 << 26;

/** What the command line says of how files are read. */
export type ReadingOptions = Pick<OpenOptions, 'format' | 'column' | 'dim' | 'keepIds'>;

/** A matrix of embeddings in a file, read in parts, as float32 or float16: float64 and bfloat16 become float32. */
export class MatrixFile {
  readonly file: string;
  /** The type in the file. */
  readonly stored: RowsFile['stored'];
  /** The type that {@link read} returns. */
  readonly dtype: 'float32' | 'float16';
  readonly rows: number;
  readonly dim: number;
  readonly #rows: RowsFile;

  private constructor(rows: RowsFile) {
    this.#rows = rows;
    this.file = rows.file;
    this.stored = rows.stored;
    this.dtype = rows.dtype === 'float16' ? 'float16' : 'float32';
    this.rows = rows.rows;
    this.dim = rows.dim;
  }

  static async open(file: string, { format, column, dim, keepIds }: ReadingOptions): Promise<MatrixFile> {
    const rows = await openRows(file, { format, column, dim, keepIds, inMemory: IN_MEMORY }).catch(error => {
      // An option that does not go with the file's format, or is missing for it.
      throw error instanceof InfoNCEError && error.code === 'ERR_INFONCE_TYPE' ? usage(error.message) : error;
    });
    return new MatrixFile(rows);
  }

  get classes(): RowsFile['classes'] {
    return this.#rows.classes;
  }

  /** With `keepIds`, where the file has them. */
  get ids(): RowsFile['ids'] {
    return this.#rows.ids;
  }

  /** Fills `target` with the rows from `first` on. */
  read(first: number, target: Numbers): Promise<void> {
    return this.#rows.read(first, target);
  }

  /** Describes one number of the file. */
  describe(row: number, column: number): Promise<string> {
    return this.#rows.describe(row, column);
  }

  close(): Promise<void> {
    return this.#rows.close();
  }
}

let halves: Float32Array | undefined;

/** The float16 number of every bit pattern; computed on first use. */
export function float16Values(): Float32Array {
  halves ??= Float32Array.from({ length: 1 << 16 }, (_, bits) => fromFloat16(bits));
  return halves;
}

export function numberAt(numbers: Numbers, index: number): number {
  return numbers instanceof Uint16Array ? float16Values()[numbers[index]!]! : numbers[index]!;
}

/** Rows as the library takes them. */
export function tensorOf(data: Numbers, rows: number, dim: number): Tensor | HalfTensor {
  const shape = [rows, dim];
  return data instanceof Uint16Array ? { data, dtype: 'float16', shape } : { data, shape };
}
