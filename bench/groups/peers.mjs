import { fileURLToPath } from 'node:url';
import { compare, PEERS, withContext } from '../measure/library.mjs';
import { figure, size, spread, times } from '../report/table.mjs';

export const title = 'Other engines, loss and gradient';
export const note = 'The same mathematics in float32, checked to agree within 1e-4 before it is timed; all threads.';
export const columns = [
  ['loss', row => row.loss],
  ['engine', row => row.engine],
  ['on', row => row.runsOn],
  size,
  ['median ms', row => row.reason ?? figure(row.medianMs, 4)],
  spread,
  ['infonce is faster by', row => times(row.infonceFasterBy)],
  ['target', row => row.target && `≥ ${row.target}×`],
];

const BENCH = fileURLToPath(new URL('../', import.meta.url));
/** NT-Xent in every engine; losses of two towers or three in the fastest one. */
const LOSSES = [
  { loss: 'ntxent', sizes: [1024, 2048], engines: PEERS },
  ...['infonce', 'hardnegatives', 'clip', 'siglip'].map(loss => ({
    loss,
    sizes: [2048],
    engines: PEERS.filter(({ id }) => id.startsWith('onnxruntime')),
  })),
];
const QUICK_SIZE = 256;
const DIM = 128;
const TARGETS = { onnxruntime: 5, 'tfjs-wasm': 300, 'tfjs-cpu': 800 };
const NEED_A_GPU = ['jax-js-webgpu', 'tfjs-webgpu'];

/** What `infonce bench` does, with the engines installed here. */
export async function run({ announce, device, quick, threads, timing }) {
  const home = process.cwd();
  process.chdir(BENCH); // packages that are not next to infonce are searched for here
  try {
    return await withContext({ device }, async context => {
      const rows = [];
      for (const { loss, sizes: all, engines } of LOSSES) {
        const peers = engines.filter(({ id }) => !NEED_A_GPU.includes(id));
        const sizes = quick ? [QUICK_SIZE] : all;
        const comparison = { loss, sizes, dim: DIM, context, threads, peers, budgetMs: timing.budgetMs };
        const results = (await compare(comparison, announce)).flatMap(({ results }) => results);
        const target = id => (loss === 'ntxent' ? TARGETS[id] : undefined);
        rows.push(...results.map(row => ({ loss, ...checked(row), target: target(row.id) })));
      }
      return rows;
    });
  } finally {
    process.chdir(home);
  }
}

/** A peer that fails or computes something else makes the comparison worthless; one that is too slow for it does not. */
function checked(row) {
  if (row.outcome === 'timed' || row.outcome === 'skipped') return row;
  throw new Error(`${row.id}, ${row.rows} × ${row.dim}: ${row.outcome}: ${row.reason ?? `by ${row.difference}`}`);
}
