import { clip } from '../../losses/clip.js';
import { infoNCE } from '../../losses/info-nce.js';
import type { MemoryProblem } from '../../losses/memory-required.js';
import { ntXent } from '../../losses/nt-xent.js';
import type { LossResult } from '../../losses/results.js';
import { supCon } from '../../losses/sup-con.js';
import type { Context } from '../../runtime/handles.js';
import type { LossName } from '../losses.js';
import { type Numbers, tensorOf } from './matrix.js';

/** What every batch is asked. */
export interface Question {
  readonly loss: LossName;
  readonly positives: 'first' | 'all';
  readonly normalize: boolean;
  readonly views: number;
  readonly dim: number;
}

/** The numbers of a batch: `views` blocks of `count` rows. */
export interface BatchRows {
  readonly numbers: Numbers;
  readonly count: number;
  /** Of each row, for supCon. */
  readonly labels: Int32Array;
}

/** Rows that have a loss. */
export function lossRows({ loss, views }: Question, count: number): number {
  return loss === 'ntxent' || loss === 'supcon' ? views * count : count;
}

/** Of the logits that a row's loss is taken over. */
export function denominator(question: Question, count: number): number {
  const rows = lossRows(question, count);
  return question.loss === 'ntxent' || question.loss === 'supcon' ? rows - 1 : rows;
}

export function lossOf(
  { loss, positives, normalize, views, dim }: Question,
  { numbers, count, labels }: BatchRows,
  temperature: number,
  context: Context,
): Promise<LossResult<'mean', false, unknown>> {
  const options = { normalize, gradient: false } as const;
  const run = { context };
  const all = () => tensorOf(numbers, views * count, dim);
  const view = (index: number) => tensorOf(blockOf(numbers, index, count * dim), count, dim);
  switch (loss) {
    case 'ntxent':
      return ntXent({ features: all(), nViews: views, positives, temperature, ...options }, run);
    case 'infonce':
      return infoNCE({ query: view(0), positiveKey: view(1), temperature, ...options }, run);
    case 'clip':
      return clip({ imageFeatures: view(0), textFeatures: view(1), logitScale: 1 / temperature, ...options }, run);
    case 'supcon':
      return supCon({ features: all(), labels, temperature, ...options }, run);
  }
}

export function blockOf(numbers: Numbers, index: number, size: number): Numbers {
  return numbers.subarray(index * size, (index + 1) * size);
}

/** The same problem as {@link lossOf} computes, for the question what it takes. */
export function sizeOf(question: Question, dtype: 'float32' | 'float16', count: number): MemoryProblem {
  const { loss, views, dim } = question;
  const all = { shape: [views * count, dim], dtype };
  const view = { shape: [count, dim], dtype };
  switch (loss) {
    case 'ntxent':
      return { loss: 'ntXent', features: all, nViews: views, positives: question.positives, gradient: false };
    case 'infonce':
      return { loss: 'infoNCE', query: view, positiveKey: view, gradient: false };
    case 'clip':
      return { loss: 'clip', imageFeatures: view, textFeatures: view, gradient: false };
    case 'supcon':
      return { loss: 'supCon', features: all, gradient: false };
  }
}
