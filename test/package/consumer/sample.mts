import {
  type AbortSignalLike,
  type AvailableDevice,
  accumulate,
  Clip,
  type Context,
  clip,
  createContext,
  type Device,
  type DeviceTensor,
  devices,
  type HalfTensor,
  InfoNCE,
  InfoNCEError,
  type InfoNCEErrorCode,
  infoNCE,
  infoNCESync,
  memoryRequired,
  NegativeQueue,
  NTXent,
  ntXent,
  ntXentLogits,
  ntXentSync,
  type Reduction,
  SigLip,
  SupCon,
  sigLip,
  supCon,
  type Tensor,
} from 'infonce';
import { type Embeddings, readEmbeddings, writeNpy } from 'infonce/files';

declare const signal: AbortSignalLike;

const features: Tensor = { data: new Float32Array(8), shape: [4, 2] };
const own: Tensor = { data: new Float32Array(32), shape: [4, 4, 2] as const };
const labels = Int32Array.of(0, 0, 1, 1);
const context: Context = createContext({ device: 'auto', threads: 2, precision: 'high' });

const rows: Float32Array = ntXentSync({ features, reduction: 'none' }, { context }).loss;
const negatives = await infoNCE(
  { query: features, positiveKey: features, negativeKeys: features },
  { context, signal },
);
const paired = infoNCESync({ query: features, positiveKey: features, negativeKeys: own, negativeMode: 'paired' });
const scale: number = (await clip({ imageFeatures: features, textFeatures: features, logitScale: 10 })).gradLogitScale;
const bias: number = (await sigLip({ imageFeatures: features, textFeatures: features })).gradLogitBias;
const classes = await supCon({ features, labels, reduction: 'sum' });
const logits: Tensor = ntXentLogits({ features, nViews: 2 }).logits;

const usable: readonly AvailableDevice[] = devices().filter((device: Device) => device.available);
const reasons: readonly string[] = devices().map(device => (device.available ? device.name : device.reason));

const modules: readonly number[] = [
  (await new NTXent({ positives: 'all' }).forward(features, { context })).loss,
  (await new InfoNCE({ temperature: 0.1 }).forward(features, features, features)).gradNegativeKeys.length,
  (await new Clip().forward(features, features)).gradLogitScale,
  new SupCon({ temperature: 1 }).forwardSync(features, labels).gradTemperature,
  new SigLip({ positives: 'none' }).forwardSync(features, features).gradLogitBias,
];

const asked: { readonly reduction?: Reduction; readonly gradient?: boolean } = {};
const unknown = await ntXent({ features, ...asked });
const loss: number | Float32Array = unknown.loss;
const gradient: Float32Array | undefined = unknown.gradFeatures;

const half: HalfTensor = { data: new Uint16Array(8), dtype: 'bfloat16', shape: [4, 2] };
const there: DeviceTensor<'float32'> = context.tensor(features.data, features.shape);
const out = { gradFeatures: context.pinned(8) };
const onDevice: DeviceTensor = (await ntXent({ features: there }, { output: 'device' })).gradFeatures;
const filled: Float32Array = ntXentSync({ features: half }, { context, out }).gradFeatures;
const pass = await ntXent.forward({ features: there });
const later: Float32Array = (await pass.backward(0.5)).gradFeatures;
const queue = new NegativeQueue({ capacity: 8, dim: 2, labels: true, context });
await queue.enqueue(there, labels);
const remembered: number = supCon.forwardSync({ features, labels, memory: queue }).loss;
const cached = (await accumulate(ntXent, [{ features }, { features }])).chunks.map(chunk => chunk.gradFeatures);
const fits: boolean = memoryRequired({ loss: 'clip', imageFeatures: half, textFeatures: { shape: [4, 2] } }).fits;
queue.dispose();
there.dispose();

context.dispose();
{
  using scoped = createContext({ device: 'cpu' });
  ntXentSync({ features }, { context: scoped });
}

// @ts-expect-error: no gradients were asked for
ntXentSync({ features, gradient: false }).gradFeatures;
// @ts-expect-error: an unknown option
ntXentSync({ features, tau: 1 });
// @ts-expect-error: a plain array is no tensor's data
ntXentSync({ features: { data: [1], shape: [1] } });

export function codeOf(error: unknown): InfoNCEErrorCode | undefined {
  return error instanceof InfoNCEError ? error.code : undefined;
}

export const results = {
  rows,
  negatives,
  paired,
  scale,
  bias,
  classes,
  logits,
  usable,
  reasons,
  modules,
  loss,
  gradient,
};
export const loop = { onDevice, filled, later, remembered, cached, fits };

export async function converted(file: string): Promise<Embeddings> {
  const read = await readEmbeddings(file, { format: 'csv', column: ['x', 'y'] });
  await writeNpy({ href: 'file:///rows.npy' }, read);
  return (await ntXent({ features: read })).loss > 0 ? read : readEmbeddings('rows.npy');
}
