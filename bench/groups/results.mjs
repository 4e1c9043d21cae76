import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { ntXent, ntXentSync, randomMatrix, time, withContext } from '../measure/library.mjs';
import { figure, medianMs, size, spread } from '../report/table.mjs';

export const title = 'Memory of results: pages touched for the first time, NT-Xent on one thread';
export const note =
  'Results without `out` get the memory of earlier ones that were collected. Faults: minor page faults a call, counted after that.';
export const columns = [
  ['call', row => row.call],
  ['results', row => row.results],
  size,
  medianMs,
  spread,
  ['faults', row => figure(row.faults, 2)],
  ['target', row => `≤ ${row.targetFaults}`],
];

const ROWS = 1024;
const DIM = 128;
const CALLS = 20;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc');

export async function run({ announce, device, timing }) {
  const features = randomMatrix(ROWS, DIM);
  const rows = [];
  for (const [call, loss] of Object.entries({ ntXentSync, ntXent })) {
    for (const results of ['new', 'out']) {
      announce(`${call}, results: ${results}`);
      const out = results === 'out' ? { gradFeatures: new Float32Array(ROWS * DIM) } : undefined;
      const measured = await withContext({ device, threads: 1 }, async context => {
        const work = () => loss({ features }, { context, out });
        const timed = await time(work, timing);
        return { ...timed, faults: await faultsOf(work) };
      });
      rows.push({ call, results, rows: ROWS, dim: DIM, targetFaults: 1, ...measured });
    }
  }
  return rows;
}

/** Minor faults of one of several calls after their results were collected once. Those of V8's own memory are in it. */
async function faultsOf(work) {
  for (let i = 0; i < CALLS; i++) await work();
  for (let i = 0; i < 3; i++) {
    collect();
    await new Promise(setImmediate);
  }
  const before = process.resourceUsage().minorPageFault;
  for (let i = 0; i < CALLS; i++) await work();
  return (process.resourceUsage().minorPageFault - before) / CALLS;
}
