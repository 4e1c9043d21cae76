/** NumPy's file format, versions 1 to 3: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html */
import type { Stats } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { CommandError, EXIT } from '../terminal/exit.js';

/** An open file whose header has been read and found to agree with its size. */
export interface NpyFile {
  readonly file: string;
  readonly handle: FileHandle;
  /** NumPy's name of the type: `<f4`. */
  readonly type: string;
  readonly shape: readonly number[];
  /** Where the numbers begin, in bytes. */
  readonly offset: number;
}

const MAGIC = '\x93NUMPY';
/** Of a header; NumPy itself trusts none above 10,000 bytes. */
const MOST_HEADER = 1 << 20;

/** Something wrong with a file: `expected`, `got`, and what to do. */
export function badFile(file: string, expected: string, got: string, remedy: string): CommandError {
  return new CommandError(EXIT.problem, `${file}: expected ${expected}, got ${got}. ${remedy}`);
}

/** Opens a file; one that is missing or not readable ends the command. */
export async function openFile(file: string): Promise<FileHandle> {
  let found: Stats;
  try {
    const handle = await open(file, 'r');
    found = await handle.stat();
    if (found.isFile()) return handle;
    await handle.close();
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    throw new CommandError(EXIT.missing, `${file}: ${code === 'ENOENT' ? 'there is no such file' : message}`, {
      cause,
    });
  }
  if (found.isDirectory()) throw badFile(file, 'a file', 'a folder', 'Name the files in it.');
  throw badFile(file, 'a file', 'something else', 'Files are read more than once and in parts: save it to one.');
}

/** Whether a file begins as those of `np.save` do. */
export async function isNpy(handle: FileHandle): Promise<boolean> {
  return (await readAt(handle, 0, MAGIC.length)).toString('latin1') === MAGIC;
}

/**
 * Reads and checks the header of an open file. `sizes` gives the bytes of a number for each type that the caller can use,
 * `advice` what to do about others.
 */
export async function readNpy(
  file: string,
  handle: FileHandle,
  sizes: Readonly<Record<string, number>>,
  advice: (type: string) => string,
): Promise<NpyFile> {
  const start = await readAt(handle, 0, 12);
  if (start.toString('latin1', 0, MAGIC.length) !== MAGIC) {
    const isArchive = start.toString('latin1', 0, 2) === 'PK';
    const remedy = isArchive ? 'Save its arrays one by one: np.save(name, archive[name]).' : 'Save it with np.save().';
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
  const { descr, order, shape } = parse(header.toString(version === 3 ? 'utf8' : 'latin1'));
  if (header.length !== length || descr === undefined || order === undefined || shape === undefined) {
    throw badFile(file, 'a header with descr, fortran_order and shape', 'none', 'The file is damaged: save it again.');
  }
  const size = sizes[descr];
  if (size === undefined) {
    throw badFile(file, `one of the types ${Object.keys(sizes).join(', ')}`, descr, advice(descr));
  }
  if (order === 'True') {
    throw badFile(file, 'rows one after the other (C order)', 'Fortran order', 'Save np.ascontiguousarray(array).');
  }
  const expected = offset + size * shape.reduce((product, dimension) => product * dimension, 1);
  const bytes = (await handle.stat()).size;
  if (bytes !== expected) {
    const remedy = bytes < expected ? 'It was cut off: copy or save it again.' : 'Save one array in a file.';
    throw badFile(file, `${expected} bytes for shape (${shape.join(', ')})`, String(bytes), remedy);
  }
  return { file, handle, type: descr, shape, offset };
}

/** The values of the header, the text of a Python dictionary. A structured type is returned as its text. */
function parse(header: string) {
  const [, descr, structure] = /'descr'\s*:\s*(?:'([^']*)'|(\[.*?\]))\s*,\s*'/s.exec(header) ?? [];
  const [, order] = /'fortran_order'\s*:\s*(True|False)\b/.exec(header) ?? [];
  const [, tuple] = /'shape'\s*:\s*\(([\d\s,L]*)\)/.exec(header) ?? [];
  const shape = tuple
    ?.split(',')
    .filter(part => part.trim() !== '')
    .map(part => Number.parseInt(part, 10));
  return { descr: descr ?? structure, order, shape: shape?.every(Number.isSafeInteger) ? shape : undefined };
}

/** As many bytes of the file as there are, up to `length`. */
async function readAt(handle: FileHandle, position: number, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  return bytes.subarray(0, await fillFrom(handle, bytes, position));
}

/** Larger reads are done in parts of this many bytes. */
const MOST_READ = 1 << 26;

/** Fills `target` with the file's bytes from `position` on, and returns how many there were. */
export async function fillFrom(handle: FileHandle, target: Uint8Array, position: number): Promise<number> {
  let done = 0;
  while (done < target.length) {
    const length = Math.min(target.length - done, MOST_READ);
    const { bytesRead } = await handle.read(target, done, length, position + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return done;
}
