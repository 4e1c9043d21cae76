import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { ntXentFlops } from '../measure/flops.mjs';
import { plainFlops } from '../measure/library.mjs';
import { figure, medianMs, peak, percent, size } from '../report/table.mjs';

export const title = 'Large: memory beyond inputs and results';
export const note =
  'Measured in a process of its own: the peak of resident memory during the call, less that before it.';
export const columns = [
  ['loss', row => row.loss],
  size,
  ['M', row => row.negatives || ''],
  medianMs,
  ['ratio', row => figure(row.ratio)],
  ['of peak', row => percent(row.shareOfPeak)],
  peak,
  ['extra MB', row => figure(row.extraMB)],
  ['target MB', row => `≤ ${row.targetMB}`],
  ['the matrix of logits, MB', row => figure(row.matrixMB)],
];

const CHILD = fileURLToPath(new URL('large-child.mjs', import.meta.url));
const ROWS = 65_536;
const DIM = 128;

const CASES = [
  { loss: 'ntXent', targetMB: 256 },
  { loss: 'infoNCE, hard negatives', child: 'hardNegatives', negatives: ROWS, targetMB: 400 },
  { loss: 'sigLip', targetMB: 400 },
];

export async function run(session) {
  const rows = [];
  for (const each of session.quick ? [] : CASES) rows.push(await row(session, each));
  return rows;
}

async function row(session, { loss, child = loss, negatives = 0, targetMB }) {
  session.announce(`${loss} ${ROWS} × ${DIM}`);
  const { instructionSet, threads } = session;
  const words = [child, String(ROWS), String(DIM), session.device];
  const measured = await session.withPeak({ instructionSet, threads }, () =>
    JSON.parse(execFileSync(process.execPath, ['--expose-gc', CHILD, ...words], { encoding: 'utf8' })),
  );
  const { medianMs, peakGflops } = measured;
  const candidates = ROWS + negatives;
  // What the engine does of the plain algorithm: of one matrix and itself each pair is computed once.
  const done = loss === 'ntXent' ? ntXentFlops(ROWS, DIM) : undefined;
  return {
    loss,
    rows: ROWS,
    dim: DIM,
    ...(negatives && { negatives }),
    threads,
    ...measured,
    targetMB,
    matrixMB: (ROWS * candidates * 4) / 1e6,
    ...(peakGflops && {
      ratio: ((plainFlops(ROWS, DIM) / ROWS) * candidates) / peakGflops / 1e6 / medianMs,
      ...(done && { shareOfPeak: done / peakGflops / 1e6 / medianMs }),
    }),
  };
}
