import { createRequire } from 'node:module';
import { ntXent } from '../../dist/esm/tfjs/index.js';
import { difference, makeProblem, ntXentSync, PEERS, TOLERANCE, time, withContext } from '../measure/library.mjs';
import { medianMs, size, spread, times } from '../report/table.mjs';

export const title = 'infonce/tfjs: NT-Xent, loss and gradient within TensorFlow.js';
export const note =
  'From an array to a tensor, to the loss and its gradient by tf.valueAndGrad, and back to arrays. Above each backend what the ' +
  "library's own function takes for the same arrays.";
export const columns = [
  ['what', row => row.what],
  size,
  medianMs,
  spread,
  ['the plug-in is faster by', row => times(row.speedup)],
  ['target', row => row.target && `≥ ${row.target}×`],
];

const SHAPE = { rows: 1024, dim: 128 };
const BACKENDS = [
  { backend: 'wasm', target: 50 },
  { backend: 'cpu', target: undefined },
];
/** The TensorFlow.js that the plug-in uses, which may differ from that of bench/. */
const tf = createRequire(new URL('../../dist/esm/tfjs/index.js', import.meta.url))('@tensorflow/tfjs');

export async function run(session) {
  const problem = makeProblem('ntxent', SHAPE.rows, SHAPE.dim);
  const few = { budgetMs: session.timing.budgetMs, iterations: 3, warmup: false };
  return withContext({ device: session.device }, async context => {
    const rows = [];
    for (const { backend, target } of BACKENDS) {
      session.announce(`tfjs ${backend} ${SHAPE.rows} × ${SHAPE.dim}`);
      const formula = await PEERS.find(({ id }) => id === `tfjs-${backend}`).open(problem, session);
      try {
        const plugIn = plugInOf(problem, context);
        const apart = difference(await formula.run(), plugIn());
        if (!(apart <= TOLERANCE)) throw new Error(`${formula.name} differs by ${apart}`);
        const alone = await time(() => ntXentSync(ownProblem(problem), { context }), session.timing);
        const ours = await time(plugIn, session.timing);
        const itself = await time(formula.run, few);
        const speedup = itself.medianMs / ours.medianMs;
        rows.push({ what: 'ntXentSync of infonce', ...SHAPE, ...alone });
        rows.push({ what: `ntXent of infonce/tfjs, ${backend}`, ...SHAPE, ...ours });
        rows.push({ what: `the formula in ${formula.name}`, ...SHAPE, ...itself, speedup, target });
      } finally {
        await formula.close();
      }
    }
    return rows;
  });
}

function ownProblem({ inputs: [features], temperature }) {
  return { features, temperature };
}

function plugInOf({ inputs: [{ data, shape }], temperature }, context) {
  const lossAndGradient = tf.valueAndGrad(features => ntXent(features, { temperature, context }));
  return () => {
    const features = tf.tensor2d(data, shape);
    const { value, grad } = lossAndGradient(features);
    const result = { loss: value.dataSync()[0], gradients: [grad.dataSync()] };
    tf.dispose([features, value, grad]);
    return result;
  };
}
