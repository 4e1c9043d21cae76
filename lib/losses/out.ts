import { checkFloat32Array } from '../runtime/arrays.js';
import type { NativeInput } from '../runtime/binding.js';
import { OwnedDeviceTensor } from '../runtime/device-tensor.js';
import { describeValue, InfoNCEError } from '../runtime/errors.js';
import { checkKeys } from '../runtime/options.js';
import { formatShape, productOf } from '../runtime/shape.js';
import { inputsWithGradient, type Part, type Plan } from './plan.js';
import { type Gradient, gradientName, type Output } from './results.js';
import { learnedScalars } from './scale.js';

/**
 * Arrays of the caller that a call fills instead of new ones: float32, of exactly the length of the result. None may share
 * memory with another or with an input. Their content after a failed call is unspecified. The gradients of a list of
 * `negativeKeys` come in new arrays: `gradNegativeKeys` is refused for one (`ERR_INFONCE_TYPE`).
 */
export type Out<O extends Output, Name extends string> = {
  /** With `reduction: 'none'`, [rows]. In the host's memory with either `output`. */
  readonly loss?: Float32Array | undefined;
} & { readonly [name in Name]?: Gradient<O> | undefined };

/** Not yet validated. */
export type UncheckedOut = { readonly [name: string]: unknown };

export type GradientArray = Float32Array | OwnedDeviceTensor;

interface CheckedOut {
  readonly loss: Float32Array | undefined;
  /** By their names. */
  readonly gradients: ReadonlyMap<string, GradientArray>;
}

const NOTHING: CheckedOut = { loss: undefined, gradients: new Map() };

export function checkOut(out: UncheckedOut | undefined, output: Output, plan: Plan, part: Part): CheckedOut {
  if (out === undefined) return NOTHING;
  const { task, common } = plan;
  const inputs = inputsWithGradient(plan, part).filter(({ list }) => list === undefined);
  const names = inputs.map(({ name }) => gradientName(name));
  checkKeys(out, 'out', new Set(part === 'gradients' ? names : ['loss', ...names]), adviceFor(plan, part, names));

  const given = new Map<string, GradientArray>();
  const loss = out.loss;
  if (loss !== undefined) {
    if (common.reduction !== 'none') throw lossIsANumber(common.reduction);
    checkFloat32Array(loss, 'out.loss');
    checkSize(loss.length, [task.rows], 'out.loss');
    given.set('out.loss', loss);
  }
  const gradients = new Map<string, GradientArray>();
  for (const { name: input, tensor } of inputs) {
    const gradient = gradientName(input);
    const name = `out.${gradient}`;
    const value = out[gradient];
    if (value === undefined) continue;
    const array = output === 'host' ? checkHostArray(value, name) : checkDeviceArray(value, name);
    checkSize(OwnedDeviceTensor.isOne(array) ? productOf(array.shape) : array.length, tensor.shape, name);
    gradients.set(gradient, array);
    given.set(name, array);
  }
  refuseSharedMemory(given, plan);
  return { loss, gradients };
}

function checkHostArray(value: unknown, name: string): Float32Array {
  if (OwnedDeviceTensor.isOne(value)) {
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: name,
      expected: 'a Float32Array',
      got: 'a device tensor',
      remedy: "To keep gradients on the device pass output: 'device' too.",
    });
  }
  checkFloat32Array(value, name);
  return value;
}

function checkDeviceArray(value: unknown, name: string): OwnedDeviceTensor {
  if (!OwnedDeviceTensor.isOne(value)) {
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: name,
      expected: "a device tensor, because of output: 'device'",
      got: describeValue(value),
      remedy: 'Make one with context.tensor(data, shape), once, or leave output out for arrays of the host.',
    });
  }
  if (value.dtype !== 'float32') {
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: name,
      expected: "a device tensor of dtype 'float32'",
      got: `one of '${value.dtype}'`,
      remedy: 'Gradients are float32, whatever the type of the inputs.',
    });
  }
  return value;
}

