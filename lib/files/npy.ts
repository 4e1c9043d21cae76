/** NumPy's file format, versions 1 to 3: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html */
import type { FileHandle } from 'node:fs/promises';
import { badFile, readAt } from './bytes.js';
import { printDescriptor } from './numpy-advice.js';
import { type PythonValue, parsePython } from './python-literal.js';
import { codeOf, type StoredType, type TypeName, typeOfDescriptor } from './stored-type.js';

/** An open file whose header has been read and found to agree with its size. */
export interface NpyFile {
  readonly file: string;
  readonly handle: FileHandle;
  readonly type: StoredType;
  readonly shape: readonly number[];
  /** Columns one after the other instead of rows. */
  readonly fortranOrder: boolean;
  /** Where the numbers begin, in bytes. */
  readonly offset: number;
}

/** Which types the caller can use, and what to do about others. */
export interface WantedTypes {
  readonly types: readonly TypeName[];
  readonly advice: (descriptor: PythonValue) => string;
}

const MAGIC = '\x93NUMPY';
/** Of a header; NumPy itself trusts none above 10,000 bytes. */
const MOST_HEADER = 1 << 20;

/** Whether a file begins as those of `np.save` do. */
export async function isNpy(handle: FileHandle): Promise<boolean> {
  return (await readAt(handle, 0, MAGIC.length)).toString('latin1') === MAGIC;
}

/** Reads and checks the header of an open file. */
export async function readNpy(file: string, handle: FileHandle, { types, advice }: WantedTypes): Promise<NpyFile> {
  const start = await readAt(handle, 0, 12);
  if (start.toString('latin1', 0, MAGIC.length) !== MAGIC) {
    const isArchive = start.toString('latin1', 0, 2) === 'PK';
    const remedy = isArchive
      ? 'Save its arrays one by one: np.save(name, archive[name]).'
      : 'Save it with np.save(), or say which format it has: format (--format).';
    throw badFile(file, 'a .npy file', isArchive ? 'a .npz archive' : 'another format', remedy);
  }
  const version = start[6]!;
  if (version < 1 || version > 3) {
    throw badFile(file, 'version 1, 2 or 3 of the .npy format', `version ${version}`, 'Save it again with np.save().');
  }
  const lengthBytes = version === 1 ? 2 : 4;
  const length = start.length < 8 + lengthBytes ? -1 : start.readUIntLE(8, lengthBytes);
  const offset = 8 + lengthBytes + length;
  const header = length < 0 || length > MOST_HEADER ? Buffer.alloc(0) : await readAt(handle, 8 + lengthBytes, length);
  const parsed = header.length === length ? parse(header.toString(version === 3 ? 'utf8' : 'latin1')) : undefined;
  if (parsed === undefined) {
    throw badFile(file, 'a header with descr, fortran_order and shape', 'none', 'The file is damaged: save it again.');
  }
  const { descriptor, fortranOrder, shape } = parsed;
  const type = typeOfDescriptor(descriptor);
  if (type === undefined || !types.includes(type.name)) {
    // bfloat16 has no name of its own.
    const named = types.flatMap(name => codeOf(name) ?? []).join(', ');
    const got = typeof descriptor === 'string' ? descriptor : printDescriptor(descriptor);
    throw badFile(file, `one of the types ${named}`, got, advice(descriptor));
  }
  const expected = offset + type.bytes * shape.reduce((product, dimension) => product * dimension, 1);
  const bytes = (await handle.stat()).size;
  if (bytes !== expected) {
    const remedy = bytes < expected ? 'It was cut off: copy or save it again.' : 'Save one array in a file.';
    throw badFile(file, `${expected} bytes for shape (${shape.join(', ')})`, String(bytes), remedy);
  }
  return { file, handle, type, shape, fortranOrder, offset };
}

interface Header {
  readonly descriptor: PythonValue;
  readonly fortranOrder: boolean;
  readonly shape: readonly number[];
}

/** The header is a Python dictionary of three keys, in any order. */
function parse(text: string): Header | undefined {
  const header = parsePython(text);
  if (!(header instanceof Map) || header.size !== 3) return undefined;
  const descriptor = header.get('descr') as PythonValue | undefined;
  const fortranOrder = header.get('fortran_order') as PythonValue | undefined;
  const shape = shapeOf(header.get('shape') as PythonValue | undefined);
  if (descriptor === undefined || typeof fortranOrder !== 'boolean' || shape === undefined) return undefined;
  return { descriptor, fortranOrder, shape };
}

function shapeOf(value: PythonValue | undefined): readonly number[] | undefined {
  if (typeof value !== 'object' || value === null || !('items' in value) || value.kind !== 'tuple') return undefined;
  const shape = value.items.map(item => (typeof item === 'bigint' && item >= 0n ? Number(item) : Number.NaN));
  return shape.every(Number.isSafeInteger) ? shape : undefined;
}
