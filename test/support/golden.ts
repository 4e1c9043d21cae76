import { readFileSync } from 'node:fs';
import { brotliDecompressSync } from 'node:zlib';
import type { Tensor } from 'infonce';
import { mapValues } from './map-values.js';
import type { FUNCTIONS, Named } from './problems.js';

/** One case of test/golden: inputs, options and what a public reference implementation made of them in float64. */
export interface GoldenCase {
  readonly name: string;
  readonly source: string;
  readonly loss: 'infoNCE' | 'simclr' | 'supCon' | 'clip';
  readonly inputs: Readonly<Record<string, Tensor>>;
  readonly labels: Int32Array | undefined;
  readonly options: Readonly<Record<string, number | string>>;
  readonly expected: Readonly<Record<string, number | Tensor>>;
}

/** The case as a problem of this library. */
export function problemOf({ loss, inputs, labels, options }: GoldenCase): [keyof typeof FUNCTIONS, Named] {
  const { gradOutput, ...tensors } = inputs;
  const problem = { ...tensors, ...options, ...(gradOutput && { gradOutput: gradOutput.data }) };
  if (loss === 'simclr') return ['ntXent', problem];
  if (loss !== 'supCon') return [loss, problem];
  // SupConLoss without labels takes every sample for a class of its own.
  const { shape } = tensors.features!;
  return [loss, { ...problem, labels: labels ?? Int32Array.from({ length: shape[0]! }, (_, sample) => sample) }];
}

interface PackedArray {
  readonly dtype: 'float32' | 'int32';
  readonly shape: readonly number[];
  readonly offset: number;
}

interface PackedCase extends Omit<GoldenCase, 'inputs' | 'labels' | 'expected'> {
  readonly inputs: Readonly<Record<string, PackedArray>>;
  readonly expected: Readonly<Record<string, number | PackedArray>>;
}

export function goldenCases(): GoldenCase[] {
  const folder = new URL('../golden/', import.meta.url);
  const { cases } = JSON.parse(readFileSync(new URL('cases.json', folder), 'utf8')) as { cases: PackedCase[] };
  const words = joinPlanes(brotliDecompressSync(readFileSync(new URL('arrays.bin.br', folder))));

  /** Integer arrays hold small counts, which float32 has exactly. */
  const unpack = ({ dtype, shape, offset }: PackedArray): Tensor => {
    const part = words.slice(offset, offset + shape.reduce((product, dimension) => product * dimension, 1));
    return {
      data: dtype === 'int32' ? Float32Array.from(new Int32Array(part.buffer)) : new Float32Array(part.buffer),
      shape,
    };
  };

  return cases.map(packed => {
    const { labels, ...inputs } = mapValues(packed.inputs, unpack);
    return {
      ...packed,
      inputs,
      labels: labels && Int32Array.from(labels.data),
      expected: mapValues(packed.expected, value => (typeof value === 'number' ? value : unpack(value))),
    };
  });
}

/** The inverse of test/golden/encode.mjs: first the lowest byte of every word, then the second and so on. */
function joinPlanes(planes: Uint8Array): Uint32Array {
  const words = new Uint32Array(planes.length / 4);
  for (let plane = 0; plane < 4; plane++) {
    for (let i = 0; i < words.length; i++) words[i]! |= planes[plane * words.length + i]! << (8 * plane);
  }
  return words;
}
