import type { Layout, LossDescription } from '../losses/loss.js';
import type { ViewLayout } from '../losses/view-layout.js';
import { checkDivisible } from '../losses/views.js';
import { allocate, allocateHalf, allocateLabels, checkInt32Array } from '../runtime/arrays.js';
import type { NativeFailure } from '../runtime/binding.js';
import { describeValue, InfoNCEError } from '../runtime/errors.js';
import type { DType } from '../runtime/host-tensor.js';
import { checkKeys } from '../runtime/options.js';
import { formatShape } from '../runtime/shape.js';
import { checkTensor } from '../runtime/tensor.js';

/** Chunks as one batch. */
export interface Batch {
  /** The inputs of the loss. */
  readonly inputs: { readonly [name: string]: { readonly shape: readonly number[] } | Int32Array };
  /** Rows of each chunk, in numbers of the first dimension, by input. */
  readonly rows: { readonly [name: string]: readonly number[] };
  /** Views one after the other within each chunk, as within the batch; 1 where they are not. */
  readonly views: number;
}

interface ChunkTensor {
  readonly data: Float32Array | Uint16Array;
  readonly shape: readonly number[];
  readonly dtype: DType;
}

type Chunk = { readonly [name: string]: unknown };

/** How rows of a chunk belong together. */
export interface ViewsOfRows {
  readonly views: number;
  readonly layout: ViewLayout;
}

/**
 * Joins the chunks of a loss, whose tensors agree in their first dimension unless there are targets: view by view, or one
 * after the other where views of a sample stand together.
 */
export function gather(chunks: unknown, loss: LossDescription, rowViews: ViewsOfRows, hasTargets: boolean): Batch {
  const views = rowViews.layout === 'interleaved' ? 1 : rowViews.views;
  const names = Object.keys(loss.tensors);
  if (!Array.isArray(chunks) || chunks.length === 0) {
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: 'chunks',
      expected: 'an array of at least one chunk',
      got: describeValue(chunks),
      remedy: `Each is { ${names.join(', ')}${loss.labels ? ', labels' : ''} }.`,
    });
  }
  const known = new Set(loss.labels ? [...names, 'labels'] : names);
  for (const [index, chunk] of chunks.entries()) checkKeys(chunk, `chunks[${index}]`, known);

  const inputs: { [name: string]: ChunkTensor | Int32Array } = {};
  const rows: { [name: string]: readonly number[] } = {};
  const [first] = names as [string];
  for (const [name, layout] of Object.entries(loss.tensors)) {
    const agreesWith = name === first || hasTargets ? undefined : { of: first, counts: rows[first]! };
    const tensors = checkTensors(chunks, name, layout, rowViews, agreesWith);
    rows[name] = tensors.map(({ shape }) => shape[0]!);
    inputs[name] = joined(tensors, views);
  }
  if (loss.labels) inputs.labels = joinedLabels(chunks, rows[first]!);
  return { inputs, rows, views };
}

/** One tensor of every chunk; all agree in type and in every dimension but the first. */
function checkTensors(
  chunks: readonly Chunk[],
  name: string,
  layout: Layout,
  { views, layout: order }: ViewsOfRows,
  rows: { readonly of: string; readonly counts: readonly number[] } | undefined,
): ChunkTensor[] {
  const tensors: ChunkTensor[] = [];
  for (const [index, chunk] of chunks.entries()) {
    const argument = `chunks[${index}].${name}`;
    const { data, shape, dtype } = checkTensor(chunk[name], argument, ...layout);
    if (!ArrayBuffer.isView(data)) {
      throw new InfoNCEError('ERR_INFONCE_TYPE', {
        argument,
        expected: 'a tensor in the memory of the host',
        got: 'a device tensor',
        remedy: 'Chunks are put together by the host: pass what toArray() gives.',
      });
    }
    checkDivisible(shape[0]!, views, order, argument);
    const first = tensors[0] ?? { shape, dtype };
    if (dtype !== first.dtype) {
      throw new InfoNCEError('ERR_INFONCE_TYPE', {
        argument: `${argument}.dtype`,
        expected: `'${first.dtype}', that of chunks[0].${name}`,
        got: `'${dtype}'`,
      });
    }
    if (shape.length !== first.shape.length || shape.some((dimension, i) => i > 0 && dimension !== first.shape[i])) {
      throw shapeError(
        argument,
        `all but the first dimension as in chunks[0].${name}, ${formatShape(first.shape)}`,
        shape,
      );
    }
    if (rows !== undefined && shape[0] !== rows.counts[index]) {
      throw shapeError(argument, `as many rows as chunks[${index}].${rows.of}, ${rows.counts[index]}`, shape);
    }
    tensors.push({ data, shape, dtype });
  }
  return tensors;
}

