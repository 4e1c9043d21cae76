import { memoryRequired } from '../../losses/memory-required.js';
import { supCon } from '../../losses/sup-con.js';
import { isOnHost } from '../../runtime/backends/index.js';
import { InfoNCEError } from '../../runtime/errors.js';
import type { Context } from '../../runtime/handles.js';
import { lossNamed } from '../losses.js';
import { CommandError, EXIT } from '../terminal/exit.js';
import { room } from './buffers.js';
import {
  alignmentOfClasses,
  geometryOfViews,
  type PairSum,
  partners,
  UNIFORMITY_TEMPERATURE,
  uniformitySum,
} from './geometry.js';
import { type BatchRows, blockOf, denominator, lossOf, lossRows, type Question, sizeOf } from './losses.js';
import { type Numbers, numberAt, tensorOf } from './matrix.js';
import { notFinite } from './not-finite.js';
import { type PairRetrieval, retrieveAcross, retrieveWithin } from './retrieval/pairs.js';
import type { Batch, Batches, Sources } from './sources.js';
import { type Spread, SpreadOfRows } from './spread.js';

export interface Evaluation {
  /** Rows that have a loss. */
  readonly rows: number;
  /** For each temperature asked for; means over the rows. */
  readonly losses: readonly number[];
  /** The loss where all logits are equal. */
  readonly chance: number;
  readonly top1: number;
  readonly top5: number;
  /** NaN where no batch has a pair: all rows are `alone`. */
  readonly alignment: number;
  /** Of each view. */
  readonly uniformity: readonly number[];
  readonly spread: readonly Spread[];
  /** Where it is asked for: among all samples, whatever the batches. */
  readonly retrieval: PairRetrieval | undefined;
  /** supCon: rows whose class has no other row in their batch. */
  readonly alone: number;
  /** Multiply-adds of the plain algorithm, 2 for each. */
  readonly flops: number;
  readonly seconds: number;
}

/** Most rows of a default batch: work grows with their square, to seconds here. */
const MOST_ROWS = 65_536;

/** The default samples of a batch: all, if they are not too many and fit in memory. */
export function defaultBatch(question: Question, sources: Sources, context: Context): number {
  const { samples, views, dtype, bytesPerSample } = sources;
  const onHost = isOnHost(context.device.id);
  const fits = (count: number): boolean => {
    const { total, available } = memoryRequired(sizeOf(question, dtype, count), { context });
    // While one batch is computed the next is read.
    const buffers = onHost ? (count < samples ? 2 : 1) * count * bytesPerSample : 0;
    return total + buffers <= available;
  };
  let count = Math.min(samples, Math.max(2, Math.floor(MOST_ROWS / views)));
  while (count > 2 && !fits(count)) count = Math.max(2, Math.floor(count / 2));
  return count;
}

/**
 * Reads and computes batch after batch in the memory of two. `onProgress` receives the samples that are done, and the share
 * of the retrieval, which comes after them where they are several batches.
 */
export async function evaluate(
  question: Question,
  sources: Sources,
  labels: Int32Array | undefined,
  temperatures: readonly number[],
  batches: Batches,
  context: Context,
  onProgress: (samples: number, retrieved?: number) => void,
): Promise<Evaluation> {
  const { views, dim } = question;
  const begun = performance.now();
  const sums = new Sums(question, temperatures.length, sources.samples);
  let retrieval: PairRetrieval | undefined;
  const size = batches.largest * views * dim;
  const buffers = Array.from({ length: Math.min(2, batches.count) }, () => room(context, size, sources.dtype));
  const read = async (index: number): Promise<BatchRows> => {
    const batch = batches.at(index);
    const numbers = buffers[index % 2]!.subarray(0, batch.count * views * dim);
    await sources.read(batch, numbers);
    return { numbers, count: batch.count, labels: labelsOf(batch, sources, labels) };
  };

  let reading = read(0);
  for (let index = 0; index < batches.count; index++) {
    const rows = await reading;
    if (index + 1 < batches.count) reading = read(index + 1);
    // It may fail before anybody waits for it.
    reading.catch(() => {});
    try {
      await sums.add(rows, temperatures, context);
      if (question.retrieval && batches.count === 1) retrieval = await retrieveWithin(question, rows.numbers, context);
    } catch (error) {
      await reading.catch(() => {});
      throw await inWordsOfFiles(error, rows, batches.at(index), sources);
    }
    onProgress(batches.at(index).first + rows.count);
  }
  if (question.retrieval && batches.count > 1) {
    retrieval = await retrieveAcross(question, sources, batches.size, context, share =>
      onProgress(sources.samples, share),
    );
  }
  const { flops, ...evaluation } = sums.evaluation();
  // Both ways are one product of all pairs within a batch, and two across batches.
  const products = retrieval === undefined ? 0 : batches.count === 1 ? 1 : 2;
  const ofRetrieval = products * 2 * dim * sources.samples ** 2;
  return { ...evaluation, flops: flops + ofRetrieval, retrieval, seconds: (performance.now() - begun) / 1000 };
}

