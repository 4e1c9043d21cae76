/** The only file, besides each loss's `describe`, that knows the parts of a native problem and result. */
import {
  type NativeMemoryNeeds,
  type NativeOutput,
  type NativeProblem,
  type NativeResult,
  SCALAR_COUNT,
  SCALARS,
} from '../runtime/binding.js';
import type { OwnedContext } from '../runtime/context.js';
import { InfoNCEError } from '../runtime/errors.js';
import type { Context } from '../runtime/handles.js';
import type { Naming } from '../runtime/native-failure.js';
import { FLAGS, nativeProblemOf, numberCount, REDUCTIONS, TYPES } from '../runtime/native-problem.js';
import type { checkTensor, InputTensor } from '../runtime/tensor.js';
import { type Common, checkGradOutputLength } from './options.js';
import type { LearnedScalars } from './scale.js';
import { type Interleaved, interleavedRow, viewMajorCopy } from './view-layout.js';

/** How a problem's tensors are read. */
export type TensorCheck = typeof checkTensor;

/** One call, checked and described: what is computed, and what its parts are called. */
export interface Plan extends LearnedScalars {
  /** The name of the loss. */
  readonly loss: string;
  /** The names of all tensors that it may have a gradient of. */
  readonly tensors: readonly string[];
  readonly task: Task;
  readonly common: Common;
}

/** An array with an entry for each row of an input, under the caller's name. */
export interface RowArray<Data> {
  readonly name: string;
  readonly data: Data;
}

/** A list of tensors and queues that a caller passed as one input, or what of it is in one matrix. */
interface TensorList {
  readonly length: number;
  /** Those in the matrix, joined in this order, each with a gradient of its own. */
  readonly tensors: readonly ListTensor[];
}

/** A tensor at its place in a list. */
export interface ListTensor {
  readonly index: number;
  readonly tensor: InputTensor;
}

/** An input of a call as a matrix. */
export interface Matrix {
  readonly name: string;
  /** Its last dimension are the numbers of a row. */
  readonly tensor: InputTensor;
  /** Numbers of its data from the beginning of a row to that of the next. Default: as many as a row has. */
  readonly rowStride?: number | undefined;
  /** Rows are view-major, unless they are `interleaved`. Default 1. */
  readonly views?: number;
  /** Whether the views of a sample stand together. Backends see a view-major copy. */
  readonly interleaved?: boolean;
  /** Of each row: equal ones are of one class. */
  readonly ids?: RowArray<Int32Array> | undefined;
  /** Added to the logits in which the row is a candidate. */
  readonly bias?: RowArray<Float32Array> | undefined;
  /** Of candidates that anchors have of their own: how many each has. Default: all. */
  readonly counts?: RowArray<Int32Array> | undefined;
  /** Whether it holds the rows of a queue, which have no gradient. */
  readonly fromQueue?: boolean;
  /**
   * Whether the caller wants no gradient of it. Backends compute the gradient of positives all the same: that is
   * `'dropped'`, others are `'skipped'`.
   */
  readonly detached?: 'dropped' | 'skipped' | undefined;
  /** The same rows of a guide model, [rows, G], where thresholds are by guide. */
  readonly guide?: Pick<Matrix, 'name' | 'tensor' | 'list'> | undefined;
  /** Of an input that is a list. */
  readonly list?: TensorList | undefined;
}

/** The part of a native problem that a loss decides. */
export interface Task {
  /** By `formOf`. */
  readonly form: Float64Array;
  /** In the order that the form knows. */
  readonly matrices: readonly Matrix[];
  /** That have a loss. */
  readonly rows: number;
  /** Of each of them the row of its positive, where the form has positives by target. */
  readonly targets?: RowArray<Int32Array> | undefined;
  readonly dim: number;
  readonly scale: number;
  /** Of a loss that has one. */
  readonly bias?: number;
  /** Whose queue is asked that has no rows yet to tell it. */
  readonly emptyQueue?: { readonly name: string; readonly owner: OwnedContext } | undefined;
}

/** Joins a loss's task, the common options and the loss's names. */
export function plan(
  { name: loss, scale, bias }: { readonly name: string } & LearnedScalars,
  tensors: readonly string[],
  { task, common }: { readonly task: Task; readonly common: Common },
): Plan {
  checkGradOutputLength(common, task.rows);
  for (const { name, tensor } of task.matrices) {
    for (let k = 0; k < tensor.shape.length - 1; k++) checkRows(tensor.shape[k]!, name);
  }
  checkRows(task.rows, task.matrices[0]!.name);
  return { loss, tensors, task, common, scale, bias };
}

/** As many as the backends count. */
export const MOST_ROWS = 2 ** 30;
export const MOST_NUMBERS = 2 ** 48;

function checkRows(rows: number, name: string): void {
  if (rows <= MOST_ROWS) return;
  throw new InfoNCEError('ERR_INFONCE_SHAPE', {
    argument: `${name}.shape`,
    expected: `at most ${MOST_ROWS} rows`,
    got: String(rows),
  });
}

/** What a call computes: the losses, the gradients, or both. */
export type Part = 'losses' | 'gradients' | 'both';

/** Whether a call computes the gradient of an input. */
export function computesGradient({ common }: Plan, part: Part, { fromQueue, detached }: Matrix): boolean {
  return !fromQueue && detached !== 'skipped' && (part === 'gradients' || (part === 'both' && common.gradient));
}

