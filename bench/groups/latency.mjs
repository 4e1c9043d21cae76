import { ntXentSync, randomMatrix, time, withContext } from '../measure/library.mjs';
import { figure, handover, size } from '../report/table.mjs';

export const title = 'Small synchronous calls, JavaScript and checks included (ntXentSync, default threads)';
export const columns = [
  size,
  ['median µs', row => figure(1000 * row.medianMs)],
  ['± MAD', row => figure(1000 * row.madMs, 2)],
  ['75 % within', row => figure(1000 * row.p75Ms)],
  ['fastest', row => figure(1000 * row.minMs)],
  ['target µs', row => `≤ ${row.targetUs}`],
  ['calls', row => row.samples],
  handover,
];

const SIZES = [
  { rows: 64, dim: 64, targetUs: 20 },
  { rows: 256, dim: 128, targetUs: 110 },
];

export async function run(session) {
  const rows = [];
  for (const { rows: n, dim, targetUs } of SIZES) {
    session.announce(`latency ${n} × ${dim}`);
    const problem = { features: randomMatrix(n, dim) };
    const timing = await session.withPeak(session, () =>
      withContext({ device: session.device }, context => time(() => ntXentSync(problem, { context }), session.timing)),
    );
    rows.push({ rows: n, dim, targetUs, ...timing });
  }
  return rows;
}