function labelsOf({ first, count }: Batch, sources: Sources, labels: Int32Array | undefined): Int32Array {
  if (labels === undefined) return new Int32Array(0);
  const ofSamples = labels.length === sources.samples;
  return Int32Array.from({ length: sources.views * count }, (_, row) => {
    const sample = first + (row % count);
    return labels[ofSamples ? sample : sources.rowIndex(Math.floor(row / count), sample)]!;
  });
}

/** Sums over the batches so far. */
class Sums {
  readonly #question: Question;
  readonly #losses: Float64Array;
  readonly #uniformity: PairSum[];
  readonly #spread: SpreadOfRows[];
  #alignment: PairSum = { sum: 0, pairs: 0 };
  #rows = 0;
  #chance = 0;
  #top1 = 0;
  #top5 = 0;
  #alone = 0;
  #flops = 0;

  constructor(question: Question, temperatures: number, samples: number) {
    const { views, dim } = question;
    this.#question = question;
    this.#losses = new Float64Array(temperatures);
    this.#uniformity = Array.from({ length: views }, () => ({ sum: 0, pairs: 0 }));
    this.#spread = Array.from({ length: views }, () => new SpreadOfRows(dim, samples, views));
  }

  async add(batch: BatchRows, temperatures: readonly number[], context: Context): Promise<void> {
    const { loss, views, dim } = this.#question;
    const { numbers, count, labels } = batch;
    const rows = lossRows(this.#question, count);
    const losses = temperatures.map(temperature => lossOf(this.#question, batch, temperature, context));
    const blocks = Array.from({ length: views }, (_, view) => blockOf(numbers, view, count * dim));
    const towards = blocks.map(block => rowLosses(block, count, dim, context));
    // In this thread, while the context works on the losses.
    for (const view of this.#spread) view.beginBatch();
    const {
      alignment: ofViews,
      partnerCosines,
      zeroRows,
    } = geometryOfViews(numbers, dim, views, count, (row, view) => this.#spread[view]!.add(row));
    const alignment = lossNamed(loss).labels ? alignmentOfClasses(numbers, dim, labels) : { ...ofViews, alone: 0 };
    const [results, sums] = await Promise.all([Promise.all(losses), Promise.all(towards)]);

    results.forEach((result, i) => {
      this.#losses[i]! += rows * result.loss;
    });
    this.#rows += rows;
    this.#top1 += rows * results[0]!.top1;
    this.#top5 += rows * results[0]!.top5;
    this.#alone += alignment.alone;
    this.#chance += (rows - alignment.alone) * Math.log(denominator(this.#question, count));
    this.#alignment = plus(this.#alignment, alignment);
    sums.forEach((rowLoss, view) => {
      const cosines = partnerCosines.subarray(view * count, (view + 1) * count);
      this.#uniformity[view] = plus(this.#uniformity[view]!, uniformitySum(rowLoss, cosines, zeroRows[view]!));
    });
    this.#flops += 2 * dim * (temperatures.length * rows ** 2 + views * count ** 2);
  }

  evaluation(): Omit<Evaluation, 'retrieval' | 'seconds'> {
    const rows = this.#rows;
    const { sum, pairs } = this.#alignment;
    return {
      rows,
      losses: [...this.#losses].map(loss => loss / rows),
      chance: this.#chance / rows,
      top1: this.#top1 / rows,
      top5: this.#top5 / rows,
      alignment: Math.max(0, sum) / pairs,
      uniformity: this.#uniformity.map(view => Math.log(view.sum / view.pairs)),
      spread: this.#spread.map(view => view.spread()),
      alone: this.#alone,
      flops: this.#flops,
    };
  }
}

function plus(a: PairSum, b: PairSum): PairSum {
  return { sum: a.sum + b.sum, pairs: a.pairs + b.pairs };
}

async function rowLosses(numbers: Numbers, count: number, dim: number, context: Context): Promise<Float32Array> {
  const { loss } = await supCon(
    {
      features: tensorOf(numbers, count, dim),
      labels: partners(count),
      temperature: UNIFORMITY_TEMPERATURE,
      reduction: 'none',
      gradient: false,
      ranks: false,
    },
    { context },
  );
  return loss;
}

/** The error with the place in the files of the number that a call has refused. */
async function inWordsOfFiles(error: unknown, rows: BatchRows, { first }: Batch, sources: Sources): Promise<unknown> {
  if (!(error instanceof InfoNCEError)) return error;
  if (error.code === 'ERR_INFONCE_OUT_OF_MEMORY') {
    return new CommandError(EXIT.problem, `${error.message} --batch sets how many samples.`, { cause: error });
  }
  if (error.code !== 'ERR_INFONCE_NON_FINITE') return error;
  const { numbers, count } = rows;
  for (let index = 0; index < numbers.length; index++) {
    if (Number.isFinite(numberAt(numbers, index))) continue;
    const inBatch = Math.floor(index / sources.dim);
    const column = index % sources.dim;
    const { file, row } = sources.place(Math.floor(inBatch / count), first + (inBatch % count));
    return notFinite(file, row, column, error);
  }
  return error;
}
