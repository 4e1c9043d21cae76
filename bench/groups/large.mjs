import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { ntXentFlops } from '../measure/flops.mjs';
import { plainFlops } from '../measure/library.mjs';
import { figure, medianMs, peak, percent, size } from '../report/table.mjs';

export const title = 'Large: memory beyond inputs and outputs, NT-Xent';
export const note =
  'Measured in a process of its own: the peak of resident memory during the call, less that before it.';
export const columns = [
  size,
  medianMs,
  ['ratio', row => figure(row.ratio)],
  ['of peak', row => percent(row.shareOfPeak)],
  peak,
  ['extra MB', row => figure(row.extraMB)],
  ['target MB', row => `≤ ${row.targetMB}`],
  ['the N × N matrix, MB', row => figure(row.matrixMB)],
];

const CHILD = fileURLToPath(new URL('large-child.mjs', import.meta.url));
const ROWS = 65_536;
const DIM = 128;

export async function run(session) {
  if (session.quick) return [];
  session.announce(`NT-Xent ${ROWS} × ${DIM}`);
  const { instructionSet, threads } = session;
  const words = [String(ROWS), String(DIM), session.device];
  const measured = await session.withPeak({ instructionSet, threads }, () =>
    JSON.parse(execFileSync(process.execPath, ['--expose-gc', CHILD, ...words], { encoding: 'utf8' })),
  );
  const { medianMs, peakGflops } = measured;
  return [
    {
      rows: ROWS,
      dim: DIM,
      threads,
      ...measured,
      targetMB: 256,
      matrixMB: (ROWS * ROWS * 4) / 1e6,
      ...(peakGflops && {
        ratio: plainFlops(ROWS, DIM) / peakGflops / 1e6 / medianMs,
        shareOfPeak: ntXentFlops(ROWS, DIM) / peakGflops / 1e6 / medianMs,
      }),
    },
  ];
}
