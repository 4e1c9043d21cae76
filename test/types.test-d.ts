import type { Array as JaxArray } from '@jax-js/jax';
import {
  accumulate,
  Clip,
  type Context,
  clip,
  clipSync,
  createContext,
  type Device,
  type DeviceTensor,
  devices,
  type HalfTensor,
  InfoNCE,
  type InfoNCEError,
  type InfoNCEErrorCode,
  infoNCE,
  infoNCESync,
  type LossValue,
  MultipleNegativesRankingLoss,
  matryoshka,
  matryoshkaSync,
  memoryRequired,
  NegativeQueue,
  type NTXentResult,
  ntXent,
  ntXentLogits,
  ntXentSync,
  type ProcessGroup,
  type Reduction,
  type RunOptions,
  SigLip,
  type SigLipPositives,
  sigLip,
  sigLipSync,
  supCon,
  type Tensor,
  type TensorLike,
} from 'infonce';
import type { Embeddings } from 'infonce/files';
import { infoNCE as jaxInfoNCE, ntXent as jaxNTXent, sigLip as jaxSigLip } from 'infonce/jax-js';
import { describe, expectTypeOf, it } from 'vitest';

declare const tensor: Tensor;
declare const half: HalfTensor;
declare const deviceTensor: DeviceTensor;
declare const deviceFloats: DeviceTensor<'float32'>;
declare const labels: Int32Array;
declare const queue: NegativeQueue;
declare const group: ProcessGroup;
declare const output: 'host' | 'device';
declare const maybe: TensorLike | undefined;
declare const flag: boolean;
declare const jaxArray: JaxArray;
declare const reduction: Reduction;
declare const positives: SigLipPositives;

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

  it('no ranks with ranks: false, optional ones when it is unknown', async () => {
    const pair = { query: tensor, positiveKey: tensor };
    const without = ntXentSync({ features: tensor, ranks: false });
    expectTypeOf(without).not.toHaveProperty('top1');
    expectTypeOf(without).not.toHaveProperty('top5');
    expectTypeOf(without.loss).toEqualTypeOf<number>();
    expectTypeOf(without.gradFeatures).toEqualTypeOf<Float32Array>();
    expectTypeOf(ntXentSync({ features: tensor, ranks: flag }).top5).toEqualTypeOf<number | undefined>();
    expectTypeOf(ntXentSync({ features: tensor, ranks: true }).top5).toEqualTypeOf<number>();
    const neither = await infoNCE({ ...pair, negativeKeys: tensor, ranks: false, gradient: false });
    expectTypeOf(neither).toEqualTypeOf<LossValue<'mean'>>();
    expectTypeOf(await supCon({ features: tensor, labels, ranks: false })).not.toHaveProperty('top1');
    expectTypeOf(clipSync({ imageFeatures: tensor, textFeatures: tensor, ranks: false })).not.toHaveProperty('top1');
    expectTypeOf<NTXentResult<'mean', true>['top1']>().toEqualTypeOf<number>();
    expectTypeOf<NTXentResult<'mean', true, 'host', false>>().toEqualTypeOf<typeof without>();
  });

  it('a gradient for negative keys when there are some', async () => {
    const pair = { query: tensor, positiveKey: tensor };
    expectTypeOf(infoNCESync(pair).gradNegativeKeys).toEqualTypeOf<Float32Array | undefined>();
    expectTypeOf(infoNCESync({ ...pair, negativeKeys: tensor }).gradNegativeKeys).toEqualTypeOf<Float32Array>();
    const unknown = await infoNCE({ ...pair, negativeKeys: maybe });
    expectTypeOf(unknown.gradNegativeKeys).toEqualTypeOf<Float32Array | undefined>();
    expectTypeOf(unknown.gradQuery).toEqualTypeOf<Float32Array>();
  });

  it('a list of gradients for a list of negative keys', async () => {
    const given = { query: tensor, positiveKey: tensor, negativeKeys: [tensor, half] };
    expectTypeOf(infoNCESync(given).gradNegativeKeys).toEqualTypeOf<readonly Float32Array[]>();
    expectTypeOf((await infoNCE(given)).gradPositiveKey).toEqualTypeOf<Float32Array>();
    expectTypeOf(infoNCE.forwardSync(given).backwardSync().gradNegativeKeys).toEqualTypeOf<readonly Float32Array[]>();
    const { gradNegativeKeys } = new InfoNCE().forwardSync(tensor, tensor, [tensor], {}, { targets: labels });
    expectTypeOf(gradNegativeKeys).toEqualTypeOf<readonly Float32Array[]>();
    const withQueue = infoNCESync({ ...given, negativeKeys: [tensor, queue] });
    expectTypeOf(withQueue.gradNegativeKeys).toEqualTypeOf<readonly (Float32Array | undefined)[]>();
  });

  it('perhaps no gradient for what may be detached', async () => {
    const result = await infoNCE({ query: tensor, positiveKey: tensor, detach: ['positiveKey'] });
    expectTypeOf(result.gradPositiveKey).toEqualTypeOf<Float32Array | undefined>();
    expectTypeOf(result.gradQuery).toEqualTypeOf<Float32Array>();
    // @ts-expect-error: without the gradient of the query there is none
    infoNCE({ query: tensor, positiveKey: tensor, detach: ['query'] });
  });

  it('the scale for clip', () => {
    const result = clipSync({ imageFeatures: tensor, textFeatures: tensor });
    expectTypeOf(result.gradLogitScale).toEqualTypeOf<number>();
    expectTypeOf(result).not.toHaveProperty('gradTemperature');
  });

  it('the negative texts of clip, where there are some', async () => {
    const pair = { imageFeatures: tensor, textFeatures: half };
    expectTypeOf(clipSync({ ...pair, negativeTexts: tensor }).gradNegativeTexts).toEqualTypeOf<Float32Array>();
    expectTypeOf(clipSync(pair).gradNegativeTexts).toEqualTypeOf<Float32Array | undefined>();
    const given = await new Clip().forward(tensor, half, undefined, undefined, undefined, tensor);
    expectTypeOf(given.gradNegativeTexts).toEqualTypeOf<Float32Array>();
  });

  it('the scale and the bias for sigLip, whose ranks follow its positives', async () => {
    const pair = { imageFeatures: tensor, textFeatures: half };
    const result = sigLipSync(pair);
    expectTypeOf(result.gradLogitScale).toEqualTypeOf<number>();
    expectTypeOf(result.gradLogitBias).toEqualTypeOf<number>();
    expectTypeOf(result.gradTextFeatures).toEqualTypeOf<Float32Array>();
    expectTypeOf(result.top1).toEqualTypeOf<number>();
    expectTypeOf(sigLip({ ...pair, imageIds: labels, textIds: labels })).resolves.toEqualTypeOf<typeof result>();
    expectTypeOf(sigLipSync({ ...pair, positives: 'sameIndex' })).toEqualTypeOf<typeof result>();
    expectTypeOf(sigLipSync({ ...pair, positives }).top1).toEqualTypeOf<number | undefined>();
    expectTypeOf(sigLipSync({ ...pair, positives: 'none' }).top1).toEqualTypeOf<number | undefined>();
    expectTypeOf(sigLipSync({ ...pair, positives: 'none', ranks: false })).not.toHaveProperty('top1');
    expectTypeOf((await sigLip.forward(pair)).backwardSync().gradLogitBias).toEqualTypeOf<number>();
    const captured = sigLip.capture({ ...pair, reduction: 'none' }, { output: 'device' });
    expectTypeOf(captured.runSync().gradImageFeatures).toEqualTypeOf<DeviceTensor<'float32'>>();
    expectTypeOf((await captured.run({ signal: AbortSignal.timeout(1) })).loss).toEqualTypeOf<Float32Array>();
    // @ts-expect-error: gradients stay on the device
    sigLip.capture(pair, { output: 'host' });
    expectTypeOf(new SigLip().forwardSync(tensor, tensor, 10, -10).top5).toEqualTypeOf<number>();
    expectTypeOf(new SigLip({ positives: 'none' }).forwardSync(tensor, tensor)).not.toHaveProperty('top1');
    expectTypeOf(new SigLip({ positives }).forwardSync(tensor, tensor).top1).toEqualTypeOf<number | undefined>();
    expectTypeOf(jaxSigLip(jaxArray, jaxArray)[0].gradLogitBias).toEqualTypeOf<number>();
    expectTypeOf(jaxSigLip(jaxArray, jaxArray, { positives: 'none' })[0]).not.toHaveProperty('top1');
  });

  it('modules too', () => {
    expectTypeOf(new InfoNCE({ reduction: 'none' }).forwardSync(tensor, tensor).loss).toEqualTypeOf<Float32Array>();
    expectTypeOf(new InfoNCE().forwardSync(tensor, tensor, tensor).gradNegativeKeys).toEqualTypeOf<Float32Array>();
    const ranking = new MultipleNegativesRankingLoss();
    expectTypeOf(ranking.forwardSync(tensor, tensor, tensor).gradNegativeKeys).toEqualTypeOf<readonly Float32Array[]>();
    expectTypeOf(ranking.forwardSync(tensor, tensor).gradQuery).toEqualTypeOf<Float32Array>();
    expectTypeOf(
      new MultipleNegativesRankingLoss({}, { group }).forwardSync(tensor, tensor).loss,
    ).toEqualTypeOf<number>();
    expectTypeOf(ranking.forward(tensor, tensor, tensor, tensor)).resolves.toHaveProperty('gradNegativeKeys');
    expectTypeOf(new InfoNCE({ gradient: false }).forwardSync(tensor, tensor)).not.toHaveProperty('gradQuery');
    expectTypeOf(new InfoNCE().forwardSync(tensor, tensor).top1).toEqualTypeOf<number>();
    expectTypeOf(new InfoNCE({ ranks: false }).forwardSync(tensor, tensor)).not.toHaveProperty('top1');
  });
});