function checkSize(length: number, shape: readonly number[], name: string): void {
  const size = productOf(shape);
  if (length === size) return;
  throw new InfoNCEError('ERR_INFONCE_SHAPE', {
    argument: name,
    expected: `${size} numbers, for the shape ${formatShape(shape)}`,
    got: `${length}`,
  });
}

function lossIsANumber(reduction: string): InfoNCEError {
  return new InfoNCEError('ERR_INFONCE_RANGE', {
    argument: 'out.loss',
    expected: "no array unless reduction is 'none'",
    got: `one with reduction '${reduction}'`,
    remedy: 'The loss is a number then.',
  });
}

/** Why a name of some result cannot be given here. */
function adviceFor(plan: Plan, part: Part, names: readonly string[]): Map<string, string> {
  const advice = new Map<string, string>(
    learnedScalars(plan).map(({ gradient }) => [gradient, 'It is a number and comes with the results.']),
  );
  for (const name of plan.tensors.map(gradientName)) {
    if (names.includes(name)) continue;
    advice.set(
      name,
      part === 'losses' ? 'Pass it to backward(gradOutput, { out }).' : 'This call does not compute that gradient.',
    );
  }
  for (const { name, fromQueue, detached, list } of plan.task.matrices) {
    if (list)
      advice.set(gradientName(name), 'The gradients of a list come in new arrays. Pass its rows as one tensor.');
    if (fromQueue) advice.set(gradientName(name), 'Rows of a NegativeQueue have no gradient.');
    if (detached) advice.set(gradientName(name), `It is left out by detach: ['${name}'].`);
  }
  if (part === 'gradients') advice.set('loss', 'The loss was computed by forward(problem, { out }).');
  return advice;
}

/** Refuses memory that would be written twice, or written while it is read. */
function refuseSharedMemory(given: ReadonlyMap<string, GradientArray>, plan: Plan): void {
  const { task, common } = plan;
  const others: (readonly [name: string, memory: NativeInput | Int32Array])[] = [];
  for (const { name, tensor, list, ids, bias } of task.matrices) {
    others.push([name, tensor.data]);
    for (const { index, tensor } of list?.tensors ?? []) others.push([`${name}[${index}]`, tensor.data]);
    for (const array of [ids, bias]) if (array !== undefined) others.push([array.name, array.data]);
  }
  if (task.targets !== undefined) others.push([task.targets.name, task.targets.data]);
  if (common.gradOutput !== undefined) others.push(['gradOutput', common.gradOutput]);
  for (const [name, array] of given) {
    const memory = OwnedDeviceTensor.isOne(array) ? array.bufferFor(name) : array;
    for (const [other, otherMemory] of others) {
      if (!overlap(memory, otherMemory)) continue;
      throw new InfoNCEError('ERR_INFONCE_RANGE', {
        argument: name,
        expected: 'memory of its own',
        got: `memory of ${other}`,
        remedy: 'Give each result an array of its own.',
      });
    }
    others.push([name, memory]);
  }
}

function overlap(a: NativeInput | Int32Array, b: NativeInput | Int32Array): boolean {
  if (a === b) return true;
  if (!ArrayBuffer.isView(a) && !ArrayBuffer.isView(b)) {
    // What another library owns may be wrapped twice.
    const [first, second] = [a.address(), b.address()];
    return first < second + BigInt(b.byteLength) && second < first + BigInt(a.byteLength);
  }
  if (!ArrayBuffer.isView(a) || !ArrayBuffer.isView(b) || a.buffer !== b.buffer) return false;
  return a.byteOffset < b.byteOffset + b.byteLength && b.byteOffset < a.byteOffset + a.byteLength;
}

/** An array of the caller's may have been transferred while the calls ran. */
export function checkUnchanged(array: Float32Array, length: number, name: string): void {
  if (array.length === length) return;
  throw new InfoNCEError('ERR_INFONCE_TYPE', {
    argument: `out.${name}`,
    expected: 'an array that stays as it is until the call has ended',
    got: `${array.length} numbers in place of ${length}`,
    remedy: 'A transfer or a resizable buffer changed it meanwhile: pass another one.',
  });
}
