import { runInNewContext } from 'node:vm';
import { numpy as np } from '@jax-js/jax';
import * as tf from '@tensorflow/tfjs';
import {
  createContext,
  type InfoNCEProblem,
  infoNCESync,
  NegativeQueue,
  ntXentSync,
  supConSync,
  type TensorLike,
} from 'infonce';
import { ntXent as jaxNtXent } from 'infonce/jax-js';
import { ntXent as tfNtXent } from 'infonce/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { thrownBy, wrong } from './support/thrown.js';

const SHAPE = [4, 2];
/** Numbers that float16 has. */
const numbers = [1, 0.5, -2, 0.25, 3, -1, 0.125, 1.5];
const data = Float32Array.from(numbers);
const bits = Uint16Array.of(0x3c00, 0x3800, 0xc000, 0x3400, 0x4200, 0xbc00, 0x3000, 0x3e00);
const rows = [0, 2, 4, 6].map(first => numbers.slice(first, first + 2));
const { loss } = ntXentSync({ features: { data, shape: SHAPE } });

/** The tensor of onnxruntime: its numbers behind a getter, which throws where they are on a device. */
class OrtTensor {
  readonly cpuData: unknown;
  constructor(
    readonly type: string,
    numbers: unknown,
    readonly dims: readonly number[],
    readonly dataLocation = 'cpu',
  ) {
    this.cpuData = numbers;
  }
  get location() {
    return this.dataLocation;
  }
  get data() {
    if (this.dataLocation !== 'cpu') throw new Error('The data is not on CPU.');
    return this.cpuData;
  }
  async getData() {
    return this.cpuData;
  }
}

/** That of Transformers.js: a proxy of an object with a tensor of onnxruntime. */
class TransformersTensor {
  readonly ort_tensor: OrtTensor;
  constructor(...words: ConstructorParameters<typeof OrtTensor>) {
    this.ort_tensor = new OrtTensor(...words);
    // biome-ignore lint/correctness/noConstructorReturn: as in the original.
    return new Proxy(this, {});
  }
  get dims() {
    return this.ort_tensor.dims;
  }
  get type() {
    return this.ort_tensor.type;
  }
  get data() {
    return this.ort_tensor.data;
  }
  get location() {
    return this.ort_tensor.location;
  }
}

class NdArray {
  readonly stride: readonly number[];
  readonly offset = 0;
  constructor(
    readonly data: unknown,
    readonly shape: readonly number[],
  ) {
    this.stride = [shape[1]!, 1];
  }
}

class Matrix {
  readonly rows = 4;
  readonly columns = 2;
  readonly data = rows.map(row => Float64Array.from(row));
  to1DArray() {
    return [...numbers];
  }
}

/** Newer versions of Node.js have it; here it is told by its name alone. */
class Float16Array extends Int16Array {
  override get [Symbol.toStringTag](): 'Int16Array' {
    return 'Float16Array' as 'Int16Array';
  }
}

function refusal(features: unknown): string {
  const error = thrownBy(() => ntXentSync({ features: wrong<TensorLike>(features) }));
  expect(error).toMatchObject({ code: 'ERR_INFONCE_TYPE', argument: 'features' });
  return error.message;
}

const ort = new OrtTensor('float32', data, SHAPE);

