import { clipSync, infoNCESync, plainFlops, randomMatrix, sigLipSync, time, withContext } from '../measure/library.mjs';
import { figure, medianMs, peak, percent, size, spread, threads } from '../report/table.mjs';

export const title = 'Two towers: infoNCE, clip and sigLip, loss and both gradients';
export const note = 'of peak: 6·N²·D FLOP in the time taken, as a share of the measured multiply-add peak.';
export const columns = [
  ['loss', row => row.loss],
  size,
  threads,
  medianMs,
  spread,
  ['GFLOP/s', row => figure(row.gflops)],
  ['of peak', row => percent(row.shareOfPeak)],
  ['target', row => row.target && `≥ ${percent(row.target)}`],
  peak,
];

const ROWS = 2048;
const DIM = 128;

export async function run(session) {
  const first = randomMatrix(ROWS, DIM, 1);
  const second = randomMatrix(ROWS, DIM, 2);
  const losses = {
    infoNCE: run => infoNCESync({ query: first, positiveKey: second }, run),
    clip: run => clipSync({ imageFeatures: first, textFeatures: second }, run),
    sigLip: run => sigLipSync({ imageFeatures: first, textFeatures: second }, run),
  };
  const rows = [];
  for (const [loss, call] of Object.entries(losses)) {
    for (const threads of session.threadCounts) rows.push(await row(session, loss, call, threads));
  }
  return rows;
}

async function row(session, loss, call, threads) {
  session.announce(`${loss} ${ROWS} × ${DIM}, threads: ${threads}`);
  const timing = await session.withPeak({ instructionSet: session.instructionSet, threads }, () =>
    withContext({ device: session.device, threads }, context => time(() => call({ context }), session.timing)),
  );
  const flops = plainFlops(ROWS, DIM);
  const gflops = flops / timing.medianMs / 1e6;
  return {
    loss,
    rows: ROWS,
    dim: DIM,
    threads,
    ...timing,
    flops,
    gflops,
    ...(timing.peakGflops && { shareOfPeak: gflops / timing.peakGflops }),
    ...(threads === session.threads && loss !== 'sigLip' && { target: 0.8 }),
  };
}
