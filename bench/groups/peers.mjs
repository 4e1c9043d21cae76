import { assertAgreement } from '../measure/agreement.mjs';
import { ntXentSync, withContext } from '../measure/library.mjs';
import { randomMatrix } from '../measure/random.mjs';
import { time } from '../measure/timing.mjs';
import { openOnnxRuntime } from '../peers/onnxruntime.mjs';
import { openTfjs } from '../peers/tfjs.mjs';
import { medianMs, size, spread, times } from '../report/table.mjs';

export const title = 'Other engines, NT-Xent, loss and gradient';
export const note = 'The same mathematics in float32, checked to agree within 1e-4 before it is timed; all threads.';
export const columns = [
  ['engine', row => row.engine],
  size,
  medianMs,
  spread,
  ['infonce is faster by', row => times(row.speedup)],
  ['target', row => row.target && `≥ ${row.target}×`],
];

const TEMPERATURE = 0.1;
const SIZES = [
  { rows: 1024, dim: 128 },
  { rows: 2048, dim: 128 },
];

export async function run(session) {
  const rows = [];
  for (const { rows: n, dim } of session.quick ? SIZES.slice(0, 1) : SIZES) {
    const features = randomMatrix(n, dim);
    const shape = { rows: n, dim };
    const { ours, timing } = await timeInfonce(session, features, shape);
    rows.push({ engine: 'infonce', ...shape, ...timing });
    for (const { open, target, limits } of peers(session)) {
      const peer = await open({ features, temperature: TEMPERATURE, threads: session.threads });
      session.announce(`${peer.name} ${n} × ${dim}`);
      try {
        assertAgreement(peer.name, ours, await peer.run());
        const theirs = await time(peer.run, limits);
        rows.push({ engine: peer.name, ...shape, ...theirs, speedup: theirs.medianMs / timing.medianMs, target });
      } finally {
        await peer.close();
      }
    }
  }
  return rows;
}

/** TensorFlow.js takes seconds a call: the check of its result is warm-up enough. */
function peers(session) {
  const few = { budgetMs: session.timing.budgetMs, iterations: 3, warmup: false };
  return [
    { open: options => openOnnxRuntime({ ...options, form: 'derived' }), target: 5, limits: session.timing },
    { open: options => openOnnxRuntime({ ...options, form: 'optimised' }), limits: session.timing },
    { open: options => openTfjs({ ...options, backend: 'wasm' }), target: 300, limits: few },
    { open: options => openTfjs({ ...options, backend: 'cpu' }), target: 800, limits: few },
  ];
}

function timeInfonce(session, features, { rows, dim }) {
  session.announce(`infonce ${rows} × ${dim}`);
  const problem = { features, temperature: TEMPERATURE };
  return withContext({ device: session.device }, async context => {
    const { loss, gradFeatures } = ntXentSync(problem, { context });
    const timing = await time(() => ntXentSync(problem, { context }), session.timing);
    return { ours: { loss, gradient: gradFeatures }, timing };
  });
}
