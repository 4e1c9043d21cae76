/**
 * large-child.mjs ROWS DIM DEVICE: NT-Xent in a fresh process. Prints a timing and `extraMB` as JSON, where extraMB is
 * the memory of the first call beyond the process, its input and its output.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { ntXentSync, randomMatrix, time, withContext } from '../measure/library.mjs';

const [rows, dim] = process.argv.slice(2, 4).map(Number);
const device = process.argv[4];

const features = randomMatrix(rows, dim);
const small = randomMatrix(64, dim);
const result = await withContext({ device }, async context => {
  ntXentSync({ features: small }, { context });
  globalThis.gc();
  forgetPeak();
  const before = process.memoryUsage.rss();
  const { gradFeatures } = ntXentSync({ features, temperature: 0.1 }, { context });
  const extraMB = (peakBytes() - before - gradFeatures.byteLength) / 1e6;
  const call = () => ntXentSync({ features, temperature: 0.1 }, { context });
  return { ...(await time(call, { budgetMs: 0, iterations: 3, warmup: false })), extraMB };
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
