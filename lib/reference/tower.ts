import type { CommonOptions } from '../losses/options.js';
import type { Tensor } from '../runtime/host-tensor.js';
import type { TensorLike } from '../runtime/tensor.js';
import { bfloat16Bits, fromBfloat16 } from './half.js';

/** A problem whose inputs are float32 arrays of the host, or lists of such. */
export type OnHost<Problem> = {
  readonly [key in keyof Problem]: TensorLike extends Problem[key]
    ? Tensor | Lists<Problem[key]> | Extract<Problem[key], undefined>
    : Problem[key];
};

type Lists<Input> = readonly TensorLike[] extends Input ? readonly Tensor[] : never;

/** The tensors of a list as one. */
export function joinTensors(given: Tensor | readonly Tensor[]): Tensor {
  if ('shape' in given) return given;
  const dim = given[0]!.shape[1]!;
  const data = Float32Array.from(given.flatMap(part => [...part.data]));
  return { data, shape: [data.length / dim, dim] };
}

/**
 * What a level of precision makes of unit rows: nothing, the nearest bfloat16 number (one product), or that and what it
 * leaves (three products: all but that of the two smallest parts). Below temperature 0.05 that alone moves a result by
 * more than the level's bound; beyond it there is no excuse.
 */
export type Operands = 'exact' | 'two bfloat16' | 'bfloat16';

/** The rows of one input, and the gradient that gathers on them. */
export interface Tower {
  readonly rows: number;
  readonly dim: number;
  /** What the logits are made of: rows of unit length, or as they came. */
  readonly unit: Float64Array;
  /** The same as the parts that a level of precision reads, for the logits that it takes from the matrix. */
  readonly parts: readonly Float64Array[];
  readonly normalized: boolean;
  /** Lengths of the rows as they came. */
  readonly norm: Float64Array;
  /** Lengths of the rows of `unit`. */
  readonly lengths: Float64Array;
  /** d loss / d unit. */
  readonly grad: Float64Array;
  /** For each row the lengths of the vectors added up in `grad`, added up. */
  readonly terms: Float64Array;
}

export interface Place {
  readonly tower: Tower;
  readonly index: number;
}

export interface ReferenceGradient {
  readonly values: Float64Array;
  /** How long the gradient would be if nothing in it cancelled. */
  readonly terms: number;
}

const SMALLEST_NORM = 1e-12;

/** Prepares an input. */
export function tower(tensor: Tensor, { normalize = true }: CommonOptions, operands: Operands): Tower {
  const dim = tensor.shape[tensor.shape.length - 1]!;
  const rows = tensor.data.length / dim;
  const unit = new Float64Array(tensor.data);
  const norm = lengthsOf(unit, rows);
  for (let row = 0, i = 0; normalize && row < rows; row++) {
    const divisor = Math.max(norm[row]!, SMALLEST_NORM);
    for (const end = i + dim; i < end; i++) unit[i]! /= divisor;
  }
  return {
    rows,
    dim,
    unit,
    parts: operands === 'exact' ? [] : split(unit, operands === 'bfloat16' ? 1 : 2),
    normalized: normalize,
    norm,
    lengths: lengthsOf(unit, rows),
    grad: new Float64Array(unit.length),
    terms: new Float64Array(rows),
  };
}

function lengthsOf(values: Float64Array, rows: number): Float64Array {
  const dim = values.length / rows;
  const lengths = new Float64Array(rows);
  for (let row = 0, i = 0; row < rows; row++) {
    let squares = 0;
    for (const end = i + dim; i < end; i++) squares += values[i]! * values[i]!;
    lengths[row] = Math.sqrt(squares);
  }
  return lengths;
}

/** Into bfloat16 parts, each the nearest to what the earlier ones leave. */
function split(values: Float64Array, count: number): Float64Array[] {
  const part = new Float64Array(values.length);
  const rest = new Float64Array(values.length);
  for (let i = 0; i < values.length; i++) {
    part[i] = fromBfloat16(bfloat16Bits(values[i]!));
    rest[i] = values[i]! - part[i]!;
  }
  return count === 1 ? [part] : [part, ...split(rest, count - 1)];
}

