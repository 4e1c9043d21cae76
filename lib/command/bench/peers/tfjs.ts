import type * as tfjs from '@tensorflow/tfjs';
import { importOptional } from '../../terminal/optional.js';
import { threadsInWords } from '../figures.js';
import { type Answer, type Engine, LOGIT_BIAS, type Problem, targetsOf } from '../problem.js';
import { type ByLoss, CannotRun, formulaOf, type Peer } from './peer.js';
import { provideWebGPU, WEBGPU_PACKAGE } from './webgpu.js';

type TF = typeof tfjs;
type Tower = tfjs.Tensor;
/** The loss of unit rows, from its formula. `targets`: those of {@link TARGETS}. */
type Formula = (tf: TF, units: readonly Tower[], problem: Problem, targets: Tower | undefined) => tfjs.Scalar;

const FAR = 1e9; // Taken off logits that are out of the denominator.

const FORMULAS: ByLoss<Formula> = {
  ntxent(tf, [u], { rows, temperature }) {
    const half = rows / 2;
    const partners = tf.concat([u!.slice([half, 0], [half, -1]), u!.slice([0, 0], [half, -1])]);
    const positives = u!.mul(partners).sum(1).div(temperature);
    return othersOnly(tf, similarities(tf, u!, u!, temperature), rows)
      .logSumExp(1)
      .sub(positives)
      .mean();
  },
  infonce(tf, [query, key], { temperature }) {
    const positives = query!.mul(key!).sum(1).div(temperature);
    return similarities(tf, query!, key!, temperature).logSumExp(1).sub(positives).mean();
  },
  hardnegatives(tf, [query, key, negative], { temperature }) {
    const positives = query!.mul(key!).sum(1).div(temperature);
    const candidates = tf.concat([key!, negative!]);
    return similarities(tf, query!, candidates, temperature).logSumExp(1).sub(positives).mean();
  },
  clip(tf, [image, text], { temperature }) {
    const logits = similarities(tf, image!, text!, temperature);
    const positives = image!.mul(text!).sum(1).div(temperature);
    return logits.logSumExp(1).add(logits.logSumExp(0)).div(2).sub(positives).mean();
  },
  siglip(tf, [image, text], { rows, temperature }) {
    const logits = similarities(tf, image!, text!, temperature).add(LOGIT_BIAS);
    const signs = tf.eye(rows).mul(-2).add(1);
    // Row by row: in one sum of float32 so many numbers lose their digits.
    return tf.softplus(logits.mul(signs)).sum(1).mean();
  },
  supcon(tf, [u], { rows, temperature }, targets) {
    const logits = similarities(tf, u!, u!, temperature);
    return othersOnly(tf, logits, rows).logSumExp(1).sub(logits.mul(targets!).sum(1)).mean();
  },
};

/** The constants [rows, rows] that formulas need. */
const TARGETS: ByLoss<(problem: Problem) => Float32Array> = { supcon: targetsOf };

function similarities(tf: TF, rows: Tower, columns: Tower, temperature: number): tfjs.Tensor {
  return tf.matMul(rows, columns, false, true).div(temperature);
}

function othersOnly(tf: TF, logits: tfjs.Tensor, rows: number): tfjs.Tensor {
  return logits.sub(tf.eye(rows).mul(FAR));
}

interface Backend {
  readonly name: 'cpu' | 'wasm' | 'webgpu';
  readonly packages: readonly string[];
  /** Registers it, and says what it runs on. */
  load(): Promise<string>;
}

const BACKENDS: readonly Backend[] = [
  { name: 'cpu', packages: [], load: async () => 'JavaScript' },
  {
    name: 'wasm',
    packages: ['@tensorflow/tfjs-backend-wasm'],
    async load() {
      await importOptional('@tensorflow/tfjs-backend-wasm');
      return threadsInWords(1);
    },
  },
  {
    name: 'webgpu',
    packages: ['@tensorflow/tfjs-backend-webgpu', WEBGPU_PACKAGE],
    async load() {
      const device = await provideWebGPU();
      await importOptional('@tensorflow/tfjs-backend-webgpu');
      return device;
    },
  },
];

/** TensorFlow.js, which differentiates the formula itself, on each of its backends. */
export const TFJS_PEERS: readonly Peer[] = BACKENDS.map(backend => ({
  id: `tfjs-${backend.name}`,
  packages: ['@tensorflow/tfjs', ...backend.packages],
  open: problem => open(backend, problem),
}));

async function open({ name, load }: Backend, problem: Problem): Promise<Engine> {
  const formula = formulaOf(FORMULAS, problem.loss);
  const tf = await importOptional<TF>('@tensorflow/tfjs');
  tf.enableProdMode(); // without checks, and without its advice to use another backend
  const runsOn = await load();
  if (!(await tf.setBackend(name))) throw new CannotRun(`TensorFlow.js cannot start its backend ${name}`);
  await tf.ready();

  const constants = TARGETS[problem.loss]?.(problem);
  const targets = constants && tf.tensor(constants, [problem.rows, problem.rows]);
  const unit = (rows: Tower) => rows.div(rows.square().sum(1, true).sqrt());
  const lossAndGradients = tf.valueAndGrads((...towers: Tower[]) => formula(tf, towers.map(unit), problem, targets));

  return {
    name: `tfjs ${name} ${tf.version.tfjs}`,
    runsOn,
    async run(): Promise<Answer> {
      const { value, grads } = tf.tidy(() =>
        lossAndGradients(problem.inputs.map(({ data, shape }) => tf.tensor2d(data, [...shape]))),
      );
      const [loss, ...gradients] = await Promise.all([value, ...grads].map(tensor => tensor.data<'float32'>()));
      tf.dispose([value, ...grads]);
      return { loss: loss![0]!, gradients };
    },
    close: () => targets?.dispose(),
  };
}
