import { type Context, createContext, InfoNCEError, infoNCE, ntXentSync, type Tensor } from 'infonce';

const features: Tensor = { data: new Float32Array(8), shape: [4, 2] };
const context: Context = createContext({ device: 'cpu', threads: 2 });
const rows: Float32Array = ntXentSync({ features, reduction: 'none' }, { context }).loss;
const result = await infoNCE({ query: features, positiveKey: features, negativeKeys: features }, { context });
const gradient: Float32Array = result.gradNegativeKeys;
context.dispose();

// @ts-expect-error: no gradients were asked for
ntXentSync({ features, gradient: false }).gradFeatures;

export function codeOf(error: unknown): string | undefined {
  return error instanceof InfoNCEError ? error.code : undefined;
}

export const sizes: readonly number[] = [rows.length, gradient.length];
