import { readFileSync } from 'node:fs';
import type { Tensor } from 'infonce';
import { mapValues } from './map-values.js';

type TypedArray = Float32Array | Float64Array | Int32Array;

/** An input as a problem has it. */
type Input = Tensor | Float32Array | Int32Array | readonly Tensor[];

/** One case of test/golden/loss-cases.json: options of a loss, and what a public implementation made of them in float64. */
export interface LossCase {
  readonly name: string;
  readonly source: string;
  readonly loss: string;
  /** Tensors, lists of tensors, and arrays with an entry for each row. */
  readonly inputs: Readonly<Record<string, Input>>;
  readonly options: Readonly<Record<string, unknown>>;
  /** Numbers of the loss and of each gradient, those of a list one after the other. */
  readonly expected: Readonly<Record<string, readonly number[]>>;
}

interface EncodedArray {
  readonly dtype: keyof typeof TYPES;
  readonly shape: readonly number[];
  readonly data: string;
}

interface EncodedCase extends Omit<LossCase, 'inputs' | 'expected'> {
  readonly inputs: Readonly<Record<string, EncodedArray | readonly EncodedArray[]>>;
  readonly expected: Readonly<Record<string, number | EncodedArray | readonly EncodedArray[]>>;
}

const TYPES = { float32: Float32Array, float64: Float64Array, int32: Int32Array };

function decode({ dtype, data }: EncodedArray): TypedArray {
  return new TYPES[dtype](Uint8Array.from(Buffer.from(data, 'base64')).buffer);
}

function inputOf(encoded: EncodedArray): Tensor | Float32Array | Int32Array {
  const data = decode(encoded);
  return encoded.shape.length === 1 ? (data as Float32Array) : { data: data as Float32Array, shape: encoded.shape };
}

function numbersOf(encoded: number | EncodedArray | readonly EncodedArray[]): number[] {
  if (typeof encoded === 'number') return [encoded];
  return ('dtype' in encoded ? [encoded] : encoded).flatMap(array => [...decode(array)]);
}

export function lossCases(): LossCase[] {
  const file = new URL('../golden/loss-cases.json', import.meta.url);
  const { cases } = JSON.parse(readFileSync(file, 'utf8')) as { readonly cases: readonly EncodedCase[] };
  return cases.map(each => {
    const inputs = mapValues(each.inputs, input =>
      'dtype' in input ? inputOf(input) : (input.map(inputOf) as Tensor[]),
    );
    return withGuide({ ...each, inputs, expected: mapValues(each.expected, numbersOf) });
  });
}

/** The tensors of a guide, which a case has among its inputs, in the option that takes them. */
function withGuide(of: LossCase): LossCase {
  const { falseNegatives } = of.options;
  if (typeof falseNegatives !== 'object' || !('guideQuery' in of.inputs)) return of;
  const { guideQuery, guidePositiveKey, guideNegativeKeys, ...inputs } = of.inputs;
  const guide = {
    query: guideQuery,
    positiveKey: guidePositiveKey,
    ...(guideNegativeKeys === undefined ? {} : { negativeKeys: guideNegativeKeys }),
  };
  return { ...of, inputs, options: { ...of.options, falseNegatives: { ...falseNegatives, guide } } };
}
