import type { FileHandle } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { badFile, fillFrom, openFile, swapBytes, whileReading } from '../../files/bytes.js';
import { numberClasses } from '../../files/classes.js';
import { isNpy, readNpy } from '../../files/npy.js';
import { labelsAdvice } from '../../files/numpy-advice.js';
import type { TypeName } from '../../files/stored-type.js';

type Integers =
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

const MAKE: { readonly [name in TypeName]?: (bytes: ArrayBuffer) => Integers } = {
  bool: bytes => new Uint8Array(bytes),
  int8: bytes => new Int8Array(bytes),
  uint8: bytes => new Uint8Array(bytes),
  int16: bytes => new Int16Array(bytes),
  uint16: bytes => new Uint16Array(bytes),
  int32: bytes => new Int32Array(bytes),
  uint32: bytes => new Uint32Array(bytes),
  int64: bytes => new BigInt64Array(bytes),
  uint64: bytes => new BigUint64Array(bytes),
};

/** Classes from a .npy file of integers, or a text file with one integer in each line. Equal ones stay equal. */
export async function readLabels(file: string): Promise<Int32Array> {
  const handle = await openFile(file);
  try {
    return (await isNpy(handle)) ? await fromNpy(file, handle) : await fromText(file, handle);
  } catch (error) {
    throw whileReading(file, error);
  } finally {
    await handle.close();
  }
}

async function fromNpy(file: string, handle: FileHandle): Promise<Int32Array> {
  const types = Object.keys(MAKE) as TypeName[];
  const { type, shape, offset } = await readNpy(file, handle, { types, advice: labelsAdvice });
  const count = shape.reduce((product, dimension) => product * dimension, 1);
  if (shape.filter(dimension => dimension !== 1).length > 1 || count === 0) {
    throw badFile(
      file,
      'one label after the other',
      `shape (${shape.join(', ')})`,
      'Save labels.argmax(-1) where each row is one-hot, labels.reshape(-1) where each number is a label.',
    );
  }
  const bytes = new Uint8Array(count * type.bytes);
  await fillFrom(handle, bytes, offset);
  if (type.swapped) swapBytes(bytes, type.bytes);
  return numberClasses(MAKE[type.name]!(bytes.buffer));
}

const REMEDY = 'Number the classes, or save their numbers: np.save(name, np.unique(labels, return_inverse=True)[1]).';

async function fromText(file: string, handle: FileHandle): Promise<Int32Array> {
  const values: number[] = [];
  let line = 0;
  let empty = 0;
  const lines = createInterface({
    input: handle.createReadStream({ autoClose: false, start: 0 }),
    crlfDelay: Infinity,
  });
  for await (const text of lines) {
    line++;
    if (text.trim() === '') {
      empty ||= line;
      continue;
    }
    const value = /^\s*[+-]?\d+\s*$/.test(text) ? Number(text) : Number.NaN;
    if (Number.isSafeInteger(value) && empty === 0) {
      values.push(value);
      continue;
    }
    const found = empty > 0 ? `nothing in line ${empty}` : `${JSON.stringify(text.slice(0, 40))} in line ${line}`;
    throw badFile(file, 'an integer in each line', found, REMEDY);
  }
  if (values.length === 0) throw badFile(file, 'an integer in each line', 'none', REMEDY);
  return numberClasses(values);
}