describe('what is advised for a tensor of another library gives its loss', () => {
  it.each<readonly [string, unknown, RegExp]>([
    ['TensorFlow.js', tf.tensor(data, [4, 2]), /got a tensor of TensorFlow\.js\..* infonce\/tfjs take it as it is/],
    ['jax-js', np.array(data, { shape: [4, 2] }), /got an array of jax-js\..* infonce\/jax-js take it as it is/],
    ['onnxruntime', ort, /got a tensor of onnxruntime or Transformers\.js\..*features\.data, shape: features\.dims/],
    ['onnxruntime, float16', new OrtTensor('float16', bits, SHAPE), /dtype: 'float16'/],
    [
      'onnxruntime, double',
      new OrtTensor('float64', Float64Array.from(data), SHAPE),
      /Float32Array\.from\(features\.data\)/,
    ],
    ['onnxruntime, on a GPU', new OrtTensor('float32', data, SHAPE, 'gpu-buffer'), /await features\.getData\(\)/],
    ['Transformers.js', new TransformersTensor('float32', data, SHAPE), /features\.dims/],
    ['ndarray', new NdArray(data, SHAPE), /got 'stride'.*features\.shape/],
    ['ndarray, of doubles', new NdArray(Float64Array.from(data), SHAPE), /Float32Array\.from/],
    ['a reader of .npy files', { data, shape: SHAPE, dtype: 'f4', fortranOrder: false }, /got 'fortranOrder'/],
    ['ml-matrix', new Matrix(), /to1DArray/],
    ['an array of rows', rows, /got a plain array of 4\..*flat\(\), shape: \[4, 2\]|features\.flat\(\)/],
    ['an array of typed rows', rows.map(row => Float32Array.from(row)), /flatMap/],
    ['an array of numbers', numbers, /Float32Array\.from\(features\), shape: \[nViews \* B, D\]/],
    ['a Float32Array', data, /\{ data: features, shape: \[nViews \* B, D\] \}/],
    ['a Float64Array', Float64Array.from(data), /got Float64Array/],
    ['an ArrayBuffer', data.slice().buffer, /got ArrayBuffer/],
    ['a SharedArrayBuffer', shared(), /got SharedArrayBuffer/],
    ['a DataView', new DataView(data.slice().buffer), /got DataView/],
  ])('%s', async (_name, features, told) => {
    const message = refusal(features);
    expect(message).toMatch(told);
    const [, advised = ''] = /Pass its \{ data, shape \}: (\{ data: .* \})\./.exec(message) ?? [];
    const code = `(async () => (${advised.replace('[nViews * B, D]', '[4, 2]')}))()`;
    const tensor = (await runInNewContext(code, { features, Float32Array, Uint16Array })) as TensorLike;
    expect(ntXentSync({ features: tensor }).loss).toBe(loss);
  });
});

function shared(): SharedArrayBuffer {
  const buffer = new SharedArrayBuffer(data.byteLength);
  new Float32Array(buffer).set(data);
  return buffer;
}

