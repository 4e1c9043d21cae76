import { fileURLToPath } from 'node:url';
import { describeValue, InfoNCEError } from '../runtime/errors.js';
import type { HalfTensor, Tensor } from '../runtime/host-tensor.js';
import { checkChoice, checkInteger, checkKeys } from '../runtime/options.js';
import { numberClasses } from './classes.js';
import { FORMATS, type Format } from './formats.js';
import { openRows } from './open.js';
import type { Numbers, RowsFile } from './rows-file.js';

/** What a URL of any environment is, with or without its types. */
export interface URLLike {
  /** Begins with `file:`. */
  readonly href: string;
}

/** Options of {@link readEmbeddings}. */
export interface ReadOptions {
  /** Default: by the ending of the file's name; `.npy` by the file's first bytes. */
  readonly format?: Format | undefined;
  /**
   * The field, column or tensor with the embeddings: a name, in JSON also a path (`'response.embedding'`). In a table with a
   * column for each number, their names; `'e*'` is all that begin with e. Default: the one called `embedding`, `vector` or
   * the like, else the only candidate.
   */
  readonly column?: string | readonly string[] | undefined;
  /** The number of dimensions. Required for `raw`; default: that of the file. */
  readonly dim?: number | undefined;
}

/** The ids and labels in a file of embeddings. */
export interface Beside {
  /** The field or column `id` of each row; undefined if rows have none. */
  readonly ids: readonly string[] | undefined;
  /**
   * The field or column `label` or `class` of each row: integers as they are, others numbered in order of appearance.
   * Undefined if rows have none.
   */
  readonly labels: Int32Array | undefined;
}

/**
 * The embeddings of a file: a tensor [rows, dim] for every loss. float16 and bfloat16 stay as they are, all else becomes
 * float32.
 */
export type Embeddings = ((Tensor & Float32Stored) | HalfTensor) & Beside;

/** Says that the numbers are float32. */
export interface Float32Stored {
  /** The type of the numbers. */
  readonly dtype: 'float32';
}

const KEYS: ReadonlySet<string> = new Set(['format', 'column', 'dim']);

/**
 * Reads a file of embeddings: .npy, JSON lines, JSON, CSV, .fvecs, .bvecs, raw float32, Parquet, Arrow or safetensors. CSV
 * needs the package csv-parse, Parquet hyparquet, Arrow apache-arrow.
 *
 * @param file The path of the file.
 * @throws `InfoNCEError`: `ERR_INFONCE_NOT_FOUND` for a missing file or package, `ERR_INFONCE_FILE` for a file that cannot
 * be read, with the row (counted from 0) and what was expected; codes of bad options.
 */
export async function readEmbeddings(file: string | URLLike, options: ReadOptions = {}): Promise<Embeddings> {
  const rows = await openRows(pathOf(file, 'file'), checked(options));
  try {
    const length = rows.rows * rows.dim;
    const data = rows.dtype === 'float32' ? new Float32Array(length) : new Uint16Array(length);
    await rows.read(0, data);
    return new ReadRows(data, rows) as Beside as Embeddings;
  } finally {
    await rows.close();
  }
}

/** Refuses what is no path. */
export function pathOf(file: unknown, argument: string): string {
  if (typeof file === 'string') return file;
  const href: unknown = typeof file === 'object' && file !== null && 'href' in file ? file.href : undefined;
  if (typeof href === 'string' && href.startsWith('file:')) return fileURLToPath(href);
  throw new InfoNCEError('ERR_INFONCE_TYPE', {
    argument,
    expected: 'the path of a file, a string or a file: URL',
    got: typeof href === 'string' ? describeValue(href) : describeValue(file),
  });
}

function checked(options: ReadOptions): ReadOptions {
  checkKeys(options, 'options', KEYS);
  const { format, column, dim } = options;
  if (format !== undefined) checkChoice(format, 'format', FORMATS);
  if (dim !== undefined) checkInteger(dim, 'dim');
  const names = typeof column === 'string' ? [column] : (column ?? ['']);
  if (Array.isArray(names) && names.length > 0 && names.every(name => typeof name === 'string')) return options;
  throw new InfoNCEError('ERR_INFONCE_TYPE', {
    argument: 'column',
    expected: 'the name of a column, or names',
    got: describeValue(column),
  });
}

/** Its own keys are those of a tensor, which the losses check; ids and labels belong to its class. */
class ReadRows implements Beside {
  readonly data: Numbers;
  readonly dtype: RowsFile['dtype'];
  readonly shape: readonly number[];
  readonly #ids: readonly string[] | undefined;
  readonly #labels: Int32Array | undefined;

  constructor(data: Numbers, { dtype, rows, dim, ids, classes }: RowsFile) {
    this.data = data;
    this.dtype = dtype;
    this.shape = [rows, dim];
    this.#ids = ids;
    this.#labels = classes && numberClasses(classes);
  }

  get ids(): readonly string[] | undefined {
    return this.#ids;
  }

  get labels(): Int32Array | undefined {
    return this.#labels;
  }
}
