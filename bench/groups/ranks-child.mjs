/**
 * ranks-child.mjs FILE ROWS DIM PAIRS: one of two ranks over MPI, with one thread. Rank 0 writes what it has measured to
 * FILE, as JSON: microseconds of a barrier and of a small loss; and on two hosts (two-hosts.sh), of each loss, how long it
 * takes over their link as it is and over one that is shaped to 1 Gb/s.
 */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import {
  clip,
  createProcessGroup,
  infoNCE,
  infoNCESync,
  median,
  ntXent,
  randomMatrix,
  withContext,
} from '../measure/library.mjs';

const [file, rows, dim, pairs] = process.argv.slice(2).map((word, k) => (k === 0 ? word : Number(word)));
const link = process.env.INFONCE_HOST_LINK;

const LOSSES = {
  infoNCE: ([query, positiveKey], run) => infoNCE({ query, positiveKey }, run),
  clip: ([imageFeatures, textFeatures], run) => clip({ imageFeatures, textFeatures }, run),
  ntXent: ([features], run) => ntXent({ features }, run),
};
const SMALL = { rows: 16, dim: 32 };
const STEPS = pairs > 3 ? 1000 : 100;

const group = await createProcessGroup({ timeout: 20_000 });
const results = await withContext({ device: 'cpu', threads: 1 }, async context => {
  const run = { group, context };
  const agreement = await agreements(run);
  if (link === undefined) return { agreement };
  const noLink = whyNotShaped();
  if (noLink !== undefined) return { agreement, noLink };
  const losses = [];
  for (const loss of Object.keys(LOSSES)) losses.push({ loss, ...(await overLink(loss, run)) });
  return { agreement, losses };
});
if (group.rank === 0) writeFileSync(file, JSON.stringify({ library: group.library, ...results }));
await group.dispose();

/** Microseconds of a step that is nothing but an agreement, and of a loss of a few rows. */
async function agreements(run) {
  const small = matrices(SMALL.rows / 2, SMALL.dim);
  const call = () => infoNCESync({ query: small[0], positiveKey: small[1] }, run);
  const of = async step => {
    const samples = [];
    for (let k = -20; k < STEPS; k++) {
      const begun = performance.now();
      await step();
      if (k >= 0) samples.push(1000 * (performance.now() - begun));
    }
    return median(samples);
  };
  return { barrierUs: await of(() => group.barrier()), smallLossUs: await of(call) };
}

async function overLink(loss, run) {
  const inputs = matrices(rows / 2, dim);
  const samples = [];
  for (let pair = -1; pair < pairs; pair++) {
    const both = [];
    for (const shape of [asItIs, shaped]) {
      shape();
      await group.barrier();
      const cpu = process.cpuUsage();
      const begun = performance.now();
      await LOSSES[loss](inputs, run);
      const ms = performance.now() - begun;
      const { user, system } = process.cpuUsage(cpu);
      both.push({ ms, cpuMs: (user + system) / 1000 });
      await group.barrier();
    }
    if (pair >= 0) samples.push(both);
  }
  asItIs();
  const of = figureOf => median(samples.map(figureOf));
  return {
    freeMs: of(([free]) => free.ms),
    linkMs: of(([, slow]) => slow.ms),
    freeCpuMs: of(([free]) => free.cpuMs),
    linkCpuMs: of(([, slow]) => slow.cpuMs),
    waited: of(([free, slow]) => 1 - free.ms / slow.ms),
  };
}

function matrices(rows, dim) {
  return [randomMatrix(rows, dim, 2 * group.rank + 1), randomMatrix(rows, dim, 2 * group.rank + 2)];
}

function asItIs() {
  try {
    execFileSync('tc', ['qdisc', 'del', 'dev', link, 'root'], { stdio: 'ignore' });
  } catch {
    // There was nothing to take away.
  }
}

function whyNotShaped() {
  try {
    shaped();
    asItIs();
  } catch (error) {
    return `skipped: tc cannot shape the link: ${String(error.stderr ?? error.message).trim()}`;
  }
}

function shaped() {
  const words = 'root tbf rate 1gbit burst 256kb latency 100ms'.split(' ');
  execFileSync('tc', ['qdisc', 'replace', 'dev', link, ...words], { stdio: 'pipe' });
}
