import { memoryRequired } from '../../../losses/memory-required.js';
import { isOnHost } from '../../../runtime/backends/index.js';
import { lossNamed, towersOf } from '../../losses.js';
import { inTurns } from '../../terminal/team.js';
import { pinnedNumbers } from '../buffers.js';
import { addGeometry, evaluationOf, inWordsOfFiles, largestCount, type PlacedRows, type Work } from '../evaluation.js';
import { type Evaluation, Figures } from '../figures.js';
import { blockOf, denominator, lossRows } from '../losses.js';
import type { Numbers } from '../matrix.js';
import type { Batches } from '../sources.js';
import { SpreadOfRows } from '../spread.js';
import { uniformityAcross } from '../uniformity.js';
import { Classes, SearchOfClasses } from './classes.js';
import type { Search } from './search.js';
import { SearchOfViews } from './views.js';

/** Most rows of a part by default: comparing it takes much longer than reading it. */
const MOST_ROWS = 16_384;

/** The default samples of a part: as many as fit in memory with what they are compared with. */
export function defaultPart({ question, sources, context, team }: Omit<Work, 'onProgress'>): number {
  const { loss, views, dim, normalize } = question;
  const { samples, dtype, bytesPerSample } = sources;
  const hasLabels = lossNamed(loss).labels === true;
  const onHost = isOnHost(context.device.id);
  const fits = (count: number): boolean => {
    const size = (rows: number) => ({ shape: [rows, dim], dtype });
    const anchors = size(hasLabels ? views * count : count);
    const { total, available } = memoryRequired(
      {
        loss: 'infoNCE',
        query: anchors,
        positiveKey: anchors,
        negativeKeys: size(towersOf(loss).length === 1 ? views * count : count),
        gradient: false,
        reduction: 'none',
      },
      { context },
    );
    // The part, and two that it is compared with; its positives, and the sums of classes.
    const buffers = (hasLabels ? 4 : 3) * count * bytesPerSample;
    const sums = hasLabels ? (normalize ? 8 : 16) * views * count * dim : 0;
    return total + (onHost ? buffers + sums : 0) <= available / team.localSize;
  };
  return largestCount(samples, Math.floor(MOST_ROWS / views), fits);
}

/**
 * Evaluates all samples as one batch, in parts: each part's rows look for their positives among the rows of all parts, which
 * are read once for each part. Memory is that of three parts. The ranks of a team take parts in turn.
 */
export async function evaluateInParts(work: Work, parts: Batches): Promise<Evaluation> {
  const { question, sources, temperatures, context, team, onProgress } = work;
  const { loss, views, dim } = question;
  const { samples } = sources;
  const begun = performance.now();
  const hasLabels = lossNamed(loss).labels === true;
  const classes = hasLabels ? new Classes(sources, work.labels!) : undefined;
  const all = new Figures(question, temperatures.length);
  const spreads = Array.from({ length: views }, () => new SpreadOfRows(dim, samples, views, true));
  const size = parts.largest * views * dim;
  const buffers = Array.from({ length: hasLabels ? 4 : 3 }, () => pinnedNumbers(context, size, sources.dtype));
  const read = async (index: number, into: Numbers): Promise<PlacedRows> => {
    const part = parts.at(index);
    const numbers = into.subarray(0, part.count * views * dim);
    await sources.read(part, numbers);
    return { ...part, numbers };
  };

  const compute = async (index: number): Promise<Float64Array> => {
    const own = await read(index, buffers[0]!);
    const others = Array.from({ length: parts.count }, (_, k) => k).filter(k => k !== index);
    let reading = read(others[0]!, buffers[1]!);
    let other: PlacedRows | undefined;
    try {
      // It may fail before anybody waits for it.
      reading.catch(() => {});
      const figures = new Figures(question, temperatures.length);
      const search: Search =
        classes === undefined
          ? new SearchOfViews(work, own)
          : await SearchOfClasses.start(work, own, classes, buffers[3]!);
      const alignment = await addGeometry(figures, own, spreads, question, context);
      if (classes === undefined) figures.addAlignment(alignment);
      await search.within();
      for (const [k, at] of others.entries()) {
        other = await reading;
        if (k + 1 < others.length) reading = read(others[k + 1]!, buffers[1 + ((k + 1) % 2)]!);
        reading.catch(() => {});
        await search.across(other);
        if (at > index) await addUniformityAcross(figures, own, other, work);
        const share = (index * parts.count + k + 2) / parts.count ** 2;
        onProgress(Math.floor(share * samples), `part ${index + 1} of ${parts.count}`);
      }
      search.addTo(figures);
      figures.add('rows', lossRows(question, own.count));
      return figures.numbers;
    } catch (error) {
      await reading.catch(() => {});
      throw await inWordsOfFiles(error, other === undefined ? [own] : [own, other], sources);
    }
  };
  await inTurns(team, parts.count, all.numbers.length, compute, (_, numbers) => all.addNumbers(numbers));
  const rows = lossRows(question, samples);
  const evaluation = await evaluationOf(all, spreads, team, begun);
  const products = temperatures.length * rows ** 2 + (views + Number(question.retrieval)) * samples ** 2;
  return {
    ...evaluation,
    chance: ((rows - evaluation.alone) / rows) * Math.log(denominator(question, samples)),
    flops: 2 * dim * products,
  };
}

async function addUniformityAcross(
  figures: Figures,
  own: PlacedRows,
  other: PlacedRows,
  { question: { views, dim }, context }: Work,
): Promise<void> {
  const block = ({ numbers, count }: PlacedRows, view: number) => blockOf(numbers, view, count * dim);
  for (let view = 0; view < views; view++) {
    figures.addUniformity(view, await uniformityAcross(block(own, view), block(other, view), dim, context));
  }
}
