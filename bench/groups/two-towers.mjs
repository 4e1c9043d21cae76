import { clipSync, infoNCESync, plainFlops, randomMatrix, sigLipSync, time, withContext } from '../measure/library.mjs';
import { figure, medianMs, peak, percent, size, spread, threads } from '../report/table.mjs';

export const title = 'Two towers: infoNCE, clip and sigLip, loss and all gradients';
export const note = `of peak: 6·N·(N+M)·D FLOP in the time taken, with M hard negatives beside the N keys, as a share of
the measured multiply-add peak. more: time beyond that of the loss without the option, measured right after.`;
export const columns = [
  ['loss', row => row.loss],
  size,
  ['M', row => row.negatives || ''],
  threads,
  medianMs,
  spread,
  ['GFLOP/s', row => figure(row.gflops)],
  ['of peak', row => percent(row.shareOfPeak)],
  ['target', row => row.target && `≥ ${percent(row.target)}`],
  ['more', row => percent(row.more)],
  ['target', row => row.mostMore && `≤ ${percent(row.mostMore)}`],
  peak,
];

const ROWS = 2048;
const DIM = 128;
const MOST_MORE = 0.1;

const query = randomMatrix(ROWS, DIM, 1);
const positiveKey = randomMatrix(ROWS, DIM, 2);
const negativeKeys = randomMatrix(ROWS, DIM, 3);
const guide = { query: randomMatrix(ROWS, DIM, 4), positiveKey: randomMatrix(ROWS, DIM, 5) };
const towers = { imageFeatures: query, textFeatures: positiveKey };
const hard = { query, positiveKey, negativeKeys, inBatch: true };
// A third of them in pairs.
const ids = Int32Array.from({ length: ROWS }, (_, row) => (3 * row < ROWS ? row - (row % 2) : row));
const bias = Float32Array.from({ length: ROWS }, (_, row) => Math.log(1 + (row % 97)));

/** Those with `beside` are the loss of that name with an option more. */
const CASES = [
  { loss: 'infoNCE', call: run => infoNCESync({ query, positiveKey }, run), target: 0.8 },
  { loss: 'infoNCE, hard negatives', call: run => infoNCESync(hard, run), negatives: ROWS, target: 0.7 },
  {
    loss: 'infoNCE, ids',
    call: run => infoNCESync({ query, positiveKey, queryIds: ids, keyIds: ids }, run),
    beside: 'infoNCE',
  },
  {
    loss: 'infoNCE, bias',
    call: run => infoNCESync({ query, positiveKey, keyBias: bias }, run),
    beside: 'infoNCE',
  },
  {
    loss: 'infoNCE, hard negatives, ids and biases',
    call: run =>
      infoNCESync({ ...hard, queryIds: ids, keyIds: ids, negativeIds: ids, keyBias: bias, negativeBias: bias }, run),
    negatives: ROWS,
    beside: 'infoNCE, hard negatives',
  },
  {
    loss: 'infoNCE, thresholds',
    call: run => infoNCESync({ query, positiveKey, falseNegatives: { margin: 0.1 } }, run),
    beside: 'infoNCE',
  },
  {
    loss: 'infoNCE, thresholds by a guide',
    call: run => infoNCESync({ query, positiveKey, falseNegatives: { margin: 0.1, guide } }, run),
    beside: 'infoNCE',
    // A product of its own, a third of the three.
    mostMore: 1 / 3 + MOST_MORE,
  },
  { loss: 'clip', call: run => clipSync(towers, run), target: 0.8 },
  {
    loss: 'clip, ids',
    call: run => clipSync({ ...towers, imageIds: ids, textIds: ids }, run),
    beside: 'clip',
  },
  { loss: 'sigLip', call: run => sigLipSync(towers, run) },
  {
    loss: 'sigLip, ids',
    call: run => sigLipSync({ ...towers, imageIds: ids, textIds: ids }, run),
    beside: 'sigLip',
  },
];

export async function run(session) {
  const rows = [];
  for (const each of CASES) {
    for (const threads of session.threadCounts) rows.push(await row(session, each, threads));
  }
  return rows;
}

async function row(session, { loss, call, negatives = 0, beside, target, mostMore = MOST_MORE }, threads) {
  session.announce(`${loss} ${ROWS} × ${DIM}, threads: ${threads}`);
  const plain = CASES.find(other => other.loss === beside);
  const timing = await session.withPeak({ instructionSet: session.instructionSet, threads }, () =>
    withContext({ device: session.device, threads }, async context => {
      const measured = await time(() => call({ context }), session.timing);
      if (plain === undefined) return measured;
      // Again, because the machine may be faster now.
      const { medianMs } = await time(() => plain.call({ context }), session.timing);
      return { ...measured, more: measured.medianMs / medianMs - 1, mostMore };
    }),
  );
  const flops = (plainFlops(ROWS, DIM) * (ROWS + negatives)) / ROWS;
  const gflops = flops / timing.medianMs / 1e6;
  return {
    loss,
    rows: ROWS,
    dim: DIM,
    ...(negatives && { negatives }),
    threads,
    ...timing,
    flops,
    gflops,
    ...(timing.peakGflops && { shareOfPeak: gflops / timing.peakGflops }),
    ...(threads === session.threads && target && { target }),
  };
}
