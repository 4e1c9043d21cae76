import { types } from 'node:util';
import { ifReadable } from './errors.js';

/** Numbers that another library or JavaScript itself holds in its own way, and how to hand them over, as expressions. */
export interface Foreign {
  /** What it is, for messages; undefined: its class says it. */
  readonly kind?: string;
  /** What it holds: of what type, and the expression that gives it. */
  readonly numbers: unknown;
  readonly data: string;
  /** The expression of its shape, if it has one. */
  readonly shape?: string;
  /** How it is used without a copy. */
  readonly instead?: string;
}

type Fields = { readonly [key: string]: unknown };

/** What `value`, called `name`, holds. Undefined: no numbers that are known here. */
export function foreignNumbers(value: unknown, name: string): Foreign | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  return ifReadable(() =>
    Array.isArray(value) ? ofArray(value, name) : (ofBytes(value, name) ?? ofObject(value as Fields, name)),
  );
}

/** The expression of a typed array made of it: `Float32Array.from(labels.data, Number)`. */
export function typedArrayOf({ numbers, data }: Foreign, target: 'Float32Array' | 'Int32Array'): string {
  if (Object.prototype.toString.call(numbers) === `[object ${target}]`) return data;
  const isBig = types.isBigInt64Array(numbers) || types.isBigUint64Array(numbers) || isBigIn(numbers);
  return `${target}.from(${data}${isBig ? ', Number' : ''})`;
}

/** The expression of a tensor made of it. `text` is how messages write its shape. */
export function tensorOf(foreign: Foreign, text: string): string {
  const { numbers, data, shape = text } = foreign;
  if (types.isUint16Array(numbers)) return `{ data: ${data}, shape: ${shape}, dtype: 'float16' }`;
  if (isFloat16Array(numbers)) {
    return `{ data: ${bitsOf(data)}, shape: ${shape}, dtype: 'float16' }`;
  }
  return `{ data: ${typedArrayOf(foreign, 'Float32Array')}, shape: ${shape} }`;
}

/** The expression of the bits of a Float16Array. */
export function bitsOf(array: string): string {
  return `new Uint16Array(${array}.buffer, ${array}.byteOffset, ${array}.length)`;
}

/** Newer than the types of Node.js 20. */
export function isFloat16Array(value: unknown): boolean {
  return Object.prototype.toString.call(value) === '[object Float16Array]';
}

function isBigIn(value: unknown): boolean {
  return Array.isArray(value) && typeof value[0] === 'bigint';
}

/** A plain array: of numbers, of rows, of rows of rows. */
function ofArray(value: readonly unknown[], name: string): Foreign | undefined {
  const shape: number[] = [value.length];
  let inner: unknown = value[0];
  while (Array.isArray(inner) || types.isTypedArray(inner)) {
    shape.push(inner.length);
    inner = inner[0];
  }
  if (typeof inner !== 'number' && typeof inner !== 'bigint') return undefined;
  if (shape.length === 1) return { numbers: value, data: name };
  const rows = value.every(row => Array.isArray(row) || types.isTypedArray(row));
  const ofTypedArrays = value.some(row => types.isTypedArray(row));
  if (!rows || (ofTypedArrays && shape.length > 2)) return undefined;
  const depth = shape.length > 2 ? 'Infinity' : '';
  return {
    numbers: [inner],
    data: ofTypedArrays ? `${name}.flatMap(row => [...row])` : `${name}.flat(${depth})`,
    shape: `[${shape.join(', ')}]`,
  };
}

/** A typed array, or bytes without a type. */
function ofBytes(value: object, name: string): Foreign | undefined {
  if (types.isUint8Array(value)) return undefined; // bytes of numbers, or numbers: only the caller knows
  if (types.isAnyArrayBuffer(value)) return { numbers: new Float32Array(0), data: `new Float32Array(${name})` };
  if (types.isDataView(value)) {
    const bytes = `${name}.buffer.slice(${name}.byteOffset, ${name}.byteOffset + ${name}.byteLength)`;
    return { numbers: new Float32Array(0), data: `new Float32Array(${bytes})` };
  }
  return ArrayBuffer.isView(value) ? { numbers: value, data: name } : undefined;
}

/** A tensor of another library. */
function ofObject(value: Fields, name: string): Foreign | undefined {
  if (typeof value.dataSync === 'function') return ofTrainer(value, name);
  if (typeof value.to1DArray === 'function') {
    return { numbers: [0], data: `${name}.to1DArray()`, shape: `[${name}.rows, ${name}.columns]` }; // ml-matrix
  }
  const shape = ['dims', 'shape'].find(key => Array.isArray(value[key]));
  if (shape === undefined) return undefined;
  const common = {
    ...(shape === 'dims' && { kind: 'a tensor of onnxruntime or Transformers.js' }),
    shape: `${name}.${shape}`,
  };
  const { location } = value;
  if (shape === 'dims' && typeof location === 'string' && location !== 'cpu' && location !== 'cpu-pinned') {
    const numbers = value.type === 'float16' ? new Uint16Array(0) : new Float32Array(0);
    return { ...common, numbers, data: `await ${name}.getData()` };
  }
  if (!isRowMajor(value)) return undefined;
  const data = `${name}.data`;
  if (types.isUint8Array(value.data)) return { ...common, numbers: value.data, data };
  const inside = foreignNumbers(value.data, data);
  return inside && { ...inside, ...common };
}

/** Tensors of TensorFlow.js and arrays of jax-js, which the plug-ins take as they are. */
function ofTrainer({ dataId, dtype }: Fields, name: string): Foreign | undefined {
  if (dtype === 'complex64' || dtype === 'string') return undefined;
  const [kind, module] =
    dataId === undefined ? ['an array of jax-js', 'infonce/jax-js'] : ['a tensor of TensorFlow.js', 'infonce/tfjs'];
  return {
    kind,
    numbers: dtype === 'float32' ? new Float32Array(0) : dtype === 'int32' ? new Int32Array(0) : [0],
    data: `${name}.dataSync()`,
    shape: `${name}.shape`,
    instead: `The losses of ${module} take it as it is, with its gradient.`,
  };
}

/** Views with strides, as of ndarray, and files in the order of Fortran hold their numbers otherwise. */
function isRowMajor({ shape, stride, offset, fortranOrder, fortran_order }: Fields): boolean {
  if (fortranOrder === true || fortran_order === true) return false;
  if (!Array.isArray(stride) || !Array.isArray(shape)) return true;
  let step = 1;
  for (let k = shape.length - 1; k >= 0; k--) {
    if (stride[k] !== step) return false;
    step *= shape[k] as number;
  }
  return offset === undefined || offset === 0;
}
