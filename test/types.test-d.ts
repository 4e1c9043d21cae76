import {
  type Context,
  clip,
  clipSync,
  createContext,
  type Device,
  devices,
  InfoNCE,
  type InfoNCEError,
  type InfoNCEErrorCode,
  infoNCE,
  infoNCESync,
  ntXent,
  ntXentLogits,
  ntXentSync,
  type Reduction,
  supCon,
  type Tensor,
} from 'infonce';
import { describe, expectTypeOf, it } from 'vitest';

declare const tensor: Tensor;
declare const labels: Int32Array;
declare const maybe: Tensor | undefined;
declare const flag: boolean;
declare const reduction: Reduction;

describe('results follow what was asked', () => {
  it('a number and gradients by default', () => {
    const result = ntXentSync({ features: tensor });
    expectTypeOf(result.loss).toEqualTypeOf<number>();
    expectTypeOf(result.top1).toEqualTypeOf<number>();
    expectTypeOf(result.gradFeatures).toEqualTypeOf<Float32Array>();
    expectTypeOf(result.gradTemperature).toEqualTypeOf<number>();
    expectTypeOf(ntXent({ features: tensor })).resolves.toEqualTypeOf<typeof result>();
  });

  it("one loss per row with reduction 'none'", () => {
    expectTypeOf(ntXentSync({ features: tensor, reduction: 'none' }).loss).toEqualTypeOf<Float32Array>();
    expectTypeOf(ntXentSync({ features: tensor, reduction: 'sum' }).loss).toEqualTypeOf<number>();
    expectTypeOf(ntXentSync({ features: tensor, reduction }).loss).toEqualTypeOf<number | Float32Array>();
  });

  it('no gradients with gradient: false, optional ones when it is unknown', () => {
    expectTypeOf(ntXentSync({ features: tensor, gradient: false })).not.toHaveProperty('gradFeatures');
    const unknown = ntXentSync({ features: tensor, gradient: flag });
    expectTypeOf(unknown.gradFeatures).toEqualTypeOf<Float32Array | undefined>();
  });

  it('a gradient for negative keys when there are some', async () => {
    const pair = { query: tensor, positiveKey: tensor };
    expectTypeOf(infoNCESync(pair).gradNegativeKeys).toEqualTypeOf<Float32Array | undefined>();
    expectTypeOf(infoNCESync({ ...pair, negativeKeys: tensor }).gradNegativeKeys).toEqualTypeOf<Float32Array>();
    const unknown = await infoNCE({ ...pair, negativeKeys: maybe });
    expectTypeOf(unknown.gradNegativeKeys).toEqualTypeOf<Float32Array | undefined>();
    expectTypeOf(unknown.gradQuery).toEqualTypeOf<Float32Array>();
  });

  it('the scale for clip', () => {
    const result = clipSync({ imageFeatures: tensor, textFeatures: tensor });
    expectTypeOf(result.gradLogitScale).toEqualTypeOf<number>();
    expectTypeOf(result).not.toHaveProperty('gradTemperature');
  });

  it('modules too', () => {
    expectTypeOf(new InfoNCE({ reduction: 'none' }).forwardSync(tensor, tensor).loss).toEqualTypeOf<Float32Array>();
    expectTypeOf(new InfoNCE().forwardSync(tensor, tensor, tensor).gradNegativeKeys).toEqualTypeOf<Float32Array>();
    expectTypeOf(new InfoNCE({ gradient: false }).forwardSync(tensor, tensor)).not.toHaveProperty('gradQuery');
  });
});

it('arguments are what the losses take', () => {
  // @ts-expect-error: a Float64Array is no tensor's data
  ntXent({ features: { data: new Float64Array(4), shape: [2, 2] } });
  // @ts-expect-error: an unknown option
  ntXent({ features: tensor, temprature: 0.1 });
  // @ts-expect-error: an unknown reduction
  ntXent({ features: tensor, reduction: 'median' });
  // @ts-expect-error: labels are required
  supCon({ features: tensor });
  // @ts-expect-error: clip takes a scale
  clip({ imageFeatures: tensor, textFeatures: tensor, temperature: 0.1 });
  // @ts-expect-error: a synchronous call cannot be aborted
  ntXentSync({ features: tensor }, { signal: new AbortController().signal });
  supCon({ features: { data: new Float32Array(4), shape: [2, 2] as const }, labels });
  ntXent({ features: tensor, temperature: undefined }, { context: undefined, signal: undefined });
});

it('everything else has its type', () => {
  expectTypeOf(ntXentLogits({ features: tensor }).logits).toEqualTypeOf<Tensor>();
  expectTypeOf(ntXentLogits({ features: tensor }).labels).toEqualTypeOf<Int32Array>();
  expectTypeOf(createContext).returns.toEqualTypeOf<Context>();
  expectTypeOf<Context[typeof Symbol.dispose]>().toEqualTypeOf<() => void>();
  expectTypeOf(devices).returns.toEqualTypeOf<Device[]>();
  expectTypeOf<Extract<Device, { available: false }>['reason']>().toEqualTypeOf<string>();
  expectTypeOf<InfoNCEError['code']>().toEqualTypeOf<InfoNCEErrorCode>();
});
