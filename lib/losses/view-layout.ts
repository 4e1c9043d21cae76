/**
 * The order of rows that are views of samples. Backends compute view-major rows: interleaved rows are copied into that
 * order, O(rows) work for a loss of O(rows²), and results are reordered in place.
 */
import { types } from 'node:util';
import { allocate, allocateHalf, copyInto } from '../runtime/arrays.js';
import type { NativeInput } from '../runtime/binding.js';
import { InfoNCEError } from '../runtime/errors.js';
import { checkChoice } from '../runtime/options.js';
import type { InputTensor } from '../runtime/tensor.js';

/** Where view v of sample s is, of B samples with V views: in row v * B + s, or in row s * V + v. */
export type ViewLayout = 'viewMajor' | 'interleaved';

const LAYOUTS = ['viewMajor', 'interleaved'] as const;

export function checkViewLayout(value: unknown): ViewLayout {
  return checkChoice(value, 'layout', LAYOUTS);
}

/** Refuses rows that the host cannot put into another order. */
export function checkLayoutOnHost({ owner }: InputTensor, layout: ViewLayout, input: string): void {
  if (layout === 'viewMajor' || owner === undefined) return;
  throw new InfoNCEError('ERR_INFONCE_RANGE', {
    argument: 'layout',
    expected: `'viewMajor' with a device tensor as ${input}`,
    got: "'interleaved'",
    remedy:
      'Interleaved rows are put into another order by the host: pass its array, or make the tensor of view-major rows.',
  });
}

/** Of how many rows that are interleaved, and how many of them a sample has. */
export interface Interleaved {
  readonly rows: number;
  readonly views: number;
}

/** The interleaved row of a view-major one. */
export function interleavedRow(row: number, { rows, views }: Interleaved): number {
  const samples = rows / views;
  return (row % samples) * views + Math.floor(row / samples);
}

/** The view-major row of an interleaved one. */
function viewMajorRow(row: number, { rows, views }: Interleaved): number {
  return (row % views) * (rows / views) + Math.floor(row / views);
}

/** A view-major copy of interleaved rows. An array without numbers stands for its size. */
export function viewMajorCopy(data: Float32Array, order: Interleaved, name: string): Float32Array;
export function viewMajorCopy(data: NativeInput, order: Interleaved, name: string): NativeInput;
export function viewMajorCopy(data: NativeInput, order: Interleaved, name: string): NativeInput {
  if (!ArrayBuffer.isView(data) || data.length === 0) return data;
  const { length } = data;
  const copy = types.isUint16Array(data) ? allocateHalf(length, name) : allocate(length, name);
  copyInto(copy, 0, data, length, name);
  reorder(copy, order.rows, row => interleavedRow(row, order));
  return copy;
}

/** Puts the view-major rows of a result into the interleaved order, where they are. */
export function interleave(result: Float32Array, order: Interleaved): void {
  reorder(result, order.rows, row => viewMajorRow(row, order));
}

/** Puts row `sourceOf(i)` in the place of each row i. */
function reorder(array: Float32Array | Uint16Array, rows: number, sourceOf: (row: number) => number): void {
  const width = array.length / rows;
  const done = new Uint8Array(rows);
  for (let first = 0; first < rows; first++) {
    if (done[first]) continue;
    // Once around the circle: each row goes where the one before it was.
    const kept = array.slice(first * width, (first + 1) * width);
    let to = first;
    for (let from = sourceOf(to); from !== first; from = sourceOf(to)) {
      array.copyWithin(to * width, from * width, (from + 1) * width);
      done[to] = 1;
      to = from;
    }
    array.set(kept, to * width);
    done[to] = 1;
  }
}
