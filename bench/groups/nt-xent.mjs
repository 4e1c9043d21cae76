import { ntXentFlops } from '../measure/flops.mjs';
import { ntXentSync, plainFlops, randomMatrix, time, withContext } from '../measure/library.mjs';
import { figure, handover, medianMs, peak, percent, size, spread, threads } from '../report/table.mjs';

export const title = 'NT-Xent, loss and gradient';
export const note =
  'ratio: time of the plain 6·N²·D FLOP at the measured peak of the threads used, divided by the time taken.';

export const SIZES = [
  { rows: 64, dim: 64 },
  { rows: 256, dim: 128 },
  { rows: 1024, dim: 128 },
  { rows: 2048, dim: 128, target: 1.65 },
  { rows: 4096, dim: 256, target: 1.7 },
  { rows: 8192, dim: 256, target: 1.45 },
];

export const columns = [
  size,
  threads,
  medianMs,
  spread,
  ['ratio', row => figure(row.ratio)],
  ['target', row => row.target && `≥ ${row.target}`],
  ['MFLOP done', row => figure(row.flops / 1e6)],
  ['GFLOP/s', row => figure(row.gflops)],
  ['of peak', row => percent(row.shareOfPeak)],
  peak,
  handover,
];

export async function run(session) {
  const rows = [];
  for (const size of session.quick ? SIZES.slice(0, 4) : SIZES) {
    for (const threads of session.threadCounts) rows.push(await ntXentRow(session, { ...size, threads }));
  }
  return rows;
}

/** Times one shape. `target` is meant for all threads, and shown there only. */
export async function ntXentRow(session, { rows, dim, threads, target, instructionSet = session.instructionSet }) {
  session.announce(`NT-Xent ${rows} × ${dim}, ${instructionSet}, threads: ${threads}`);
  const problem = { features: randomMatrix(rows, dim), temperature: 0.1 };
  const timing = await session.withPeak({ instructionSet, threads }, () =>
    withContext({ device: session.device, threads, instructionSet }, context =>
      time(() => ntXentSync(problem, { context }), session.timing),
    ),
  );
  const flops = ntXentFlops(rows, dim);
  const gflops = flops / timing.medianMs / 1e6;
  return {
    rows,
    dim,
    threads,
    instructionSet,
    ...timing,
    ...(threads === session.threads && { target }),
    flops,
    gflops,
    ...(timing.peakGflops && {
      ratio: plainFlops(rows, dim) / timing.peakGflops / 1e6 / timing.medianMs,
      shareOfPeak: gflops / timing.peakGflops,
    }),
  };
}
