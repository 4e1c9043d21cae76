import { memoryRequired } from '../../losses/memory-required.js';
import { isOnHost } from '../../runtime/backends/index.js';
import { InfoNCEError } from '../../runtime/errors.js';
import type { Context } from '../../runtime/handles.js';
import { lossNamed } from '../losses.js';
import { CommandError, EXIT } from '../terminal/exit.js';
import { inTurns, type Team } from '../terminal/team.js';
import { pinnedNumbers } from './buffers.js';
import { type Evaluation, Figures } from './figures.js';
import { alignmentOfClasses, geometryOfViews, type PairSum, uniformitySum } from './geometry.js';
import { type BatchRows, blockOf, denominator, lossOf, lossRows, type Question, sizeOf } from './losses.js';
import { numberAt } from './matrix.js';
import { notFinite } from './not-finite.js';
import { countWithin, retrieveAcross } from './retrieval/pairs.js';
import type { Batch, Batches, Sources } from './sources.js';
import { SpreadOfRows } from './spread.js';
import { lossesWithin } from './uniformity.js';

/** Most rows of a default batch: work grows with their square, to seconds here. */
const MOST_ROWS = 65_536;

/** The default samples of a batch: all, if they are not too many and fit in memory. */
export function defaultBatch(question: Question, sources: Sources, context: Context, team: Team): number {
  const { samples, views, dtype, bytesPerSample } = sources;
  const onHost = isOnHost(context.device.id);
  const fits = (count: number): boolean => {
    const { total, available } = memoryRequired(sizeOf(question, dtype, count), { context });
    // While one batch is computed the next is read.
    const buffers = onHost ? (count < samples ? 2 : 1) * count * bytesPerSample : 0;
    return total + buffers <= available / team.localSize;
  };
  return largestCount(samples, Math.floor(MOST_ROWS / views), fits);
}

/** Samples that fit: as many as there are or `most`, halved until they do; at least 2. */
export function largestCount(samples: number, most: number, fits: (count: number) => boolean): number {
  let count = Math.min(samples, Math.max(2, most));
  while (count > 2 && !fits(count)) count = Math.max(2, Math.floor(count / 2));
  return count;
}

/** An evaluation: its question, data and team. */
export interface Work {
  readonly question: Question;
  readonly sources: Sources;
  readonly labels: Int32Array | undefined;
  readonly temperatures: readonly number[];
  readonly context: Context;
  readonly team: Team;
  /** Receives the number of samples done, and a text to show with it. */
  readonly onProgress: (samples: number, shown?: string) => void;
}

/** Reads and computes batch after batch, with two in memory; ranks of a team take batches in turn. */
export async function evaluate(work: Work, batches: Batches): Promise<Evaluation> {
  const { question, sources, temperatures, context, team, onProgress } = work;
  const { views, dim } = question;
  const { samples } = sources;
  const begun = performance.now();
  const all = new Figures(question, temperatures.length);
  const spreads = Array.from({ length: views }, () => new SpreadOfRows(dim, samples, views));
  const size = batches.largest * views * dim;
  const buffers = Array.from({ length: Math.min(2, batches.count) }, () => pinnedNumbers(context, size, sources.dtype));
  const read = async (index: number): Promise<BatchRows> => {
    const batch = batches.at(index);
    const numbers = buffers[Math.floor(index / team.size) % 2]!.subarray(0, batch.count * views * dim);
    await sources.read(batch, numbers);
    return { numbers, count: batch.count, labels: labelsOf(batch, sources, work.labels) };
  };

  let reading = team.rank < batches.count ? read(team.rank) : undefined;
  const compute = async (index: number): Promise<Float64Array> => {
    const rows = await reading!;
    const next = index + team.size;
    if (next < batches.count) reading = read(next);
    // It may fail before anybody waits for it.
    reading!.catch(() => {});
    try {
      const figures = new Figures(question, temperatures.length);
      await addBatch(figures, rows, batches.at(index).first, spreads, work);
      if (question.retrieval && batches.count === 1) {
        figures.retrieval.add(await countWithin(question, rows.numbers, context));
      }
      return figures.numbers;
    } catch (error) {
      await reading!.catch(() => {});
      throw await inWordsOfFiles(error, [{ ...rows, first: batches.at(index).first }], sources);
    }
  };
  await inTurns(team, batches.count, all.numbers.length, compute, (index, numbers) => {
    all.addNumbers(numbers);
    const { first, count } = batches.at(index);
    onProgress(first + count);
  });
  // Both ways are one product of all pairs within a batch, and two across batches.
  if (question.retrieval) all.add('flops', (batches.count === 1 ? 1 : 2) * 2 * dim * samples ** 2);
  if (question.retrieval && batches.count > 1) {
    const across = await retrieveAcross(question, sources, batches.size, context, team, share =>
      onProgress(samples, `retrieval ${Math.floor(100 * share)} %`),
    );
    all.retrieval.addNumbers(across);
  }
  return evaluationOf(all, spreads, team, begun);
}

