import type { FileHandle } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { badFile, fillFrom, isNpy, openFile, readNpy } from './npy.js';

type Integers =
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

const SIZES = { '|b1': 1, '|i1': 1, '|u1': 1, '<i2': 2, '<u2': 2, '<i4': 4, '<u4': 4, '<i8': 8, '<u8': 8 };
const MAKE: Readonly<Record<string, (bytes: ArrayBuffer) => Integers>> = {
  '|b1': bytes => new Uint8Array(bytes),
  '|i1': bytes => new Int8Array(bytes),
  '|u1': bytes => new Uint8Array(bytes),
  '<i2': bytes => new Int16Array(bytes),
  '<u2': bytes => new Uint16Array(bytes),
  '<i4': bytes => new Int32Array(bytes),
  '<u4': bytes => new Uint32Array(bytes),
  '<i8': bytes => new BigInt64Array(bytes),
  '<u8': bytes => new BigUint64Array(bytes),
};

/** Classes from a .npy file of integers, or a text file with one integer in each line. Equal ones stay equal. */
export async function readLabels(file: string): Promise<Int32Array> {
  const handle = await openFile(file);
  try {
    return (await isNpy(handle)) ? await fromNpy(file, handle) : await fromText(file, handle);
  } finally {
    await handle.close();
  }
}

async function fromNpy(file: string, handle: FileHandle): Promise<Int32Array> {
  const advice = () => 'Save labels.astype(np.int32).';
  const { type, shape, offset } = await readNpy(file, handle, SIZES, advice);
  const count = shape.reduce((product, dimension) => product * dimension, 1);
  if (shape.filter(dimension => dimension !== 1).length > 1 || count === 0) {
    throw badFile(file, 'one label after the other', `shape (${shape.join(', ')})`, 'Save labels.reshape(-1).');
  }
  const bytes = new ArrayBuffer(count * SIZES[type as keyof typeof SIZES]);
  await fillFrom(handle, new Uint8Array(bytes), offset);
  return toInt32(MAKE[type]!(bytes));
}

const REMEDY = 'Or save labels with np.save().';

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
  return toInt32(values);
}

/** As they are, or numbered in the order in which they appear where one does not fit. */
function toInt32(values: Integers | readonly number[]): Int32Array {
  const labels = new Int32Array(values.length);
  for (let i = 0; i < labels.length; i++) {
    labels[i] = Number(values[i]);
    if (labels[i] !== Number(values[i])) return numbered(values, labels);
  }
  return labels;
}

function numbered(values: Integers | readonly number[], labels: Int32Array): Int32Array {
  const numbers = new Map<number | bigint, number>();
  for (let i = 0; i < labels.length; i++) {
    const value = values[i]!;
    const number = numbers.get(value) ?? numbers.size;
    numbers.set(value, number);
    labels[i] = number;
  }
  return labels;
}
