import type * as jaxJs from '@jax-js/jax';
import { importOptional, installedVersion } from '../../terminal/optional.js';
import { threadsInWords } from '../figures.js';
import { type Answer, type Engine, LOGIT_BIAS, type Problem, partnerOf, targetsOf } from '../problem.js';
import { type ByLoss, CannotRun, formulaOf, type Peer } from './peer.js';
import { provideWebGPU, WEBGPU_PACKAGE } from './webgpu.js';

type Jax = typeof jaxJs;
type Tower = jaxJs.Array;

const PACKAGE = '@jax-js/jax';
const FAR = 1e9; // Taken off logits that are out of the denominator.

/** The loss of unit rows, from its formula. An array is used up by the operation that takes it; `ref` is one more use. */
type Formula = (jax: Jax, units: readonly Tower[], problem: Problem) => Tower;

const FORMULAS: ByLoss<Formula> = {
  ntxent(jax, [u], problem) {
    const { numpy: np, nn } = jax;
    const partners = np.roll(u!.ref, partnerOf(0, problem.rows), 0);
    const positives = rowDots(jax, u!.ref, partners, problem);
    const logits = othersOnly(jax, similarities(jax, u!.ref, u!, problem), problem);
    return np.mean(nn.logsumexp(logits, 1).sub(positives));
  },
  infonce(jax, [query, key], problem) {
    const { numpy: np, nn } = jax;
    const positives = rowDots(jax, query!.ref, key!.ref, problem);
    return np.mean(nn.logsumexp(similarities(jax, query!, key!, problem), 1).sub(positives));
  },
  hardnegatives(jax, [query, key, negative], problem) {
    const { numpy: np, nn } = jax;
    const positives = rowDots(jax, query!.ref, key!.ref, problem);
    const candidates = np.concatenate([key!, negative!]);
    return np.mean(nn.logsumexp(similarities(jax, query!, candidates, problem), 1).sub(positives));
  },
  clip(jax, [image, text], problem) {
    const { numpy: np, nn } = jax;
    const positives = rowDots(jax, image!.ref, text!.ref, problem);
    const logits = similarities(jax, image!, text!, problem);
    const both = nn.logsumexp(logits.ref, 1).add(nn.logsumexp(logits, 0)).mul(0.5);
    return np.mean(both.sub(positives));
  },
  siglip(jax, [image, text], problem) {
    const { numpy: np, nn } = jax;
    const logits = similarities(jax, image!, text!, problem).add(LOGIT_BIAS);
    const signs = np.eye(problem.rows).mul(-2).add(1);
    // Row by row: in one sum of float32 so many numbers lose their digits.
    return np.mean(np.sum(nn.softplus(logits.mul(signs)), 1));
  },
  supcon(jax, [u], problem) {
    const { numpy: np, nn } = jax;
    const targets = np.array(targetsOf(problem), { shape: [problem.rows, problem.rows] });
    const logits = similarities(jax, u!.ref, u!, problem);
    const positives = np.sum(logits.ref.mul(targets), 1);
    return np.mean(nn.logsumexp(othersOnly(jax, logits, problem), 1).sub(positives));
  },
};

function rowDots({ numpy: np }: Jax, a: Tower, b: Tower, { temperature }: Problem): Tower {
  return np.sum(a.mul(b), 1).mul(1 / temperature);
}

function similarities({ numpy: np }: Jax, rows: Tower, columns: Tower, { temperature }: Problem): Tower {
  return np.matmul(rows, np.transpose(columns)).mul(1 / temperature);
}

function othersOnly({ numpy: np }: Jax, logits: Tower, { rows }: Problem): Tower {
  return logits.sub(np.eye(rows).mul(FAR));
}

type Backend = 'wasm' | 'webgpu';
const BACKENDS: readonly Backend[] = ['webgpu', 'wasm'];

/** jax-js, which differentiates the formula and compiles both, to WebAssembly or for the GPU. */
export const JAX_PEERS: readonly Peer[] = BACKENDS.map(backend => ({
  id: `jax-js-${backend}`,
  packages: backend === 'webgpu' ? [PACKAGE, WEBGPU_PACKAGE] : [PACKAGE],
  open: problem => open(backend, problem),
}));

async function open(backend: Backend, problem: Problem): Promise<Engine> {
  const formula = formulaOf(FORMULAS, problem.loss);
  const jax = await importOptional<Jax>(PACKAGE);
  const runsOn = backend === 'webgpu' ? await provideWebGPU() : threadsInWords(1);
  // Named, because of all that it has it would try WebGPU too, for which it looks in a way that Node.js 20 lacks.
  if (!(await jax.init(backend)).includes(backend)) throw new CannotRun(`jax-js cannot start its backend ${backend}`);
  jax.defaultDevice(backend);
  const { numpy: np } = jax;

  const unit = (rows: Tower) => rows.div(np.sqrt(np.sum(rows.ref.mul(rows.ref), 1, { keepdims: true })));
  const lossOf = (towers: Tower[]) => formula(jax, towers.map(unit), problem);
  const lossAndGradients = jax.jit(jax.valueAndGrad(lossOf));
  return {
    name: `jax-js ${backend} ${installedVersion(PACKAGE) ?? ''}`.trimEnd(),
    runsOn,
    async run(): Promise<Answer> {
      const towers = problem.inputs.map(({ data, shape }) => np.array(data, { shape: [...shape] }));
      const [value, grads] = lossAndGradients(towers);
      const [loss, ...gradients] = await Promise.all([value, ...grads].map(array => array.data()));
      return { loss: Number(loss![0]), gradients: gradients as Float32Array[] };
    },
    close: () => lossAndGradients.dispose(),
  };
}