describe('gradients lie where they were asked for', () => {
  it('with output, in the host or on the device', async () => {
    const run = { output: 'device' } as const;
    expectTypeOf(ntXentSync({ features: tensor }, run).gradFeatures).toEqualTypeOf<DeviceTensor<'float32'>>();
    expectTypeOf((await ntXent({ features: half }, run)).gradFeatures).toEqualTypeOf<DeviceTensor<'float32'>>();
    expectTypeOf(ntXentSync({ features: tensor, reduction: 'none' }, run).loss).toEqualTypeOf<Float32Array>();
    expectTypeOf(ntXentSync({ features: tensor }, { output }).gradFeatures).toEqualTypeOf<
      Float32Array | DeviceTensor<'float32'>
    >();
    expectTypeOf(ntXentSync({ features: tensor }, {} as RunOptions).gradFeatures).toEqualTypeOf<Float32Array>();
    const pair = { query: deviceTensor, positiveKey: half };
    expectTypeOf(infoNCESync(pair, run).gradQuery).toEqualTypeOf<DeviceTensor<'float32'>>();
    expectTypeOf(infoNCESync(pair, run).gradNegativeKeys).toEqualTypeOf<DeviceTensor<'float32'> | undefined>();
    expectTypeOf(new InfoNCE().forwardSync(tensor, tensor, tensor, run).gradQuery).toEqualTypeOf<
      DeviceTensor<'float32'>
    >();
  });

  it('in memory of another library, of the type that was named', () => {
    const use = (context: Context) => [context.wrap(1n, [1]), context.wrap(1, [1], 'bfloat16')] as const;
    expectTypeOf(use).returns.toEqualTypeOf<readonly [DeviceTensor<'float32'>, DeviceTensor<'bfloat16'>]>();
    expectTypeOf(deviceTensor.pointer).toEqualTypeOf<bigint>();
  });

  it('with out, in arrays of that kind', () => {
    const array = new Float32Array(4);
    ntXentSync({ features: tensor }, { out: { gradFeatures: array, loss: array } });
    ntXentSync({ features: tensor }, { output: 'device', out: { gradFeatures: deviceFloats, loss: array } });
    // @ts-expect-error: perhaps not float32
    ntXentSync({ features: tensor }, { output: 'device', out: { gradFeatures: deviceTensor } });
    // @ts-expect-error: an array of the host
    ntXentSync({ features: tensor }, { output: 'device', out: { gradFeatures: array } });
    // @ts-expect-error: a tensor of the device
    ntXentSync({ features: tensor }, { out: { gradFeatures: deviceFloats } });
    // @ts-expect-error: no result of that name
    ntXentSync({ features: tensor }, { out: { gradQuery: array } });
    // @ts-expect-error: a number
    ntXentSync({ features: tensor }, { out: { gradTemperature: array } });
  });
});

