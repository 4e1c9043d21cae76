/** The formats of TEXMEX, http://corpus-texmex.irisa.fr: before the numbers of each row stands how many there are. */
import type { FileHandle } from 'node:fs/promises';
import { badFile, readAt } from './bytes.js';
import { PackedRows } from './packed-rows.js';
import { storedType } from './stored-type.js';

/** Of the count, a little-endian 32-bit integer. */
const LEAD = 4;
/** Larger ones are those of another format. */
const MOST_DIM = 1 << 24;

/** `.fvecs` has float32 numbers, `.bvecs` bytes. */
export async function openVectors(file: string, handle: FileHandle, name: 'float32' | 'uint8'): Promise<PackedRows> {
  const type = storedType(name);
  const start = await readAt(handle, 0, LEAD);
  const dim = start.length === LEAD ? start.readInt32LE() : 0;
  if (dim < 1 || dim > MOST_DIM) {
    const got = start.length === LEAD ? String(dim) : `a file of ${start.length} bytes`;
    throw badFile(file, 'the dimension of the first row', got, 'The file is of another format, or damaged.');
  }
  const stride = LEAD + dim * type.bytes;
  const { size } = await handle.stat();
  if (size % stride !== 0) {
    const expected = `rows of ${stride} bytes, for ${dim} numbers each`;
    const remedy = 'It was cut off, or its rows differ in length: copy or save it again.';
    throw badFile(file, expected, `${size} bytes`, remedy);
  }
  return new PackedRows({
    file,
    handle,
    offset: 0,
    rows: size / stride,
    dim,
    type,
    lead: LEAD,
    checkLead: (row, index) => {
      const own = row.readInt32LE();
      if (own === dim) return;
      const got = `${own} in row ${index} (counted from 0)`;
      throw badFile(file, `${dim} numbers in each row, as in the first`, got, 'Rows are equally long.');
    },
  });
}
