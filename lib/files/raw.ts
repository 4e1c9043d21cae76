import type { FileHandle } from 'node:fs/promises';
import { InfoNCEError } from '../runtime/errors.js';
import { badFile } from './bytes.js';
import { PackedRows } from './packed-rows.js';
import { storedType } from './stored-type.js';

/** Little-endian float32 numbers and nothing else. */
export async function openRaw(file: string, handle: FileHandle, dim: number | undefined): Promise<PackedRows> {
  if (dim === undefined) {
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: 'dim',
      expected: `how many numbers a row of ${file} has`,
      got: 'undefined',
      remedy: 'A raw file does not contain it: pass dim (--dim).',
    });
  }
  const { size } = await handle.stat();
  if (size > 0 && size % (4 * dim) === 0) {
    return new PackedRows({ file, handle, offset: 0, rows: size / (4 * dim), dim, type: storedType('float32') });
  }
  const expected = `rows of ${4 * dim} bytes, for ${dim} float32 numbers each`;
  throw badFile(file, expected, `${size} bytes`, 'Is it the right dim, and a file without a header?');
}
