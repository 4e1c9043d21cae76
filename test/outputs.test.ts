import { type DeviceTensor, infoNCESync, ntXent, ntXentSync, sigLipSync } from 'infonce';
import { describe, expect, it } from 'vitest';
import { newContext, sharedContext, TARGETS } from './support/contexts.js';
import { gradientName, type Named, randomCase, rowsOf, SAMPLE_OF_LOSSES, tensorsOf } from './support/problems.js';
import { normal } from './support/random.js';
import { thrownBy } from './support/thrown.js';

const context = sharedContext(TARGETS[0]!);
const SIZES = { samples: 9, dim: 7, views: 3, negatives: 5, temperature: 0.2, noise: 1, seed: 3 };

/** The result with device tensors read back, and disposed. */
async function onHost(result: Named): Promise<Named> {
  const entries = Object.entries(result).map(async ([name, value]) => {
    if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return [name, value] as const;
    const tensor = value as DeviceTensor;
    const array = await tensor.toArray();
    tensor.dispose();
    return [name, array] as const;
  });
  return Object.fromEntries(await Promise.all(entries));
}

describe.each(SAMPLE_OF_LOSSES)('%s', loss => {
  const { problem, functions } = randomCase(loss, SIZES, { reduction: 'none' });
  const { run, runSync } = functions;
  const rows = rowsOf(loss, SIZES);
  const expected = runSync(problem, { context });
  const inputs = tensorsOf(problem);

  it("leaves gradients on the device with output: 'device'", async () => {
    const sync = runSync(problem, { context, output: 'device' });
    for (const [name, { shape }] of Object.entries(inputs)) {
      expect(sync[gradientName(name)]).toMatchObject({ context, shape, dtype: 'float32', disposed: false });
    }
    expect(sync.loss).toEqual(expected.loss);
    expect(await onHost(sync)).toEqual(expected);
    expect(await onHost(await run(problem, { context, output: 'device' }))).toEqual(expected);
  });

  it('fills the arrays it is given, and returns them', async () => {
    const out: Record<string, Float32Array> = { loss: new Float32Array(rows) };
    for (const [name, { data }] of Object.entries(inputs)) out[gradientName(name)] = new Float32Array(data.length);
    for (const call of [runSync, run]) {
      const result = await call(problem, { context, out });
      expect(result).toEqual(expected);
      for (const name in out) {
        expect(result[name]).toBe(out[name]);
        out[name]!.fill(0);
      }
    }
  });

  it('fills device tensors', async () => {
    const out: Record<string, DeviceTensor> = {};
    for (const [name, { data, shape }] of Object.entries(inputs)) {
      out[gradientName(name)] = context.tensor(new Float32Array(data.length), shape);
    }
    // The context is theirs.
    const result = await run(problem, { output: 'device', out });
    for (const name in out) expect(result[name]).toBe(out[name]);
    expect(await onHost(result)).toEqual(expected);
  });

  it('does the rest as ever where some are given', () => {
    const [name, { data }] = Object.entries(inputs).at(-1)!;
    const given = new Float32Array(data.length);
    const result = runSync(problem, { context, out: { [gradientName(name)]: given } });
    expect(result[gradientName(name)]).toBe(given);
    expect(result).toEqual(expected);
  });
});

it('a training loop writes to the same arrays again and again', async () => {
  const features = context.tensor(normal([6, 4], 1).data, [6, 4]);
  const out = { gradFeatures: new Float32Array(24) };
  for (let step = 2; step < 6; step++) {
    const { data } = normal([6, 4], step);
    const written = features.write(data);
    const { loss, gradFeatures } = await ntXent({ features }, { out });
    await written;
    const expected = ntXentSync({ features: { data, shape: [6, 4] } }, { context });
    expect(loss).toBe(expected.loss);
    expect(gradFeatures).toEqual(expected.gradFeatures);
  }
});

it('gives one gradient to the next call without the host', async () => {
  const features = normal([6, 4], 1);
  const { gradFeatures } = await ntXent({ features }, { context, output: 'device' });
  const expected = ntXentSync({
    features: { data: ntXentSync({ features }, { context }).gradFeatures, shape: [6, 4] },
  });
  expect(ntXentSync({ features: gradFeatures }).loss).toBeCloseTo(expected.loss, 6);
});

