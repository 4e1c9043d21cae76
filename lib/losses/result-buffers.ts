import type { NativeOutput, NativeResult } from '../runtime/binding.js';
import type { OwnedContext } from '../runtime/context.js';
import { OwnedDeviceTensor } from '../runtime/device-tensor.js';
import { InfoNCEError } from '../runtime/errors.js';
import type { InputTensor } from '../runtime/tensor.js';
import { checkOut, checkUnchanged, type GradientArray, type UncheckedOut } from './out.js';
import {
  computesGradient,
  interleavedOf,
  type ListTensor,
  type Matrix,
  namingOf,
  nativeResult,
  type Part,
  type Plan,
  scalarsOf,
} from './plan.js';
import { gradientName, type LossValue, type Output, type Ranks } from './results.js';
import { interleave } from './view-layout.js';

/** The arrays that a call fills: the caller's, and new ones for the rest. */
export interface ResultBuffers {
  readonly native: NativeResult;
  /** By matrix: those that are results. */
  readonly gradients: readonly (GradientArray | undefined)[];
  /** What was made for this call, to be given back if it fails. */
  readonly made: readonly OwnedDeviceTensor[];
  /** What was made for gradients that are no results, to be given back after the call. */
  readonly dropped: readonly OwnedDeviceTensor[];
}

/** Where the caller wants gradients. */
export interface Destination {
  readonly output: Output;
  readonly out: UncheckedOut | undefined;
}

export function resultBuffers(
  plan: Plan,
  part: Part,
  context: OwnedContext,
  { output, out }: Destination,
  scalars?: Float64Array,
): ResultBuffers {
  const given = checkOut(out, output, plan, part);
  const made: OwnedDeviceTensor[] = [];
  const dropped: OwnedDeviceTensor[] = [];
  function newGradient(name: string, { size, shape }: InputTensor, isDropped: boolean): GradientArray {
    if (output === 'host') return context.resultArray(size, name);
    const tensor = context.allocate(shape, 'float32', namingOf(plan));
    made.push(tensor);
    if (isDropped) dropped.push(tensor);
    return tensor;
  }
  try {
    const arrays = plan.task.matrices.map(matrix => {
      if (!computesGradient(plan, part, matrix)) return undefined;
      const name = gradientName(matrix.name);
      // Parts of a dropped result are not used.
      if (output === 'device' && !matrix.detached && (matrix.list?.tensors.length ?? 1) > 1)
        throw joinedOnDevice(matrix);
      if (output === 'device' && matrix.interleaved) throw interleavedOnDevice();
      return given.gradients.get(name) ?? newGradient(name, matrix.tensor, matrix.detached === 'dropped');
    });
    const gradients = arrays.map((array, m) => (plan.task.matrices[m]!.detached ? undefined : array));
    const hasRows = part !== 'gradients' && plan.common.reduction === 'none';
    const rowLoss = hasRows ? (given.loss ?? context.resultArray(plan.task.rows, 'loss')) : undefined;
    const memory = arrays.map((array, m) => memoryOf(array, plan.task.matrices[m]!.name));
    return { native: nativeResult(rowLoss, memory, scalars), gradients, made, dropped };
  } catch (error) {
    giveBack(made);
    throw error;
  }
}

function joinedOnDevice({ name }: Matrix): InfoNCEError {
  return new InfoNCEError('ERR_INFONCE_RANGE', {
    argument: 'output',
    expected: `'host' with arrays in a list of ${name}`,
    got: "'device'",
    remedy: `Pass device tensors, or one [M, D], or leave its gradient out with detach: ['${name}'].`,
  });
}

function interleavedOnDevice(): InfoNCEError {
  return new InfoNCEError('ERR_INFONCE_RANGE', {
    argument: 'output',
    expected: "'host' with layout 'interleaved'",
    got: "'device'",
    remedy: 'The host puts the gradient into the order of the rows. Pass view-major rows to keep it on the device.',
  });
}

export function giveBack(made: readonly OwnedDeviceTensor[]): void {
  for (const tensor of made) tensor.dispose();
}

function memoryOf(array: GradientArray | undefined, input: string): NativeOutput | undefined {
  return OwnedDeviceTensor.isOne(array) ? array.bufferFor(gradientName(input)) : array;
}

/** All results but gradients. */
export function lossOf({ common }: Plan, native: NativeResult): LossValue & Partial<Ranks> {
  const { loss: value, top1, top5 } = scalarsOf(native);
  const loss = native.rowLoss ?? value;
  return common.ranks ? { loss, top1, top5 } : { loss };
}

/** The gradients under the names of the loss, added to `results`. Those that are no results are given back. */
export function gradientsOf(
  { task, scale, bias }: Plan,
  { native, gradients, dropped }: ResultBuffers,
  results: object = {},
): object {
  const named = results as { [name: string]: unknown };
  task.matrices.forEach(({ name, list, detached }, m) => {
    const gradient = gradients[m];
    if (list === undefined) {
      if (gradient !== undefined) named[gradientName(name)] = gradient;
    } else if (!detached) {
      named[gradientName(name)] ??= new Array(list.length).fill(undefined);
      const all = named[gradientName(name)] as (GradientArray | undefined)[];
      if (gradient !== undefined) split(gradient, list.tensors, all);
    }
  });
  giveBack(dropped);
  const { gradScale, gradBias } = scalarsOf(native);
  named[scale.gradient] = scale.derivative(gradScale, task.scale);
  if (bias !== undefined) named[bias.gradient] = gradBias;
  return results;
}

/** Puts the gradient of tensors that were joined into the places of each. Joined ones are on the host. */
function split(gradient: GradientArray, tensors: readonly ListTensor[], all: (GradientArray | undefined)[]): void {
  let from = 0;
  for (const { index, tensor } of tensors) {
    const whole = OwnedDeviceTensor.isOne(gradient) || gradient.length === tensor.size;
    all[index] = whole ? gradient : gradient.subarray(from, from + tensor.size);
    from += tensor.size;
  }
}

/** Puts what the addon filled into the order of the caller's rows, and takes the timings: after every call. */
export function settle(
  { task }: Plan,
  context: OwnedContext,
  { native, gradients }: Pick<ResultBuffers, 'native' | 'gradients'>,
): void {
  context.keepTimings(native);
  const order = interleavedOf(task);
  if (order === undefined) return;
  if (native.rowLoss !== undefined) {
    checkUnchanged(native.rowLoss, order.rows, 'loss');
    interleave(native.rowLoss, order);
  }
  gradients.forEach((gradient, m) => {
    const { name, tensor } = task.matrices[m]!;
    if (gradient === undefined || OwnedDeviceTensor.isOne(gradient)) return;
    checkUnchanged(gradient, tensor.size, gradientName(name));
    interleave(gradient, order);
  });
}

/** All results of a call. */
export function resultOf(plan: Plan, buffers: ResultBuffers): object {
  // Added to as it is: an object that was spread takes a microsecond to add to.
  const value = lossOf(plan, buffers.native);
  return plan.common.gradient ? gradientsOf(plan, buffers, value) : value;
}
