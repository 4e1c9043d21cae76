import { allocate } from '../runtime/arrays.js';
import type { NativeProblem, NativeResult } from '../runtime/binding.js';
import type { InputNames, Inputs } from '../runtime/native-failure.js';
import type { InputTensor } from '../runtime/tensor.js';
import { type Common, checkGradOutputLength, type Reduction } from './options.js';

/** One call, checked and described: what the addon computes, where it writes, and how the results are named. */
export interface Plan<Result> {
  readonly problem: NativeProblem;
  readonly outputs: NativeResult;
  readonly names: InputNames;
  readonly inputs: Inputs;
  /** The inputs that may lie on a device. */
  readonly tensors: readonly (InputTensor | undefined)[];
  readonly finish: (outputs: NativeResult, problem: NativeProblem) => Result;
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
  readonly labels: Int32Array | undefined;
}

/** Joins a loss's task and the common options. */
export function nativeProblem(task: Task, common: Common): NativeProblem {
  return {
    denominator: task.denominator,
    positive: task.positive,
    reduction: common.reduction,
    bothDirections: task.bothDirections,
    normalize: common.normalize,
    gradient: common.gradient,
    propagateNonFinite: common.propagateNonFinite,
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

/** Describes the problem and makes room for its results. */
export function plan<Result>(
  task: Task,
  common: Common,
  names: InputNames,
  finish: Plan<Result>['finish'],
): Plan<Result> {
  checkGradOutputLength(common, task.rows);
  return {
    problem: nativeProblem(task, common),
    outputs: {
      scalars: new Float64Array(7),
      rowLoss: common.reduction === 'none' ? allocate(task.rows, 'loss') : undefined,
      gradAnchors: roomFor(task.anchors, common.gradient),
      gradKeys: roomFor(task.keys, common.gradient),
      gradNegatives: roomFor(task.negatives, common.gradient),
    },
    names,
    inputs: task,
    tensors: [task.anchors, task.keys, task.negatives],
    finish,
  };
}

function roomFor(input: InputTensor | undefined, wanted: boolean): Float32Array | undefined {
  return wanted && input !== undefined ? allocate(input.size, 'gradient') : undefined;
}

/** The results that are always there. */
export function lossValueOf(outputs: NativeResult, problem: NativeProblem): LossValue {
  const { scalars } = outputs;
  return {
    loss: problem.reduction === 'none' ? outputs.rowLoss! : scalars[0]!,
    top1: scalars[2]!,
    top5: scalars[3]!,
  };
}

/** d scale / d temperature = -1 / temperature², and the scale is 1 / temperature. */
export function gradTemperatureOf(outputs: NativeResult, problem: NativeProblem): number {
  return -outputs.scalars[1]! * problem.scale * problem.scale;
}

/** What every loss returns. */
export interface LossValue<R extends Reduction = Reduction> {
  /** A number, or with `reduction: 'none'` the loss of each row. */
  readonly loss: R extends 'none' ? Float32Array : number;
  /** The share of rows whose (first) positive is beaten by no logit of the row's denominator. */
  readonly top1: number;
  /** The share of rows whose (first) positive is beaten by fewer than five logits of the row's denominator. */
  readonly top5: number;
}

/** A loss with its gradients when they were asked for, without when not, with optional ones when that is unknown. */
export type LossResult<R extends Reduction, G extends boolean, Gradients> = LossValue<R> &
  ([G] extends [true] ? Gradients : [G] extends [false] ? unknown : Partial<Gradients>);
