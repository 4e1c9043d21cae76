import { importOptional } from '../../terminal/optional.js';
import { threadsInWords } from '../figures.js';
import type { Answer, Engine, Problem } from '../problem.js';
import { gradientOf, type OnnxForm, onnxLoss, TOWERS } from './onnx-losses.js';
import { ONNX_PROTO_PACKAGE } from './onnx-model.js';
import type { Peer } from './peer.js';

const PACKAGE = 'onnxruntime-node';

interface Tensor {
  readonly data: Float32Array;
}
type Tensors = Readonly<Record<string, Tensor>>;

/** The part of the package that is used here. */
interface OnnxRuntime {
  readonly Tensor: new (type: 'float32', data: Float32Array, dims: readonly number[]) => Tensor;
  readonly InferenceSession: {
    create(
      model: Uint8Array,
      options: object,
    ): Promise<{ run(feeds: Tensors): Promise<Tensors>; release(): Promise<void> }>;
  };
  readonly env: { readonly versions: { readonly node?: string } };
}

const FORMS: readonly OnnxForm[] = ['derived', 'by-hand'];

/** onnxruntime's CPU provider with its best settings: every graph optimisation, all threads in each operator. */
export const ONNXRUNTIME_PEERS: readonly Peer[] = FORMS.map(form => ({
  id: form === 'derived' ? 'onnxruntime' : 'onnxruntime-by-hand',
  packages: [PACKAGE, ONNX_PROTO_PACKAGE],
  open: (problem, { threads }) => open(problem, form, threads),
}));

async function open(problem: Problem, form: OnnxForm, threads: number): Promise<Engine> {
  const ort = await importOptional<OnnxRuntime>(PACKAGE);
  const session = await ort.InferenceSession.create(await onnxLoss(problem, form), {
    executionProviders: ['cpu'],
    executionMode: 'sequential',
    graphOptimizationLevel: 'all',
    interOpNumThreads: 1,
    intraOpNumThreads: threads,
  });
  const towers = TOWERS.slice(0, problem.inputs.length);
  const feeds = Object.fromEntries(
    problem.inputs.map(({ data, shape }, i) => [TOWERS[i]!, new ort.Tensor('float32', data, shape)]),
  );
  return {
    name: `onnxruntime ${ort.env.versions.node} ${form === 'derived' ? 'derived' : 'by hand'}`,
    runsOn: threadsInWords(threads),
    async run(): Promise<Answer> {
      const results = await session.run(feeds);
      return { loss: results.loss!.data[0]!, gradients: towers.map(tower => results[gradientOf(tower)]!.data) };
    },
    close: () => session.release(),
  };
}
