import { type FileHandle, open } from 'node:fs/promises';
import { fromBfloat16 } from '../reference/half.js';
import { describeValue, InfoNCEError } from '../runtime/errors.js';
import { checkArray, type HalfTensor, type Tensor } from '../runtime/host-tensor.js';
import { checkKeys } from '../runtime/options.js';
import { bytesOf } from './bytes.js';
import { pathOf, type URLLike } from './read-embeddings.js';

const KEYS: ReadonlySet<string> = new Set(['data', 'shape', 'dtype']);
/** As NumPy has it. */
const MOST_DIMENSIONS = 64;
/** Bytes. */
const WRITTEN_AT_ONCE = 1 << 26;

/**
 * Writes a tensor as NumPy's `np.save` does, for `infonce eval`, {@link readEmbeddings} and `np.load`. bfloat16, which NumPy
 * has no type for, is written as float32.
 *
 * @param file The path of the file. An existing file is replaced.
 * @throws `InfoNCEError`: codes of bad tensors, and `ERR_INFONCE_FILE` if the file cannot be written.
 */
export async function writeNpy(file: string | URLLike, tensor: Tensor | HalfTensor): Promise<void> {
  const path = pathOf(file, 'file');
  if (typeof tensor !== 'object' || tensor === null || !('data' in tensor)) {
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: 'tensor',
      expected: 'a tensor { data: Float32Array, shape: number[] }',
      got: describeValue(tensor),
      remedy: 'For a device tensor pass { data: await tensor.toArray(), shape: tensor.shape }.',
    });
  }
  checkKeys(tensor, 'tensor', KEYS);
  const layout = { text: '[rows, dim]', fewestDimensions: 1, mostDimensions: MOST_DIMENSIONS };
  const { data, dtype, shape } = checkArray(tensor.data, tensor.shape, tensor.dtype, 'tensor.', layout);
  const numbers = dtype === 'bfloat16' ? Float32Array.from(data, fromBfloat16) : data;
  try {
    const handle = await open(path, 'w');
    try {
      await write(handle, npyHeader(dtype === 'float16' ? '<f2' : '<f4', shape));
      await write(handle, bytesOf(numbers));
    } finally {
      await handle.close();
    }
  } catch (cause) {
    throw new InfoNCEError('ERR_INFONCE_FILE', {
      argument: path,
      expected: 'a file that can be written',
      got: (cause as Error).message,
      cause,
    });
  }
}

async function write(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const length = Math.min(bytes.length - done, WRITTEN_AT_ONCE);
    done += (await handle.write(bytes, done, length)).bytesWritten;
  }
}

/** Version 1, padded so that the numbers begin at a multiple of 64 bytes. */
function npyHeader(descriptor: string, shape: readonly number[]): Buffer {
  const tuple = shape.length === 1 ? `${shape[0]},` : shape.join(', ');
  const text = `{'descr': '${descriptor}', 'fortran_order': False, 'shape': (${tuple}), }`;
  const start = 10;
  const length = 64 * Math.ceil((start + text.length + 1) / 64) - start;
  const header = Buffer.alloc(start + length, ' ');
  header.write('\x93NUMPY\x01\x00', 'latin1');
  header.writeUInt16LE(length, 8);
  header.write(text, start, 'latin1');
  header[header.length - 1] = 0x0a;
  return header;
}
