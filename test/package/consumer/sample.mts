import {
  type AbortSignalLike,
  type AvailableDevice,
  Clip,
  type Context,
  clip,
  createContext,
  type Device,
  devices,
  InfoNCE,
  InfoNCEError,
  type InfoNCEErrorCode,
  infoNCE,
  infoNCESync,
  NTXent,
  ntXent,
  ntXentLogits,
  ntXentSync,
  type Reduction,
  SupCon,
  supCon,
  type Tensor,
} from 'infonce';

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
const classes = await supCon({ features, labels, reduction: 'sum' });
const logits: Tensor = ntXentLogits({ features, nViews: 2 }).logits;

const usable: readonly AvailableDevice[] = devices().filter((device: Device) => device.available);
const reasons: readonly string[] = devices().map(device => (device.available ? device.name : device.reason));

const modules: readonly number[] = [
  (await new NTXent({ positives: 'all' }).forward(features, { context })).loss,
  (await new InfoNCE({ temperature: 0.1 }).forward(features, features, features)).gradNegativeKeys.length,
  (await new Clip().forward(features, features)).gradLogitScale,
  new SupCon({ temperature: 1 }).forwardSync(features, labels).gradTemperature,
];

const asked: { readonly reduction?: Reduction; readonly gradient?: boolean } = {};
const unknown = await ntXent({ features, ...asked });
const loss: number | Float32Array = unknown.loss;
const gradient: Float32Array | undefined = unknown.gradFeatures;

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

export const results = { rows, negatives, paired, scale, classes, logits, usable, reasons, modules, loss, gradient };
