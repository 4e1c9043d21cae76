import { table } from '../terminal/table.js';
import type { EvalReport, JudgedReport } from './report.js';
import type { Retrieval } from './retrieval/measures.js';

/** The report for people. */
export function formatReport(report: EvalReport): string {
  const { objective, samples, views, uniformity } = report;
  const views_ = report.uniformityOfViews.map(view => view.toFixed(4)).join(', ');
  const alone = report.rowsWithoutPositives;
  return paragraphs([
    head(
      report,
      `${objective} of ${count(samples)} samples with ${views} view${views === 1 ? '' : 's'}, ${inBatches(report)}`,
    ),
    summary([
      lossLine(report),
      ['top-1', percent(report.top1)],
      ['top-5', percent(report.top5)],
      alignmentLine(report),
      [
        'uniformity',
        `${uniformity.toFixed(6)} (0 to -4, lower is more uniform)${views > 1 ? `; of the views ${views_}` : ''}`,
      ],
      dimensionsLine(report),
    ]),
    alone > 0 && `${count(alone)} of ${count(report.rows)} rows are alone in their class within their batch: loss 0.`,
    report.retrieval !== undefined &&
      retrievalTable([
        ['first → second', report.retrieval.firstToSecond],
        ['second → first', report.retrieval.secondToFirst],
      ]),
    report.temperatures.length > 1 && byTemperature(report),
    warnings(report),
    throughput(report),
  ]);
}

/** Of what the samples are compared in, and by how many. */
function inBatches({ batches, parts, ranks }: EvalReport): string {
  const several = (what: string, of: { readonly samples: number; readonly count: number; readonly last: number }) =>
    `${count(of.count)} ${what} of ${count(of.samples)}${of.last === of.samples ? '' : `, the last of ${count(of.last)}`}`;
  const inParts = parts === undefined || parts.count === 1 ? '' : ` of ${several('parts', parts)}`;
  const by = ranks === undefined ? '' : `, by ${count(ranks)} ${ranks === 1 ? 'rank' : 'ranks'}`;
  return `in ${batches.count === 1 ? `one batch${inParts}` : several('batches', batches)}${by}`;
}

/** The report of queries and judged documents for people. */
export function formatJudged(report: JudgedReport): string {
  const { judgements, files, retrieval } = report;
  const { queries, success1, success5, success10 } = retrieval.firstToSecond;
  const of = `infonce of ${count(judgements.relevant)} relevant documents of ${count(queries)} queries, among ${count(files[1]!.rows)}`;
  const without = judgements.queriesWithoutRelevant;
  return paragraphs([
    head(report, of),
    summary([lossLine(report), alignmentLine(report), dimensionsLine(report)]),
    without > 0 && `${count(without)} of ${count(files[0]!.rows)} queries have no relevant document: no mean has them.`,
    [
      retrievalTable([['query → document', retrieval.firstToSecond]]),
      `one or more found among the first 1, 5, 10: ${[success1, success5, success10].map(percent).join(', ')}`,
    ].join('\n'),
    warnings(report),
    throughput(report),
  ]);
}

function paragraphs(parts: readonly (string | false)[]): string {
  return parts.filter(part => part !== false && part !== '').join('\n\n');
}

function head({ files, device }: EvalReport | JudgedReport, of: string): string {
  const sizes = files.map(({ file, rows, dim, dtype }) => `${file}: ${count(rows)} × ${count(dim)}, ${dtype}`);
  return [...sizes, of, `on ${device.id} (${device.name}), precision ${device.precision}`].join('\n');
}

type Line = readonly [name: string, text: string];

function summary(lines: readonly Line[]): string {
  return lines.map(([name, text]) => `${name.padEnd(10)}  ${text}`).join('\n');
}

function lossLine({ loss, temperature, chance }: EvalReport | JudgedReport): Line {
  return ['loss', `${loss.toFixed(6)} at temperature ${temperature}; ${chance.toFixed(6)} by chance`];
}

function alignmentLine({ alignment }: EvalReport | JudgedReport): Line {
  return ['alignment', `${alignment.toFixed(6)} (0 to 4, lower is closer)`];
}

function dimensionsLine({ spread, files }: EvalReport | JudgedReport): Line {
  const ranks = spread.map(({ effectiveRank }) => effectiveRank.toFixed(1)).join(', ');
  return ['dimensions', `${ranks} in effect, of ${count(files[0]!.dim)}`];
}

function warnings(report: EvalReport | JudgedReport): string {
  return report.warnings.map(({ message }) => `Warning: ${message}`).join('\n');
}

function retrievalTable(rows: readonly (readonly [direction: string, figures: Retrieval])[]): string {
  const titles = ['recall@1', 'recall@5', 'recall@10', 'MRR', 'nDCG@10'];
  return table(
    [{ title: 'retrieval' }, ...titles.map(title => ({ title, align: 'right' as const }))],
    rows.map(([direction, { recall1, recall5, recall10, mrr, ndcg10 }]) => [
      direction,
      ...[recall1, recall5, recall10].map(percent),
      mrr.toFixed(4),
      ndcg10.toFixed(4),
    ]),
  );
}

function byTemperature({ temperatures, chance }: EvalReport): string {
  return table(
    ['temperature', 'loss', 'chance', 'chance − loss'].map(title => ({ title, align: 'right' })),
    temperatures.map(({ temperature, loss }) => [
      String(temperature),
      loss.toFixed(6),
      chance.toFixed(6),
      (chance - loss).toFixed(6),
    ]),
  );
}

function throughput(report: EvalReport | JudgedReport): string {
  const { seconds, rowsPerSecond, flopsPerSecond } = report;
  const rates = [
    `${count(Math.round(rowsPerSecond))} rows/s`,
    ...('bytesPerSecond' in report ? [`${(report.bytesPerSecond / 1e6).toFixed(1)} MB/s`] : []),
    `${(flopsPerSecond / 1e9).toFixed(1)} GFLOP/s`,
  ];
  return `${seconds.toFixed(2)} s: ${rates.join(', ')}`;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(2)} %`;
}

function count(value: number): string {
  return value.toLocaleString('en-US');
}
