/** The one file, beside each loss's `describe`, that knows the parts of a native problem and result. */
import type { NativeMemoryNeeds, NativeOutput, NativeProblem, NativeResult } from '../runtime/binding.js';
import type { Naming, OwnedContext } from '../runtime/context.js';
import { InfoNCEError } from '../runtime/errors.js';
import type { InputNames } from '../runtime/native-failure.js';
import type { checkTensor, InputTensor } from '../runtime/tensor.js';
import { type Common, checkGradOutputLength } from './options.js';
import { gradientName } from './results.js';
import type { Scale } from './scale.js';

/** How a problem's tensors are read. */
export type TensorCheck = typeof checkTensor;

/** The inputs of a native problem that may have a gradient. */
const ROLES = ['anchors', 'keys', 'negatives'] as const;
type Role = (typeof ROLES)[number];

/** What a loss calls its inputs. */
export type RoleNames = { readonly [role in Role]?: string };

/** What the parts of a call are called. */
export interface Names {
  readonly inputs: InputNames & RoleNames;
  /** `gradFeatures`, … */
  readonly gradients: RoleNames;
}

/** One call, checked and described: what is computed, and what its parts are called. */
export interface Plan {
  readonly task: Task;
  readonly common: Common;
  readonly names: Names;
  readonly scale: Scale;
}

/** The part of a native problem that a loss decides: which rows, which positives, which denominator. */
export interface Task {
  readonly denominator: NativeProblem['denominator'];
  readonly positive: NativeProblem['positive'];
  readonly bothDirections?: boolean;
  readonly rows: number;
  readonly dim: number;
  readonly negativeRows?: number;
  readonly views?: number;
  readonly scale: number;
  readonly anchors: InputTensor;
  readonly keys?: InputTensor;
  readonly negatives?: InputTensor | undefined;
  /** Whether the negatives are rows of a queue, which have no gradient. */
  readonly fromQueue?: boolean;
  /** Whose the queue of the negatives is: an empty one has no rows to tell it. */
  readonly owner?: OwnedContext | undefined;
  readonly labels?: Int32Array | undefined;
}

export function namesOf(loss: string, inputs: RoleNames): Names {
  const gradients: { [role in Role]?: string } = {};
  for (const role of ROLES) {
    const name = inputs[role];
    if (name !== undefined) gradients[role] = gradientName(name);
  }
  return { inputs: { none: loss, ...inputs, gradOutput: 'gradOutput' }, gradients };
}

/** Joins a loss's task, the common options and the loss's names. */
export function plan(task: Task, common: Common, names: Names, scale: Scale): Plan {
  checkGradOutputLength(common, task.rows);
  checkRows(task.rows, names.inputs.anchors!);
  checkRows(task.negativeRows ?? 0, names.inputs.negatives!);
  return { task, common, names, scale };
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

/** An input of a call, and what it and its gradient are called. */
export interface PlannedInput {
  readonly name: string;
  readonly gradient: string;
  readonly tensor: InputTensor;
  /** Whether its rows are those of a queue, which have no gradient. */
  readonly fromQueue: boolean;
}

export function inputsOf({ task, names }: Plan): PlannedInput[] {
  return ROLES.flatMap(role => {
    const tensor = task[role];
    if (tensor === undefined) return [];
    const fromQueue = role === 'negatives' && task.fromQueue === true;
    return [{ name: names.inputs[role]!, gradient: names.gradients[role]!, tensor, fromQueue }];
  });
}

/** What a call computes: the losses, the gradients, or both. */
export type Part = 'losses' | 'gradients' | 'both';

/** The inputs whose gradients a call computes. */
export function inputsWithGradient(plan: Plan, part: Part): PlannedInput[] {
  if (part === 'losses' || (part === 'both' && !plan.common.gradient)) return [];
  return inputsOf(plan).filter(({ fromQueue }) => !fromQueue);
}

/** The contexts of the inputs that lie on a device, by the inputs' names. */
export function ownersOf({ task, names }: Plan): (readonly [name: string, owner: OwnedContext | undefined])[] {
  return [
    [names.inputs.anchors!, task.anchors.owner],
    [names.inputs.keys!, task.keys?.owner],
    [names.inputs.negatives!, task.negatives?.owner ?? task.owner],
  ];
}

/** The plan without the arrays that a forward half has read. */
export function withoutData(plan: Plan): Plan {
  const { anchors, keys, negatives, ...task } = plan.task;
  const empty = (tensor: InputTensor): InputTensor => ({ ...tensor, data: new Float32Array(0) });
  return {
    ...plan,
    task: {
      ...task,
      labels: undefined,
      anchors: empty(anchors),
      ...(keys && { keys: empty(keys) }),
      ...(negatives && { negatives: empty(negatives) }),
    },
  };
}

/** What the addon is asked. */
export function nativeProblem({ task, common }: Plan): NativeProblem {
  return {
    denominator: task.denominator,
    positive: task.positive,
    reduction: common.reduction,
    bothDirections: task.bothDirections ?? false,
    normalize: common.normalize,
    gradient: common.gradient,
    propagateNonFinite: common.propagateNonFinite,
    ranks: common.ranks,
    rows: task.rows,
    dim: task.dim,
    negativeRows: task.negativeRows ?? 0,
    views: task.views ?? 0,
    scale: task.scale,
    anchors: task.anchors.data,
    anchorsType: task.anchors.dtype,
    keys: task.keys?.data,
    keysType: task.keys?.dtype ?? 'float32',
    negatives: task.negatives?.data,
    negativesType: task.negatives?.dtype ?? 'float32',
    labels: task.labels,
    gradOutput: common.gradOutput,
  };
}

/** What the addon fills: `gradients` by their names. */
export function nativeResult(
  { names }: Plan,
  rowLoss: Float32Array | undefined,
  gradients: ReadonlyMap<string, NativeOutput>,
): NativeResult {
  const gradientOf = (role: Role) => gradients.get(names.gradients[role]!);
  return {
    scalars: new Float64Array(7),
    rowLoss,
    gradAnchors: gradientOf('anchors'),
    gradKeys: gradientOf('keys'),
    gradNegatives: gradientOf('negatives'),
  };
}

/** The numbers that the addon filled in. */
export function scalarsOf({ scalars }: NativeResult) {
  return { loss: scalars[0]!, gradScale: scalars[1]!, top1: scalars[2]!, top5: scalars[3]! };
}

/** What the call takes. Of its arrays only the labels are looked at. */
export function memoryNeeds(plan: Plan, context: OwnedContext): NativeMemoryNeeds {
  const gradNegatives = inputsWithGradient(plan, 'both').some(({ name }) => name === plan.names.inputs.negatives);
  return context.memoryRequired(nativeProblem(plan), gradNegatives, namingOf(plan));
}

/** How to tell of the call's failure. */
export function namingOf({ task, names }: Plan): Naming {
  return { names: names.inputs, inputs: task };
}