describe('two halves', () => {
  it('give the loss, then the gradients', async () => {
    const { loss, top1, backward, backwardSync } = await ntXent.forward({ features: tensor });
    expectTypeOf(top1).toEqualTypeOf<number>();
    expectTypeOf(loss).toEqualTypeOf<number>();
    expectTypeOf((await backward(2)).gradFeatures).toEqualTypeOf<Float32Array>();
    expectTypeOf(backwardSync(2, { output: 'device' }).gradFeatures).toEqualTypeOf<DeviceTensor<'float32'>>();
    expectTypeOf(ntXent.forwardSync({ features: tensor, reduction: 'none' }).loss).toEqualTypeOf<Float32Array>();
    const pass = clip.forwardSync({ imageFeatures: tensor, textFeatures: half });
    expectTypeOf(pass.backwardSync().gradLogitScale).toEqualTypeOf<number>();
    expectTypeOf(supCon.forwardSync({ features: tensor, labels }).backwardSync()).toHaveProperty('gradFeatures');
  });

  it('have no ranks without them', async () => {
    expectTypeOf(await ntXent.forward({ features: tensor, ranks: false })).not.toHaveProperty('top1');
    const pass = infoNCE.forwardSync({ query: tensor, positiveKey: tensor, negativeKeys: tensor, ranks: flag });
    expectTypeOf(pass.top5).toEqualTypeOf<number | undefined>();
    expectTypeOf(pass.backwardSync().gradNegativeKeys).toEqualTypeOf<Float32Array>();
  });

  it('know whether there are negative keys in a tensor', () => {
    const pair = { query: tensor, positiveKey: tensor };
    const own = infoNCE.forwardSync({ ...pair, negativeKeys: tensor });
    expectTypeOf(own.backwardSync().gradNegativeKeys).toEqualTypeOf<Float32Array>();
    const queued = infoNCE.forwardSync({ ...pair, negativeKeys: queue });
    expectTypeOf(queued.backwardSync().gradNegativeKeys).toEqualTypeOf<Float32Array | undefined>();
  });

  it('keep apart what belongs to each', () => {
    // @ts-expect-error: the upstream gradient is backward's
    ntXent.forward({ features: tensor, gradOutput: 2 });
    // @ts-expect-error: there are no gradients yet
    ntXent.forward({ features: tensor }, { output: 'device' });
    // @ts-expect-error: the context is that of the first half
    ntXent.forwardSync({ features: tensor }).backward(1, { context: undefined });
  });
});