describe('refuses', () => {
  const features = normal([6, 4], 1);
  const pair = { query: features, positiveKey: normal([6, 4], 2) };
  const array = new Float32Array(24);
  const tensor = context.tensor(array, [6, 4]);
  const half = context.tensor(new Uint16Array(24), [6, 4], 'float16');
  const small = context.tensor(new Float32Array(4), [4]);
  const both = new Float32Array(30);

  const rows: readonly (readonly [string, string, RegExp, object, object?])[] = [
    ['an unknown output', 'ERR_INFONCE_RANGE', /output: .*'host', 'device'/, { output: 'gpu' }],
    ['something else than arrays by name', 'ERR_INFONCE_TYPE', /out: .*an object.*got Float32Array/, { out: array }],
    ['null', 'ERR_INFONCE_TYPE', /out: .*got null/, { out: null }],
    [
      'an unknown name',
      'ERR_INFONCE_TYPE',
      /out: .*'gradfeatures'\. Did you mean 'gradFeatures'\?/,
      { out: { gradfeatures: array } },
    ],
    ['a number', 'ERR_INFONCE_TYPE', /'gradTemperature'\. It is a number/, { out: { gradTemperature: array } }],
    [
      'another type',
      'ERR_INFONCE_TYPE',
      /out\.gradFeatures: expected a Float32Array/,
      { out: { gradFeatures: new Float64Array(24) } },
    ],
    [
      'another length',
      'ERR_INFONCE_SHAPE',
      /out\.gradFeatures: expected 24 numbers, .*got 23/,
      { out: { gradFeatures: array.subarray(1) } },
    ],
    [
      'a tensor of the host with output device',
      'ERR_INFONCE_TYPE',
      /device tensor, because of output/,
      { output: 'device', out: { gradFeatures: array } },
    ],
    ['a device tensor without it', 'ERR_INFONCE_TYPE', /pass output: 'device' too/, { out: { gradFeatures: tensor } }],
    [
      'a device tensor of 16 bits',
      'ERR_INFONCE_TYPE',
      /dtype 'float32'/,
      { output: 'device', out: { gradFeatures: half } },
    ],
    [
      'a device tensor of another size',
      'ERR_INFONCE_SHAPE',
      /expected 24 numbers, .*got 4/,
      { output: 'device', out: { gradFeatures: small } },
    ],
    [
      'row losses of a mean',
      'ERR_INFONCE_RANGE',
      /out\.loss: .*unless reduction is 'none'/,
      { out: { loss: new Float32Array(6) } },
    ],
    [
      'row losses of another length',
      'ERR_INFONCE_SHAPE',
      /out\.loss: expected 6 numbers/,
      { out: { loss: array } },
      { reduction: 'none' },
    ],
    [
      'a gradient that nobody asked for',
      'ERR_INFONCE_TYPE',
      /does not compute that gradient/,
      { out: { gradFeatures: array } },
      { gradient: false },
    ],
    [
      'an input',
      'ERR_INFONCE_RANGE',
      /out\.gradFeatures: .*got memory of features/,
      { out: { gradFeatures: features.data } },
    ],
    [
      'the upstream gradient',
      'ERR_INFONCE_RANGE',
      /got memory of gradOutput/,
      { out: { gradFeatures: both.subarray(0, 24) } },
      { reduction: 'none', gradOutput: both.subarray(20, 26) },
    ],
    [
      'the same memory twice',
      'ERR_INFONCE_RANGE',
      /got memory of out\.loss/,
      { out: { loss: both.subarray(0, 6), gradFeatures: both.subarray(5, 29) } },
      { reduction: 'none' },
    ],
  ];
  it.each(rows.map(([what, ...row]) => ({ what, row })))('$what', async ({ row: [code, message, run, options] }) => {
    const problem = { features, ...options };
    const error = thrownBy(() => ntXentSync(problem, { context, ...run }));
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) });
    await expect(ntXent(problem, { context, ...run })).rejects.toMatchObject({ code, message: error.message });
  });

  it('one array for two gradients, one device tensor for two, and for an input', () => {
    expect(thrownBy(() => infoNCESync(pair, { out: { gradQuery: array, gradPositiveKey: array } }))).toMatchObject({
      code: 'ERR_INFONCE_RANGE',
      argument: 'out.gradPositiveKey',
    });
    const out = { gradQuery: tensor, gradPositiveKey: tensor };
    expect(thrownBy(() => infoNCESync(pair, { output: 'device', out }))).toMatchObject({
      code: 'ERR_INFONCE_RANGE',
      argument: 'out.gradPositiveKey',
    });
    const run = { output: 'device', out: { gradFeatures: tensor } } as const;
    expect(thrownBy(() => ntXentSync({ features: tensor }, run))).toMatchObject({ code: 'ERR_INFONCE_RANGE' });
  });

  it('the memory of ids', () => {
    const ids = new Int32Array(6);
    const towers = { imageFeatures: features, textFeatures: features, imageIds: new Int32Array(6), textIds: ids };
    const out = { loss: new Float32Array(ids.buffer) };
    expect(thrownBy(() => sigLipSync({ ...towers, reduction: 'none' }, { out })).message).toContain(
      'got memory of textIds',
    );
  });

  it('a device tensor of another context, and one that was disposed', () => {
    const other = newContext();
    const run = { context: other, output: 'device', out: { gradFeatures: tensor } } as const;
    expect(thrownBy(() => ntXentSync({ features }, run))).toMatchObject({
      code: 'ERR_INFONCE_RANGE',
      argument: 'out.gradFeatures',
    });
    const gone = other.tensor(array, [6, 4]);
    gone.dispose();
    const late = { context: other, output: 'device', out: { gradFeatures: gone } } as const;
    expect(thrownBy(() => ntXentSync({ features }, late))).toMatchObject({ code: 'ERR_INFONCE_DISPOSED' });
    other.dispose();
  });
});
