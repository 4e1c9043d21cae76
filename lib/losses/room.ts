import { allocate } from '../runtime/arrays.js';
import type { NativeOutput, NativeResult } from '../runtime/binding.js';
import type { OwnedContext } from '../runtime/context.js';
import { OwnedDeviceTensor } from '../runtime/device-tensor.js';
import { checkOut, type GradientArray, type UncheckedOut } from './out.js';
import { callOf, gradientRoles, type Part, type Plan } from './plan.js';
import type { LossValue, Output, Ranks } from './results.js';
import { ROLES, type Role } from './words.js';

/** The arrays that a call fills: the caller's, and new ones for the rest. */
export interface Room {
  readonly native: NativeResult;
  readonly gradients: { readonly [role in Role]?: GradientArray };
  /** What was made for this call, to be given back if it fails. */
  readonly made: readonly OwnedDeviceTensor[];
}

/** Where the caller wants gradients. */
export interface Destination {
  readonly output: Output;
  readonly out: UncheckedOut | undefined;
}

export function roomFor(plan: Plan, part: Part, context: OwnedContext, { output, out }: Destination): Room {
  const given = checkOut(out, output, plan, part);
  const made: OwnedDeviceTensor[] = [];
  const gradients: { [role in Role]?: GradientArray } = {};
  function gradient(role: Role): GradientArray {
    const { size, shape } = plan.task[role]!;
    if (output === 'host') return allocate(size, plan.words.gradients[role]!);
    const tensor = context.allocate(shape, 'float32', callOf(plan));
    made.push(tensor);
    return tensor;
  }
  try {
    for (const role of gradientRoles(plan, part)) gradients[role] = given.gradients[role] ?? gradient(role);
    const hasRows = part !== 'gradients' && plan.common.reduction === 'none';
    const native: NativeResult = {
      scalars: new Float64Array(7),
      rowLoss: hasRows ? (given.loss ?? allocate(plan.task.rows, 'loss')) : undefined,
      gradAnchors: memoryOf(gradients.anchors, plan, 'anchors'),
      gradKeys: memoryOf(gradients.keys, plan, 'keys'),
      gradNegatives: memoryOf(gradients.negatives, plan, 'negatives'),
    };
    return { native, gradients, made };
  } catch (error) {
    giveBack(made);
    throw error;
  }
}

export function giveBack(made: readonly OwnedDeviceTensor[]): void {
  for (const tensor of made) tensor.dispose();
}

function memoryOf(array: GradientArray | undefined, { words }: Plan, role: Role): NativeOutput | undefined {
  return OwnedDeviceTensor.isOne(array) ? array.bufferFor(words.gradients[role]!) : array;
}

/** All results but gradients. */
export function lossOf({ common }: Plan, { scalars, rowLoss }: NativeResult): LossValue & Partial<Ranks> {
  const loss = rowLoss ?? scalars[0]!;
  return common.ranks ? { loss, top1: scalars[2]!, top5: scalars[3]! } : { loss };
}

/** The gradients under the names of the loss, added to `named`. */
export function gradientsOf(
  { task, words }: Plan,
  { native, gradients }: Room,
  named: { [name: string]: unknown } = {},
): object {
  for (const role of ROLES) {
    const gradient = gradients[role];
    if (gradient !== undefined) named[words.gradients[role]!] = gradient;
  }
  const gradScale = native.scalars[1]!;
  // d scale / d temperature = -1 / temperature², and the scale is 1 / temperature.
  named[words.scalar] = words.scalar === 'gradLogitScale' ? gradScale : -gradScale * task.scale * task.scale;
  return named;
}

/** All results of a call. */
export function resultOf(plan: Plan, room: Room): object {
  const value = lossOf(plan, room.native);
  return plan.common.gradient ? gradientsOf(plan, room, { ...value }) : value;
}
