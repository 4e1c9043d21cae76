/** run.mjs JSON: the soak test. Fails if a call fails unexpectedly, if a result changes, or if memory grows. */
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { MOST } from '../fuzz/problems.mjs';
import { Random } from '../random.mjs';
import { SCENARIOS } from './scenarios.mjs';

const SAMPLES = 60;
/** Windows of time that are compared, after as long a time to warm up. */
const WINDOWS = 5;
/** The allowed median growth of memory from one window to the next, in MB. */
const BOUNDS = { rss: 15, external: 1, heap: 1 };

const { milliseconds, device, only, seed, folder, sanitized } = JSON.parse(process.argv[2]);
const scenarios = SCENARIOS.filter(([, { name }]) => only === undefined || only === name);
const infonce = await import(pathToFileURL(path.join(folder, 'dist/esm/index.js')));
const newContext = () => infonce.createContext({ device });
const random = new Random(seed);
const soak = { random, infonce, device, folder, newContext, context: newContext() };

const canary = {
  features: { data: Float32Array.from({ length: 64 * 16 }, (_, i) => Math.cos(i * i)), shape: [64, 16] },
};
const { loss } = infonce.ntXentSync(canary, { context: soak.context });
await warmUp();
const samples = [];
const begun = performance.now();
let rounds = 0;
console.log('       s   rounds   resident   external       heap   MB');
for (let elapsed = 0; elapsed < milliseconds; elapsed = performance.now() - begun) {
  await random.weighted(scenarios)(soak);
  rounds++;
  if (elapsed >= (samples.length * milliseconds) / SAMPLES) await sample(elapsed);
}
const again = infonce.ntXentSync(canary, { context: soak.context }).loss;
if (again !== loss) fail(`the same call gave ${loss} first and ${again} at the end`);
if (soak.context.pending !== 0) fail(`${soak.context.pending} calls have not settled`);
soak.context.dispose();
// A sanitizer holds back freed memory, to detect its use.
if (!sanitized) for (const [name, bound] of Object.entries(BOUNDS)) judge(name, bound);

/** A context's working memory is that of its largest call: such calls come first, and what grows later is a leak. */
async function warmUp() {
  const shape = [MOST.rows * MOST.views, MOST.dim];
  const features = { data: Float32Array.from({ length: shape[0] * shape[1] }, () => random.normal()), shape };
  for (const temperature of [0.001, 0.1]) {
    await infonce.ntXent({ features, nViews: MOST.views, temperature }, { context: soak.context });
  }
}

/** After garbage collection. */
async function sample(elapsed) {
  for (let i = 0; i < 2; i++) {
    globalThis.gc();
    await new Promise(setImmediate);
  }
  const { rss, external, heapUsed } = process.memoryUsage();
  const now = { rss: rss / 1e6, external: external / 1e6, heap: heapUsed / 1e6 };
  samples.push(now);
  if (samples.length % 6 !== 1) return;
  const columns = [(elapsed / 1000).toFixed(0), rounds, ...Object.values(now).map(value => value.toFixed(1))];
  console.log(columns.map((column, i) => String(column).padStart(i === 0 ? 8 : i === 1 ? 9 : 11)).join(''));
}

/** A leak grows from window to window. Fragmentation of the allocator grows only occasionally. */
function judge(name, bound) {
  const size = Math.floor(samples.length / (WINDOWS + 1));
  const least = Array.from({ length: WINDOWS }, (_, window) => {
    const first = samples.length - (WINDOWS - window) * size;
    return Math.min(...samples.slice(first, first + size).map(sample => sample[name]));
  });
  const growths = least.slice(1).map((value, i) => value - least[i]);
  const text = growths.map(growth => `${growth >= 0 ? '+' : ''}${growth.toFixed(1)}`).join(', ');
  console.log(`${name}: ${text} MB from window to window; a median above ${bound} is a leak`);
  const [, second, third] = growths.sort((a, b) => a - b);
  if (!((second + third) / 2 <= bound)) fail(`${name} grows`);
}

function fail(reason) {
  console.error(`soak: ${reason}`);
  process.exitCode = 1;
}
