/** The types of the numbers in files, and how NumPy names them: https://numpy.org/doc/stable/reference/arrays.dtypes.html */
import type { PythonValue } from './python-literal.js';

const BYTES = {
  float16: 2,
  bfloat16: 2,
  float32: 4,
  float64: 8,
  bool: 1,
  int8: 1,
  uint8: 1,
  int16: 2,
  uint16: 2,
  int32: 4,
  uint32: 4,
  int64: 8,
  uint64: 8,
} as const;

export type TypeName = keyof typeof BYTES;

/** How numbers are stored. */
export interface StoredType {
  readonly name: TypeName;
  /** Of one number. */
  readonly bytes: number;
  /** The bytes of a number in the order of big-endian machines. */
  readonly swapped: boolean;
}

/** NumPy's codes, which may follow a sign of the byte order, and its names, which may not. */
const CODES: Readonly<Record<string, TypeName>> = {
  f2: 'float16',
  e: 'float16',
  f4: 'float32',
  f: 'float32',
  f8: 'float64',
  d: 'float64',
  b1: 'bool',
  '?': 'bool',
  i1: 'int8',
  b: 'int8',
  u1: 'uint8',
  B: 'uint8',
  i2: 'int16',
  h: 'int16',
  u2: 'uint16',
  H: 'uint16',
  i4: 'int32',
  i: 'int32',
  u4: 'uint32',
  I: 'uint32',
  i8: 'int64',
  q: 'int64',
  u8: 'uint64',
  Q: 'uint64',
};
const NAMES: Readonly<Record<string, TypeName>> = {
  half: 'float16',
  single: 'float32',
  float: 'float64',
  double: 'float64',
  ...Object.fromEntries(Object.keys(BYTES).map(name => [name, name as TypeName])),
};

export function storedType(name: TypeName, swapped = false): StoredType {
  return { name, bytes: BYTES[name], swapped };
}

/** The type of a descriptor; undefined if it is none of numbers. */
export function typeOfDescriptor(descriptor: PythonValue): StoredType | undefined {
  if (typeof descriptor !== 'string') return undefined;
  // ml_dtypes writes bfloat16 so, and NumPy writes no type of its own so.
  if (descriptor === '<V2') return storedType('bfloat16');
  const [, order, code] = /^([<>=|]?)(.*)$/s.exec(descriptor)!;
  const name = own(CODES, code!) ?? (order === '' ? own(NAMES, code!) : undefined);
  return name && storedType(name, order === '>' && BYTES[name] > 1);
}

/** What NumPy writes for a type; undefined for bfloat16, which is none of its own. */
export function codeOf(name: TypeName): string | undefined {
  const code = Object.keys(CODES).find(each => CODES[each] === name);
  return code && `${BYTES[name] > 1 ? '<' : '|'}${code}`;
}

function own<Value>(record: Readonly<Record<string, Value>>, key: string): Value | undefined {
  return Object.hasOwn(record, key) ? record[key] : undefined;
}
