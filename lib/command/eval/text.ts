import { table } from '../terminal/table.js';
import type { EvalReport } from './report.js';

/** The report for people. */
export function formatReport(report: EvalReport): string {
  const { objective, files, samples, views, batches, device, loss, chance, top1, top5, alignment, uniformity } = report;
  const sizes = files.map(({ file, rows, dim, dtype }) => `${file}: ${count(rows)} × ${count(dim)}, ${dtype}`);
  const last = batches.last === batches.samples ? '' : `, the last of ${count(batches.last)}`;
  const inBatches =
    batches.count === 1 ? 'in one batch' : `in ${count(batches.count)} batches of ${count(batches.samples)}${last}`;
  const about = [
    `${objective} of ${count(samples)} samples with ${views} view${views === 1 ? '' : 's'}, ${inBatches}`,
    `on ${device.id} (${device.name}), precision ${device.precision}`,
  ];
  const views_ = report.uniformityOfViews.map(view => view.toFixed(4)).join(', ');
  const summary = [
    ['loss', `${loss.toFixed(6)} at temperature ${report.temperature}; ${chance.toFixed(6)} by chance`],
    ['top-1', percent(top1)],
    ['top-5', percent(top5)],
    ['alignment', `${alignment.toFixed(6)} (0 to 4, lower is closer)`],
    [
      'uniformity',
      `${uniformity.toFixed(6)} (0 to -4, lower is more uniform)${views > 1 ? `; of the views ${views_}` : ''}`,
    ],
  ] as const;
  const alone = report.rowsWithoutPositives;
  return [
    [...sizes, ...about].join('\n'),
    summary.map(([name, text]) => `${name.padEnd(10)}  ${text}`).join('\n'),
    ...(alone > 0
      ? [`${count(alone)} of ${count(report.rows)} rows are alone in their class within their batch: loss 0.`]
      : []),
    ...(report.temperatures.length > 1 ? [byTemperature(report)] : []),
    throughput(report),
  ].join('\n\n');
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

function throughput({ seconds, rowsPerSecond, bytesPerSecond, flopsPerSecond }: EvalReport): string {
  const rates = [
    `${count(Math.round(rowsPerSecond))} rows/s`,
    `${(bytesPerSecond / 1e6).toFixed(1)} MB/s`,
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