function shapeError(argument: string, expected: string, shape: readonly number[]): InfoNCEError {
  return new InfoNCEError('ERR_INFONCE_SHAPE', { argument: `${argument}.shape`, expected, got: formatShape(shape) });
}

function joined(tensors: readonly ChunkTensor[], views: number): ChunkTensor {
  const { dtype, shape } = tensors[0]!;
  const length = tensors.reduce((sum, { data }) => sum + data.length, 0);
  const data = (dtype === 'float32' ? allocate : allocateHalf)(length, 'chunks');
  let to = 0;
  for (let view = 0; view < views; view++) {
    for (const { data: chunk } of tensors) {
      const part = chunk.length / views;
      data.set(chunk.subarray(view * part, (view + 1) * part), to);
      to += part;
    }
  }
  const rows = tensors.reduce((sum, tensor) => sum + tensor.shape[0]!, 0);
  return { data, dtype, shape: [rows, ...shape.slice(1)] };
}

function joinedLabels(chunks: readonly Chunk[], rows: readonly number[]): Int32Array {
  const all = allocateLabels(
    rows.reduce((sum, count) => sum + count, 0),
    'labels',
  );
  let to = 0;
  for (const [index, { labels }] of chunks.entries()) {
    const argument = `chunks[${index}].labels`;
    checkInt32Array(labels, argument);
    if (labels.length !== rows[index]) {
      throw new InfoNCEError('ERR_INFONCE_SHAPE', {
        argument,
        expected: `${rows[index]} labels, one for each entry of the first dimension of features`,
        got: String(labels.length),
      });
    }
    all.set(labels, to);
    to += labels.length;
  }
  return all;
}

/** The chunks' parts of the whole batch's gradient by an input: the inverse of joining. */
export function spread(gradient: Float32Array, input: string, batch: Batch): Float32Array[] {
  const { views } = batch;
  const rows = batch.rows[input]!;
  const perRow = gradient.length / rows.reduce((sum, count) => sum + count, 0);
  const parts = rows.map(count => (count / views) * perRow);
  const stride = gradient.length / views;
  let from = 0;
  return parts.map(part => {
    const begin = from;
    from += part;
    if (views === 1) return gradient.subarray(begin, from);
    const chunk = allocate(views * part, 'gradient');
    for (let view = 0; view < views; view++) {
      const start = view * stride + begin;
      chunk.set(gradient.subarray(start, start + part), view * part);
    }
    return chunk;
  });
}

/** Rewrites an error about a batch row to name the chunk's row. */
export function withChunkRow(error: unknown, { inputs, rows, views }: Batch): unknown {
  if (!(error instanceof InfoNCEError) || error.code !== 'ERR_INFONCE_NON_FINITE') return error;
  const { row } = error.cause as NativeFailure;
  const input = inputs[error.argument];
  if (row < 0 || input === undefined || !('shape' in input)) return error;
  // Rows of a [B, V, D] input count V to an entry of the first dimension.
  const inner = input.shape.length === 3 ? input.shape[1]! : 1;
  const total = (inner * input.shape[0]!) / views;
  let within = row % total;
  for (const [index, count] of rows[error.argument]!.entries()) {
    const part = (inner * count) / views;
    if (within < part) {
      return new InfoNCEError('ERR_INFONCE_NON_FINITE', {
        argument: `chunks[${index}].${error.argument}`,
        expected: 'finite numbers',
        got: `NaN or infinity, first in row ${Math.floor(row / total) * part + within}`,
        remedy: 'Look for a division by zero or an overflow before this call.',
        cause: error,
      });
    }
    within -= part;
  }
  return error;
}
