import type { NativeProblem } from '../runtime/binding.js';
import type { OwnedContext } from '../runtime/context.js';
import { InfoNCEError } from '../runtime/errors.js';
import type { Naming } from '../runtime/native-failure.js';
import type { checkTensor, InputTensor } from '../runtime/tensor.js';
import { type Common, checkGradOutputLength } from './options.js';
import { ROLES, type Role, type Words } from './words.js';

/** How a problem's tensors are read. */
export type TensorCheck = typeof checkTensor;

/** One call, checked and described: what is computed, and what its parts are called. */
export interface Plan {
  readonly task: Task;
  readonly common: Common;
  readonly words: Words;
}

/** The part of a native problem that a loss decides: which rows, which positives, which denominator. */
export interface Task {
  readonly denominator: NativeProblem['denominator'];
  readonly positive: NativeProblem['positive'];
  readonly bothDirections: boolean;
  readonly rows: number;
  readonly dim: number;
  readonly negativeRows: number;
  readonly views: number;
  readonly scale: number;
  readonly anchors: InputTensor;
  readonly keys: InputTensor | undefined;
  readonly negatives: InputTensor | undefined;
  /** Whether the negatives are rows of a queue, which have no gradient. */
  readonly queued: boolean;
  /** Whose the queue of the negatives is: an empty one has no rows to tell it. */
  readonly owner?: OwnedContext | undefined;
  readonly labels: Int32Array | undefined;
}

/** Joins a loss's task, the common options and the loss's words. */
export function plan(task: Task, common: Common, words: Words): Plan {
  checkGradOutputLength(common, task.rows);
  checkRows(task.rows, words.inputs.anchors!);
  checkRows(task.negativeRows, words.inputs.negatives!);
  return { task, common, words };
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

/** What the addon is asked. */
export function nativeProblem({ task, common }: Plan): NativeProblem {
  return {
    denominator: task.denominator,
    positive: task.positive,
    reduction: common.reduction,
    bothDirections: task.bothDirections,
    normalize: common.normalize,
    gradient: common.gradient,
    propagateNonFinite: common.propagateNonFinite,
    ranks: common.ranks,
    rows: task.rows,
    dim: task.dim,
    negativeRows: task.negativeRows,
    views: task.views,
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

/** How to tell of the call's failure. */
export function callOf({ task, words }: Plan): Naming {
  return { names: words.inputs, inputs: task };
}

/** What a call computes: the losses, the gradients, or both. */
export type Part = 'losses' | 'gradients' | 'both';

/** The inputs whose gradients a call computes. */
export function gradientRoles({ task, common }: Plan, part: Part): Role[] {
  if (part === 'losses' || (part === 'both' && !common.gradient)) return [];
  return ROLES.filter(role => task[role] !== undefined && !(role === 'negatives' && task.queued));
}
