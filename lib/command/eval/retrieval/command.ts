import { badFile } from '../../../files/bytes.js';
import { contextFor } from '../../terminal/context.js';
import { startProgress } from '../../terminal/progress.js';
import { MatrixFile } from '../matrix.js';
import type { EvalOptions } from '../options.js';
import { type JudgedReport, spreadReport } from '../report.js';
import { type SpreadOfView, warningsOf } from '../warnings.js';
import { evaluateJudged } from './judged.js';
import { idsInRows, type RowIds, readIds, readQrels } from './qrels.js';

/** Evaluates queries and documents by judgements. */
export async function judge(
  [queryFile, documentFile]: readonly [queries: string, documents: string],
  qrels: string,
  options: EvalOptions,
): Promise<JudgedReport> {
  const queries = await MatrixFile.open(queryFile, { ...options, keepIds: options.queryIds === undefined });
  try {
    const documents = await MatrixFile.open(documentFile, { ...options, keepIds: options.documentIds === undefined });
    try {
      return await judgeRows(queries, documents, qrels, options);
    } finally {
      await documents.close();
    }
  } finally {
    await queries.close();
  }
}

async function judgeRows(
  queries: MatrixFile,
  documents: MatrixFile,
  qrels: string,
  options: EvalOptions,
): Promise<JudgedReport> {
  checkAlike(queries, documents);
  const judgements = await readQrels(
    qrels,
    await idsOf(queries, options.queryIds),
    await idsOf(documents, options.documentIds),
  );
  const { normalize, temperature, batch } = options;
  const context = contextFor(options, { whenFull: 'wait' });
  const progress = startProgress('eval', 1);
  let evaluation: Awaited<ReturnType<typeof evaluateJudged>>;
  try {
    const question = { queries, documents, judgements, normalize, temperature, batch, context };
    evaluation = await evaluateJudged(question, share => progress.update(share));
  } finally {
    progress.stop();
  }
  const { retrieval, loss, alignment, spread, flops, seconds } = evaluation;
  const files = [queries, documents];
  const views: SpreadOfView[] = files.map(({ file, rows }, i) => ({ name: file, rows, spread: spread[i]! }));
  const chance = Math.log(documents.rows);
  return {
    objective: 'infonce',
    normalize,
    files: files.map(({ file, rows, dim, stored }) => ({ file, rows, dim, dtype: stored })),
    judgements: {
      file: qrels,
      count: judgements.count,
      relevant: judgements.queries.length,
      queriesWithoutRelevant: queries.rows - retrieval.queries,
    },
    device: { id: context.device.id, name: context.device.name, precision: context.precision },
    temperature,
    loss,
    chance,
    alignment,
    spread: views.map(spreadReport),
    warnings: warningsOf({ views, dim: documents.dim, alignment, temperature, loss, chance }),
    retrieval: { firstToSecond: retrieval },
    seconds,
    rowsPerSecond: (queries.rows + documents.rows) / seconds,
    flopsPerSecond: flops / seconds,
  };
}

function checkAlike(queries: MatrixFile, documents: MatrixFile): void {
  const { file, rows, dim, dtype, stored } = documents;
  if (dim !== queries.dim) {
    const expected = `rows of ${queries.dim} numbers, as ${queries.file} has`;
    throw badFile(file, expected, `${dim}`, 'Queries and documents are rows of one model.');
  }
  if (dtype !== queries.dtype) {
    throw badFile(file, `${queries.stored}, as ${queries.file} has`, stored, 'Save both in the same type.');
  }
  if (rows < 2) throw badFile(file, 'at least two documents', '1', 'A relevant document is compared with the others.');
}

/** Those of a file of ids, else those in the rows, else row numbers. */
async function idsOf({ file, rows, ids }: MatrixFile, fileOfIds: string | undefined): Promise<RowIds> {
  if (fileOfIds !== undefined) return readIds(fileOfIds, file, rows);
  return ids === undefined ? { file, rows } : idsInRows(file, ids);
}
