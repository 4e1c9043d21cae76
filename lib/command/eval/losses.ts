import type { MemoryProblem } from '../../losses/memory-required.js';
import type { LossResult } from '../../losses/results.js';
import type { Context } from '../../runtime/handles.js';
import { type LossName, lossNamed, towersOf } from '../losses.js';
import { type Numbers, tensorOf } from './matrix.js';

/** The loss and its options, the same for every batch. */
export interface Question {
  readonly loss: LossName;
  readonly positives: 'first' | 'all';
  readonly normalize: boolean;
  readonly views: number;
  readonly dim: number;
  /** Whether retrieval between two views is evaluated. */
  readonly retrieval: boolean;
}

/** The numbers of a batch: `views` blocks of `count` rows. */
export interface BatchRows {
  readonly numbers: Numbers;
  readonly count: number;
  /** Of each row, for supCon. */
  readonly labels: Int32Array;
}

/** Whether rows of two views look for each other: with a loss of two towers, or two files without classes. */
export function isRetrieval(loss: LossName, files: number): boolean {
  return towersOf(loss).length === 2 || (files === 2 && !lossNamed(loss).labels);
}

/** Rows that have a loss. */
export function lossRows({ loss, views }: Question, count: number): number {
  return towersOf(loss).length === 1 ? views * count : count;
}

/** Of the logits that a row's loss is taken over. */
export function denominator(question: Question, count: number): number {
  const rows = lossRows(question, count);
  return towersOf(question.loss).length === 1 ? rows - 1 : rows;
}

/** The loss's problem, except its temperature. `all` are the rows of all views, `view(i)` those of one. */
function problemOf(
  { loss, positives, normalize, views }: Question,
  all: () => object,
  view: (index: number) => object,
) {
  const { viewMajor, options } = lossNamed(loss);
  const towers = towersOf(loss);
  return {
    ...Object.fromEntries(towers.map((name, index) => [name, towers.length === 1 ? all() : view(index)])),
    ...(viewMajor && { nViews: views }),
    ...(options.includes('positives') && { positives }),
    normalize,
    gradient: false,
  };
}

export async function lossOf(
  question: Question,
  { numbers, count, labels }: BatchRows,
  temperature: number,
  context: Context,
): Promise<LossResult<'mean', false, unknown>> {
  const { views, dim } = question;
  const loss = lossNamed(question.loss);
  const problem = {
    ...problemOf(
      question,
      () => tensorOf(numbers, views * count, dim),
      index => tensorOf(blockOf(numbers, index, count * dim), count, dim),
    ),
    ...(loss.labels && { labels }),
    [loss.scale.option]: loss.scale.at(temperature),
  };
  const run = loss.run as (problem: object, run: object) => Promise<LossResult<'mean', false, unknown>>;
  return run(problem, { context });
}

export function blockOf(numbers: Numbers, index: number, size: number): Numbers {
  return numbers.subarray(index * size, (index + 1) * size);
}

/** The sizes of the problem of {@link lossOf}, for `memoryRequired`. */
export function sizeOf(question: Question, dtype: 'float32' | 'float16', count: number): MemoryProblem {
  const { loss, views, dim } = question;
  const size = (rows: number) => () => ({ shape: [rows, dim], dtype });
  return { loss: lossNamed(loss).name, ...problemOf(question, size(views * count), size(count)) } as MemoryProblem;
}
