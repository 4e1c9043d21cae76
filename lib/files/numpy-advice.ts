/** What to call in NumPy where an array's type cannot be read. Each call was tried with NumPy 2.4 and ml_dtypes 0.6. */
import type { PythonSequence, PythonValue } from './python-literal.js';
import { typeOfDescriptor } from './stored-type.js';

/** The descriptor as NumPy prints it. */
export function printDescriptor(value: PythonValue): string {
  if (typeof value === 'string') return `'${value}'`;
  if (typeof value === 'object' && value !== null && 'items' in value) {
    const [begin, end] = value.kind === 'list' ? '[]' : '()';
    const comma = value.kind === 'tuple' && value.items.length === 1 ? ',' : '';
    return `${begin}${value.items.map(printDescriptor).join(', ')}${comma}${end}`;
  }
  if (value === null) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  return typeof value === 'bigint' ? String(value) : 'a value of another kind';
}

/** For a matrix of embeddings. */
export function matrixAdvice(descriptor: PythonValue): string {
  if (typeof descriptor !== 'string') return recordAdvice(descriptor);
  const kind = kindOf(descriptor);
  if (kind === 'O') return 'Python objects are no matrix: save np.array(array.tolist(), dtype=np.float32).';
  if (kind === 'c') return 'Complex numbers are no embeddings: save array.real.astype(np.float32).';
  if (kind === 'U' || kind === 'S' || kind === 'a') {
    return 'Text is no matrix: save what a model makes of it or, if the text is numbers, array.astype(np.float32).';
  }
  if (kind === 'V') return voidAdvice(descriptor);
  if (descriptor === '<f1') {
    return 'NumPy itself cannot load this type of ml_dtypes: save array.astype(np.float32) where the array is made.';
  }
  return 'Save array.astype(np.float32).';
}

/** For classes. */
export function labelsAdvice(descriptor: PythonValue): string {
  const kind = typeof descriptor === 'string' ? kindOf(descriptor) : '';
  if (kind === 'f' || kind === 'd' || kind === 'e' || kind === 'g') return 'Save labels.astype(np.int32).';
  if (kind === 'O') return 'Number the classes: save np.unique(labels.astype(str), return_inverse=True)[1].';
  return 'Number the classes: save np.unique(labels, return_inverse=True)[1].';
}

function kindOf(descriptor: string): string {
  return descriptor.replace(/^[<>=|]/, '')[0] ?? '';
}

/** Bytes without a type: what NumPy makes of ml_dtypes' types when it loads them, too. */
function voidAdvice(descriptor: string): string {
  const types: Readonly<Record<string, string>> = { 1: 'float8_e4m3fn', 2: 'bfloat16' };
  const bytes = /\d+$/.exec(descriptor)?.[0] ?? '';
  const type = types[bytes];
  if (type === undefined) return 'These are bytes without a type: save array.view(np.float32), or what they were.';
  return `If it is ${type}, save array.view(ml_dtypes.${type}).astype(np.float32).`;
}

const UNSTRUCTURED = 'numpy.lib.recfunctions.structured_to_unstructured';

/** For records: the one field that has rows of numbers, else the fields that are numbers, side by side. */
function recordAdvice(descriptor: PythonValue): string {
  const fields = fieldsOf(descriptor);
  const rows = fields.filter(({ type, shape }) => shape && typeOfDescriptor(type) !== undefined);
  if (rows.length === 1) {
    return `Records are no matrix: save array[${printDescriptor(rows[0]!.name)}].astype(np.float32).`;
  }
  const numbers = fields.filter(({ type, shape }) => !shape && typeOfDescriptor(type) !== undefined);
  if (numbers.length === 0) return 'Records are no matrix: save the field with the numbers, array[name].';
  const names = numbers.map(({ name }) => printDescriptor(name)).join(', ');
  return `Records are no matrix: save ${UNSTRUCTURED}(array[[${names}]], dtype=np.float32).`;
}

interface RecordField {
  readonly name: string;
  readonly type: PythonValue;
  /** Whether it is an array in each record. */
  readonly shape: boolean;
}

function fieldsOf(descriptor: PythonValue): RecordField[] {
  return itemsOf(descriptor).flatMap(field => {
    const [name, type, shape] = itemsOf(field);
    // A field with a title is a pair of both.
    const plain = typeof name === 'string' ? name : itemsOf(name ?? null)[1];
    return typeof plain === 'string' && plain !== '' && type !== undefined
      ? [{ name: plain, type, shape: shape !== undefined }]
      : [];
  });
}

function itemsOf(value: PythonValue): PythonSequence['items'] {
  return typeof value === 'object' && value !== null && 'items' in value ? value.items : [];
}