describe('what is made of losses', () => {
  it('accumulate hands the gradients of a loss out', async () => {
    const result = await accumulate(ntXent, [{ features: tensor }, { features: half }]);
    expectTypeOf(result.loss).toEqualTypeOf<number>();
    expectTypeOf(result.gradTemperature).toEqualTypeOf<number>();
    expectTypeOf(result.chunks[0]!.gradFeatures).toEqualTypeOf<Float32Array>();
    const pairs = [{ query: tensor, positiveKey: tensor }];
    const { chunks, loss } = await accumulate(infoNCE, pairs, { reduction: 'none', negativeKeys: queue });
    expectTypeOf(loss).toEqualTypeOf<Float32Array>();
    expectTypeOf(chunks[0]!.gradPositiveKey).toEqualTypeOf<Float32Array>();
    const towers = [{ imageFeatures: tensor, textFeatures: tensor }];
    expectTypeOf((await accumulate(clip, towers)).gradLogitScale).toEqualTypeOf<number>();
    expectTypeOf(accumulate(supCon, [{ features: tensor, labels }])).resolves.toHaveProperty('chunks');
    expectTypeOf(result.top1).toEqualTypeOf<number>();
    expectTypeOf(await accumulate(clip, towers, { ranks: false })).not.toHaveProperty('top1');
    const sigmoid = await accumulate(sigLip, towers, { positives });
    expectTypeOf(sigmoid.gradLogitBias).toEqualTypeOf<number>();
    expectTypeOf(sigmoid.top1).toEqualTypeOf<number | undefined>();
    // @ts-expect-error: device tensors are not put together
    accumulate(ntXent, [{ features: deviceTensor }]);
  });

  it('matryoshka has the result of the loss', async () => {
    const dims = [4, 2];
    const result = await matryoshka(ntXent, { features: tensor }, { dims, weights: [1, 0.5] });
    expectTypeOf(result).toEqualTypeOf(ntXentSync({ features: tensor }));
    const rows = matryoshkaSync(infoNCE, { query: tensor, positiveKey: tensor, reduction: 'none' }, { dims });
    expectTypeOf(rows.loss).toEqualTypeOf<Float32Array>();
    const hard = { query: tensor, positiveKey: tensor, negativeKeys: half };
    expectTypeOf(matryoshkaSync(infoNCESync, hard, { dims }).gradNegativeKeys).toEqualTypeOf<Float32Array>();
    const list = { ...hard, negativeKeys: [tensor, tensor] };
    const gradients = matryoshkaSync(infoNCE, list, { dims }).gradNegativeKeys;
    expectTypeOf(gradients).toEqualTypeOf<readonly Float32Array[]>();
    const plain = matryoshkaSync(clip, { imageFeatures: tensor, textFeatures: half, gradient: false }, { dims });
    expectTypeOf(plain).not.toHaveProperty('gradLogitScale');
    const towers = { imageFeatures: tensor, textFeatures: tensor };
    expectTypeOf(matryoshkaSync(sigLip, towers, { dims }).top1).toEqualTypeOf<number>();
    expectTypeOf(matryoshka(supCon, { features: tensor, labels }, { dims })).resolves.toHaveProperty('top5');
    // @ts-expect-error: the inputs of another loss
    matryoshka(ntXent, { query: tensor, positiveKey: tensor }, { dims });
    // @ts-expect-error: no dims
    matryoshka(ntXent, { features: tensor }, {});
    // @ts-expect-error: a synchronous call has no signal
    matryoshkaSync(ntXent, { features: tensor }, { dims }, { signal: AbortSignal.abort() });
  });

  it('a queue holds one type of numbers', () => {
    const halves = new NegativeQueue({ capacity: 4, dim: 2, dtype: 'float16' });
    expectTypeOf(halves.toArraySync()).toEqualTypeOf<Uint16Array>();
    supCon({ features: tensor, labels, memory: queue });
    // @ts-expect-error: a queue is no tensor
    ntXent({ features: queue });
  });

  it('memory is asked for sizes or tensors', () => {
    const required = memoryRequired({ loss: 'clip', imageFeatures: { shape: [8, 4] }, textFeatures: half });
    expectTypeOf(required.fits).toEqualTypeOf<boolean>();
    memoryRequired({ loss: 'supCon', features: { shape: [8, 4], dtype: 'float16' } }, { device: 'cuda' });
    const negativeKeys = [{ shape: [8, 4] }, tensor];
    memoryRequired({ loss: 'infoNCE', query: tensor, positiveKey: half, negativeKeys, queryIds: labels });
    memoryRequired({ loss: 'sigLip', imageFeatures: half, textFeatures: { shape: [9, 4] }, positives: 'none' });
    // @ts-expect-error: an input is missing
    memoryRequired({ loss: 'clip', imageFeatures: { shape: [8, 4] } });
  });
});