describe('what cannot be used as it is', () => {
  it.each<readonly [string, unknown, RegExp]>([
    ['a promise', Promise.resolve(ort), /got Promise\. It is a promise: await it\./],
    ['the numbers of one', { data: Promise.resolve(data), shape: SHAPE }, /features\.data: .*await it/],
    ['what a model returns', { last_hidden_state: ort, logits: ort }, /features\.last_hidden_state, features\.logits/],
    ['a Buffer', Buffer.from(data.buffer), /Pass \{ data, shape \}.*If its bytes are those of a Float32Array/],
    [
      'a transposed ndarray',
      { data, shape: [2, 4], stride: [1, 2], offset: 0 },
      /'stride'\. Its rows are not one after/,
    ],
    ['columns first', { data, shape: SHAPE, fortran_order: true }, /'fortran_order'\. Its rows are not one after/],
    ['the tokens of texts', { data, shape: [2, 2, 2] }, /got \[2, 2, 2\]\. Pool tokens to one row for each text/],
    [
      'a Float16Array',
      { data: new Float16Array(8), shape: SHAPE },
      /Float32Array\.from\(features\.data\); or pass its bits, with dtype: 'float16': new Uint16Array\(features\.data\.buffer/,
    ],
    [
      'a Float16Array with its dtype',
      { data: new Float16Array(8), shape: SHAPE, dtype: 'float16' },
      /got Float16Array\. Pass its bits: new Uint16Array\(features\.data\.buffer/,
    ],
    ['a proxy', { data: new Proxy(data, {}), shape: SHAPE }, /expected a Float32Array, got a proxy of Float32Array/],
    ['strings', ['1', '2'], /got a plain array of 2\. Pass \{ data, shape \}/],
  ])('%s', (_name, features, told) => {
    const call = () => ntXentSync({ features: wrong<TensorLike>(features) });
    expect(thrownBy(call).message).toMatch(told);
  });
});

describe('where something else is expected', () => {
  const features = { data, shape: SHAPE };
  const problem = { features };
  let context: ReturnType<typeof createContext>;
  beforeAll(() => {
    context = createContext({ device: 'cpu', threads: 1 });
    return () => context.dispose();
  });

  it.each<readonly [string, () => unknown, RegExp]>([
    [
      'a problem',
      () => ntXentSync(wrong<typeof problem>(tf.tensor(rows))),
      /ntXent: .*Pass \{ features: \{ data, shape \} \}\./,
    ],
    [
      'a problem of two',
      () => infoNCESync(wrong<InfoNCEProblem>(data)),
      /got Float32Array\. Pass \{ query: \{ data, shape \}, positiveKey/,
    ],
    [
      'labels',
      () => supConSync({ features, labels: wrong(new OrtTensor('int64', new BigInt64Array(4), [4])) }),
      /labels: .*Convert it: Int32Array\.from\(labels\.data, Number\)\./,
    ],
    [
      'labels of TensorFlow.js',
      () => supConSync({ features, labels: wrong(tf.tensor1d([0, 1, 0, 1])) }),
      /labels: .*Int32Array\.from\(labels\.dataSync\(\)\)\./,
    ],
    [
      'a temperature',
      () => ntXentSync({ features, temperature: wrong(tf.scalar(0.1)) }),
      /temperature\.dataSync\(\)\[0\]/,
    ],
    ['a temperature in an array', () => ntXentSync({ features, temperature: wrong([0.1]) }), /temperature\[0\]/],
    ['data of a device tensor', () => context.tensor(wrong(tf.tensor(rows)), [4, 2]), /data: .*data\.dataSync\(\)\./],
    ['a tensor of infonce/tfjs', () => tfNtXent(wrong(ort)), /tf\.tensor\(features\.data, features\.dims\)/],
    [
      'an array of infonce/jax-js',
      () => jaxNtXent(wrong(ort)),
      /numpy\.array\(features\.data, \{ shape: features\.dims \}\)/,
    ],
  ])('%s', (_name, call, told) => {
    expect(thrownBy(call).message).toMatch(told);
  });

  it('the keys of a queue', async () => {
    const queue = new NegativeQueue({ capacity: 4, dim: 2, context });
    await expect(queue.enqueue(wrong(ort))).rejects.toThrow(/keys: .*\{ data: keys\.data, shape: keys\.dims \}/);
  });
});

describe('what throws when it is looked at', () => {
  const throwing = {
    get() {
      throw new TypeError('nobody asked for this getter');
    },
    enumerable: true,
  };
  const trap = throwing.get;
  const strange: readonly (readonly [string, object])[] = [
    ['fields', Object.defineProperties({}, { part: throwing, other: throwing })],
    ['a class', Object.defineProperties({}, { constructor: throwing })],
    ['the name of a class', { constructor: Object.defineProperty(() => 0, 'name', throwing) }],
    ['a proxy of the global object', new Proxy(globalThis, { getPrototypeOf: () => null })],
    ['a proxy that shows no fields', new Proxy({}, { ownKeys: trap, getOwnPropertyDescriptor: trap })],
    ['fields of a tensor of another library', Object.defineProperties({}, { dims: throwing, dataSync: throwing })],
  ];

  it.each(strange)('is refused as what it is not: %s', (_, value) => {
    const features = { data, shape: SHAPE };
    const refused = (call: () => unknown, argument: string) =>
      expect(thrownBy(call)).toMatchObject({ code: 'ERR_INFONCE_TYPE', argument });
    refused(() => ntXentSync({ features: wrong(value) }), 'features');
    refused(() => ntXentSync({ features: { data: wrong(value), shape: SHAPE } }), 'features.data');
    refused(() => supConSync({ features, labels: wrong(value) }), 'labels');
    refused(() => ntXentSync({ features, temperature: wrong(value) }), 'temperature');
  });
});
