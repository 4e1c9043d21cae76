import { closeSync, ftruncateSync, openSync, writeFileSync, writeSync } from 'node:fs';

const TYPES = new Map<unknown, string>([
  [Float32Array, '<f4'],
  [Float64Array, '<f8'],
  [Uint16Array, '<f2'],
  [Int8Array, '|i1'],
  [Int32Array, '<i4'],
  [BigInt64Array, '<i8'],
]);

interface Written {
  /** Default: of the array; a Uint16Array is float16. */
  readonly type?: string;
  readonly version?: 1 | 2 | 3;
  readonly fortran?: boolean;
  readonly header?: string;
}

/** What NumPy puts before the numbers. */
function npyHeader(shape: readonly number[], { type = '<f4', version = 1, fortran = false, header }: Written) {
  const tuple = shape.length === 1 ? `${shape[0]},` : shape.join(', ');
  const text = header ?? `{'descr': '${type}', 'fortran_order': ${fortran ? 'True' : 'False'}, 'shape': (${tuple}), }`;
  const start = version === 1 ? 10 : 12;
  const padded = `${text.padEnd(64 * Math.ceil((start + text.length + 1) / 64) - start - 1)}\n`;
  const bytes = Buffer.alloc(start);
  bytes.write('\x93NUMPY', 'latin1');
  bytes[6] = version;
  if (version === 1) bytes.writeUInt16LE(padded.length, 8);
  else bytes.writeUInt32LE(padded.length, 8);
  return Buffer.concat([bytes, Buffer.from(padded)]);
}

/** Writes a file as `np.save` does. */
export function writeNpy(file: string, shape: readonly number[], data: ArrayBufferView, options: Written = {}): string {
  const type = options.type ?? TYPES.get(data.constructor);
  const header = npyHeader(shape, { ...options, ...(type !== undefined && { type }) });
  writeFileSync(file, Buffer.concat([header, new Uint8Array(data.buffer, data.byteOffset, data.byteLength)]));
  return file;
}

/** The same of zeros that take no room on the disk, where its file system can do that. */
export function writeSparseFloat16(file: string, rows: number, dim: number): string {
  const header = npyHeader([rows, dim], { type: '<f2' });
  const descriptor = openSync(file, 'w');
  writeSync(descriptor, header);
  ftruncateSync(descriptor, header.length + 2 * rows * dim);
  closeSync(descriptor);
  return file;
}
