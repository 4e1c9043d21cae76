import {
  type Context,
  clip,
  clipSync,
  type DeviceTensor,
  infoNCE,
  infoNCESync,
  NegativeQueue,
  ntXent,
  ntXentSync,
  sigLip,
  sigLipSync,
  supCon,
  supConSync,
} from 'infonce';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cpuContext, DEVICE, newContext } from './support/contexts.js';
import { normal } from './support/random.js';
import { thrownBy, wrong } from './support/thrown.js';

const SHAPE = [12, 5];
const rows = (seed: number) => normal(SHAPE, seed);

it('on the CPU a capture is refused, with what to call instead', () => {
  const context = cpuContext();
  const features = context.tensor(rows(1).data, SHAPE);
  for (const problem of [{ features }, { features: rows(1) }]) {
    const error = thrownBy(() => ntXent.capture(problem, { context }));
    expect(error).toMatchObject({ code: 'ERR_INFONCE_DEVICE', argument: 'ntXent.capture' });
    expect(error.message).toMatch(/CUDA/);
    expect(error.remedy).toMatch(/Call ntXent/);
  }
  context.dispose();
});

it('a capture takes no options of other calls, and says where they go', () => {
  const features = rows(1);
  for (const [option, remedy] of [
    ['signal', /run\(\{ signal \}\)/],
    ['group', /waits for other ranks/],
    ['threads', /createContext/],
  ] as const) {
    const error = thrownBy(() => ntXent.capture({ features }, wrong({ [option]: 1 })));
    expect(error).toMatchObject({ code: 'ERR_INFONCE_TYPE' });
    expect(error.message).toMatch(remedy);
  }
  const toHost = thrownBy(() => ntXent.capture({ features }, wrong({ output: 'host' })));
  expect(toHost).toMatchObject({ code: 'ERR_INFONCE_RANGE', argument: 'output' });
});

