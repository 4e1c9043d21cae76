import ort from 'onnxruntime-node';
import { ntXentModel } from './onnx-graph.mjs';

/**
 * NT-Xent in onnxruntime's CPU provider with its best settings: every graph optimisation, all threads in each operator.
 * `form` is that of `ntXentModel`.
 */
export async function openOnnxRuntime({ features, temperature, threads, form }) {
  const [rows, dim] = features.shape;
  const session = await ort.InferenceSession.create(ntXentModel({ rows, dim, temperature, form }), {
    executionProviders: ['cpu'],
    executionMode: 'sequential',
    graphOptimizationLevel: 'all',
    interOpNumThreads: 1,
    intraOpNumThreads: threads,
  });
  const feeds = { z: new ort.Tensor('float32', features.data, features.shape) };
  return {
    name: `onnxruntime-node ${ort.env.versions.node}, ${form} graph`,
    async run() {
      const { loss, gradient } = await session.run(feeds);
      return { loss: loss.data[0], gradient: gradient.data };
    },
    close: () => session.release(),
  };
}
