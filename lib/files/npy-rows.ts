import type { FileHandle } from 'node:fs/promises';
import { badFile } from './bytes.js';
import { readNpy } from './npy.js';
import { matrixAdvice } from './numpy-advice.js';
import { PackedRows } from './packed-rows.js';

/** A matrix that NumPy has saved. */
export async function openNpy(file: string, handle: FileHandle): Promise<PackedRows> {
  const { type, shape, fortranOrder, offset } = await readNpy(file, handle, {
    types: ['float32', 'float16', 'float64', 'bfloat16'],
    advice: matrixAdvice,
  });
  const [rows, dim] = shape;
  if (shape.length === 2 && rows! > 0 && dim! > 0) {
    return new PackedRows({ file, handle, offset, rows: rows!, dim: dim!, type, byColumn: fortranOrder });
  }
  throw badFile(
    file,
    'a matrix with an embedding in each row',
    `shape (${shape.join(', ')})`,
    shape.length === 3
      ? 'For [views, samples, dim] save array.reshape(-1, array.shape[-1]); so too for [samples, views, dim], whose views stand together then (--layout samples).'
      : 'Save it in two dimensions, rows and numbers of a row, both above 0.',
  );
}
