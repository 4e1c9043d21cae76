import { fromFloat16 } from '../../reference/half.js';
import type { HalfTensor, Tensor } from '../../runtime/host-tensor.js';
import { badFile, fillFrom, type NpyFile, openFile, readNpy } from './npy.js';

/** Numbers as the engine takes them. */
export type Numbers = Float32Array | Uint16Array;

const SIZES = { '<f4': 4, '<f2': 2, '<f8': 8 };
const NAMES = { '<f4': 'float32', '<f2': 'float16', '<f8': 'float64' } as const;

/** Of float64 numbers converted at once. */
const CONVERTED_AT_ONCE = 1 << 17;

/** A matrix of embeddings in a file, read in parts. float64 is read as float32. */
export class MatrixFile {
  readonly file: string;
  /** The type in the file. */
  readonly stored: (typeof NAMES)[keyof typeof NAMES];
  /** The type that {@link read} returns. */
  readonly dtype: 'float32' | 'float16';
  readonly rows: number;
  readonly dim: number;
  readonly #npy: NpyFile;
  readonly #size: number;
  #doubles: Float64Array | undefined;

  private constructor(npy: NpyFile) {
    const [rows, dim] = npy.shape;
    this.file = npy.file;
    this.#npy = npy;
    this.stored = NAMES[npy.type as keyof typeof NAMES];
    this.dtype = this.stored === 'float16' ? 'float16' : 'float32';
    this.#size = SIZES[npy.type as keyof typeof SIZES];
    this.rows = rows!;
    this.dim = dim!;
  }

  static async open(file: string): Promise<MatrixFile> {
    const handle = await openFile(file);
    try {
      const npy = await readNpy(file, handle, SIZES, adviceOn);
      const { shape } = npy;
      if (shape.length === 2 && shape.every(dimension => dimension > 0)) return new MatrixFile(npy);
      throw badFile(
        file,
        'a matrix with an embedding in each row',
        `shape (${shape.join(', ')})`,
        shape.length === 3
          ? 'For [views, samples, dim] save array.reshape(-1, dim); so too for [samples, views, dim], with --layout samples.'
          : 'Save it in two dimensions, rows and numbers of a row, both above 0.',
      );
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  close(): Promise<void> {
    return this.#npy.handle.close();
  }

  /** Fills `target` with the rows from `first` on. */
  async read(first: number, target: Numbers): Promise<void> {
    const start = first * this.dim;
    if (this.stored !== 'float64') return this.#fill(start, target);
    this.#doubles ??= new Float64Array(CONVERTED_AT_ONCE);
    for (let done = 0; done < target.length; done += CONVERTED_AT_ONCE) {
      const doubles = this.#doubles.subarray(0, Math.min(CONVERTED_AT_ONCE, target.length - done));
      await this.#fill(start + done, doubles);
      target.set(doubles, done);
    }
  }

  /** Describes one number of the file. */
  async describe(row: number, column: number): Promise<string> {
    const index = row * this.dim + column;
    if (this.stored !== 'float64') {
      const target = this.dtype === 'float16' ? new Uint16Array(1) : new Float32Array(1);
      await this.#fill(index, target);
      return String(numberAt(target, 0));
    }
    const double = new Float64Array(1);
    await this.#fill(index, double);
    const [value] = double;
    return Number.isFinite(value) ? `${value}, which is too large for float32` : String(value);
  }

  async #fill(start: number, target: Numbers | Float64Array): Promise<void> {
    const { handle, offset } = this.#npy;
    const bytes = new Uint8Array(target.buffer, target.byteOffset, target.byteLength);
    const got = await fillFrom(handle, bytes, offset + start * this.#size);
    if (got === bytes.length) return;
    throw badFile(this.file, `${bytes.length} more bytes`, String(got), 'It has become shorter while it was read.');
  }
}

function adviceOn(type: string): string {
  if (type.startsWith('>'))
    return "The bytes are in the other order: save array.astype(array.dtype.newbyteorder('<')).";
  if (type.includes('O')) return 'Python objects are no matrix: save np.stack(array).';
  if (type.startsWith('|V'))
    return 'If it is bfloat16, which the format has no name for, save array.astype(np.float32).';
  return 'Save array.astype(np.float32).';
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
