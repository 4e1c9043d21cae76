import { infoNCELoss } from '../../../losses/info-nce.js';
import { memoryRequired } from '../../../losses/memory-required.js';
import type { LossValue } from '../../../losses/results.js';
import { runAsync } from '../../../losses/run.js';
import { isOnHost } from '../../../runtime/backends/index.js';
import type { Context } from '../../../runtime/handles.js';
import { pinnedNumbers } from '../buffers.js';
import { SumsOfExponentials } from '../loss-of-parts.js';
import { type MatrixFile, type Numbers, tensorOf } from '../matrix.js';
import { Batches } from '../sources.js';
import { type Spread, SpreadOfRows } from '../spread.js';
import { type Relevant, type Retrieval, RetrievalSum } from './measures.js';
import type { Judgements } from './qrels.js';
import { addRows, rowsOf, spreadOf, sumOfDistances } from './rows.js';

/** What is asked of queries and documents whose relevance is judged. */
export interface JudgedQuestion {
  readonly queries: MatrixFile;
  readonly documents: MatrixFile;
  readonly judgements: Judgements;
  readonly normalize: boolean;
  readonly temperature: number;
  /** Of queries, and of documents, at once. Default: up to 16,384, if they fit in memory. */
  readonly batch?: number | undefined;
  readonly context: Context;
}

export interface JudgedEvaluation {
  readonly retrieval: Retrieval;
  /** The mean over the pairs of a query and a relevant document, which all other documents are compared with. */
  readonly loss: number;
  /** The mean of ‖u − v‖² over these pairs. */
  readonly alignment: number;
  readonly spread: readonly [queries: Spread, documents: Spread];
  /** Multiply-adds of the plain algorithm, 2 for each. */
  readonly flops: number;
  readonly seconds: number;
}

const MOST_ROWS = 16_384;

/**
 * Ranks each relevant document for its query among all documents, which are read part by part, once for each part of the
 * pairs. `onProgress` receives the share that is done.
 */
export async function evaluateJudged(
  question: JudgedQuestion,
  onProgress: (share: number) => void,
): Promise<JudgedEvaluation> {
  const { queries, documents, judgements, context } = question;
  const { dim, dtype } = documents;
  const begun = performance.now();
  const pairs = judgements.queries.length;
  const most = partSize(question, pairs);
  const parts = new Batches(documents.rows, most);
  const buffers = Array.from({ length: Math.min(2, parts.count) }, () =>
    pinnedNumbers(context, parts.largest * dim, dtype),
  );
  const [bufferOfAnchors, bufferOfPositives] = [0, 1].map(() =>
    pinnedNumbers(context, Math.min(most, pairs) * dim, dtype),
  ) as [Numbers, Numbers];
  const read = async (index: number): Promise<Numbers> => {
    const { first, count } = parts.at(index);
    const numbers = buffers[index % 2]!.subarray(0, count * dim);
    await documents.read(first, numbers);
    return numbers;
  };
  const spreadOfQueries = await spreadOf(queries, most);
  const spreadOfDocuments = new SpreadOfRows(dim, documents.rows, 2);
  const above = new Int32Array(pairs);
  const losses = new SumsOfExponentials(pairs);
  let alignment = 0;
  const chunks = Math.ceil(pairs / most);
  for (let chunk = 0; chunk < chunks; chunk++) {
    const begin = chunk * most;
    const end = Math.min(begin + most, pairs);
    const asked = judgements.queries.subarray(begin, end);
    const relevant = judgements.documents.subarray(begin, end);
    const anchors = await rowsOf(queries, asked, bufferOfAnchors);
    const positives = await rowsOf(documents, relevant, bufferOfPositives);
    alignment += await sumOfDistances(anchors, positives, documents, relevant);
    let reading = chunk === 0 || parts.count > 1 ? read(0) : Promise.resolve(buffers[0]!);
    for (let part = 0; part < parts.count; part++) {
      const candidates = await reading;
      if (part + 1 < parts.count) reading = read(part + 1);
      // It may fail before anybody waits for it.
      reading.catch(() => {});
      if (chunk === 0) await addRows(spreadOfDocuments, candidates, documents, parts.at(part).first);
      const counted = await compare(question, { anchors, positives, relevant, candidates }, parts.at(part).first);
      counted.above.forEach((count, i) => {
        above[begin + i]! += count;
      });
      losses.add(begin, counted.loss);
      onProgress((chunk * parts.count + part + 1) / (chunks * parts.count));
    }
  }
  return {
    retrieval: retrievalOf(judgements, above),
    loss: losses.mean(),
    alignment: alignment / pairs,
    spread: [spreadOfQueries, spreadOfDocuments.spread()],
    flops: 2 * dim * pairs * documents.rows,
    seconds: (performance.now() - begun) / 1000,
  };
}

/** Rows of queries, and of documents, at once: as many as asked for, or as fit. */
function partSize({ queries, documents, batch, context }: JudgedQuestion, pairs: number): number {
  if (batch !== undefined) return batch;
  const { dim, dtype } = queries;
  const fits = (count: number): boolean => {
    const size = (rows: number) => ({ shape: [rows, dim], dtype });
    const anchors = size(Math.min(count, pairs));
    const candidates = size(Math.min(count, documents.rows));
    const { total, available } = memoryRequired(
      {
        loss: 'infoNCE',
        query: anchors,
        positiveKey: anchors,
        negativeKeys: candidates,
        gradient: false,
        reduction: 'none',
      },
      { context },
    );
    const buffers = isOnHost(context.device.id) ? 4 * count * dim * (dtype === 'float16' ? 2 : 4) : 0;
    return total + buffers <= available;
  };
  let count = MOST_ROWS;
  while (count > 2 && !fits(count)) count = Math.floor(count / 2);
  return count;
}

/** The rows that a part of the documents is compared with. */
interface Compared {
  readonly anchors: Numbers;
  readonly positives: Numbers;
  /** Which documents these are. */
  readonly relevant: Int32Array;
  readonly candidates: Numbers;
}

/** Against documents from `first` on: a pair's own is left out by its number. */
async function compare(
  { documents: { dim }, normalize, temperature, context }: JudgedQuestion,
  { anchors, positives, relevant, candidates }: Compared,
  first: number,
): Promise<{ readonly above: Int32Array; readonly loss: Float32Array }> {
  const tensor = (numbers: Numbers) => tensorOf(numbers, numbers.length / dim, dim);
  const above = new Int32Array(relevant.length);
  const problem = {
    query: tensor(anchors),
    positiveKey: tensor(positives),
    negativeKeys: tensor(candidates),
    queryIds: relevant,
    negativeIds: Int32Array.from({ length: candidates.length / dim }, (_, i) => first + i),
    temperature,
    normalize,
    gradient: false,
    reduction: 'none',
  };
  const result = (await runAsync(infoNCELoss.describe(problem), { context }, [above])) as LossValue<'none'>;
  return { above, loss: result.loss };
}

function retrievalOf({ queries, grades }: Judgements, above: Int32Array): Retrieval {
  const sum = new RetrievalSum();
  for (let begin = 0, end = 0; begin < queries.length; begin = end) {
    const relevant: Relevant[] = [];
    for (; end < queries.length && queries[end] === queries[begin]; end++) {
      relevant.push({ above: above[end]!, gain: grades[end]! });
    }
    sum.add(relevant);
  }
  return sum.means();
}
