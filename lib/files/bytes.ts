/** Opening files and reading their bytes. */
import type { Stats } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { InfoNCEError } from '../runtime/errors.js';

/** Something wrong with a file. */
export function badFile(file: string, expected: string, got: string, remedy: string, cause?: unknown): InfoNCEError {
  return new InfoNCEError('ERR_INFONCE_FILE', { argument: file, expected, got, remedy, cause });
}

/** What reading threw, as an error of the file where it is one of the system: a bad disk, a network that is gone. */
export function whileReading(file: string, cause: unknown): unknown {
  const { syscall, message } = cause as NodeJS.ErrnoException;
  if (cause instanceof InfoNCEError || syscall === undefined) return cause;
  return badFile(file, 'a file that can be read', message, 'Copy it to another disk.', cause);
}

const IN_PARTS = 'Files are read more than once and in parts: save it to one.';

/** Opens a file for reading, as one that can be read more than once and in parts. */
export async function openFile(file: string): Promise<FileHandle> {
  let found: Stats;
  try {
    const handle = await open(file, 'r');
    found = await handle.stat();
    if (found.isFile()) return handle;
    await handle.close();
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    throw new InfoNCEError('ERR_INFONCE_NOT_FOUND', {
      argument: file,
      expected: 'a file that can be read',
      got: code === 'ENOENT' ? 'none: there is no such file' : message,
      ...(file === '-' && { remedy: IN_PARTS }),
      cause,
    });
  }
  if (found.isDirectory()) throw badFile(file, 'a file', 'a folder', 'Name the files in it.');
  throw badFile(file, 'a file', 'something else', IN_PARTS);
}

/** As many bytes of the file as there are, up to `length`. */
export async function readAt(handle: FileHandle, position: number, length: number): Promise<Buffer> {
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

/** The bytes of a typed array. */
export function bytesOf(array: ArrayBufferView): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

/** Turns the bytes of each number around, in place. */
export function swapBytes(bytes: Uint8Array, size: number): void {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (size === 2) buffer.swap16();
  else if (size === 4) buffer.swap32();
  else if (size === 8) buffer.swap64();
}