export async function evaluationOf(
  all: Figures,
  spreads: readonly SpreadOfRows[],
  team: Team,
  begun: number,
): Promise<Evaluation> {
  if (team.size > 1) await team.sum(spreads.flatMap(({ ofRows }) => ofRows));
  return { ...all.evaluation(spreads), seconds: (performance.now() - begun) / 1000 };
}

/** The classes of a batch's rows, view by view. */
export function labelsOf({ first, count }: Batch, sources: Sources, labels: Int32Array | undefined): Int32Array {
  if (labels === undefined) return new Int32Array(0);
  const ofSamples = labels.length === sources.samples;
  return Int32Array.from({ length: sources.views * count }, (_, row) => {
    const sample = first + (row % count);
    return labels[ofSamples ? sample : sources.rowIndex(Math.floor(row / count), sample)]!;
  });
}

/** The figures of a batch whose first sample is `first`. */
async function addBatch(
  figures: Figures,
  batch: BatchRows,
  first: number,
  spreads: readonly SpreadOfRows[],
  { question, temperatures, context }: Work,
): Promise<void> {
  const { loss, dim, views } = question;
  const { numbers, count, labels } = batch;
  const rows = lossRows(question, count);
  const losses = temperatures.map(temperature => lossOf(question, batch, temperature, context));
  // It may fail while the geometry is computed.
  for (const each of losses) each.catch(() => {});
  const ofViews = await addGeometry(figures, { ...batch, first }, spreads, question, context);
  const alignment = lossNamed(loss).labels ? alignmentOfClasses(numbers, dim, labels) : { ...ofViews, alone: 0 };
  const results = await Promise.all(losses);
  results.forEach((result, i) => {
    figures.addLoss(i, rows * result.loss);
  });
  figures.add('rows', rows);
  figures.add('top1', rows * results[0]!.top1);
  figures.add('top5', rows * results[0]!.top5);
  figures.add('alone', alignment.alone);
  figures.add('chance', (rows - alignment.alone) * Math.log(denominator(question, count)));
  figures.addAlignment(alignment);
  figures.add('flops', 2 * dim * (temperatures.length * rows ** 2 + views * count ** 2));
}

/** How the rows of a batch are spread, and uniformity within it. Returns the alignment of the samples' views. */
export async function addGeometry(
  figures: Figures,
  { numbers, count, first }: PlacedRows,
  spreads: readonly SpreadOfRows[],
  { views, dim }: Question,
  context: Context,
): Promise<PairSum> {
  const blocks = Array.from({ length: views }, (_, view) => blockOf(numbers, view, count * dim));
  const losses = Promise.all(blocks.map(block => lossesWithin(block, count, dim, context)));
  losses.catch(() => {});
  // In this thread, while the context works on the losses.
  for (const spread of spreads) spread.beginBatch(first);
  const geometry = geometryOfViews(numbers, dim, views, count, (row, view) => spreads[view]!.add(row));
  const { alignment, partnerCosines, zeroRows } = geometry;
  (await losses).forEach((rowLoss, view) => {
    const cosines = partnerCosines.subarray(view * count, (view + 1) * count);
    figures.addUniformity(view, uniformitySum(rowLoss, cosines, zeroRows[view]!));
    figures.setSpread(view, spreads[view]!.endBatch());
  });
  return alignment;
}

/** Rows of a batch, and where they begin. */
export type PlacedRows = Omit<BatchRows, 'labels'> & Pick<Batch, 'first'>;

/** The error of a refused call, with the place in the files of the number that it refused. */
export async function inWordsOfFiles(
  error: unknown,
  batches: readonly PlacedRows[],
  sources: Sources,
): Promise<unknown> {
  if (!(error instanceof InfoNCEError)) return error;
  if (error.code === 'ERR_INFONCE_OUT_OF_MEMORY') {
    return new CommandError(EXIT.problem, `${error.message} --batch sets how many samples.`, { cause: error });
  }
  if (error.code !== 'ERR_INFONCE_NON_FINITE') return error;
  for (const { numbers, count, first } of batches) {
    for (let index = 0; index < numbers.length; index++) {
      if (Number.isFinite(numberAt(numbers, index))) continue;
      const inBatch = Math.floor(index / sources.dim);
      const column = index % sources.dim;
      const { file, row } = sources.place(Math.floor(inBatch / count), first + (inBatch % count));
      return notFinite(file, row, column, error);
    }
  }
  return error;
}
