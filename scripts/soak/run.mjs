/**
 * run.mjs JSON: the soak itself, in a process whose allocator gives back what is freed. Fails if a call fails that should not,
 * if a number changes, or if memory grows.
 */
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { Random } from '../fuzz/random.mjs';
import { SCENARIOS } from './scenarios.mjs';

const SAMPLES = 60;
/** What the last third may have beyond the second, in MB; allocators do not give everything back. */
const BOUNDS = { rss: 24, external: 4, heap: 4 };

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
// A sanitizer keeps freed memory back, to catch those who use it.
if (!sanitized) for (const [name, bound] of Object.entries(BOUNDS)) judge(name, bound);

/** After what can be collected has been. */
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

/** The least of the last third against the median of the second: what is only held for a while counts for neither. */
function judge(name, bound) {
  const values = samples.map(sample => sample[name]);
  const third = Math.floor(values.length / 3);
  const before = values.slice(third, 2 * third).sort((a, b) => a - b)[Math.floor(third / 2)];
  const growth = Math.min(...values.slice(2 * third)) - before;
  console.log(`${name}: ${growth >= 0 ? '+' : ''}${growth.toFixed(1)} MB in the last third, at most ${bound}`);
  if (!(growth <= bound)) fail(`${name} grows`);
}

function fail(reason) {
  console.error(`soak: ${reason}`);
  process.exitCode = 1;
}