it('losses of jax-js follow the same options', () => {
  expectTypeOf(jaxNTXent(jaxArray)[0].top1).toEqualTypeOf<number>();
  expectTypeOf(jaxNTXent(jaxArray, { ranks: false })[0]).not.toHaveProperty('top1');
  expectTypeOf(jaxNTXent(jaxArray, { ranks: flag })[0].top5).toEqualTypeOf<number | undefined>();
  expectTypeOf(jaxSigLip(jaxArray, jaxArray, { group })[0].loss).toEqualTypeOf<number>();
  const run = { group, gradients: 'mean' } as const;
  expectTypeOf(jaxInfoNCE(jaxArray, jaxArray, undefined, run)[0].loss).toEqualTypeOf<number>();
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
  expectTypeOf<Context['trim']>().returns.toEqualTypeOf<number>();
  createContext({ device: 'cuda', trace: false });
  expectTypeOf<Context[typeof Symbol.dispose]>().toEqualTypeOf<() => void>();
  expectTypeOf(devices).returns.toEqualTypeOf<Device[]>();
  expectTypeOf<Extract<Device, { available: false }>['reason']>().toEqualTypeOf<string>();
  expectTypeOf<InfoNCEError['code']>().toEqualTypeOf<InfoNCEErrorCode>();
});

it('embeddings of a file are a tensor of the losses, of the type that they say', () => {
  const read = {} as Embeddings;
  ntXent({ features: read });
  infoNCE({ query: read, positiveKey: read });
  if (read.dtype === 'float32') expectTypeOf(read.data).toEqualTypeOf<Float32Array>();
  else expectTypeOf(read.data).toEqualTypeOf<Uint16Array>();
  expectTypeOf(read.labels).toEqualTypeOf<Int32Array | undefined>();
});
