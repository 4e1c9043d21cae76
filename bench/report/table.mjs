import { markdownTable } from 'markdown-table';

/** A Markdown table. `columns` are `[heading, row => text]`; a missing figure is shown as –. */
export function table(columns, rows) {
  const body = rows.map(row => columns.map(([, cell]) => String(cell(row) ?? '–')));
  return markdownTable([columns.map(([heading]) => heading), ...body], {
    align: columns.map((_, i) => (i ? 'r' : 'l')),
  });
}

/** Three significant digits, or four from 1000 up; undefined stays undefined. */
export function figure(value, digits = 3) {
  if (value === undefined) return undefined;
  return Math.abs(value) >= 1000 ? Math.round(value).toString() : Number(value.toPrecision(digits)).toString();
}

export function percent(share) {
  return share === undefined ? undefined : `${(100 * share).toFixed(0)} %`;
}

export function times(factor) {
  return factor === undefined ? undefined : `${figure(factor)}×`;
}

export const size = ['N × D', row => `${row.rows} × ${row.dim}`];
export const threads = ['threads', row => row.threads];
export const medianMs = ['median ms', row => figure(row.medianMs, 4)];
export const spread = ['± MAD', row => figure(row.madMs, 2)];
/** An asterisk marks a peak that differs before and after the row: the machine was busy, the row proves nothing. */
export const peak = ['peak GFLOP/s', row => row.peakGflops && `${row.unsteady ? '*' : ''}${figure(row.peakGflops)}`];
/** What a cache line takes to the other processor and back: small calls on several threads are as fast as this allows. */
export const handover = ['hand-over ns', row => figure(row.handoverNs)];
