/** https://huggingface.co/docs/safetensors: the length of a header, the header in JSON, the numbers of all tensors. */
import type { FileHandle } from 'node:fs/promises';
import { badFile, readAt } from './bytes.js';
import { list, noField } from './fields.js';
import { PackedRows } from './packed-rows.js';
import { storedType, type TypeName } from './stored-type.js';

const TYPES: Readonly<Record<string, TypeName>> = { F32: 'float32', F16: 'float16', BF16: 'bfloat16', F64: 'float64' };
/** Bytes, as the format's own library has it. */
const MOST_HEADER = 100_000_000;
const LENGTH = 8;

interface StoredTensor {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  /** From the end of the header. */
  readonly begin: number;
  readonly end: number;
}

/** The matrix that `column` names, or the only one. */
export async function openSafetensors(
  file: string,
  handle: FileHandle,
  column: string | undefined,
): Promise<PackedRows> {
  const start = await readAt(handle, 0, LENGTH);
  const length = start.length === LENGTH ? Number(start.readBigUInt64LE()) : 0;
  const { size } = await handle.stat();
  const tensors =
    length < 2 || length > MOST_HEADER || LENGTH + length > size
      ? undefined
      : tensorsOf((await readAt(handle, LENGTH, length)).toString('utf8'));
  if (tensors === undefined) {
    throw badFile(file, 'the header of a safetensors file', 'none', 'The file is of another format, or damaged.');
  }
  const tensor = choose(file, tensors, column);
  const { name, dtype, shape, begin, end } = tensor;
  const said = JSON.stringify(name);
  const typeName = Object.hasOwn(TYPES, dtype) ? TYPES[dtype] : undefined;
  if (typeName === undefined) {
    const expected = `one of the types ${Object.keys(TYPES).join(', ')} of the tensor ${said}`;
    throw badFile(file, expected, dtype, 'Save tensor.float().');
  }
  const [rows, dim] = shape;
  if (shape.length !== 2 || rows === 0 || dim === 0) {
    const remedy = 'Save it in two dimensions, rows and numbers of a row: tensor.reshape(-1, tensor.shape[-1]).';
    throw badFile(file, `a matrix as tensor ${said}`, `shape [${shape.join(', ')}]`, remedy);
  }
  const type = storedType(typeName);
  const offset = LENGTH + length + begin;
  const bytes = rows! * dim! * type.bytes;
  if (end - begin !== bytes || offset + bytes > size) {
    const got = String(Math.min(end - begin, size - offset));
    throw badFile(
      file,
      `${bytes} bytes for shape [${shape.join(', ')}]`,
      got,
      'It was cut off: copy or save it again.',
    );
  }
  return new PackedRows({ file, handle, offset, rows: rows!, dim: dim!, type });
}

function choose(file: string, tensors: readonly StoredTensor[], column: string | undefined): StoredTensor {
  const names = tensors.map(({ name }) => name);
  if (column !== undefined) {
    const named = tensors.find(({ name }) => name === column);
    if (named !== undefined) return named;
    throw noField(file, 'tensor', column, names);
  }
  const matrices = tensors.filter(({ shape }) => shape.length === 2);
  const [only] = matrices.length > 0 ? matrices : tensors;
  if (only !== undefined && (matrices.length === 1 || tensors.length === 1)) return only;
  throw badFile(file, 'one matrix', list(names), 'Name the one with the embeddings: column (--column).');
}

/** Undefined for a header that is none. */
function tensorsOf(text: string): StoredTensor[] | undefined {
  let header: unknown;
  try {
    header = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof header !== 'object' || header === null || Array.isArray(header)) return undefined;
  const tensors: StoredTensor[] = [];
  for (const [name, entry] of Object.entries(header as Record<string, unknown>)) {
    if (name === '__metadata__') continue;
    const { dtype, shape, data_offsets: offsets } = (entry ?? {}) as { readonly [key: string]: unknown };
    if (typeof dtype !== 'string' || !areSizes(shape) || !areSizes(offsets) || offsets.length !== 2) return undefined;
    tensors.push({ name, dtype, shape, begin: offsets[0]!, end: offsets[1]! });
  }
  return tensors;
}

function areSizes(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.every(each => Number.isSafeInteger(each) && (each as number) >= 0);
}