/** The inputs whose gradients are results of a call. */
export function inputsWithGradient(plan: Plan, part: Part): Matrix[] {
  return plan.task.matrices.filter(matrix => !matrix.detached && computesGradient(plan, part, matrix));
}

/** The contexts of the inputs that lie on a device, by the inputs' names. */
export function ownersOf({ task }: Plan): (readonly [name: string, owner: Context | undefined])[] {
  const owners: (readonly [string, Context | undefined])[] = task.matrices.map(({ name, tensor }) => [
    name,
    tensor.owner,
  ]);
  for (const { guide } of task.matrices) if (guide !== undefined) owners.push([guide.name, guide.tensor.owner]);
  return task.emptyQueue === undefined ? owners : [...owners, [task.emptyQueue.name, task.emptyQueue.owner]];
}

/** The plan without the arrays that a forward pass has read. */
export function withoutData(plan: Plan): Plan {
  const emptied = (tensor: InputTensor) => ({ ...tensor, data: new Float32Array(0) });
  const matrices = plan.task.matrices.map(
    ({ tensor, list, ids: _ids, bias: _bias, counts: _counts, guide: _guide, ...matrix }) => ({
      ...matrix,
      tensor: emptied(tensor),
      list: list && {
        length: list.length,
        tensors: list.tensors.map(({ index, tensor }) => ({ index, tensor: emptied(tensor) })),
      },
    }),
  );
  const { targets: _targets, ...task } = plan.task;
  return { ...plan, task: { ...task, matrices } };
}

/** By the number of matrices: filled anew by each problem. An array that the addon has read costs a microsecond to free. */
const NUMBERS: Float64Array[] = [];

/** What the addon is asked: until the next problem is made, which takes its numbers. */
export function nativeProblem({ task, common }: Plan): NativeProblem {
  const guide = task.matrices[0]!.guide?.tensor;
  const count = task.matrices.length;
  NUMBERS[count] ??= new Float64Array(numberCount(count));
  const order = interleavedOf(task);
  const fields = {
    matrices: task.matrices.map(({ name, tensor, rowStride, views = 1, interleaved, ids, bias, counts, guide }) => ({
      data: interleaved ? viewMajorCopy(tensor.data, order!, name) : tensor.data,
      type: TYPES[tensor.dtype],
      rows: tensor.size / task.dim,
      rowStride,
      views,
      ids: ids?.data,
      bias: bias?.data,
      counts: counts?.data,
      guide: guide && { data: guide.tensor.data, type: TYPES[guide.tensor.dtype] },
    })),
    form: task.form,
    reduction: REDUCTIONS[common.reduction],
    flags:
      Number(common.normalize) * FLAGS.normalize +
      Number(common.gradient) * FLAGS.gradient +
      Number(common.propagateNonFinite) * FLAGS.propagateNonFinite +
      Number(common.ranks) * FLAGS.ranks,
    dim: task.dim,
    guideDim: guide?.shape[1],
    scale: task.scale,
    targets: task.targets?.data,
    bias: task.bias,
    gradOutput: viewMajorUpstream(task, common.gradOutput),
  };
  return nativeProblemOf(fields, NUMBERS[count]);
}

/** The order of the rows that have a loss, if they are interleaved. */
export function interleavedOf({ matrices, rows }: Task): Interleaved | undefined {
  const { views = 1, interleaved } = matrices[0]!;
  return interleaved ? { rows, views } : undefined;
}

/** The upstream gradient as backends see it. */
export function viewMajorUpstream(task: Task, gradOutput: Float32Array | undefined): Float32Array | undefined {
  const order = interleavedOf(task);
  // Of a rank without rows: none would be 1 for all.
  if (gradOutput?.length === 0) return Float32Array.of(1);
  if (order === undefined || gradOutput === undefined || gradOutput.length === 1) return gradOutput;
  return viewMajorCopy(gradOutput, order, 'gradOutput');
}

/** The numbers of a call that ends before another begins. */
export const SCALARS_OF_SYNC: Float64Array = new Float64Array(SCALAR_COUNT);

/** What the addon fills: `gradients` by matrix. */
export function nativeResult(
  rowLoss: Float32Array | undefined,
  gradients: readonly (NativeOutput | undefined)[],
  scalars: Float64Array = new Float64Array(SCALAR_COUNT),
): NativeResult {
  return { scalars, rowLoss, gradients };
}

/** The numbers that the addon filled in. */
export function scalarsOf({ scalars }: NativeResult) {
  return {
    loss: scalars[SCALARS.loss]!,
    gradScale: scalars[SCALARS.gradScale]!,
    gradBias: scalars[SCALARS.gradBias]!,
    top1: scalars[SCALARS.top1]!,
    top5: scalars[SCALARS.top5]!,
  };
}

/** What the call takes. Of its arrays only those with an entry for each row are looked at. */
export function memoryNeeds(plan: Plan, context: OwnedContext): NativeMemoryNeeds {
  const bits = plan.task.matrices.reduce(
    (bits, matrix, m) => bits | (Number(computesGradient(plan, 'both', matrix)) << m),
    0,
  );
  return context.memoryRequired(nativeProblem(plan), bits, namingOf(plan));
}

/** How to tell of the call's failure. */
export function namingOf({ loss, task }: Plan): Naming {
  const order = interleavedOf(task);
  return { call: loss, inputs: task.matrices, callersRow: order && (row => interleavedRow(row, order)) };
}
