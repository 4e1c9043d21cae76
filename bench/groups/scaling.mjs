import { figure, handover, medianMs, size, spread, threads, times } from '../report/table.mjs';
import { ntXentRow, SIZES } from './nt-xent.mjs';

export const title = 'Threads, NT-Xent';
export const columns = [
  size,
  threads,
  medianMs,
  spread,
  ['faster than one', row => times(row.speedup)],
  ['target', row => row.target && `≥ ${row.target}×`],
  ["the peak's gain", row => times(row.peakGain)],
  ['GFLOP/s', row => figure(row.gflops)],
  handover,
];

export async function run(session) {
  if (session.threads === 1) return [];
  const rows = [];
  for (const size of SIZES.filter(size => size.rows >= 2048 && !(session.quick && size.rows > 2048))) {
    const one = await ntXentRow(session, { ...size, threads: 1 });
    const all = await ntXentRow(session, { ...size, threads: session.threads });
    rows.push(one, {
      ...all,
      speedup: one.medianMs / all.medianMs,
      peakGain: all.peakGflops && all.peakGflops / one.peakGflops,
      target: session.threads === 2 ? 1.85 : undefined,
    });
  }
  return rows;
}
