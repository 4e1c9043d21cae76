/**
 * large-child.mjs LOSS ROWS DIM DEVICE: one loss in a fresh process. Prints a timing and `extraMB` as JSON, where extraMB
 * is the memory of the first call beyond the process, its inputs and its results.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { infoNCESync, ntXentSync, randomMatrix, sigLipSync, time, withContext } from '../measure/library.mjs';

const LOSSES = {
  ntXent: (rows, dim) => {
    const features = randomMatrix(rows, dim);
    return run => ntXentSync({ features, temperature: 0.1 }, run);
  },
  hardNegatives: (rows, dim) => {
    const [query, positiveKey, negativeKeys] = [1, 2, 3].map(seed => randomMatrix(rows, dim, seed));
    return run => infoNCESync({ query, positiveKey, negativeKeys, inBatch: true, temperature: 0.1 }, run);
  },
  sigLip: (rows, dim) => {
    const [imageFeatures, textFeatures] = [1, 2].map(seed => randomMatrix(rows, dim, seed));
    return run => sigLipSync({ imageFeatures, textFeatures }, run);
  },
};

const [loss, rows, dim, device] = process.argv.slice(2);
const call = LOSSES[loss](Number(rows), Number(dim));
const small = LOSSES[loss](64, Number(dim));
const result = await withContext({ device }, async context => {
  small({ context });
  globalThis.gc();
  forgetPeak();
  const before = process.memoryUsage.rss();
  const { loss: _, ...first } = call({ context });
  const results = Object.values(first).reduce((bytes, value) => bytes + (value.byteLength ?? 0), 0);
  const extraMB = (peakBytes() - before - results) / 1e6;
  return { ...(await time(() => call({ context }), { budgetMs: 0, iterations: 3, warmup: false })), extraMB };
});
console.log(JSON.stringify(result));

/** Linux sets a process's peak back to its present size on request; elsewhere the peak may include the start-up. */
function forgetPeak() {
  if (process.platform === 'linux') writeFileSync('/proc/self/clear_refs', '5');
}

function peakBytes() {
  if (process.platform !== 'linux') return 1024 * process.resourceUsage().maxRSS;
  return 1024 * Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))[1]);
}
