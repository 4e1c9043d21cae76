import { runInNewContext } from 'node:vm';
import { clipSync, infoNCESync, ntXent, ntXentLogits, ntXentSync, type Tensor } from 'infonce';
import { describe, expect, it } from 'vitest';
import { expectClose, expectResult, HIGHEST } from './support/compare.js';
import { newContext, sharedContext, TARGETS } from './support/contexts.js';
import { goldenCases, problemOf } from './support/golden.js';
import { fromHalf, toHalf } from './support/half.js';
import { FUNCTIONS, tensorsOf, withTensors } from './support/problems.js';
import { normal } from './support/random.js';
import { thrownBy, wrong } from './support/thrown.js';

const context = sharedContext(TARGETS[0]!);

const onDevice = ({ data, shape }: Tensor) => context.tensor(data, shape);

describe.each(goldenCases())('$name', golden => {
  const [loss, problem] = problemOf(golden);
  const { run, runSync, reference } = FUNCTIONS[loss];

  it.each(['float16', 'bfloat16'] as const)('of %s numbers is that of the numbers', dtype => {
    // Within the range of float16, which a loss of rows of unit length does not mind.
    const largest = Math.max(...Object.values(tensorsOf(problem)).map(({ data }) => Math.max(...data.map(Math.abs))));
    const half = (tensor: Tensor) => {
      const data = problem.normalize === false ? tensor.data : tensor.data.map(value => value / Math.max(largest, 1));
      return toHalf({ data, shape: tensor.shape }, dtype);
    };
    const given = withTensors(problem, half);
    const rounded = withTensors(problem, tensor => fromHalf(half(tensor)));
    expectResult(runSync(given, { context }), reference(rounded), HIGHEST);
  });

  it('is the same from device tensors, bit for bit', async () => {
    const expected = runSync(problem, { context });
    const tensors = withTensors(problem, onDevice);
    expect(runSync(tensors)).toEqual(expected);
    expect(await run(tensors)).toEqual(expected);
  });
});

it('towers may differ in type and place', () => {
  const query = normal([6, 5], 1);
  const positiveKey = normal([6, 5], 2);
  const negativeKeys = normal([9, 5], 3);
  const halves = { keys: toHalf(positiveKey, 'float16'), negatives: toHalf(negativeKeys, 'bfloat16') };
  const mixed = infoNCESync({
    query: onDevice(query),
    positiveKey: halves.keys,
    negativeKeys: context.tensor(halves.negatives.data, halves.negatives.shape, 'bfloat16'),
  });
  const rounded = {
    query,
    positiveKey: fromHalf(halves.keys),
    negativeKeys: fromHalf(halves.negatives),
  };
  expectResult(mixed, FUNCTIONS.infoNCE.reference(rounded), HIGHEST);
  expect(mixed.gradNegativeKeys).toHaveLength(45);
});

it('arrays of another realm are arrays', async () => {
  const features = normal([6, 5], 1);
  const half = toHalf(features, 'float16');
  const [floats, halves] = runInNewContext('[Float32Array.from(floats), Uint16Array.from(halves)]', {
    floats: features.data,
    halves: half.data,
  }) as [Float32Array, Uint16Array];
  // With a call in flight they are written behind it.
  const pending = ntXent({ features }, { context });
  const tensors = [context.tensor(floats, [6, 5]), context.tensor(halves, [6, 5], 'float16')] as const;
  expect(await tensors[0].toArray()).toEqual(features.data);
  expect(await tensors[1].toArray()).toEqual(half.data);
  const { loss } = await pending;
  expect(ntXentSync({ features: { data: floats, shape: [6, 5] } }, { context }).loss).toBe(loss);
  const out = { gradFeatures: new Float32Array(30) };
  expectResult(
    await ntXent({ features: { ...half, data: halves } }, { context, out }),
    FUNCTIONS.ntXent.reference({ features: fromHalf(half) }),
    HIGHEST,
  );
});

it('logits take them too', () => {
  const features = normal([6, 5], 1);
  const half = toHalf(features, 'float16');
  const expected = ntXentLogits({ features: fromHalf(half) }, { context });
  const { logits } = ntXentLogits({ features: half }, { context });
  expectClose(logits.data, expected.logits.data, HIGHEST.tolerance, 0, 'logits');
  expect(ntXentLogits({ features: onDevice(features) })).toEqual(ntXentLogits({ features }, { context }));
});

describe('refuses', () => {
  const features = normal([6, 5], 1);

  it('a type that is none, and one that is not that of the data', () => {
    const { data } = toHalf(features, 'float16');
    const of = (tensor: object) => thrownBy(() => ntXentSync({ features: wrong(tensor) }));
    expect(of({ data, shape: [6, 5] })).toMatchObject({
      code: 'ERR_INFONCE_TYPE',
      message: expect.stringMatching(/features\.dtype: .*'float16' or 'bfloat16'/),
    });
    expect(of({ data, shape: [6, 5], dtype: 'float32' })).toMatchObject({ code: 'ERR_INFONCE_TYPE' });
    expect(of({ ...features, dtype: 'float16' })).toMatchObject({ code: 'ERR_INFONCE_TYPE' });
    expect(of({ data, shape: [6, 5], dtype: 'half' })).toMatchObject({ code: 'ERR_INFONCE_RANGE' });
    expect(of({ data, shape: [5, 5], dtype: 'float16' })).toMatchObject({ code: 'ERR_INFONCE_SHAPE' });
  });

  it('a device tensor of another shape, one that was disposed, and one of another context', () => {
    const tensor = onDevice(features);
    const clip = (options?: object) => clipSync({ imageFeatures: features, textFeatures: tensor }, options);
    const other = newContext();
    expect(thrownBy(() => clip({ context: other }))).toMatchObject({
      code: 'ERR_INFONCE_RANGE',
      message: expect.stringMatching(/textFeatures: .*of another context/),
    });
    const elsewhere = other.tensor(features.data, features.shape);
    expect(thrownBy(() => clipSync({ imageFeatures: elsewhere, textFeatures: tensor }))).toMatchObject({
      code: 'ERR_INFONCE_RANGE',
      argument: 'textFeatures',
    });
    expect(thrownBy(() => ntXentSync({ features: tensor, nViews: 4 }))).toMatchObject({ code: 'ERR_INFONCE_VIEWS' });
    tensor.dispose();
    expect(thrownBy(() => clip())).toMatchObject({ code: 'ERR_INFONCE_DISPOSED', argument: 'textFeatures' });
    other.dispose();
    expect(thrownBy(() => ntXentSync({ features: elsewhere }))).toMatchObject({ code: 'ERR_INFONCE_DISPOSED' });
  });

  it('NaN in numbers of 16 bits, and says where', () => {
    const { data, shape } = toHalf(features, 'bfloat16');
    data[17] = 0x7fc0;
    expect(thrownBy(() => ntXentSync({ features: { data, shape, dtype: 'bfloat16' } }, { context }))).toMatchObject({
      code: 'ERR_INFONCE_NON_FINITE',
      message: expect.stringMatching(/features: .*row 3/),
    });
  });
});