describe.runIf(DEVICE === 'cuda')('a captured call', () => {
  let context: Context;
  let query: DeviceTensor<'float32'>;
  let key: DeviceTensor<'float32'>;
  beforeAll(() => {
    context = newContext();
    query = context.tensor(rows(1).data, SHAPE);
    key = context.tensor(rows(2).data, SHAPE);
  });
  afterAll(() => context.dispose());

  /** With gradients as arrays. */
  function onHost(result: object): object {
    return Object.fromEntries(
      Object.entries(result).map(([name, value]) => [
        name,
        value?.toArraySync === undefined ? value : value.toArraySync(),
      ]),
    );
  }

  it('gives the bits of the loss, whatever its inputs hold, and the same tensors', async () => {
    const labels = Int32Array.from({ length: 12 }, (_, i) => i % 5);
    const negatives = context.tensor(normal([7, 5], 3).data, [7, 5]);
    const calls = [
      [ntXent.capture({ features: query }), () => ntXentSync({ features: query })],
      [
        infoNCE.capture({ query, positiveKey: key, negativeKeys: negatives, temperature: 0.2, ranks: false }),
        () => infoNCESync({ query, positiveKey: key, negativeKeys: negatives, temperature: 0.2, ranks: false }),
      ],
      [
        clip.capture({ imageFeatures: query, textFeatures: key, gradient: false }),
        () => clipSync({ imageFeatures: query, textFeatures: key, gradient: false }),
      ],
      [supCon.capture({ features: query, labels }), () => supConSync({ features: query, labels })],
      [
        sigLip.capture({ imageFeatures: query, textFeatures: key, logitBias: -3 }),
        () => sigLipSync({ imageFeatures: query, textFeatures: key, logitBias: -3 }),
      ],
    ] as const;
    // Of the capture, whatever becomes of the caller's.
    const kept = labels.slice();
    labels.fill(0);
    query.writeSync(rows(4).data);
    labels.set(kept);
    const expected = calls.map(([, call]) => onHost(call()));
    labels.fill(0);
    expect(calls.map(([captured]) => onHost(captured.runSync()))).toEqual(expected);
    expect((await Promise.all(calls.map(([captured]) => captured.run()))).map(onHost)).toEqual(expected);
    const [captured] = calls[0];
    expect(captured.runSync().gradFeatures).toBe((await captured.run()).gradFeatures);
    for (const [{ dispose }] of calls) dispose();
    query.writeSync(rows(1).data);
    negatives.dispose();
  });

  it('sees what was written before it, and fills the caller’s tensors', async () => {
    const out = { gradFeatures: context.tensor(new Float32Array(60), SHAPE) };
    const captured = ntXent.capture({ features: query, reduction: 'none' }, { out });
    const written = query.write(rows(5).data);
    const runs = [captured.run(), captured.run()];
    const writtenAgain = query.write(rows(1).data);
    const last = captured.run();
    const expected = [5, 5, 1].map(seed => ntXentSync({ features: rows(seed), reduction: 'none' }, { context }));
    const results = await Promise.all([...runs, last]);
    expect(results.map(({ loss }) => loss)).toEqual(expected.map(({ loss }) => loss));
    expect(results[0]!.loss).not.toBe(results[1]!.loss);
    expect(results[0]!.gradFeatures).toBe(out.gradFeatures);
    expect(out.gradFeatures.toArraySync()).toEqual(expected[2]!.gradFeatures);
    await Promise.all([written, writtenAgain]);
    captured.dispose();
  });

  it('reads a full queue as it is then', () => {
    const queue = new NegativeQueue({ capacity: 8, dim: 5, context });
    queue.enqueueSync(normal([5, 5], 6));
    const problem = { query, positiveKey: key, negativeKeys: queue };
    const notFull = { code: 'ERR_INFONCE_RANGE', argument: 'negativeKeys' };
    expect(thrownBy(() => infoNCE.capture(problem))).toMatchObject({ ...notFull, message: expect.stringMatching(/5/) });
    queue.enqueueSync(normal([5, 5], 7));
    const captured = infoNCE.capture(problem);
    queue.enqueueSync(normal([3, 5], 8));
    expect(onHost(captured.runSync())).toEqual(onHost(infoNCESync(problem)));
    queue.clear();
    expect(thrownBy(() => captured.runSync())).toMatchObject(notFull);
    queue.dispose();
    expect(thrownBy(() => captured.runSync())).toMatchObject({ ...notFull, code: 'ERR_INFONCE_DISPOSED' });
    captured.dispose();
  });

  it('needs all rows on the device, and nothing of the host while it runs', () => {
    const onDevice = { query, positiveKey: key };
    for (const [argument, call] of [
      ['positiveKey', () => infoNCE.capture({ query, positiveKey: rows(2) })],
      ['negativeKeys[1]', () => infoNCE.capture({ ...onDevice, negativeKeys: [key, rows(3)] })],
    ] as const) {
      const error = thrownBy(call);
      expect(error).toMatchObject({ code: 'ERR_INFONCE_TYPE', argument });
      expect(error.remedy).toMatch(/context\.tensor/);
    }
    const unnormalised = thrownBy(() => infoNCE.capture({ ...onDevice, normalize: false }));
    expect(unnormalised).toMatchObject({ code: 'ERR_INFONCE_RANGE', argument: 'infoNCE.capture' });
    expect(unnormalised.message).toMatch(/without normalisation/);
    const one = thrownBy(() => ntXent.capture({ features: query }, wrong({ out: { gradFeatures: rows(1).data } })));
    expect(one).toMatchObject({ code: 'ERR_INFONCE_TYPE', argument: 'out.gradFeatures' });
  });

  it('is refused once what it needs is gone, before anything runs', async () => {
    const features = context.tensor(rows(1).data, SHAPE);
    const out = { gradFeatures: context.tensor(new Float32Array(60), SHAPE) };
    const disposed = { code: 'ERR_INFONCE_DISPOSED' };
    const first = ntXent.capture({ features }, { out });
    const made = ntXent.capture({ features });
    const expected = first.runSync().loss;
    out.gradFeatures.dispose();
    expect(thrownBy(() => first.runSync())).toMatchObject({ ...disposed, argument: 'out.gradFeatures' });
    made.runSync().gradFeatures.dispose();
    await expect(made.run()).rejects.toMatchObject({ ...disposed, argument: 'out.gradFeatures' });
    const second = ntXent.capture({ features, gradient: false });
    expect(second.runSync().loss).toBe(expected);
    features.dispose();
    expect(thrownBy(() => second.runSync())).toMatchObject({ ...disposed, argument: 'features' });
    second.dispose();
    second.dispose();
    expect(second.disposed).toBe(true);
    await expect(second.run()).rejects.toMatchObject({ ...disposed, argument: 'ntXent.capture' });

    const short = newContext({ device: context.device.id });
    const third = ntXent.capture({ features: short.tensor(rows(1).data, SHAPE) });
    short.dispose();
    expect(third.disposed).toBe(true);
    expect(thrownBy(() => third.runSync())).toMatchObject({ ...disposed, argument: 'ntXent.capture' });
    third.dispose();
    first.dispose();
    made.dispose();
  });

  it('names the row that is not finite, and is aborted as other calls are', async () => {
    const features = context.tensor(rows(1).data, SHAPE);
    const { runSync, run, dispose } = ntXent.capture({ features });
    const expected = runSync().loss;
    const bad = rows(1).data.slice();
    bad[33] = Number.NaN;
    features.writeSync(bad);
    expect(thrownBy(runSync)).toMatchObject({
      code: 'ERR_INFONCE_NON_FINITE',
      argument: 'features',
      message: expect.stringMatching(/row 6/),
    });
    features.writeSync(rows(1).data);
    await expect(run({ signal: AbortSignal.abort() })).rejects.toThrow(expect.objectContaining({ code: 'ABORT_ERR' }));
    await expect(run(wrong({ output: 'device' }))).rejects.toThrow(/fixed by the capture/);
    const sync = runSync as (options: object) => object;
    expect(thrownBy(() => sync({ signal: AbortSignal.abort() })).message).toMatch(/Use run\(\)/);
    expect((await run()).loss).toBe(expected);
    dispose();
    features.dispose();
  });

  it('keeps its tensors’ memory while it is in flight', async () => {
    const features = context.tensor(rows(1).data, SHAPE);
    const captured = ntXent.capture({ features });
    const result = captured.run();
    captured.dispose();
    features.dispose();
    expect((await result).loss).toBe(ntXentSync({ features: rows(1) }, { context }).loss);
  });
});
