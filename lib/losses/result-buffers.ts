import { allocate } from '../runtime/arrays.js';
import type { NativeOutput, NativeResult } from '../runtime/binding.js';
import type { OwnedContext } from '../runtime/context.js';
import { OwnedDeviceTensor } from '../runtime/device-tensor.js';
import type { InputTensor } from '../runtime/tensor.js';
import { checkOut, type GradientArray, type UncheckedOut } from './out.js';
import { hasGradient, namingOf, nativeResult, type Part, type Plan, scalarsOf } from './plan.js';
import { gradientName, type LossValue, type Output, type Ranks } from './results.js';

/** The arrays that a call fills: the caller's, and new ones for the rest. */
export interface ResultBuffers {
  readonly native: NativeResult;
  /** By matrix. */
  readonly gradients: readonly (GradientArray | undefined)[];
  /** What was made for this call, to be given back if it fails. */
  readonly made: readonly OwnedDeviceTensor[];
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
): ResultBuffers {
  const given = checkOut(out, output, plan, part);
  const made: OwnedDeviceTensor[] = [];
  function newGradient(name: string, { size, shape }: InputTensor): GradientArray {
    if (output === 'host') return allocate(size, name);
    const tensor = context.allocate(shape, 'float32', namingOf(plan));
    made.push(tensor);
    return tensor;
  }
  try {
    const gradients = plan.task.matrices.map(matrix => {
      if (!hasGradient(plan, part, matrix)) return undefined;
      const name = gradientName(matrix.name);
      return given.gradients.get(name) ?? newGradient(name, matrix.tensor);
    });
    const hasRows = part !== 'gradients' && plan.common.reduction === 'none';
    const rowLoss = hasRows ? (given.loss ?? allocate(plan.task.rows, 'loss')) : undefined;
    const memory = gradients.map((array, m) => memoryOf(array, plan.task.matrices[m]!.name));
    return { native: nativeResult(rowLoss, memory), gradients, made };
  } catch (error) {
    giveBack(made);
    throw error;
  }
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

/** The gradients under the names of the loss, added to `named`. */
export function gradientsOf(
  { task, scale, bias }: Plan,
  { native, gradients }: ResultBuffers,
  named: { [name: string]: unknown } = {},
): object {
  task.matrices.forEach(({ name }, m) => {
    if (gradients[m] !== undefined) named[gradientName(name)] = gradients[m];
  });
  const { gradScale, gradBias } = scalarsOf(native);
  named[scale.gradient] = scale.derivative(gradScale, task.scale);
  if (bias !== undefined) named[bias.gradient] = gradBias;
  return named;
}

/** All results of a call. */
export function resultOf(plan: Plan, buffers: ResultBuffers): object {
  const value = lossOf(plan, buffers.native);
  return plan.common.gradient ? gradientsOf(plan, buffers, { ...value }) : value;
}