/**
 * From d loss / d unit to d loss / d row: (g − u⟨u, g⟩) / ‖a‖. A row shorter than the smallest norm was divided by a
 * constant; a row of zeros gets 0.
 */
export function throughNormalisation({ rows, dim, unit, normalized, norm, grad, terms }: Tower): ReferenceGradient {
  if (!normalized) return { values: grad, terms: norm2(terms) };
  const values = new Float64Array(grad.length);
  const lengths = new Float64Array(rows);
  for (let row = 0; row < rows; row++) {
    if (norm[row] === 0) continue;
    const [start, end] = [row * dim, (row + 1) * dim];
    const divisor = Math.max(norm[row]!, SMALLEST_NORM);
    let radial = 0;
    if (norm[row]! > SMALLEST_NORM) for (let i = start; i < end; i++) radial += unit[i]! * grad[i]!;
    for (let i = start; i < end; i++) values[i] = (grad[i]! - unit[i]! * radial) / divisor;
    lengths[row] = terms[row]! / divisor;
  }
  return { values, terms: norm2(lengths) };
}

/** Adds weight · each to the gradient on the other, and terms · ‖each‖ to the other's terms. */
export function accumulate(a: Place, b: Place, weight: number, terms: number): void {
  addRow(a.tower.grad, a, b, weight);
  addRow(b.tower.grad, b, a, weight);
  const size = Math.abs(terms);
  a.tower.terms[a.index]! += size * b.tower.lengths[b.index]!;
  b.tower.terms[b.index]! += size * a.tower.lengths[a.index]!;
}

/** Adds weight · a row to sums, those of another. Four at a time, which takes half as long. */
function addRow(sums: Float64Array, to: Place, from: Place, weight: number): void {
  const { dim } = to.tower;
  const { unit } = from.tower;
  let i = to.index * dim;
  let j = from.index * dim;
  const end = i + dim;
  for (; i + 3 < end; i += 4, j += 4) {
    sums[i]! += weight * unit[j]!;
    sums[i + 1]! += weight * unit[j + 1]!;
    sums[i + 2]! += weight * unit[j + 2]!;
    sums[i + 3]! += weight * unit[j + 3]!;
  }
  for (; i < end; i++, j++) sums[i]! += weight * unit[j]!;
}

/** The products of parts that a level computes: those of the first with all, of the second with all but the last … */
export function dotOfParts(a: Place, b: Place): number {
  const [left, right] = [a.tower.parts, b.tower.parts];
  let sum = 0;
  for (let i = 0; i < left.length; i++) {
    for (let j = 0; j < Math.min(right.length, left.length - i); j++) sum += dot(a, b, left[i]!, right[j]!);
  }
  return sum;
}

/** In four sums, which do not wait for each other. */
export function dot(a: Place, b: Place, left: Float64Array = a.tower.unit, right: Float64Array = b.tower.unit): number {
  const { dim } = a.tower;
  // Not by one pattern: that takes as long as the sums.
  let first = 0;
  let second = 0;
  let third = 0;
  let fourth = 0;
  let i = a.index * dim;
  let j = b.index * dim;
  const end = i + dim;
  for (; i + 3 < end; i += 4, j += 4) {
    first += left[i]! * right[j]!;
    second += left[i + 1]! * right[j + 1]!;
    third += left[i + 2]! * right[j + 2]!;
    fourth += left[i + 3]! * right[j + 3]!;
  }
  for (; i < end; i++, j++) first += left[i]! * right[j]!;
  return first + second + (third + fourth);
}

export function norm2(values: ArrayLike<number>): number {
  let squares = 0;
  for (let k = 0; k < values.length; k++) squares += values[k]! * values[k]!;
  return Math.sqrt(squares);
}
