import { barChart, type Chart, type Drawing, page } from '../charts/index.js';
import { STYLE } from '../charts/theme.js';
import type { SizeResult, TimedRow } from './comparison.js';
import { duration } from './figures.js';
import { machineOf, type Report, remarks, resultTable, titleOf } from './report.js';

/** Median times as horizontal bars on a logarithmic scale: a page with the table, or one drawing of all sizes. */
export function chartFile(report: Report, drawing: Drawing, kind: 'html' | 'svg'): string {
  if (kind === 'svg') return standalone(bars(drawing, report, report.sizes));
  return page({
    title: titleOf(report),
    intro: `${machineOf(report)}. Every figure is a median.`,
    sections: [
      ...report.sizes.map(size => ({
        title: `${size.rows} × ${report.dim}`,
        text: 'Median time of a call; shorter is better. The scale is logarithmic.',
        charts: [bars(drawing, report, [size])],
      })),
      { title: 'All figures', text: remarks(report).join(' '), table: resultTable(report) },
    ],
    footer: `infonce ${report.version}`,
  });
}

function bars(drawing: Drawing, { dim }: Report, sizes: readonly SizeResult[]): Chart {
  const timed = sizes.flatMap(({ results }) => results.filter((row): row is TimedRow => row.outcome === 'timed'));
  const medians = timed.map(({ medianMs }) => medianMs);
  const domain = [10 ** Math.floor(Math.log10(Math.min(...medians) / 2)), 2 * Math.max(...medians)] as const;
  return barChart(drawing, {
    label: `Median milliseconds of a call at ${sizes.map(({ rows }) => `${rows} × ${dim}`).join(', ')}`,
    x: { title: 'milliseconds', scale: 'log', domain, format: '~f' },
    bars: timed.map(({ id, rows, medianMs }) => ({
      name: sizes.length > 1 ? `${rows} ${id}` : id,
      value: medianMs,
      text: duration(medianMs),
      color: id === 'infonce' ? 0 : 1,
    })),
  });
}

/** A drawing takes its colours and letters from the page: a file of its own brings them along. */
function standalone({ svg }: Chart): string {
  const style = `${STYLE} svg { color: var(--text); background: var(--card); font-family: system-ui, sans-serif; }`;
  return svg.replace(/^<svg ([^>]*)>/, `<svg xmlns="http://www.w3.org/2000/svg" $1><style>${style}</style>`);
}
