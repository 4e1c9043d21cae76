import { infoNCELoss } from '../../../losses/info-nce.js';
import { memoryRequired } from '../../../losses/memory-required.js';
import type { LossValue } from '../../../losses/results.js';
import { runAsync } from '../../../losses/run.js';
import { isOnHost } from '../../../runtime/backends/index.js';
import type { Context } from '../../../runtime/handles.js';
import { CommandError, EXIT } from '../../terminal/exit.js';
import { room } from '../buffers.js';
import { Row } from '../geometry.js';
import { type MatrixFile, type Numbers, tensorOf } from '../matrix.js';
import { Batches } from '../sources.js';
import { type Spread, SpreadOfRows } from '../spread.js';
import { type Relevant, type Retrieval, RetrievalSum } from './measures.js';
import type { Judgements } from './qrels.js';

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
  const rooms = Array.from({ length: Math.min(2, parts.count) }, () => room(context, parts.largest * dim, dtype));
  const [roomOfAnchors, roomOfPositives] = [0, 1].map(() => room(context, Math.min(most, pairs) * dim, dtype)) as [
    Numbers,
    Numbers,
  ];
  const read = async (index: number): Promise<Numbers> => {
    const { first, count } = parts.at(index);
    const numbers = rooms[index % 2]!.subarray(0, count * dim);
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
    const anchors = await rowsOf(queries, asked, roomOfAnchors);
    const positives = await rowsOf(documents, relevant, roomOfPositives);
    alignment += await sumOfDistances(anchors, positives, documents, relevant);
    let reading = chunk === 0 || parts.count > 1 ? read(0) : Promise.resolve(rooms[0]!);
    for (let part = 0; part < parts.count; part++) {
      const candidates = await reading;
      if (part + 1 < parts.count) reading = read(part + 1);
      // It may fail before anybody waits for it.
      reading.catch(() => {});
      if (chunk === 0) await take(spreadOfDocuments, candidates, documents, parts.at(part).first);
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

/** Rows of a file, in any order, at the beginning of `into`. */
async function rowsOf(file: MatrixFile, rows: Int32Array, into: Numbers): Promise<Numbers> {
  const { dim } = file;
  const numbers = into.subarray(0, rows.length * dim);
  for (let i = 0; i < rows.length; i++) {
    const place = i * dim;
    if (i > 0 && rows[i] === rows[i - 1]) numbers.copyWithin(place, place - dim, place);
    else await file.read(rows[i]!, numbers.subarray(place, place + dim));
  }
  return numbers;
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

/**
 * Of each pair log Σ exp(s_ij − s_ip) over the documents so far. The loss of a part is log (1 + Σ) over its documents, and so
 * is that of all.
 */
class SumsOfExponentials {
  readonly #logarithms: Float64Array;

  constructor(pairs: number) {
    this.#logarithms = new Float64Array(pairs).fill(Number.NEGATIVE_INFINITY);
  }

  add(begin: number, losses: Float32Array): void {
    const sums = this.#logarithms;
    losses.forEach((rounded, i) => {
      // log (exp(loss) − 1): of a loss of 0 that is -Infinity, which adds nothing.
      const loss = Math.max(0, rounded);
      const sum = loss > 1 ? loss + Math.log1p(-Math.exp(-loss)) : Math.log(Math.expm1(loss));
      sums[begin + i] = logOfSum(sums[begin + i]!, sum);
    });
  }

  mean(): number {
    return this.#logarithms.reduce((sum, logarithm) => sum + logOfSum(0, logarithm), 0) / this.#logarithms.length;
  }
}

/** log (exp(a) + exp(b)) */
function logOfSum(a: number, b: number): number {
  const greater = Math.max(a, b);
  const less = Math.min(a, b);
  return less === Number.NEGATIVE_INFINITY ? greater : greater + Math.log1p(Math.exp(less - greater));
}

async function sumOfDistances(
  anchors: Numbers,
  positives: Numbers,
  documents: MatrixFile,
  relevant: Int32Array,
): Promise<number> {
  const query = new Row(documents.dim);
  const document = new Row(documents.dim);
  let sum = 0;
  for (let i = 0; i < relevant.length; i++) {
    query.load(anchors, i);
    document.load(positives, i);
    if (!Number.isFinite(document.squared)) throw await notFinite(document, documents, relevant[i]!);
    sum += query.distance(document);
  }
  return sum;
}

async function spreadOf(file: MatrixFile, most: number): Promise<Spread> {
  const { dim, dtype } = file;
  const spread = new SpreadOfRows(dim, file.rows, 2);
  const length = Math.min(most, file.rows) * dim;
  const numbers = dtype === 'float16' ? new Uint16Array(length) : new Float32Array(length);
  for (let first = 0; first < file.rows; first += most) {
    const part = numbers.subarray(0, Math.min(most, file.rows - first) * dim);
    await file.read(first, part);
    await take(spread, part, file, first);
  }
  return spread.spread();
}

/** Takes rows of a file, from `first` on, and refuses those that are not finite. */
async function take(spread: SpreadOfRows, numbers: Numbers, file: MatrixFile, first: number): Promise<void> {
  const row = new Row(file.dim);
  spread.beginBatch();
  for (let i = 0; i < numbers.length / file.dim; i++) {
    row.load(numbers, i);
    if (!Number.isFinite(row.squared)) throw await notFinite(row, file, first + i);
    spread.add(row);
  }
}

async function notFinite({ values }: Row, file: MatrixFile, row: number): Promise<CommandError> {
  const column = values.findIndex(value => !Number.isFinite(value));
  const value = await file.describe(row, column);
  const where = `row ${row}, column ${column} (counted from 0)`;
  return new CommandError(EXIT.problem, `${file.file}: expected finite numbers, got ${value} in ${where}.`);
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
